"""Contents of the report page of tagging and attributes runs, as plain frozen dataclasses. See also ``contents``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from fieldmark.reporting.contents import Curve, Fact, ScoreRow, SkippedFile, StageRow

MarkKind = Literal["right", "missed", "extra", "plain"]
"""Kind of a label on a photo: in the table and predicted; only in the table; only predicted; not comparable."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference with its interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Literal["better", "worse", "no clear change"]:
        """Return "better" or "worse" if the whole interval is above or below zero, else "no clear change"."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no clear change"


@dataclass(frozen=True, slots=True)
class StageScore:
    """The score of one stage with its interval.

    Attributes:
        name: Name of the stage.
        value: Score.
        low: Lower end of its interval.
        high: Upper end of its interval.
        change: Difference from the stage before; None for the first stage.
        new_steps: Short phrases about what this stage does and the stage before does not.
        message: Last message of the stage.
    """

    name: str
    value: float
    low: float
    high: float
    change: Difference | None = None
    new_steps: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """Training loss of one stage, with one curve per fold. Stages of the same ``scale`` share a vertical axis."""

    stage: str
    folds: tuple[Curve, ...]
    scale: str = ""


@dataclass(frozen=True, eq=False)
class LabelThresholdScan:
    """The score at each threshold of one label group, with the thresholds of other groups unchanged."""

    at: Float[np.ndarray, " point"]
    value: Float[np.ndarray, " point"]
    chosen_at: float


@dataclass(frozen=True, eq=False)
class ThresholdRow:
    """The threshold of one label group.

    Attributes:
        group: Name of the group.
        n_labels: Number of labels in the group.
        at: Threshold.
        least: Minimum number of predicted labels per photo.
        most: Maximum number of predicted labels per photo; None for no limit.
        note: Note for the table.
        scan: Score at other thresholds.
    """

    group: str
    n_labels: int
    at: float
    least: int = 0
    most: int | None = None
    note: str = ""
    scan: LabelThresholdScan | None = None


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Measures of one label. A measure is None if it cannot be computed.

    ``count`` photos have the label in the table; for ``given`` photos it was predicted.
    """

    name: str
    count: int
    given: int
    average_precision: float | None = None
    precision: float | None = None
    recall: float | None = None
    f2: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on a photo."""

    label: str
    kind: MarkKind
    proba: float | None = None


@dataclass(frozen=True, slots=True)
class MarkedPhoto:
    """A photo with its labels; ``note`` is a short text, such as its score."""

    image: str
    picture: bytes | None
    marks: tuple[Mark, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelIssueRow:
    """A label that may be wrong (in the table) or missing (not in the table), with the probability of that, 0 to 1."""

    image: str
    label: str
    kind: Literal["missing", "wrong"]
    proba: float
    label_error_proba: float
    picture: bytes | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedPhotosSection:
    """Photos that one stage removed from training: their number, examples with pictures, and others by name."""

    stage: str
    message: str
    n: int
    worst: tuple[MarkedPhoto, ...] = ()
    others: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class AddedPhotos:
    """New photos that one stage added to training, with their pseudo-labels."""

    stage: str
    message: str
    examples: tuple[MarkedPhoto, ...] = ()


@dataclass(frozen=True, slots=True)
class TreesSection:
    """Inputs of the boosted trees of a stage.

    Attributes:
        stage: Name of the stage.
        importance: The most important columns, each with its share of the total gain, 0 to 1.
        n_columns: Number of all columns.
        recall_ceiling: Share of the labels in the table that are among the candidates of the trees, 0 to 1.
        n_scored: Number of candidates: pairs of photo and label.
    """

    stage: str
    importance: tuple[tuple[str, float], ...]
    n_columns: int
    recall_ceiling: float
    n_scored: int


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """Measures of one question.

    Attributes:
        name: Name of the question.
        n_answers: Number of possible answers.
        n: Number of photos with an answer in the table.
        error: Share of these photos with a wrong answer, 0 to 1.
        baseline_error: Error if every photo gets the most frequent answer, 0 to 1.
        confused: The most frequent mistake, in words.
        parent: Question on which this question depends; empty if there is none.
    """

    name: str
    n_answers: int
    n: int
    error: float
    baseline_error: float
    confused: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ScoreAverageRow:
    """Weights of an ensemble: for each question, one weight per part."""

    stage: str
    parts: tuple[str, ...]
    weights: tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class LabelsPage:
    """Content of the report page of a tagging or attributes run. Empty attributes have no section on the page.

    ``summary`` is the verdict at the top of the page, in plain words for a reader who does not know F2.
    ``learning_rates`` has one curve per schedule. ``labels`` may be in any order. ``score_name`` is the name of the
    score of the stages and thresholds.
    """

    title: str
    recipe: str
    summary: str
    scores: tuple[ScoreRow, ...] = ()
    scores_note: str = ""
    score_name: str = "mean F2"
    stage_scores: tuple[StageScore, ...] = ()
    stage_scores_note: str = ""
    training_histories: tuple[TrainingHistory, ...] = ()
    learning_rates: tuple[Curve, ...] = ()
    thresholds: tuple[ThresholdRow, ...] = ()
    thresholds_note: str = ""
    labels: tuple[LabelRow, ...] = ()
    questions: tuple[QuestionRow, ...] = ()
    weights: tuple[ScoreAverageRow, ...] = ()
    best: tuple[MarkedPhoto, ...] = ()
    worst: tuple[MarkedPhoto, ...] = ()
    issues: tuple[LabelIssueRow, ...] = ()
    issues_note: str = ""
    dropped: tuple[DroppedPhotosSection, ...] = ()
    added: tuple[AddedPhotos, ...] = ()
    trees: tuple[TreesSection, ...] = ()
    facts: tuple[Fact, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    stages: tuple[StageRow, ...] = ()
    plan_json: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
