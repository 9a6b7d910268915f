"""Checks before a command starts: installed packages, output files, counts, the task of a run."""

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
    """Check that torch is installed, before photos are read.

    Raises:
        FieldmarkError: torch, torchvision or timm is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FieldmarkError("Networks need packages that are not installed.", got=", ".join(missing), fix=INSTALL)


def writable_path(path: Path | str | None, *, force: bool) -> Path | None:
    """Return a path after checking that a file can be written there without loss.

    Raises:
        RunError: The file exists and ``force`` is False, or the path is not writable.
    """
    if path is None:
        return None
    place = Path(path)
    if place.is_dir():
        raise RunError("The output path is a folder.", got=place, fix=f"give a file: {place / 'answers.csv'}")
    if place.exists() and not force:
        raise RunError(
            "The output file already exists.", got=place, fix="give another name, or add --force to overwrite it."
        )
    parent = next((one for one in place.absolute().parents if one.exists()), Path("/"))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError("The output file cannot be written.", got=place, fix="choose a folder with write permission.")
    return place


def check_counts(k: int | None = None, most: int | None = None) -> None:
    """Check numbers of results before photos are read.

    Args:
        k: Number of candidates per photo.
        most: Number of labels or issues.

    Raises:
        FieldmarkError: A number is below 1.
    """
    if k is not None and k < 1:
        raise FieldmarkError("--k must be at least 1.", got=f"k={k}", fix="use --k 5.")
    if most is not None and most < 1:
        raise FieldmarkError("--most must be at least 1.", got=f"most={most}", fix="use --most 15.")


def open_run(run: Path | str, task: TaskName, *, instead: str | None = None) -> Context:
    """Return the run in a folder after checking its task. Torch is not needed.

    Args:
        run: Folder of the run.
        task: Task that the run must have.
        instead: Text of ``fix`` for a run with another task; None: the command that predicts with that run.

    Raises:
        RunError: The folder holds no run, or a run for another task.
    """
    from fieldmark.pipeline.context import Context

    context = Context.open(run)
    check_task(context, task, instead=instead)
    return context


def check_task(context: Context, task: TaskName, *, instead: str | None = None) -> None:
    """Check the task of an opened run; see ``open_run``.

    Raises:
        RunError: The run is for another task.
    """
    from fieldmark.tasks.task import task_of

    own, run = task_of(context.plan), context.run.path
    if own.name != task:
        fix = instead or f"use `fieldmark {own.command} {run} PHOTO` for this run."
        raise RunError(f"The run is for {own.name}, not for {task}.", got=run, fix=fix)
