"""What is asked before a verb begins: is everything installed, would a file be lost, who speaks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, RunError

NEEDED = ("torch", "torchvision", "timm")
INSTALL = 'pip install "fieldmark[train]"'


def leads() -> bool:
    """Whether this process is the only one or the first of several that train together."""
    return os.environ.get("RANK", "0") == "0"


def need_torch() -> None:
    """Tell at once what is missing, before photos are read.

    Raises:
        FieldmarkError: torch, torchvision or timm is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FieldmarkError("Networks need packages that are not installed.", got=", ".join(missing), fix=INSTALL)


def vacant(path: Path | str | None, *, force: bool) -> Path | None:
    """The path, if nothing would be lost by writing there.

    Raises:
        RunError: It exists, and that is not allowed.
    """
    if path is None:
        return None
    place = Path(path)
    if place.is_dir():
        raise RunError(
            "A file cannot be written where a folder is.", got=place, fix=f"name a file: {place / 'answers.csv'}"
        )
    if place.exists() and not force:
        raise RunError("That file exists already.", got=place, fix="give another name, or --force to write over it.")
    return place


def sensible(k: int | None) -> None:
    """Tell an impossible number of places before photos are looked at.

    Raises:
        FieldmarkError: ``k`` is below 1.
    """
    if k is not None and k < 1:
        raise FieldmarkError("An answer has at least one place.", got=f"k={k}", fix="use --k 5.")
