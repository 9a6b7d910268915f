"""The progress display, and the removal of control characters."""

import io
import time

import pytest

from fieldmark.cli.terminal import Lines, LiveBars, lasts, progress, safe_text
from fieldmark.core.progress import QUIET


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_show_count_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    for item in Lines(stream, every_s=5).track(range(20), total=20, what="photos"):
        now[0] += 1
        assert item == now[0] - 1
    assert stream.getvalue().splitlines() == [
        "photos: 5 of 20 (25%), 1.0/s, 15 s left",
        "photos: 10 of 20 (50%), 1.0/s, 10 s left",
        "photos: 15 of 20 (75%), 1.0/s, 5 s left",
    ]


def test_quick_tasks_print_no_line() -> None:
    stream = io.StringIO()
    assert list(Lines(stream).track("abc", total=3, what="letters")) == ["a", "b", "c"]
    assert stream.getvalue() == ""


def test_bars_show_the_task_and_disappear_at_its_end() -> None:
    stream = Terminal()
    bars = LiveBars(stream)
    outer = bars.track(range(2), total=2, what="epochs")
    assert next(outer) == 0
    assert list(bars.track(range(3), total=3, what="[bold]photos")) == [0, 1, 2]
    bars.say("a message")
    assert list(outer) == [1]
    assert bars._bars is None
    text = stream.getvalue()
    assert "epochs" in text
    assert "[bold]photos" in text
    assert "a message" in text


def test_an_aborted_task_leaves_no_bar() -> None:
    bars = LiveBars(Terminal())
    task = bars.track(range(5), total=5, what="photos")
    next(task)
    task.close()
    assert bars._bars is None


def test_bars_on_a_terminal_lines_in_files_nothing_in_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress(stream=Terminal()), LiveBars)
    assert isinstance(progress(stream=io.StringIO()), Lines)
    monkeypatch.setenv("RANK", "1")
    assert progress(stream=io.StringIO()) is QUIET


def test_control_characters_are_escaped() -> None:
    assert safe_text("a\x1b[31m\x07b\u202ec\udcff\td\ne 鯨") == "a\\x1b[31m\\x07b\\u202ec\\udcff\\td\ne 鯨"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min"), (-1, "0 s")])
def test_times_in_two_units(seconds: float, text: str) -> None:
    assert lasts(seconds) == text
