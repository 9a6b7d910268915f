"""The attributes task: one answer to each question of a hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from fieldmark.core.errors import PlanError
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.decisions.hierarchy import filled
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.artifacts.predictions import AnsweredPhotos, QuestionAnswers
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.tasks.attributes import tables
from fieldmark.tasks.attributes.evaluation import evaluation_photos
from fieldmark.tasks.attributes.results import Answered, answered
from fieldmark.tasks.attributes.validation import measure_answers
from fieldmark.tasks.base import Form, Task, TaskName, refuse_extra, refuse_k


class Attributes(Task):
    """The attributes task: predict the answer to each question about a photo."""

    name: ClassVar[TaskName] = "attributes"
    command: ClassVar[str] = "attributes"
    predictions: ClassVar[type[Predictions]] = QuestionAnswers
    needs_files: ClassVar[bool] = False

    def prepared(self, known: Collection) -> Collection:
        """Return the known photos with every answer as a label, so that stages for labels can be trained on them."""
        return known.answering()

    def check(self, plan: Plan, known: Collection) -> None:
        """Check that the photos have questions."""
        if not known.vocabulary.questions:
            raise PlanError(
                f"The plan '{plan.name}' answers questions, but the table has no questions.",
                got=f"{known.name}: columns {', '.join(known.table.columns)}",
                fix="name the columns that are questions: --question COLUMN, or write questions.toml beside the table.",
            )
        refuse_extra(known)

    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse ``k``, a number of candidates."""
        del most
        refuse_k(
            k,
            problem="The option k is for identification: a question has one answer.",
            fix="use --most 2 to list other answers.",
        )

    def results(self, application: Application, *, k: int | None = None, most: int | None = None) -> list[Answered]:
        """Return the answers about each photo."""
        del k
        return answered(application, most=most)

    def as_json(self, result: Answered) -> dict[str, Any]:
        """Return the answers about a photo as JSON values."""
        return tables.as_json(result)

    def table(self, results: Sequence[Answered], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Return the table for people, with the columns ``tables.COLUMNS``."""
        del context
        return tables.COLUMNS, tables.rows_of(results)

    def write(self, path: Path, results: Sequence[Answered], *, form: Form, context: Context) -> None:
        """Write the answers about photos as CSV."""
        tables.write(path, results, form=form, vocabulary=context.known.vocabulary)

    def validated(self, context: Context) -> tuple[Measure, ...]:
        """Return the measures of the out-of-fold answers about the known photos."""
        from fieldmark.tasks.attributes.validation import OutOfFoldAnswers

        return OutOfFoldAnswers(context).measures()

    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """Return the measures of the answers about other photos."""
        vocabulary = context.known.vocabulary
        photos, truth, has_answer = evaluation_photos(photos, context.known, progress=progress)
        value: AnsweredPhotos = Application(context, photos).value(context.plan.answering().name)
        answer = filled(value.decoded, value.proba, vocabulary.question_of)
        return measure_answers(answer, truth, has_answer, vocabulary, groups=photos.groups)

    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """Return the measures of a finished run, and its page as HTML."""
        from fieldmark.tasks.attributes.report import answer_report

        return answer_report(context)
