"""Choice of the progress display: automatic, forced, silent, or an object of the user."""

import io
import sys
import time
from types import ModuleType
from typing import Any

import pytest

from fieldmark.core.bars import LiveBars, OneLine
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import QUIET, shown_by


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ZMQInteractiveShell:
    """A stand-in for the kernel class of Jupyter, VS Code and Colab, recognised by its name."""


class Shell(ZMQInteractiveShell):
    pass


def ipython(shell: Any) -> ModuleType:
    module = ModuleType("IPython")
    module.get_ipython = lambda: shell
    return module


def test_a_file_or_pipe_gets_no_bar_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    assert shown_by(None) is QUIET
    assert list(shown_by(True).track("abc", total=3, what="read")) == ["a", "b", "c"]
    assert "read: [####################] 3 of 3" in output.getvalue()


def test_a_terminal_gets_a_bar_unless_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(shown_by(None), LiveBars)
    assert isinstance(shown_by(True), LiveBars)
    assert shown_by(False) is QUIET


@pytest.mark.parametrize(("shell", "is_bar"), [(Shell(), True), (object(), False), (None, False)])
def test_a_notebook_gets_a_bar_and_ipython_in_a_pipe_none(
    shell: object, is_bar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", ipython(shell))
    assert isinstance(shown_by(None), OneLine) == is_bar


def test_only_the_first_process_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("RANK", "1")
    assert shown_by(None) is QUIET
    assert shown_by(True) is QUIET


def test_an_object_of_the_user_is_used_directly() -> None:
    own = OneLine(io.StringIO())
    assert shown_by(own) is own
    with pytest.raises(FieldmarkError, match="progress must be True, False, None"):
        shown_by("yes")


def test_one_line_is_rewritten_and_cleared_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    output = io.StringIO()
    bar = OneLine(output, every_s=1.0)
    for _ in bar.track(range(4), total=4, what="embed\x1b[2J"):
        now[0] += 0.6
    states = output.getvalue().split("\r")
    assert states[1] == "embed\\x1b[2J: 0 of 4"
    assert [state.split(",")[0].strip() for state in states[2:-2]] == [
        "embed\\x1b[2J: [##########          ] 2 of 4",
        "embed\\x1b[2J: [####################] 4 of 4",
    ]
    assert states[-2].strip() == states[-1] == ""
    bar.say("left out: a.jpg")
    assert output.getvalue().endswith("\rleft out: a.jpg\n")


def test_functions_take_progress_as_a_truth_value(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    from PIL import Image

    import fieldmark

    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "a" / f"{number}.png")
    fieldmark.inspect(tmp_path, n_workers=1)
    assert capsys.readouterr().err == ""
    fieldmark.inspect(tmp_path, n_workers=1, progress=True)
    assert " of 2" in capsys.readouterr().err
    fieldmark.inspect(tmp_path, n_workers=1, progress=False)
    assert capsys.readouterr().err == ""


def test_every_function_shows_progress_by_default() -> None:
    import inspect

    import fieldmark

    functions = [getattr(fieldmark, name) for name in fieldmark.__all__ if not name.startswith("_")]
    with_progress = [
        parameter
        for one in functions
        if inspect.isfunction(one) or one is fieldmark.Predictor
        for name, parameter in inspect.signature(one).parameters.items()
        if name == "progress"
    ]
    assert len(with_progress) > 15
    assert all(parameter.default is None for parameter in with_progress)
