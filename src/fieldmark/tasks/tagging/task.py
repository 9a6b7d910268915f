"""The tagging task: many labels per photo, predicted by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from fieldmark.core.errors import PlanError
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.artifacts.predictions import LabelAnswers, LabelledPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.stages.labels.threshold import label_groups
from fieldmark.tasks.base import Form, Task, TaskName, refuse_extra, refuse_k
from fieldmark.tasks.tagging import tables
from fieldmark.tasks.tagging.evaluation import evaluation_photos
from fieldmark.tasks.tagging.measures import measure_labels
from fieldmark.tasks.tagging.results import Tagged, tagged


class Tagging(Task):
    """The tagging task: predict the labels of a photo."""

    name: ClassVar[TaskName] = "tagging"
    command: ClassVar[str] = "tag"
    predictions: ClassVar[type[Predictions]] = LabelAnswers

    def check(self, plan: Plan, known: Collection) -> None:
        """Check that the photos have labels."""
        if not known.vocabulary.tags:
            raise PlanError(
                f"The plan '{plan.name}' predicts labels, but the table has no labels.",
                got=f"{known.name}: columns {', '.join(known.table.columns)}",
                fix="name the column with the labels: --column labels=NAME.",
            )
        refuse_extra(known)

    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse ``k``, a number of candidates."""
        del most
        refuse_k(
            k,
            problem="The option k is for identification: this run predicts labels.",
            fix="use --most 15.",
        )

    def results(self, application: Application, *, k: int | None = None, most: int | None = None) -> list[Tagged]:
        """Return the labels of each photo."""
        del k
        return tagged(application, most=most)

    def as_json(self, result: Tagged) -> dict[str, Any]:
        """Return the labels of a photo as JSON values."""
        return tables.as_json(result)

    def table(self, results: Sequence[Tagged], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Return the table for people, with the columns ``tables.COLUMNS``."""
        del context
        return tables.COLUMNS, tables.rows_of(results)

    def write(self, path: Path, results: Sequence[Tagged], *, form: Form, context: Context) -> None:
        """Write the labels of photos as CSV."""
        tables.write(path, results, form=form, vocabulary=context.known.vocabulary)

    def validated(self, context: Context) -> tuple[Measure, ...]:
        """Return the measures of the out-of-fold labels of the known photos."""
        from fieldmark.tasks.tagging.validation import OutOfFoldLabels

        return OutOfFoldLabels(context).measures()

    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """Return the measures of the labels of other photos."""
        photos, truth = evaluation_photos(photos, context.known, progress=progress)
        value: LabelledPhotos = Application(context, photos).value(context.plan.answering().name)
        groups = label_groups(context.known.vocabulary)
        return measure_labels(value.given, truth, groups=groups, photo_groups=photos.groups)

    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """Return the measures of a finished run, and its page as HTML."""
        from fieldmark.tasks.tagging.report import label_report

        return label_report(context)
