"""What is asked before a verb begins: is everything installed, would a file be lost, can this run answer that."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.core.errors import FieldmarkError, RunError

if TYPE_CHECKING:
    from fieldmark.stages.engine import Opened
    from fieldmark.stages.plan import Told

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
        RunError: It exists, and that is not allowed; or nothing can be written there.
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
    above = next((one for one in place.absolute().parents if one.exists()), Path("/"))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError("A file cannot be written there.", got=place, fix="choose a folder that you may write to.")
    return place


def sensible(k: int | None = None, most: int | None = None) -> None:
    """Tell an impossible number before photos are looked at.

    Args:
        k: Places an answer.
        most: How many labels to tell.

    Raises:
        FieldmarkError: One is below 1.
    """
    if k is not None and k < 1:
        raise FieldmarkError("An answer has at least one place.", got=f"k={k}", fix="use --k 5.")
    if most is not None and most < 1:
        raise FieldmarkError("At least one is told.", got=f"most={most}", fix="use --most 15.")


ASK = {"labels": "tag", "answers": "attributes", "individuals": "identify"}
"""The command that asks a run about a photo."""


def run_of(run: Path | str, what: Told, *, instead: str | None = None) -> Opened:
    """The run that lies there, which must tell ``what``; torch is not asked for yet.

    Args:
        run: Its folder.
        what: What it must tell.
        instead: What to type where it tells something else; None: the command that asks it about a photo.

    Raises:
        RunError: No run lies there, or it tells something else.
    """
    from fieldmark.stages.engine import open_run

    opened = open_run(Path(run))
    must_tell(opened, what, instead=instead)
    return opened


def must_tell(opened: Opened, what: Told, *, instead: str | None = None) -> None:
    """Refuse an opened run that does not tell ``what``; see ``run_of``.

    Raises:
        RunError: It tells something else.
    """
    tells, run = opened.plan.tells, opened.run.path
    if tells != what:
        fix = instead or f"`fieldmark {ASK[tells]} {run} PHOTO` asks it about a photo."
        raise RunError(f"That run tells {tells}, not {what}.", got=run, fix=fix)
