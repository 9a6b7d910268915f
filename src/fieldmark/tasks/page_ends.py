"""Last sections of the report page of every run: plan, stages, manifest and unreadable files."""

from __future__ import annotations

from typing import Any

from fieldmark.core.files import read_json
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import MANIFEST
from fieldmark.reporting.contents import ScoreRow, SkippedFile, StageRow

SKIPPED = "skipped.json"


def page_end(context: Context) -> dict[str, Any]:
    """Return the attributes ``skipped``, ``stages``, ``plan_json`` and ``manifest`` of a page.

    Raises:
        RunError: A stage is not finished.
    """
    run, folder = context.run, context.run.path
    skipped = read_json(folder / SKIPPED) if (folder / SKIPPED).exists() else []
    return {
        "skipped": tuple(SkippedFile(**one) for one in skipped),
        "stages": tuple(
            StageRow(stage.name, stage.kind, stage.reads(), receipt["said"], receipt["took_s"])
            for stage in context.plan.stages
            for receipt in (run.receipt(stage.name),)
        ),
        "plan_json": context.plan.with_needs().model_dump_json(indent=2),
        "manifest": read_json(folder / MANIFEST),
    }


def score_rows(measures: tuple[Measure, ...]) -> tuple[ScoreRow, ...]:
    """Return measures as the rows of a page."""
    return tuple(ScoreRow(one.name, one.value, one.low, one.high, one.meaning, one.over) for one in measures)
