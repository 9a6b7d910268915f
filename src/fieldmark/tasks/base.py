"""The base class of the three tasks: identification, tagging and attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan

TaskName = Literal["identification", "tagging", "attributes"]
Form = Literal["submission", "people"]


class Task(ABC):
    """A task: its ground truth, its metrics, and the form of its answers, reports and tables."""

    name: ClassVar[TaskName]
    command: ClassVar[str]
    """Name of the command that predicts one photo with a run."""
    predictions: ClassVar[type[Predictions]]
    """Type of the predictions that the last stage of its plans writes."""
    needs_files: ClassVar[bool] = True
    """Whether a prediction needs the image file of the photo."""

    def prepared(self, known: Collection) -> Collection:
        """Return the known photos in the form that the stages of its plans read."""
        return known

    @abstractmethod
    def check(self, plan: Plan, known: Collection) -> None:
        """Check that the photos have the ground truth that the plan is trained on.

        Raises:
            PlanError: The ground truth is missing.
        """

    @abstractmethod
    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse options that belong to other tasks.

        Raises:
            FieldmarkError: ``k`` or ``most`` is given, and this task does not use it.
        """

    @abstractmethod
    def results(self, application: Application, *, k: int | None = None, most: int | None = None) -> list[Any]:
        """Return the answers, one per photo, in the order of the photos."""

    @abstractmethod
    def as_json(self, result: Any) -> dict[str, Any]:
        """Return an answer as JSON values."""

    @abstractmethod
    def table(self, results: Sequence[Any], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Return answers as a table: the columns, and one row per photo and candidate, label or question."""

    @abstractmethod
    def write(self, path: Path, results: Sequence[Any], *, form: Form, context: Context) -> None:
        """Write answers as CSV: a table for people, or the submission format of the contest."""

    @abstractmethod
    def validated(self, context: Context) -> tuple[Measure, ...]:
        """Return the measures of a run on its own photos. No photo is scored by a model that was trained on it."""

    @abstractmethod
    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """Return the measures of a run on other photos with ground truth, without photos it was trained on."""

    @abstractmethod
    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """Return the measures of a finished run, and its report page as HTML."""


def refuse_extra(known: Collection) -> None:
    """Refuse photos that are for training only. Use it for tasks that validate on every photo.

    Raises:
        PlanError: The column ``extra`` marks at least one photo.
    """
    if known.extra.any():
        raise PlanError(
            "The column 'extra' (photos for training only) is supported for identification only.",
            got=f"{known.name}: {int(known.extra.sum())} photos with yes in the column 'extra'",
            fix="remove those photos from the table, or leave the column 'extra' empty.",
        )


def refuse_k(k: int | None, *, problem: str, fix: str) -> None:
    """Refuse a number of candidates. Use it for tasks whose answers are not ranked.

    Raises:
        FieldmarkError: ``k`` is given.
    """
    if k is not None:
        raise FieldmarkError(problem, got=f"k={k}", fix=fix)
