"""Runs at a glance, without reading their photos or loading what they are made of."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from fieldmark.api.recipe_plans import PLAN
from fieldmark.core.errors import RunError


@dataclass(frozen=True)
class RunSummary:
    """One run folder at a glance; ``headline`` is the name and value of its first measure, once it has a report."""

    folder: Path
    recipe: str
    n_finished: int
    n_stages: int
    headline: tuple[str, float] | None
    began: dt.datetime | None


def list_runs(folder: Path) -> tuple[RunSummary, ...]:
    """The runs in a folder and below it, the latest first; hidden folders are passed over.

    Raises:
        RunError: There is no such folder.
    """
    from fieldmark.core.run import KEY

    if not folder.is_dir():
        raise RunError(
            "There is no folder of that name.", got=folder, fix="give a folder that has runs in it or below it."
        )
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if KEY in files:
            folders.clear()
            found.append(_summary(Path(root)))
    epoch = dt.datetime.fromtimestamp(0, tz=dt.UTC)
    return tuple(sorted(found, key=lambda one: one.began or epoch, reverse=True))


def _summary(folder: Path) -> RunSummary:
    """What can be told of a run without reading its photos; a damaged file of it counts as absent."""
    from fieldmark.core.files import read_json
    from fieldmark.core.run import RunFolder
    from fieldmark.pipeline.engine import MANIFEST, METRICS

    def told(name: str) -> object:
        try:
            return read_json(folder / name)
        except RunError:
            return None

    written, measures, manifest = told(PLAN), told(METRICS), told(MANIFEST)
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
