"""What the page of a run that tags shows, as plain frozen values; what it shares with other pages: ``contents``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from fieldmark.reporting.contents import Curve, Fact, ScoreRow, SkippedFile, StageRow

MarkKind = Literal["right", "missed", "extra", "plain"]
"""A label in the table and given; in the table alone; given alone; neither can be said."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference with the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Literal["better", "worse", "no clear change"]:
        """Which way the whole interval points, if it points anywhere."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no clear change"


@dataclass(frozen=True, slots=True)
class StageScore:
    """What one stage with scores came to: ``change`` is against the one_stage before (None: the first).

    ``new_steps`` says what is new since the one_stage before, ``said`` is the stage's own last word.
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
    """How the networks of one stage learned: one curve a fold. Stages of the same ``scale`` share a vertical axis."""

    stage: str
    folds: tuple[Curve, ...]
    scale: str = ""


@dataclass(frozen=True, eq=False)
class LabelThresholdScan:
    """The score at each threshold of one group, all else as chosen."""

    at: Float[np.ndarray, " point"]
    value: Float[np.ndarray, " point"]
    chosen_at: float


@dataclass(frozen=True, eq=False)
class ThresholdRow:
    """When labels of a group are given; ``most`` None: no limit. A group without a name holds all other labels."""

    group: str
    n_labels: int
    at: float
    least: int = 0
    most: int | None = None
    note: str = ""
    scan: LabelThresholdScan | None = None


@dataclass(frozen=True, slots=True)
class LabelRow:
    """How well one label is has_labels; a number that cannot be measured is None.

    ``count`` photos have it in the table, ``given`` were given it.
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
    """A photo with its labels; ``note`` is one short line, such as its score."""

    image: str
    picture: bytes | None
    marks: tuple[Mark, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelIssueRow:
    """A label that may be wrong (the table has it) or missing (it has not); ``label_error_proba`` is how likely that is, 0-1."""

    image: str
    label: str
    kind: Literal["missing", "wrong"]
    proba: float
    label_error_proba: float
    picture: bytes | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedPhotosSection:
    """What one stage left out of training: how many, the worst with pictures, more by name and error."""

    stage: str
    message: str
    n: int
    worst: tuple[MarkedPhoto, ...] = ()
    others: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class AddedPhotos:
    """New photos that one stage took for training, with the labels it gave them."""

    stage: str
    message: str
    examples: tuple[MarkedPhoto, ...] = ()


@dataclass(frozen=True, slots=True)
class TreesSection:
    """What the boosted trees of a stage went by: columns with their share of the gain, and what they could reach."""

    stage: str
    importance: tuple[tuple[str, float], ...]
    n_columns: int
    recall_ceiling: float
    n_judged: int


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """How one question is answered: errors are shares of the ``n`` photos it is has_labels of, ``blind`` without looking.

    ``confused`` is the commonest mistake in words, ``parent`` the question that decides about this one.
    """

    name: str
    n_answers: int
    n: int
    error: float
    blind: float
    confused: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ScoreAverageRow:
    """How much each part has to say: for each question a weight a part."""

    stage: str
    parts: tuple[str, ...]
    weights: tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class LabelsPage:
    """Everything the page of a run that tags or answers shows; what is left empty is left out of the page.

    ``summary`` is the first thing read, for somebody who never previous of F2. ``learning_rates`` has a curve for each
    schedule. ``labels`` may come in any order. ``score_name`` is what the stage-scores and the thresholds are measured by.
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
    merges: tuple[ScoreAverageRow, ...] = ()
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
