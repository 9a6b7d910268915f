"""Answer columns grouped by question, and sums within each question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int64

from fieldmark.core.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Questions:
    """The answer columns of all questions, one question after the other.

    Attributes:
        question_of: The question number of each answer column: 0, 0, 0, 1, 1, 2 ...
        first: The first column of each question.
        n_answers: The number of columns of each question.
    """

    question_of: Int64[np.ndarray, " answer"]
    first: Int64[np.ndarray, " question"]
    n_answers: Int64[np.ndarray, " question"]

    @classmethod
    def of(cls, question_of: Int[np.ndarray, " answer"]) -> Questions:
        """Build the questions from the question number of each column.

        Raises:
            ShapeError: There is no column, or the question numbers are not 0, 1, 2 ... in this order without a gap.
        """
        given = np.asarray(question_of)
        whole = given.ndim == 1 and len(given) > 0 and np.issubdtype(given.dtype, np.integer)
        if not whole or given[0] != 0 or not np.isin(np.diff(given), (0, 1)).all():
            raise ShapeError(
                "question_of must list the columns question by question.",
                got=f"question_of {given.tolist() if given.size < 20 else given.shape}",
                fix="number the questions 0, 1, 2 ... in the order of their columns, as in [0, 0, 0, 1, 1].",
            )
        first = np.flatnonzero(np.diff(given, prepend=-1))
        return cls(given.astype(np.int64), first, np.diff(first, append=len(given)))

    def __len__(self) -> int:
        return len(self.first)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each question."""
        return tuple(slice(start, start + n) for start, n in zip(self.first, self.n_answers, strict=True))

    def total(self, values: Float[np.ndarray, "*image answer"]) -> Float[np.ndarray, "*image question"]:
        """Return the sum over the answers of each question."""
        return np.add.reduceat(values, self.first, axis=-1)

    def highest(self, values: Float[np.ndarray, "*image answer"]) -> Float[np.ndarray, "*image question"]:
        """Return the maximum over the answers of each question."""
        return np.maximum.reduceat(values, self.first, axis=-1)

    def widened(self, values: Float[np.ndarray, "*image question"]) -> Float[np.ndarray, "*image answer"]:
        """Repeat each question's value for each of its answers."""
        return np.take(values, self.question_of, axis=-1)

    def shared_out(self, values: Float[np.ndarray, "*image answer"]) -> Float[np.ndarray, "*image answer"]:
        """Normalise values of at least 0 to sum to 1 within each question; equal shares where all are 0."""
        total = self.widened(self.total(values))
        equal = np.broadcast_to(1 / self.widened(self.n_answers), values.shape)
        return np.divide(values, total, out=equal.astype(values.dtype), where=total > 0)

    def first_highest(self, values: Float[np.ndarray, "image answer"]) -> Int64[np.ndarray, "image question"]:
        """Return the column of the maximum of each question; the first one on a tie."""
        columns = [values[:, part].argmax(axis=1) + part.start for part in self.slices]
        return np.stack(columns, axis=1).astype(np.int64)

    def must_fit(self, name: str, values: np.ndarray) -> None:
        """Raise an error unless a matrix has one row per image and one column per answer.

        Raises:
            ShapeError: It has another shape.
        """
        if values.ndim != 2 or values.shape[1] != len(self.question_of):
            raise ShapeError(
                f"{name} must have one row per image and one column per answer.",
                got=f"{name} {values.shape}, question_of {self.question_of.shape}",
                fix=f"pass an (image, answer) matrix with {len(self.question_of)} columns.",
            )
