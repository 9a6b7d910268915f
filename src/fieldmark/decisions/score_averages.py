"""Several models' answers to one: the photo speaks, the text speaks, and weights found on photos neither has seen."""

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
"""Probabilities merged at once: some ten megabytes, whatever the number of photos."""
FINEST, MOST_TRIED = 20, 500
"""Weights are tried in steps of 1/20, or as fine as keeps it to 500 sets."""
SURE = 1e-7
"""A right answer that was given no chance at all costs 16 nats, not infinity."""

Parts = Sequence[Float[np.ndarray, "image answer"]]
Absent = Sequence[Bool[np.ndarray, " image"] | None]
Weights = Sequence[float] | Float[np.ndarray, " part"] | Float[np.ndarray, "part question"]


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """Weights and what they are worth.

    Attributes:
        weights: Of each part in each question; sums to 1 over the parts.
        error: Share of wrong answers on the very photos the weights were found on: flatters.
        crossed: The same where each fold was judged by weights found without it: what to expect of new photos.
        log_loss: Nats a pair of photo and question, as ``crossed``.
        alone: Share of wrong answers of each part alone.
        n_pairs: Pairs of photo and question that were judged.
        tried: How many sets of weights were tried.
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
    """One probability for each answer from those of several models.

    A model that knows nothing of a photo (its file is missing, it has no text) has no say there; the weights of the
    others count as if it were not. Where only models of weight 0 know anything, they speak similar. Where nobody knows
    anything, the prior answers.

    Args:
        parts: One matrix a model, of the same photos and answers; each sums to 1 within each question.
        question_of: The question of each answer column: 0, 0, 1, 1, 1, 2 ...
        by: The rule.
        weights: One a model, or one a model and question; at least 0, not all 0. None: all similar.
        absent: For each model the photos of which it knows nothing (its rows may hold anything); None: it knows all.
        prior: What is answered where all are absent.

    Returns:
        Sums to 1 within each question. Under ``RankMean`` the numbers order the answers and are no probabilities.

    Raises:
        ShapeError: Parts, absences, weights or prior do not fit each other.
        FieldmarkError: Weights are negative or all 0, numbers are no probabilities, or nobody knows anything of a
            photo and there is no prior.

    Source:
        Weighted and geometric means: iMaterialist Furniture 2018, 1st place (geometric); rank means: T38c. What is
        done about absent parts is ours.
    """
    questions, parts = Questions.of(question_of), [np.asarray(part) for part in parts]
    _check_parts(parts, questions)
    weight = _weights(weights, len(parts), len(questions))
    there = _there(parts, absent)
    known = there.any(axis=0)
    if prior is None and not known.all():
        raise FieldmarkError(
            "Of some photos no model knows anything.",
            got=f"{int((~known).sum())} of {known.size} photos",
            fix="pass prior=shares(truth, question_of): what is answered without looking.",
        )
    if prior is not None and np.shape(prior) != questions.question_of.shape:
        raise ShapeError(
            "The prior needs one share for each answer.",
            got=f"prior {np.shape(prior)}, question_of {questions.question_of.shape}",
            fix="pass shares(truth, question_of).",
        )
    merged = np.empty(parts[0].shape, np.float32)
    for rows in _blocks(merged):
        block = _votes([part[rows] for part in parts], there[:, rows], questions, by)
        merged[rows] = _merged(block, there[:, rows], weight, questions, by)
    if prior is not None:
        merged[~known] = questions.shared_out(np.asarray(prior, np.float64))
    return merged


def find_weights(
    parts: Parts,
    truth: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    by: ScoreAverage,
    fold: Int[np.ndarray, " image"],
    absent: Absent | None = None,
) -> FoundWeights:
    """The weights with the fewest wrong answers, of equally good ones those with the least log loss.

    Every set of weights in equal steps is tried, single models and the plain mean among them. Photos of which all
    models know nothing, and questions that are not told, say nothing.

    Args:
        parts: Out-of-fold: no model has seen the photos it answers here.
        truth: Above 0: right; 0: not right; NaN: the question is not told of that photo.
        question_of: The question of each answer column.
        by: The rule; whether each question gets weights of its own.
        fold: Of each photo; photos with -1 are left out. Weights that judge fold k are found without fold k.
        absent: As for ``average_scores``.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: There are fewer than two folds, or nothing is told.
    """
    questions, parts = Questions.of(question_of), [np.asarray(part) for part in parts]
    _check_parts(parts, questions)
    truth, fold = np.asarray(truth), np.asarray(fold)
    questions.must_fit("truth", truth)
    there = _there(parts, absent)
    if truth.shape != parts[0].shape or fold.shape != truth.shape[:1]:
        raise ShapeError(
            "Every photo needs its truth and its fold.",
            got=f"parts {parts[0].shape}, truth {truth.shape}, fold {fold.shape}",
            fix="pass the rows of all in the same order.",
        )
    names, place = np.unique(fold, return_inverse=True)
    judged = (fold >= 0) & there.any(axis=0)
    sets = simplex(len(parts))
    wrong, nats, n_pairs = _tried(parts, truth, questions, by, sets, there=there, place=np.where(judged, place, -1))
    told = np.flatnonzero(n_pairs.sum(axis=1))
    if len(told) < 2:
        raise FieldmarkError(
            "Weights cannot be found: there must be told photos in at least two folds.",
            got=f"{len(told)} folds with truth, {len(names)} folds in all",
            fix="pass out-of-fold probabilities of photos with truth, and their folds 0, 1, 2 ...",
        )
    chosen = _best(wrong.sum(axis=1), nats.sum(axis=1), n_pairs.sum(axis=0), by)
    each = np.arange(len(questions))
    crossed = crossed_nats = 0.0
    for one in told:
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
    """All weights in equal steps that sum to 1, the plain mean first, then the single models."""
    if n_parts == 1:
        return np.ones((1, 1))
    steps = 1
    while steps < FINEST and math.comb(steps + n_parts, n_parts - 1) <= MOST_TRIED:
        steps += 1
    bars = np.array(list(combinations(range(steps + n_parts - 1), n_parts - 1)), np.int64).reshape(-1, n_parts - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + n_parts - 1)))
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
    there: np.ndarray,
    place: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wrong answers and nats by set, fold and question, and how many pairs were judged by fold and question.

    Sums by fold are all that any choice needs, so that nothing is merged twice for the crossed error.
    """
    shape = (int(place.max()) + 1 if (place >= 0).any() else 0, len(questions))
    wrong, nats, n_pairs = np.zeros((len(sets), *shape)), np.zeros((len(sets), *shape)), np.zeros(shape)
    for rows in _blocks(truth):
        right = np.nan_to_num(truth[rows]) > 0
        told = (questions.total(right.astype(np.float64)) > 0) & (place[rows] >= 0)[:, None]
        target = questions.shared_out(right.astype(np.float64))
        by_fold = np.arange(shape[0])[:, None] == place[rows]
        n_pairs += by_fold @ told.astype(np.float64)
        block = _votes([part[rows] for part in parts], there[:, rows], questions, by)
        for number, one in enumerate(sets):
            weight = np.repeat(one[:, None], len(questions), axis=1)
            proba = _merged(block, there[:, rows], weight, questions, by)
            hit = np.take_along_axis(right, questions.first_highest(proba), axis=1)
            wrong[number] += by_fold @ (told & ~hit).astype(np.float64)
            lost = questions.total(-target * np.log(np.maximum(proba, SURE)))
            nats[number] += by_fold @ np.where(told, lost, 0.0)
    return wrong, nats, n_pairs


def _best(wrong: np.ndarray, nats: np.ndarray, n_pairs: np.ndarray, by: ScoreAverage) -> np.ndarray:
    """The set for each question, of (set, question) sums."""
    common = int(np.lexsort((nats.sum(axis=1), wrong.sum(axis=1)))[0])
    chosen = np.full(wrong.shape[1], common)
    if by.each_question:
        own = [int(np.lexsort((nats[:, one], wrong[:, one]))[0]) for one in range(wrong.shape[1])]
        chosen = np.where(n_pairs >= by.least, own, common)
    return chosen


def _votes(parts: Parts, there: np.ndarray, questions: Questions, by: ScoreAverage) -> np.ndarray:
    """What each part says in the numbers whose weighted mean is wanted; 0 where it is absent."""
    said = []
    for part, here in zip(parts, there, strict=True):
        proba = np.where(here[:, None], part, 0).astype(np.float64)
        if isinstance(by, GeometricMean):
            proba = np.log(np.maximum(proba, by.floor))
        elif isinstance(by, RankMean):
            proba = np.concatenate([_places(proba[:, columns]) for columns in questions.slices], axis=1)
        said.append(np.where(here[:, None], proba, 0).astype(np.float32))
    return np.stack(said)


def _places(proba: np.ndarray) -> np.ndarray:
    """1 for the least probable answer, upwards; equal ones share the mean of their places."""
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


def _merged(
    said: np.ndarray, there: np.ndarray, weight: np.ndarray, questions: Questions, by: ScoreAverage
) -> np.ndarray:
    share = there[:, :, None] * weight[:, None, :]
    total = share.sum(axis=0)
    similar = there[:, :, None] / np.maximum(there.sum(axis=0), 1)[:, None]
    share = np.where(total > 0, share / np.where(total > 0, total, 1), similar).astype(np.float32)
    mean = np.zeros(said.shape[1:], np.float32)
    for one, spoken in zip(said, share, strict=True):
        mean += one * questions.widened(spoken)
    if isinstance(by, GeometricMean):
        mean = np.exp(mean - questions.widened(questions.highest(mean)))
    return questions.shared_out(mean)


def _blocks(values: np.ndarray) -> Iterator[slice]:
    step = max(1, CELLS // values.shape[1])
    for start in range(0, len(values), step):
        yield slice(start, start + step)


def _row(sets: np.ndarray, one: np.ndarray) -> int:
    return int(np.flatnonzero((sets == one).all(axis=1))[0])


def _there(parts: Parts, absent: Absent | None) -> np.ndarray:
    """Which part knows each photo; what is known must be a probability."""
    given: Absent = absent if absent is not None else [None] * len(parts)
    shapes = [None if one is None else np.shape(one) for one in given]
    if len(given) != len(parts) or set(shapes) - {None, parts[0].shape[:1]}:
        raise ShapeError(
            "absent must tell for each model which photos it does not know.",
            got=f"{len(parts)} models of {len(parts[0])} photos, absent {shapes}",
            fix="pass one array of bools a model, one entry a photo; None for a model that knows all.",
        )
    there = np.stack(
        [
            np.ones(len(part), bool) if one is None else ~np.asarray(one, bool)
            for part, one in zip(parts, given, strict=True)
        ]
    )
    odd = [
        f"model {number}, photo {row}"
        for number, part in enumerate(parts)
        for row in np.flatnonzero(there[number] & ~((part >= 0) & (part <= 1 + 1e-6)).all(axis=1))
    ]
    if odd:
        raise FieldmarkError(
            "Some models' numbers are no probabilities.",
            got=several(odd),
            fix="pass numbers from 0 to 1, and say in absent= which photos a model does not know.",
        )
    return there


def _check_parts(parts: Parts, questions: Questions) -> None:
    if not parts or len({part.shape for part in parts}) > 1:
        raise ShapeError(
            "merge() needs the same photos and answers from each model.",
            got=", ".join(str(part.shape) for part in parts) or "no model",
            fix="pass a list of (image, answer) matrices of one shape.",
        )
    questions.must_fit("each part", parts[0])


def _weights(weights: Weights | None, n_parts: int, n_questions: int) -> np.ndarray:
    given = np.ones(n_parts) if weights is None else np.asarray(weights, np.float64)
    fits = given.shape in {(n_parts,), (n_parts, n_questions)}
    if not fits or not np.isfinite(given).all() or (given < 0).any() or not (given.sum(axis=0) > 0).all():
        raise FieldmarkError(
            "merge() needs one weight for each model, at least 0 and not all 0.",
            got=f"{n_parts} models, weights {given.tolist() if given.size < 20 else given.shape}",
            fix=f"pass {n_parts} numbers, or one row a model and one column a question.",
        )
    wide = given[:, None] if given.ndim == 1 else given
    return np.broadcast_to(wide / wide.sum(axis=0), (n_parts, n_questions))
