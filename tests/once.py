"""Folders that are expensive to make, made once for all processes of a test run."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Once:
    """``once(name, make)`` is the folder of that name; the first process that asks makes it by ``make(folder)``.

    Processes that ask meanwhile wait. ``folder`` does not exist when it is to be made; no test may change it later.
    """

    base: Path

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        place = self.base / name
        folder, made = place / name, place / ".made"
        place.mkdir(exist_ok=True, parents=True)
        with (place / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                make(folder)
                made.touch()
        return folder
