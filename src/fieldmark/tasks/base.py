"""What a run is for, as one protocol: identification, tagging and attributes are its three values."""

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
    """What is the ground truth, which metrics count, and how answers, reports and tables look."""

    name: ClassVar[TaskName]
    command: ClassVar[str]
    """The command that asks a run about a photo."""
    predictions: ClassVar[type[Predictions]]
    """What the last stage of its plans leaves."""
    needs_files: ClassVar[bool] = True
    """Whether a photo without a file cannot be answered."""

    def prepared(self, known: Collection) -> Collection:
        """The known photos as the stages of its plans read them."""
        return known

    @abstractmethod
    def check(self, plan: Plan, known: Collection) -> None:
        """Refuse photos without the ground truth that the plan learns from.

        Raises:
            PlanError: They lack it.
        """

    @abstractmethod
    def refuse_options(self, *, k: int | None, most: int | None) -> None:
        """Refuse options of other tasks.

        Raises:
            FieldmarkError: ``k`` or ``most`` has no meaning for it.
        """

    @abstractmethod
    def results(self, application: Application, *, k: int | None = None, most: int | None = None) -> list[Any]:
        """The answers to the photos, in their order."""

    @abstractmethod
    def as_json(self, result: Any) -> dict[str, Any]:
        """An answer as JSON values."""

    @abstractmethod
    def table(self, results: Sequence[Any], context: Context) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Answers as a table: its columns, and a row a photo and candidate, label or question."""

    @abstractmethod
    def write(self, path: Path, results: Sequence[Any], *, form: Form, context: Context) -> None:
        """Write answers as CSV: a table for people, or the contest's form."""

    @abstractmethod
    def validated(self, context: Context) -> tuple[Measure, ...]:
        """How good a run is on its own photos, each by models that have not seen it."""

    @abstractmethod
    def evaluated(self, context: Context, photos: Collection, progress: Progress) -> tuple[Measure, ...]:
        """How good a run is on other photos with ground truth; those it was trained on are left out."""

    @abstractmethod
    def report(self, context: Context) -> tuple[tuple[Measure, ...], str]:
        """The measures of a finished run, and its page as HTML."""


def refuse_extra(known: Collection) -> None:
    """Refuse photos that are for training alone, where every photo must validate.

    Raises:
        PlanError: There are some.
    """
    if known.extra.any():
        raise PlanError(
            "The column 'extra' is supported for identification only: of labels every photo must validate.",
            got=f"{known.name}: {int(known.extra.sum())} photos with yes in the column 'extra'",
            fix="leave those photos out, or empty the column.",
        )


def refuse_k(k: int | None, *, problem: str, fix: str) -> None:
    """Refuse a number of candidates where answers have none.

    Raises:
        FieldmarkError: It is given.
    """
    if k is not None:
        raise FieldmarkError(problem, got=f"k={k}", fix=fix)
