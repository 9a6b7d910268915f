"""What is asked before a kind begins: is everything installed, would a file be lost, can this run answer that."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.core.errors import FieldmarkError, RunError

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import TaskName

NEEDED = ("torch", "torchvision", "timm")
INSTALL = 'pip install "fieldmark[train]"'


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


def run_of(run: Path | str, task: TaskName, *, instead: str | None = None) -> Context:
    """The run that lies there, which must be for ``task``; torch is not asked for yet.

    Args:
        run: Its folder.
        task: What it must be for.
        instead: What to type where it is for something else; None: the command that asks it about a photo.

    Raises:
        RunError: No run lies there, or it is for something else.
    """
    from fieldmark.pipeline.context import Context

    context = Context.open(run)
    must_be_for(context, task, instead=instead)
    return context


def must_be_for(context: Context, task: TaskName, *, instead: str | None = None) -> None:
    """Refuse an opened run that is for another task; see ``run_of``.

    Raises:
        RunError: It is for something else.
    """
    from fieldmark.tasks.task import task_of

    own, run = task_of(context.plan), context.run.path
    if own.name != task:
        fix = instead or f"`fieldmark {own.command} {run} PHOTO` asks it about a photo."
        raise RunError(f"That run is for {own.name}, not for {task}.", got=run, fix=fix)
