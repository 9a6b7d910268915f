"""Predicted labels of photos, and predicted answers to questions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from fieldmark.core.files import write_json, write_text
from fieldmark.core.spec import read_spec
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.hierarchy import filled
from fieldmark.decisions.specs import LabelThresholds
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.reporting.submissions import SUBMISSION, label_submission, question_submission

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

ANSWERS = "answers.parquet"
THRESHOLDS = "thresholds.json"
SHIFT = "shift.json"


@dataclass(frozen=True)
class LabelledPhotos:
    """The predicted labels of photos.

    Attributes:
        proba: Probability of each label.
        given: Whether the label is predicted for the photo.
    """

    proba: Float32[np.ndarray, "photo label"]
    given: Bool[np.ndarray, "photo label"]


@dataclass(frozen=True)
class AnsweredPhotos:
    """The predicted answers to all questions for some photos.

    Attributes:
        proba: Probability of each answer.
        decoded: Column of the predicted answer to each question; -2 if the question does not apply.
    """

    proba: Float32[np.ndarray, "photo answer"]
    decoded: Int64[np.ndarray, "photo question"]


class AnswerTable(Predictions):
    """Predictions for known and new photos in one table, ``answers.parquet``. The subclass defines the rows."""

    reads_back = False

    def write_table(self, table: pl.DataFrame) -> None:
        """Write the rows of the known photos."""
        table.write_parquet(self.folder / ANSWERS)

    def append(self, table: pl.DataFrame) -> None:
        """Append the rows of the new photos."""
        pl.concat([pl.read_parquet(self.folder / ANSWERS), table]).write_parquet(self.folder / ANSWERS)

    def table(self, part: Literal["known", "new"]) -> pl.DataFrame:
        """Return the rows of the known or the new photos."""
        return pl.read_parquet(self.folder / ANSWERS).filter(pl.col("part") == part)


class LabelAnswers(AnswerTable):
    """Thresholds, and the predicted labels of known and new photos."""

    def write_thresholds(self, found: LabelThresholds) -> None:
        """Write the thresholds."""
        write_text(self.folder / THRESHOLDS, found.model_dump_json(indent=1) + "\n")

    @cached_property
    def thresholds(self) -> LabelThresholds:
        """The thresholds."""
        return read_spec(LabelThresholds, self.folder / THRESHOLDS)

    def write(self, images: list[str], value: LabelledPhotos, vocabulary: Vocabulary) -> None:
        """Write the predicted labels of the known photos."""
        self.write_table(_label_table("known", images, value.proba, value.given, list(vocabulary.tags)))

    def keep(self, value: LabelledPhotos, context: Context) -> str:
        """Write the predicted labels of the new photos."""
        images = [] if context.new is None else context.new.images
        self.append(_label_table("new", images, value.proba, value.given, list(context.known.vocabulary.tags)))
        return ""

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write ``submission.csv`` in the format of the iMet contest."""
        images = [] if context.new is None else context.new.images
        content = label_submission(self.table("new"), images=images, labels=context.known.vocabulary.tags)
        write_text(folder / SUBMISSION, content)
        return f"{len(images)} photos in {SUBMISSION}"


class QuestionAnswers(AnswerTable):
    """One predicted answer to each question for known and new photos."""

    def write(self, images: list[str], value: AnsweredPhotos, vocabulary: Vocabulary) -> None:
        """Write the predicted answers for the known photos."""
        self.write_table(question_table("known", images, value.proba, value.decoded, vocabulary))

    def write_shift(self, shift: list[tuple[str, float, float]]) -> None:
        """Write the share of each answer among the known photos, and its estimated share among the new photos."""
        write_json(self.folder / SHIFT, [list(row) for row in shift])

    def keep(self, value: AnsweredPhotos, context: Context) -> str:
        """Write the predicted answers for the new photos."""
        images = [] if context.new is None else context.new.images
        self.append(question_table("new", images, value.proba, value.decoded, context.known.vocabulary))
        return f"{len(images):,} new photos"

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write ``submission.csv`` in the format of the iMaterialist 2017 contest."""
        write_text(folder / SUBMISSION, question_submission(self.table("new"), vocabulary=context.known.vocabulary))
        return f"{context.n_new} photos in {SUBMISSION}"


def _label_table(part: str, images: list[str], proba: np.ndarray, answer: np.ndarray, names: list[str]) -> pl.DataFrame:
    """Return a table with one row per photo and predicted label, the likeliest label first."""
    rows, columns = np.nonzero(answer)
    values = proba[rows, columns]
    order = np.lexsort((-values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    return pl.DataFrame(
        {
            "part": pl.Series([part] * len(rows), dtype=pl.String),
            "image": pl.Series([images[row] for row in rows], dtype=pl.String),
            "label": pl.Series([names[column] for column in columns], dtype=pl.String),
            "proba": pl.Series(values, dtype=pl.Float32),
        }
    )


def question_table(
    part: str, images: list[str], proba: np.ndarray, decoded: np.ndarray, vocabulary: Vocabulary
) -> pl.DataFrame:
    """Return a table with one row per photo and question.

    A question that does not apply has its likeliest answer too, and False in the column ``applies``.
    """
    columns = filled(decoded, proba, vocabulary.question_of)
    n_photos, n_questions = columns.shape
    names = np.array(vocabulary.every_answer, dtype=object)
    questions = [one.name for one in vocabulary.questions]
    return pl.DataFrame(
        {
            "part": pl.Series([part] * (n_photos * n_questions), dtype=pl.String),
            "image": pl.Series(np.repeat(np.array(images, dtype=object), n_questions).tolist(), dtype=pl.String),
            "question": pl.Series(questions * n_photos, dtype=pl.String),
            "answer": pl.Series(names[columns].ravel().tolist(), dtype=pl.String),
            "proba": pl.Series(np.take_along_axis(proba, columns, axis=1).ravel(), dtype=pl.Float32),
            "applies": pl.Series((decoded >= 0).ravel(), dtype=pl.Boolean),
        }
    )
