"""The identification task: ranked individuals, with a threshold for unknown ones."""

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
    """The identification task: predict which known individual a photo shows, or that it is unknown."""

    name: ClassVar[TaskName] = "identification"
    command: ClassVar[str] = "identify"
    predictions: ClassVar[type[Predictions]] = Ranking

    def check(self, plan: Plan, known: Collection) -> None:
        """Check that the photos name individuals."""
        if known.extra.all():
            raise PlanError(
                "The column 'extra' marks every photo as training only, so none is left for validation.",
                got=f"{known.name}: yes in all {len(known)} rows of the column 'extra'",
                fix="add photos of your own, or leave the column 'extra' empty.",
            )
        if known.vocabulary.identities:
            return
        if (known.classes == UNKNOWN).any():
            raise PlanError(
                f"The plan '{plan.name}' identifies individuals, but all photos show unknown individuals.",
                got=f"{known.name}: {len(known):,} photos, all labelled '{known.vocabulary.unknown}'",
                fix="label the individuals you know, or set the label of unknown individuals: --unknown LABEL.",
            )
        raise PlanError(
            f"The plan '{plan.name}' identifies individuals, but the table names none.",
            got=f"{known.name}: columns {', '.join(known.table.columns)}",
            fix="name the column with the individuals' names: --column identity=NAME.",
        )

    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse ``most``, a number of labels."""
        del k
        if most is not None:
            raise FieldmarkError(
                "The option most is for labels and questions: this run identifies individuals.",
                got=f"most={most}",
                fix="use --k 5.",
            )

    def results(
        self, application: Application, *, k: int | None = None, most: int | None = None
    ) -> list[Identification]:
        """Return the ranked candidates for each photo."""
        del most
        return identifications(application, k=k)

    def as_json(self, result: Identification) -> dict[str, Any]:
        """Return an answer as JSON values."""
        return tables.as_json(result)

    def table(self, results: Sequence[Identification], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Return the table for people, with the columns ``tables.COLUMNS``."""
        return tables.COLUMNS, tables.rows_of(results, context.known.root)

    def write(self, path: Path, results: Sequence[Identification], *, form: Form, context: Context) -> None:
        """Write answers as CSV."""
        tables.write(path, results, form=form, root=context.known.root)

    def validated(self, context: Context) -> tuple[Measure, ...]:
        """Return the measures of the ranking on validation photos, and cross-fitted measures of its threshold."""
        from fieldmark.tasks.identification.validation import ValidatedPhotos

        return ValidatedPhotos(context).measures()

    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """Return the measures of the ranking and its threshold on other photos."""
        photos, truth = evaluation_photos(photos, context.known, progress=progress)
        final = context.plan.answering()
        ranked: RankedPhotos = Application(context.up_to(final.name), photos).value(final.name)
        at = context.artifact(Ranking, final.name).decision.at(photos)
        return measure(ranked.scores, truth, unknown_at=at, k=ranked.k, groups=photos.groups)

    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """Return the measures of a finished run, and its page as HTML."""
        from fieldmark.tasks.identification.report import identity_report

        return identity_report(context)
