"""metrics.json and report.html of a run: what the stages left, made readable."""

from __future__ import annotations

from fieldmark.core.files import write_json
from fieldmark.report.pages import write_page
from fieldmark.stages.cut import Cut
from fieldmark.stages.engine import METRICS, Opened
from fieldmark.stages.identity_reporting import identity_report
from fieldmark.stages.label_reporting import label_report
from fieldmark.stages.measure import Measure
from fieldmark.stages.page_ends import SKIPPED

__all__ = ["REPORT", "SKIPPED", "report"]

REPORT = "report.html"


def report(opened: Opened) -> tuple[Measure, ...]:
    """Write ``metrics.json`` and ``report.html`` into a finished run; give the measures.

    Raises:
        RunError: The run is not finished.
    """
    tells_labels = any(isinstance(stage, Cut) for stage in opened.plan.stages)
    measures, page = label_report(opened) if tells_labels else identity_report(opened)
    folder = opened.run.path
    write_json(folder / METRICS, [one.model_dump(mode="json") for one in measures])
    write_page(folder / REPORT, page)
    return measures
