"""Average the answer probabilities of several models, with weights fitted on out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.decisions.questions import Questions
from fieldmark.decisions.specs import GeometricMean, RankMean, ScoreAverage

CELLS = 2**21
"""Number of probabilities averaged at once: about ten megabytes, for any number of photos."""
FINEST, MOST_TRIED = 20, 500
"""Weights are tried in steps of 1/20, or in larger steps so that present are at most 500 combinations."""
MIN_PROBA = 1e-7
"""Lower bound of a probability in the log loss: a correct answer with probability 0 costs 16 nats, not infinity."""

Parts = Sequence[Float[np.ndarray, "image answer"]]
Absent = Sequence[Bool[np.ndarray, " image"] | None]
Weights = Sequence[float] | Float[np.ndarray, " part"] | Float[np.ndarray, "part question"]


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """Fitted weights with their error rates.

    Attributes:
        weights: Weight of each model in each question; sums to 1 over the models.
        error: Share of wrong answers on the photos the weights were fitted on; too optimistic.
        crossed: Share of wrong answers where each fold is evaluated with weights fitted on the other folds; the
            expected error on new photos.
        log_loss: Log loss in nats per pair of photo and question, cross-fitted as ``crossed``.
        alone: Share of wrong answers of each single model.
        n_pairs: Number of labelled pairs of photo and question.
        tried: Number of weight combinations tried.
    """

    weights: Float64[np.ndarray, "part question"]
    error: float
    crossed: float
    log_loss: float
    alone: Float64[np.ndarray, " part"]
    n_pairs: int
    tried: int


def average_scores(
    parts: Parts,
    question_of: Int[np.ndarray, " answer"],
    *,
    by: ScoreAverage,
    weights: Weights | None = None,
    absent: Absent | None = None,
    prior: Float[np.ndarray, " answer"] | None = None,
) -> Float32[np.ndarray, "image answer"]:
    """Return one probability per answer from the probabilities of several models.

    A model may be absent for a photo, for example because the file is missing or there is no text. The weights of the
    other models are then scaled up. Where only models of weight 0 are present, they get equal weights. Where all models
    are absent, the result is the prior.

    Args:
        parts: One matrix per model, of the same photos and answers; each sums to 1 within each question.
        question_of: The question number of each answer column: 0, 0, 1, 1, 1, 2 ...
        by: The rule.
        weights: One per model, or one per model and question; at least 0, not all 0. None: equal weights.
        absent: For each model, the photos without a prediction (their rows may hold anything); None: it has predicted
            all.
        prior: Probabilities for photos for which all models are absent.

    Returns:
        Probabilities that sum to 1 within each question. With ``RankMean`` the numbers only order the answers; they are
        not probabilities.

    Raises:
        ShapeError: The shapes of parts, absences, weights or prior do not match.
        FieldmarkError: Weights are negative or all 0, numbers are not probabilities, or all models are absent for a
            photo and there is no prior.

    Source:
        Weighted and geometric means: iMaterialist Furniture 2018, 1st place (geometric); rank means: T38c. The handling
        of absent models is ours.
    """
    questions, parts = Questions.of(question_of), [np.asarray(part) for part in parts]
    _check_parts(parts, questions)
    weight = _weights(weights, len(parts), len(questions))
    present = _present(parts, absent)
    any_present = present.any(axis=0)
    if prior is None and not any_present.all():
        raise FieldmarkError(
            "Some photos have no prediction from any model, and prior is not given.",
            got=f"{int((~any_present).sum())} of {any_present.size} photos",
            fix="pass prior=shares(truth, question_of); these photos get the prior as their probabilities.",
        )
    if prior is not None and np.shape(prior) != questions.question_of.shape:
        raise ShapeError(
            "prior must hold one share per answer.",
            got=f"prior {np.shape(prior)}, question_of {questions.question_of.shape}",
            fix="pass shares(truth, question_of).",
        )
    averaged = np.empty(parts[0].shape, np.float32)
    for rows in _blocks(averaged):
        block = _transformed([part[rows] for part in parts], present[:, rows], questions, by)
        averaged[rows] = _averaged(block, present[:, rows], weight, questions, by)
    if prior is not None:
        averaged[~any_present] = questions.shared_out(np.asarray(prior, np.float64))
    return averaged


def find_weights(
    parts: Parts,
    truth: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    by: ScoreAverage,
    fold: Int[np.ndarray, " image"],
    absent: Absent | None = None,
) -> FoundWeights:
    """Find the weights with the fewest wrong answers; on a tie, those with the lowest log loss.

    All weights in equal steps are tried, including single models and the plain mean. Photos for which all models are
    absent, and unlabelled questions, are ignored.

    Args:
        parts: Out-of-fold probabilities: no model was trained on the photos it predicts here.
        truth: Above 0: correct; 0: not correct; NaN: the photo has no label for the question.
        question_of: The question number of each answer column.
        by: The rule; it also decides whether each question gets its own weights.
        fold: Fold of each photo; photos with -1 are left out. The weights that are evaluated on fold k are fitted
            without fold k.
        absent: As for ``average_scores``.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: There are fewer than two folds, or there are no labels.
    """
    questions, parts = Questions.of(question_of), [np.asarray(part) for part in parts]
    _check_parts(parts, questions)
    truth, fold = np.asarray(truth), np.asarray(fold)
    questions.must_fit("truth", truth)
    present = _present(parts, absent)
    if truth.shape != parts[0].shape or fold.shape != truth.shape[:1]:
        raise ShapeError(
            "parts, truth and fold must have one row per photo.",
            got=f"parts {parts[0].shape}, truth {truth.shape}, fold {fold.shape}",
            fix="pass the rows of all three in the same order.",
        )
    names, place = np.unique(fold, return_inverse=True)
    scored = (fold >= 0) & present.any(axis=0)
    sets = simplex(len(parts))
    wrong, nats, n_pairs = _tried(parts, truth, questions, by, sets, present=present, place=np.where(scored, place, -1))
    labelled_folds = np.flatnonzero(n_pairs.sum(axis=1))
    if len(labelled_folds) < 2:
        raise FieldmarkError(
            "Weights cannot be fitted: at least two folds must contain labelled photos.",
            got=f"{len(labelled_folds)} folds with truth, {len(names)} folds in total",
            fix="pass out-of-fold probabilities of photos with truth, and their folds 0, 1, 2 ...",
        )
    chosen = _best(wrong.sum(axis=1), nats.sum(axis=1), n_pairs.sum(axis=0), by)
    each = np.arange(len(questions))
    crossed = crossed_nats = 0.0
    for one in labelled_folds:
        without = np.arange(len(n_pairs)) != one
        other = _best(wrong[:, without].sum(axis=1), nats[:, without].sum(axis=1), n_pairs[without].sum(axis=0), by)
        crossed += wrong[other, one, each].sum()
        crossed_nats += nats[other, one, each].sum()
    total = int(n_pairs.sum())
    return FoundWeights(
        weights=sets[chosen].T,
        error=float(wrong.sum(axis=1)[chosen, each].sum() / total),
        crossed=float(crossed / total),
        log_loss=float(crossed_nats / total),
        alone=np.array([wrong[_row(sets, one)].sum() / total for one in np.eye(len(parts))]),
        n_pairs=total,
        tried=len(sets),
    )


def simplex(n_parts: int) -> Float64[np.ndarray, "set part"]:
    """Return all weights in equal steps that sum to 1: the plain mean first, then the single models."""
    if n_parts == 1:
        return np.ones((1, 1))
    steps = 1
    while steps < FINEST and math.comb(steps + n_parts, n_parts - 1) <= MOST_TRIED:
        steps += 1
    dividers = np.array(list(combinations(range(steps + n_parts - 1), n_parts - 1)), np.int64).reshape(-1, n_parts - 1)
    edges = np.pad(dividers, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + n_parts - 1)))
    stepped = (np.diff(edges, axis=1) - 1) / steps
    first = np.concatenate([np.full((1, n_parts), 1 / n_parts), np.eye(n_parts)])
    repeated = (stepped[:, None] == first[None]).all(axis=2).any(axis=1)
    return np.concatenate([first, stepped[~repeated]])


def _tried(
    parts: Parts,
    truth: np.ndarray,
    questions: Questions,
    by: ScoreAverage,
    sets: np.ndarray,
    *,
    present: np.ndarray,
    place: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return wrong answers and nats by combination, fold and question, and the number of pairs by fold and question.

    All choices need only these sums per fold, so no average is computed twice for the cross-fitted error.
    """
    shape = (int(place.max()) + 1 if (place >= 0).any() else 0, len(questions))
    wrong, nats, n_pairs = np.zeros((len(sets), *shape)), np.zeros((len(sets), *shape)), np.zeros(shape)
    for rows in _blocks(truth):
        right = np.nan_to_num(truth[rows]) > 0
        labelled = (questions.total(right.astype(np.float64)) > 0) & (place[rows] >= 0)[:, None]
        target = questions.shared_out(right.astype(np.float64))
        by_fold = np.arange(shape[0])[:, None] == place[rows]
        n_pairs += by_fold @ labelled.astype(np.float64)
        block = _transformed([part[rows] for part in parts], present[:, rows], questions, by)
        for number, one in enumerate(sets):
            weight = np.repeat(one[:, None], len(questions), axis=1)
            proba = _averaged(block, present[:, rows], weight, questions, by)
            hit = np.take_along_axis(right, questions.first_highest(proba), axis=1)
            wrong[number] += by_fold @ (labelled & ~hit).astype(np.float64)
            lost = questions.total(-target * np.log(np.maximum(proba, MIN_PROBA)))
            nats[number] += by_fold @ np.where(labelled, lost, 0.0)
    return wrong, nats, n_pairs


def _best(wrong: np.ndarray, nats: np.ndarray, n_pairs: np.ndarray, by: ScoreAverage) -> np.ndarray:
    """Return the best combination for each question, from (combination, question) sums."""
    common = int(np.lexsort((nats.sum(axis=1), wrong.sum(axis=1)))[0])
    chosen = np.full(wrong.shape[1], common)
    if by.each_question:
        own = [int(np.lexsort((nats[:, one], wrong[:, one]))[0]) for one in range(wrong.shape[1])]
        chosen = np.where(n_pairs >= by.least, own, common)
    return chosen


def _transformed(parts: Parts, present: np.ndarray, questions: Questions, by: ScoreAverage) -> np.ndarray:
    """Return each model's values that are averaged; 0 where it is absent."""
    values = []
    for part, here in zip(parts, present, strict=True):
        proba = np.where(here[:, None], part, 0).astype(np.float64)
        if isinstance(by, GeometricMean):
            proba = np.log(np.maximum(proba, by.floor))
        elif isinstance(by, RankMean):
            proba = np.concatenate([_places(proba[:, columns]) for columns in questions.slices], axis=1)
        values.append(np.where(here[:, None], proba, 0).astype(np.float32))
    return np.stack(values)


def _places(proba: np.ndarray) -> np.ndarray:
    """Return the rank of each answer, 1 for the least probable; equal ones share the mean of their ranks."""
    order = np.argsort(proba, axis=1, kind="stable")
    ordered = np.take_along_axis(proba, order, axis=1)
    place = np.broadcast_to(np.arange(1.0, proba.shape[1] + 1), proba.shape)
    new = np.diff(ordered, axis=1) > 0
    edge = np.ones((len(proba), 1), bool)
    lowest = np.maximum.accumulate(np.where(np.hstack([edge, new]), place, 0), axis=1)
    highest = np.minimum.accumulate(np.where(np.hstack([new, edge]), place, np.inf)[:, ::-1], axis=1)[:, ::-1]
    places = np.empty(proba.shape)
    np.put_along_axis(places, order, (lowest + highest) / 2, axis=1)
    return places


def _averaged(
    values: np.ndarray, present: np.ndarray, weight: np.ndarray, questions: Questions, by: ScoreAverage
) -> np.ndarray:
    share = present[:, :, None] * weight[:, None, :]
    total = share.sum(axis=0)
    equal = present[:, :, None] / np.maximum(present.sum(axis=0), 1)[:, None]
    share = np.where(total > 0, share / np.where(total > 0, total, 1), equal).astype(np.float32)
    mean = np.zeros(values.shape[1:], np.float32)
    for one, weights in zip(values, share, strict=True):
        mean += one * questions.widened(weights)
    if isinstance(by, GeometricMean):
        mean = np.exp(mean - questions.widened(questions.highest(mean)))
    return questions.shared_out(mean)


def _blocks(values: np.ndarray) -> Iterator[slice]:
    step = max(1, CELLS // values.shape[1])
    for start in range(0, len(values), step):
        yield slice(start, start + step)


def _row(sets: np.ndarray, one: np.ndarray) -> int:
    return int(np.flatnonzero((sets == one).all(axis=1))[0])


def _present(parts: Parts, absent: Absent | None) -> np.ndarray:
    """Return which model has predicted each photo; those predictions must be probabilities."""
    given: Absent = absent if absent is not None else [None] * len(parts)
    shapes = [None if one is None else np.shape(one) for one in given]
    if len(given) != len(parts) or set(shapes) - {None, parts[0].shape[:1]}:
        raise ShapeError(
            "absent must hold one boolean array per model, with one entry per photo.",
            got=f"{len(parts)} models of {len(parts[0])} photos, absent {shapes}",
            fix="pass True where the model has no prediction; None for a model that has predicted all photos.",
        )
    present = np.stack(
        [
            np.ones(len(part), bool) if one is None else ~np.asarray(one, bool)
            for part, one in zip(parts, given, strict=True)
        ]
    )
    odd = [
        f"model {number}, photo {row}"
        for number, part in enumerate(parts)
        for row in np.flatnonzero(present[number] & ~((part >= 0) & (part <= 1 + 1e-6)).all(axis=1))
    ]
    if odd:
        raise FieldmarkError(
            "Some rows of parts are not probabilities.",
            got=several(odd),
            fix="pass numbers from 0 to 1, and mark photos without a prediction in absent=.",
        )
    return present


def _check_parts(parts: Parts, questions: Questions) -> None:
    if not parts or len({part.shape for part in parts}) > 1:
        raise ShapeError(
            "average_scores() needs the same photos and answers from each model.",
            got=", ".join(str(part.shape) for part in parts) or "no model",
            fix="pass a list of (image, answer) matrices of one shape.",
        )
    questions.must_fit("each part", parts[0])


def _weights(weights: Weights | None, n_parts: int, n_questions: int) -> np.ndarray:
    given = np.ones(n_parts) if weights is None else np.asarray(weights, np.float64)
    fits = given.shape in {(n_parts,), (n_parts, n_questions)}
    if not fits or not np.isfinite(given).all() or (given < 0).any() or not (given.sum(axis=0) > 0).all():
        raise FieldmarkError(
            "average_scores() needs one weight per model, at least 0 and not all 0.",
            got=f"{n_parts} models, weights {given.tolist() if given.size < 20 else given.shape}",
            fix=f"pass {n_parts} numbers, or a matrix with one row per model and one column per question.",
        )
    wide = given[:, None] if given.ndim == 1 else given
    return np.broadcast_to(wide / wide.sum(axis=0), (n_parts, n_questions))
