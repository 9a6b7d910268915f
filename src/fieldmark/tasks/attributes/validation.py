"""The photos of a finished run that answers questions, with truth, out-of-fold probabilities and answers."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from fieldmark.core.files import read_json
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.hierarchy import filled, likeliest
from fieldmark.metrics.intervals import Interval, grouped_share_interval
from fieldmark.metrics.measure import Measure, Units
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.stages.labels.ensemble_scores import WEIGHTS, EnsembleScores
from fieldmark.stages.labels.resolve_hierarchy import ResolveHierarchy

ERROR = "error"


class OutOfFoldAnswers:
    """All known photos, each answered by networks that have not seen it.

    Args:
        context: The run.

    Raises:
        PlanError: The run answers no questions.
        RunError: Its stages up to the answers are not finished.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.known = context, context.known
        self.resolve = context.plan.only(ResolveHierarchy)
        self.vocabulary = self.known.vocabulary
        context.said(self.resolve.name)

    @cached_property
    def truth(self) -> Bool[np.ndarray, "image answer"]:
        """Which answers are right."""
        return self.known.truth > 0

    @cached_property
    def told(self) -> Bool[np.ndarray, "image question"]:
        """Which questions are told of each photo."""
        return self.known.told

    @cached_property
    def proba(self) -> Float32[np.ndarray, "image answer"]:
        """Out-of-fold probabilities of the stage that is settled."""
        return self.scores(self.resolve.reads_from)

    def scores(self, name: str) -> Float32[np.ndarray, "image answer"]:
        """Out-of-fold probabilities of any stage with scores of answers."""
        return self.context.artifact(LabelScores, name).known(self.known)

    @cached_property
    def answer(self) -> Int64[np.ndarray, "image question"]:
        """The answer (column) to each question; where it does not apply the likeliest all the same."""
        settled = self.resolve.decoded(self.proba, self.vocabulary)
        return filled(settled, self.proba, self.vocabulary.question_of)

    @cached_property
    def right(self) -> Bool[np.ndarray, "image question"]:
        """Whether each answer is a right one; False where nothing is told."""
        return np.take_along_axis(self.truth, self.answer, axis=1)

    def rights(self, proba: Float[np.ndarray, "image answer"]) -> Float64[np.ndarray, " image"]:
        """The share of each photo's told questions that its likeliest answers are right for; NaN where none is told."""
        best = likeliest(proba, self.vocabulary.question_of)
        return _shares(np.take_along_axis(self.truth, best, axis=1), self.told)

    def measures(self) -> tuple[Measure, ...]:
        """How good the answers are, overall and question by question."""
        rows = measure_answers(self.answer, self.truth, self.told, self.vocabulary, groups=self.known.groups)
        best, units = likeliest(self.proba, self.vocabulary.question_of), Units.of(self.known.groups, len(self.known))
        alone = share_of(np.take_along_axis(self.truth, best, axis=1), self.told, units)
        honest = self._crossed_merge(alone)
        extra = []
        if self.resolve.consistent and self._ties:
            meaning = "each question's likeliest answer by itself, whether or not answers fit together"
            extra.append(_error("error one by one", alone, meaning, n=int(self.told.sum())))
        if honest is not None:
            extra.append(honest)
        return (*rows[:2], *extra, *rows[2:])

    @property
    def _ties(self) -> bool:
        return any(one.applies is not None or one.below is not None for one in self.vocabulary.questions)

    def _crossed_merge(self, alone: Interval) -> Measure | None:
        """The error by weights found on other folds; its interval is as wide as that of ``alone``."""
        stage = self.context.stages[self.resolve.reads_from]
        if not isinstance(stage, EnsembleScores) or stage.weights or len(stage.reads_from) == 1:
            return None
        told = read_json(self.context.folder(stage.name) / WEIGHTS)
        right = 1 - float(told["crossed_error"])
        low, high = right - (alone.value - alone.low), right + (alone.high - alone.value)
        meaning = "one by one, each fold by weights of the merge that were found without it"
        moved = replace(alone, value=right, low=max(0.0, low), high=min(1.0, high))
        return _error("error, merge crossed", moved, meaning, n=int(self.told.sum()))


def measure_answers(
    answer: Int64[np.ndarray, "image question"],
    truth: Bool[np.ndarray, "image answer"],
    told: Bool[np.ndarray, "image question"],
    vocabulary: Vocabulary,
    *,
    groups: Int64[np.ndarray, " image"] | None = None,
) -> tuple[Measure, ...]:
    """The contest's error over all told pairs of photo and question, that of not looking, and each question's.

    Args:
        answer: The answer (column of ``truth``) to each question.
        truth: Which answers are right.
        told: Which questions are told of each photo; others say nothing.
        vocabulary: With the questions.
        groups: A number that photos of one group share; intervals resample groups. None: photos.

    Source:
        iMaterialist 2017: mean top-1 error over the annotated pairs of image and task.
    """
    right = np.take_along_axis(truth, answer, axis=1)
    blind = likeliest(truth.sum(axis=0)[None], vocabulary.question_of)[0]
    commonest = truth[:, blind]
    units, n = Units.of(groups, len(truth)), int(told.sum())
    all_right, none = share_of(right, told, units), share_of(commonest, told, units)
    rows = [
        _error(ERROR, all_right, "share of told questions answered wrongly; any of several right answers will do", n=n),
        _error("error without looking", none, "if each question always got its commonest answer", n=n),
    ]
    for question, name in enumerate(one.name for one in vocabulary.questions):
        mine = told[:, question]
        if mine.any():
            meaning = f"without looking {1 - commonest[mine, question].mean():.3f}"
            found = grouped_share_interval(right[mine, question], groups=units.groups[mine], unit=units.unit)
            rows.append(_error(f"error of {name}", found, meaning, n=int(mine.sum())))
    return tuple(rows)


def share_of(
    right: Bool[np.ndarray, "image question"], told: Bool[np.ndarray, "image question"], units: Units
) -> Interval:
    """The share of told questions that are answered rightly; its interval resamples photos, or groups of photos."""
    hits, asked = (right & told).sum(axis=1), told.sum(axis=1)
    some = asked > 0
    hits, asked = hits[some].astype(np.float64), asked[some].astype(np.float64)
    return units.at(some).ratio(hits, asked, trials=len(hits))


def _error(name: str, right: Interval, meaning: str, *, n: int) -> Measure:
    wrong = replace(right, value=1 - right.value, low=1 - right.high, high=1 - right.low)
    return Measure.of(name, wrong, n=n, meaning=meaning)


def _shares(right: np.ndarray, told: np.ndarray) -> np.ndarray:
    asked = told.sum(axis=1)
    return np.divide((right & told).sum(axis=1), asked, out=np.full(len(asked), np.nan), where=asked > 0)
