"""Other processes wait for the first one as long as it writes heartbeats."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from fieldmark.core.errors import RunError
from fieldmark.pipeline import heartbeat
from fieldmark.pipeline.heartbeat import BEAT, FIRST_S, beating, wait_until


class Clock:
    """A clock that only advances by sleeping, and calls a function at each step."""

    def __init__(self, start: float) -> None:
        self.now, self.slept = start, 0.0
        self.meanwhile = lambda: None

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(1_000_000.0)
    monkeypatch.setattr(heartbeat, "time", made)
    return made


def beat_at(folder: Path, when: float) -> None:
    (folder / BEAT).touch()
    os.utime(folder / BEAT, (when, when))


def test_a_running_block_writes_heartbeats_and_an_ended_one_does_not(tmp_path: Path) -> None:
    before = threading.active_count()
    with beating(tmp_path, every_s=0.01):
        (tmp_path / BEAT).unlink()
        wait_until((tmp_path / BEAT).exists, tmp_path, what="a beat")
    (tmp_path / BEAT).unlink()
    time.sleep(0.05)
    assert not (tmp_path / BEAT).exists()
    assert threading.active_count() == before


def test_heartbeats_stop_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), beating(tmp_path, every_s=0.01):
        raise KeyboardInterrupt
    (tmp_path / BEAT).unlink()
    time.sleep(0.05)
    assert not (tmp_path / BEAT).exists()


def test_a_process_with_heartbeats_is_waited_for_without_limit(tmp_path: Path, clock: Clock) -> None:
    ends = clock.now + 24 * 3600
    clock.meanwhile = lambda: beat_at(tmp_path, clock.now)
    wait_until(lambda: clock.now >= ends, tmp_path, what="scores", check_every_s=60.0)
    assert clock.slept == 24 * 3600


def test_a_process_without_heartbeats_is_given_up_with_an_error(tmp_path: Path, clock: Clock) -> None:
    beat_at(tmp_path, clock.now)
    with pytest.raises(RunError, match="stopped") as caught:
        wait_until(lambda: False, tmp_path, what="split, net", silent_s=120.0, check_every_s=1.0)
    assert clock.slept == pytest.approx(121, abs=1)
    assert caught.value.got == "waiting for split, net; no heartbeat for 121 s"
    assert "run the same command again" in caught.value.fix


@pytest.mark.parametrize("old_beat", [False, True], ids=["none", "of an earlier run"])
def test_the_first_heartbeat_may_take_longer(tmp_path: Path, clock: Clock, *, old_beat: bool) -> None:
    """The first process reads the sizes of all photos before its first heartbeat."""
    if old_beat:
        beat_at(tmp_path, clock.now - 3600)
    with pytest.raises(RunError):
        wait_until(lambda: False, tmp_path, what="split", silent_s=120.0, check_every_s=10.0)
    assert clock.slept == pytest.approx(FIRST_S, abs=10)


def test_finished_work_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    wait_until(lambda: True, tmp_path, what="split")
    assert clock.slept == 0
