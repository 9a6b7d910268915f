"""Summaries of runs, without their photos and networks."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from fieldmark.api.recipe_plans import PLAN
from fieldmark.core.errors import RunError


@dataclass(frozen=True)
class RunSummary:
    """The summary of one run.

    Attributes:
        folder: Folder of the run.
        recipe: Name of the recipe or plan; ``?`` if the plan cannot be read.
        n_finished: Number of finished stages.
        n_stages: Number of stages.
        headline: Name and value of the first measure; None before the first report.
        began: Start time; None if it was not recorded.
    """

    folder: Path
    recipe: str
    n_finished: int
    n_stages: int
    headline: tuple[str, float] | None
    began: dt.datetime | None


def list_runs(folder: Path) -> tuple[RunSummary, ...]:
    """Return the runs in a folder and its subfolders, the latest first. Hidden folders are skipped.

    Raises:
        RunError: The folder does not exist.
    """
    from fieldmark.core.run import KEY

    if not folder.is_dir():
        raise RunError("The folder does not exist.", got=folder, fix="give a folder that contains runs.")
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if KEY in files:
            folders.clear()
            found.append(_summary(Path(root)))
    epoch = dt.datetime.fromtimestamp(0, tz=dt.UTC)
    return tuple(sorted(found, key=lambda one: one.began or epoch, reverse=True))


def _summary(folder: Path) -> RunSummary:
    """Return the summary of a run; a damaged file counts as missing."""
    from fieldmark.core.files import read_json
    from fieldmark.core.run import RunFolder
    from fieldmark.pipeline.engine import MANIFEST, METRICS

    def read(name: str) -> object:
        try:
            return read_json(folder / name)
        except RunError:
            return None

    written, measures, manifest = read(PLAN), read(METRICS), read(MANIFEST)
    stages = written.get("stages", []) if isinstance(written, dict) else []
    finished = set(RunFolder(folder).stages())
    first = measures[0] if isinstance(measures, list) and measures else None
    began = manifest.get("began") if isinstance(manifest, dict) else None
    return RunSummary(
        folder=folder,
        recipe=str(written.get("name", "?")) if isinstance(written, dict) else "?",
        n_finished=len(finished),
        n_stages=len(stages),
        headline=(str(first["name"]), float(first["value"])) if isinstance(first, dict) else None,
        began=dt.datetime.fromisoformat(began) if isinstance(began, str) else None,
    )
