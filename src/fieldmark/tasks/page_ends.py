"""What the page of any run ends with: its plan, what its stages said, what it was made with, files left out."""

from __future__ import annotations

from typing import Any

from fieldmark.core.files import read_json
from fieldmark.reporting.contents import ScoreRow, SkippedFile, StageRow
from fieldmark.stages.engine import MANIFEST, Opened
from fieldmark.tasks.identification.measures import Measure

SKIPPED = "skipped.json"


def page_end(opened: Opened) -> dict[str, Any]:
    """The attributes ``skipped``, ``stages``, ``plan_json`` and ``manifest`` of a page.

    Raises:
        RunError: A stage is not finished.
    """
    run, folder = opened.run, opened.run.path
    skipped = read_json(folder / SKIPPED) if (folder / SKIPPED).exists() else []
    return {
        "skipped": tuple(SkippedFile(**one) for one in skipped),
        "stages": tuple(
            StageRow(stage.name, stage.verb, stage.reads(), receipt["said"], receipt["took_s"])
            for stage in opened.plan.stages
            for receipt in (run.receipt(stage.name),)
        ),
        "plan_json": opened.plan.model_dump_json(indent=2),
        "manifest": read_json(folder / MANIFEST),
    }


def score_rows(measures: tuple[Measure, ...]) -> tuple[ScoreRow, ...]:
    """Measures as a page shows them."""
    return tuple(ScoreRow(one.name, one.value, one.low, one.high, one.meaning, one.over) for one in measures)
