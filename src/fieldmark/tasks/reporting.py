"""metrics.json and report.html of a run: what the stages left, made readable."""

from __future__ import annotations

from fieldmark.core.files import write_json
from fieldmark.reporting.pages import write_page
from fieldmark.stages.engine import METRICS, Opened
from fieldmark.tasks.attributes.report import answer_report
from fieldmark.tasks.identification.measures import Measure
from fieldmark.tasks.identification.report import identity_report
from fieldmark.tasks.page_ends import SKIPPED
from fieldmark.tasks.tagging.report import label_report

__all__ = ["REPORT", "SKIPPED", "report"]

REPORT = "report.html"


def report(opened: Opened) -> tuple[Measure, ...]:
    """Write ``metrics.json`` and ``report.html`` into a finished run; give the measures.

    Raises:
        RunError: The run is not finished.
    """
    pages = {"labels": label_report, "answers": answer_report, "individuals": identity_report}
    measures, page = pages[opened.plan.tells](opened)
    folder = opened.run.path
    write_json(folder / METRICS, [one.model_dump(mode="json") for one in measures])
    write_page(folder / REPORT, page)
    return measures
