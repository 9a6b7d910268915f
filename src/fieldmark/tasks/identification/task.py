"""Identification as a task: ranked individuals, with a threshold for unknown ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.tasks.base import Form, Task, TaskName
from fieldmark.tasks.identification import tables
from fieldmark.tasks.identification.evaluation import evaluation_photos
from fieldmark.tasks.identification.measures import measure
from fieldmark.tasks.identification.results import Identification, identifications


class Identifying(Task):
    """Which individual is on a photo, or an unknown one."""

    name: ClassVar[TaskName] = "identification"
    command: ClassVar[str] = "identify"
    predictions: ClassVar[type[Predictions]] = Ranking

    def check(self, plan: Plan, known: Collection) -> None:
        """Refuse photos without named individuals."""
        if known.extra.all():
            raise PlanError(
                "Every photo is for training alone: none is left to validate by, or to compare with.",
                got=f"{known.name}: yes in all {len(known)} rows of the column 'extra'",
                fix="add photos of your own, or empty the column.",
            )
        if known.vocabulary.identities:
            return
        if (known.classes == UNKNOWN).any():
            raise PlanError(
                f"The plan '{plan.name}' identifies individuals, but these photos all show unknown ones.",
                got=f"{known.name}: {len(known):,} photos, none of them labelled but '{known.vocabulary.unknown}'",
                fix="label the individuals you know, or name the label of unknown ones: --unknown WORD.",
            )
        raise PlanError(
            f"The plan '{plan.name}' identifies individuals, but these photos name none.",
            got=f"{known.name}: columns {', '.join(known.table.columns)}",
            fix="say which column holds the individual's name: --column identity=NAME.",
        )

    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse a number of labels."""
        del k
        if most is not None:
            raise FieldmarkError("This run identifies; it gives no labels.", got=f"most={most}", fix="use --k 5.")

    def results(
        self, application: Application, *, k: int | None = None, most: int | None = None
    ) -> list[Identification]:
        """Ranked individuals for each photo."""
        del most
        return identifications(application, k=k)

    def as_json(self, result: Identification) -> dict[str, Any]:
        """An answer as JSON values."""
        return tables.as_json(result)

    def table(self, results: Sequence[Identification], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """The table for people: ``identification/tables.py`` names its columns."""
        return tables.COLUMNS, tables.rows_of(results, context.known.root)

    def write(self, path: Path, results: Sequence[Identification], *, form: Form, context: Context) -> None:
        """Write answers as CSV."""
        tables.write(path, results, form=form, root=context.known.root)

    def validated(self, context: Context) -> tuple[Measure, ...]:
        """How good the ranking is on validation photos, and what to expect of the decision with others."""
        from fieldmark.tasks.identification.validation import ValidatedPhotos

        return ValidatedPhotos(context).measures()

    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """How good the ranking and its decision are on other photos."""
        photos, truth = evaluation_photos(photos, context.known, progress=progress)
        final = context.plan.answering()
        ranked: RankedPhotos = Application(context.up_to(final.name), photos).value(final.name)
        at = context.artifact(Ranking, final.name).decision.at(photos)
        return measure(ranked.scores, truth, unknown_at=at, k=ranked.k, groups=photos.groups)

    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """The measures of a finished run, and its page as HTML."""
        from fieldmark.tasks.identification.report import identity_report

        return identity_report(context)
