"""Writing of ``metrics.json`` and ``report.html`` of a finished run."""

from __future__ import annotations

from fieldmark.core.files import write_json
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import METRICS
from fieldmark.reporting.pages import write_page
from fieldmark.tasks.page_ends import SKIPPED
from fieldmark.tasks.task import task_of

__all__ = ["REPORT", "SKIPPED", "write_report"]

REPORT = "report.html"


def write_report(context: Context) -> tuple[Measure, ...]:
    """Write ``metrics.json`` and ``report.html`` into the folder of a finished run, and return the measures.

    Raises:
        RunError: The run is not finished.
    """
    measures, page = task_of(context.plan).report(context)
    folder = context.run.path
    write_json(folder / METRICS, [one.model_dump(mode="json") for one in measures])
    write_page(folder / REPORT, page)
    return measures
