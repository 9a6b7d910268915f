"""How good answers with many labels are: the numbers of metrics.json, of the report and of `fieldmark evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.metrics.measure import Measure, Units

MOST_CONSTANT = 30
"""Longer constant answers are not tried."""
LABELS_AT_ONCE = 64


def measure_labels(
    answer: Bool[np.ndarray, "image label"],
    truth: Float[np.ndarray, "image label"],
    *,
    groups: Mapping[str, np.ndarray],
    photo_groups: Int64[np.ndarray, " image"] | None = None,
) -> tuple[Measure, ...]:
    """All numbers of answers to photos whose labels are known to us.

    Intervals resample photos, as the labels of one photo are right or wrong together; or groups of photos, where the
    table has groups.

    Args:
        answer: Which labels each photo was given.
        truth: Which labels it has.
        groups: The columns of each label group; a group of its own is measured where there are several.
        photo_groups: A number that photos of one group share (``Collection.groups``); None: each photo by itself.

    Returns:
        Mean F2, of all labels and of each group; precision, recall and F1 of all decisions in one pot; labels a photo;
        and what the best answer that is the same for every photo would reach.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
    """
    right = truth > 0
    units = Units.of(photo_groups, len(right))
    rows = [_f2("mean F2", answer, right, units, "mean over photos; a missed label weighs four times an added one")]
    if len(groups) > 1:
        for name, columns in groups.items():
            some = right[:, columns].any(axis=1) | answer[:, columns].any(axis=1)
            if some.any():
                rows.append(
                    _f2(
                        f"mean F2 of {name or 'other labels'}",
                        answer[some][:, columns],
                        right[some][:, columns],
                        units.at(np.asarray(some)),
                        "over photos that have or were given a label of this group",
                    )
                )
    found, given, wanted = ((one.sum(axis=1)).astype(np.float64) for one in (answer & right, answer, right))
    rows += [
        *_ratio("precision", found, given, units, "share of the given labels that are in the table"),
        *_ratio("recall", found, wanted, units, "share of the table's labels that were given"),
        *_ratio("micro F1", 2 * found, given + wanted, units, "precision and recall in one, all decisions in one pot"),
        units.mean("labels a photo", given, f"given; the table has {wanted.mean():.2f}", at_most_1=False),
    ]
    constant, length = constant_f2(right)
    if length:
        words = "what every photo" if length == 1 else f"what giving every photo the {length} commonest labels"
        words += " being given the commonest label would reach" if length == 1 else " would reach"
        rows.append(units.mean("mean F2 without looking", constant, words, at_most_1=False))
    return tuple(rows)


def constant_f2(right: Bool[np.ndarray, "image label"]) -> tuple[Float64[np.ndarray, " image"], int]:
    """F2 of each photo if all were given the same commonest labels, as many as are best; and how many those are."""
    order = np.argsort(-right.sum(axis=0), kind="stable")[:MOST_CONSTANT]
    wanted = right.sum(axis=1)
    found = np.cumsum(right[:, order], axis=1)
    best, length = np.zeros(len(right)), 0
    for n in range(1, len(order) + 1):
        f2 = 5 * found[:, n - 1] / (4 * wanted + n)
        if f2.mean() > best.mean():
            best, length = f2, n
    return best, length


def average_precisions(
    proba: Float[np.ndarray, "image label"], truth: Float[np.ndarray, "image label"]
) -> Float64[np.ndarray, " label"]:
    """Average precision of each label, NaN where no photo has it.

    Photos are put in the order of the label's score; average precision is the mean, over the photos that have the
    label, of the precision down to that photo. Photos of equal score stand at the same place.

    Args:
        proba: Scores; only their order counts.
        truth: Above 0 where the photo has the label.

    Raises:
        ShapeError: The matrices differ in shape.

    Source:
        The step-wise definition of scikit-learn's ``average_precision_score`` (no interpolation).
    """
    if proba.shape != truth.shape:
        raise ShapeError(
            "Average precision needs one score for every image and label.",
            got=f"scores {proba.shape}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape.",
        )
    found = np.full(proba.shape[1], np.nan)
    for column, score, hits in _columns(proba, truth):
        if hits.any():
            found[column] = _average_precision(score, hits)
    return found


def _columns(proba: np.ndarray, truth: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Scores and truth of each label, turned block by block: columns of a large matrix are slow to walk."""
    for start in range(0, proba.shape[1], LABELS_AT_ONCE):
        block = slice(start, start + LABELS_AT_ONCE)
        scores, hits = np.ascontiguousarray(proba[:, block].T), np.ascontiguousarray(truth[:, block].T > 0)
        for place, (score, hit) in enumerate(zip(scores, hits, strict=True)):
            yield start + place, score, hit


def _average_precision(score: np.ndarray, hit: np.ndarray) -> float:
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of each run of equal scores
    found = np.cumsum(hit[order])[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / found[-1])


def _f2(name: str, answer: np.ndarray, right: np.ndarray, units: Units, meaning: str) -> Measure:
    return units.mean(name, f_beta_per_image(answer, right), meaning)


def _ratio(name: str, part: np.ndarray, whole: np.ndarray, units: Units, meaning: str) -> list[Measure]:
    """A ratio of sums over photos; nothing where there is nothing to divide by.

    Of a ratio of 0 or 1, where resampling says nothing, the interval is Wilson's, with a photo (or group) as one trial.
    """
    some = whole > 0
    part, whole, units = part[some], whole[some], units.at(some)
    if not len(whole):
        return []
    if part.sum() in {0.0, whole.sum()}:
        return [units.share(name, np.full(len(whole), bool(part.sum())), meaning)]
    return [Measure.of(name, units.ratio(part, whole, trials=None), n=len(whole), meaning=meaning)]
