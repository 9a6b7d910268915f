"""Out-of-fold answers and measures of a finished run of the attributes task."""

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
ERROR_OF = "error of "
"""Start of the name of the error of one question."""
BASELINE_ERROR = "baseline error"


class OutOfFoldAnswers:
    """Out-of-fold answers to all known photos: no photo is answered by a model that was trained on it.

    Args:
        context: The run.

    Raises:
        PlanError: The run answers no questions.
        RunError: A stage that the answers need is not finished.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.known = context, context.known
        self.resolve = context.plan.only(ResolveHierarchy)
        self.vocabulary = self.known.vocabulary
        context.said(self.resolve.name)

    @cached_property
    def truth(self) -> Bool[np.ndarray, "image answer"]:
        """Return which answers are right according to the table."""
        return self.known.truth > 0

    @cached_property
    def labelled(self) -> Bool[np.ndarray, "image question"]:
        """Return which questions have a label, for each photo."""
        return self.known.has_answer

    @cached_property
    def proba(self) -> Float32[np.ndarray, "image answer"]:
        """Return the out-of-fold probabilities from which the answers are decoded."""
        return self.scores(self.resolve.reads_from)

    def scores(self, name: str) -> Float32[np.ndarray, "image answer"]:
        """Return the out-of-fold probabilities of a stage that scores answers."""
        return self.context.artifact(LabelScores, name).known(self.known)

    @cached_property
    def answer(self) -> Int64[np.ndarray, "image question"]:
        """Return the answer (column) to each question. If a question does not apply, it is the most probable one."""
        decoded = self.resolve.decoded(self.proba, self.vocabulary)
        return filled(decoded, self.proba, self.vocabulary.question_of)

    @cached_property
    def right(self) -> Bool[np.ndarray, "image question"]:
        """Return whether each answer is right; False for questions without a label."""
        return np.take_along_axis(self.truth, self.answer, axis=1)

    def rights(self, proba: Float[np.ndarray, "image answer"]) -> Float64[np.ndarray, " image"]:
        """Return the accuracy of each photo over its labelled questions; NaN if it has none.

        The answer to each question is the most probable one. The hierarchy is not used.
        """
        best = likeliest(proba, self.vocabulary.question_of)
        return _shares(np.take_along_axis(self.truth, best, axis=1), self.labelled)

    def measures(self) -> tuple[Measure, ...]:
        """Return the measures of the answers, overall and per question."""
        rows = measure_answers(self.answer, self.truth, self.labelled, self.vocabulary, groups=self.known.groups)
        best, units = likeliest(self.proba, self.vocabulary.question_of), Units.of(self.known.groups, len(self.known))
        alone = share_of(np.take_along_axis(self.truth, best, axis=1), self.labelled, units)
        cross_fitted = self._cross_fitted_weights(alone)
        extra = []
        if self.resolve.consistent and self._has_hierarchy:
            meaning = "the most probable answer to each question, without the hierarchy"
            extra.append(_error("error, separate questions", alone, meaning, n=int(self.labelled.sum())))
        if cross_fitted is not None:
            extra.append(cross_fitted)
        return (*rows[:2], *extra, *rows[2:])

    @property
    def _has_hierarchy(self) -> bool:
        return any(one.applies is not None or one.below is not None for one in self.vocabulary.questions)

    def _cross_fitted_weights(self, alone: Interval) -> Measure | None:
        """Return the error with ensemble weights found on other folds; its interval is as wide as that of ``alone``."""
        stage = self.context.stages[self.resolve.reads_from]
        if not isinstance(stage, EnsembleScores) or stage.weights or len(stage.reads_from) == 1:
            return None
        stored = read_json(self.context.folder(stage.name) / WEIGHTS)
        right = 1 - float(stored["crossed_error"])
        low, high = right - (alone.value - alone.low), right + (alone.high - alone.value)
        meaning = "separate questions; the ensemble weights of each fold were found on the other folds"
        moved = replace(alone, value=right, low=max(0.0, low), high=min(1.0, high))
        return _error("error, cross-fitted weights", moved, meaning, n=int(self.labelled.sum()))


def measure_answers(
    answer: Int64[np.ndarray, "image question"],
    truth: Bool[np.ndarray, "image answer"],
    labelled: Bool[np.ndarray, "image question"],
    vocabulary: Vocabulary,
    *,
    groups: Int64[np.ndarray, " image"] | None = None,
) -> tuple[Measure, ...]:
    """Return the error over all labelled pairs of photo and question, the error of the baseline, and one per question.

    The baseline answers each question with its most frequent answer.

    Args:
        answer: Predicted answer (column of ``truth``) to each question.
        truth: Whether each answer is right.
        labelled: Whether each question has a label; other questions are not counted.
        vocabulary: Vocabulary with the questions.
        groups: Group number of each photo; intervals resample groups. None to resample photos.

    Source:
        iMaterialist 2017: mean top-1 error over the annotated pairs of image and task.
    """
    right = np.take_along_axis(truth, answer, axis=1)
    most_frequent = likeliest(truth.sum(axis=0)[None], vocabulary.question_of)[0]
    baseline_right = truth[:, most_frequent]
    units, n = Units.of(groups, len(truth)), int(labelled.sum())
    overall, baseline = share_of(right, labelled, units), share_of(baseline_right, labelled, units)
    meaning = "share of labelled questions answered wrong (1 - accuracy); one of several right answers is enough"
    rows = [
        _error(ERROR, overall, meaning, n=n),
        _error(BASELINE_ERROR, baseline, "error if each question always gets its most frequent answer", n=n),
    ]
    for question, name in enumerate(one.name for one in vocabulary.questions):
        mine = labelled[:, question]
        if mine.any():
            meaning = f"baseline {1 - baseline_right[mine, question].mean():.3f}"
            found = grouped_share_interval(right[mine, question], groups=units.groups[mine], unit=units.unit)
            rows.append(_error(f"{ERROR_OF}{name}", found, meaning, n=int(mine.sum())))
    return tuple(rows)


def share_of(
    right: Bool[np.ndarray, "image question"], labelled: Bool[np.ndarray, "image question"], units: Units
) -> Interval:
    """Return the accuracy over labelled questions. Its interval resamples photos, or groups of photos."""
    hits, n_labelled = (right & labelled).sum(axis=1), labelled.sum(axis=1)
    some = n_labelled > 0
    hits, n_labelled = hits[some].astype(np.float64), n_labelled[some].astype(np.float64)
    return units.at(some).ratio(hits, n_labelled, trials=len(hits))


def _error(name: str, right: Interval, meaning: str, *, n: int) -> Measure:
    wrong = replace(right, value=1 - right.value, low=1 - right.high, high=1 - right.low)
    return Measure.of(name, wrong, n=n, meaning=meaning)


def _shares(right: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    n_labelled = labelled.sum(axis=1)
    hits = (right & labelled).sum(axis=1)
    return np.divide(hits, n_labelled, out=np.full(len(n_labelled), np.nan), where=n_labelled > 0)
