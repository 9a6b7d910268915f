"""Folders that are expensive to create; each is created once for all processes of a test run."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Once:
    """``once(name, make)`` returns the folder of that name. The first process creates it with ``make(folder)``.

    Other processes wait meanwhile. ``folder`` does not exist when ``make`` is called. Tests must not change it later.

    Attributes:
        base: Parent folder of all these folders.
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
