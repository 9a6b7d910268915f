"""Measures of predicted labels, as in metrics.json, the report and `fieldmark evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.metrics.measure import Measure, Units

MOST_CONSTANT = 30
"""Maximum number of labels of the baseline, which gives every photo the same labels."""
LABELS_AT_ONCE = 64
"""Number of labels processed in one block."""


def measure_labels(
    answer: Bool[np.ndarray, "image label"],
    truth: Float[np.ndarray, "image label"],
    *,
    groups: Mapping[str, np.ndarray],
    photo_groups: Int64[np.ndarray, " image"] | None = None,
) -> tuple[Measure, ...]:
    """Return the measures of predicted labels of photos with ground truth.

    Intervals resample photos, because errors on labels of one photo are not independent. If the table has groups of
    photos, intervals resample groups.

    Args:
        answer: Whether each label is predicted for each photo.
        truth: Whether each photo has each label (above 0).
        groups: Columns of each label group. If there are several groups, each is also measured separately.
        photo_groups: Group number of each photo (``Collection.groups``); None to treat each photo as a group.

    Returns:
        Mean F2, over all labels and per label group; precision, recall and micro F1 over all pairs of photo and label;
        labels per photo; and the mean F2 of the best baseline that predicts the same labels for every photo.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
    """
    right = truth > 0
    units = Units.of(photo_groups, len(right))
    rows = [_f2("mean F2", answer, right, units, "mean over photos; a missed label counts four times an extra one")]
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
                        "over photos with a label of this group, in the table or predicted",
                    )
                )
    found, given, wanted = ((one.sum(axis=1)).astype(np.float64) for one in (answer & right, answer, right))
    rows += [
        *_ratio("precision", found, given, units, "share of the predicted labels that are in the table"),
        *_ratio("recall", found, wanted, units, "share of the labels in the table that were predicted"),
        *_ratio("micro F1", 2 * found, given + wanted, units, "harmonic mean of precision and recall over all labels"),
        units.mean("labels per photo", given, f"predicted; the table has {wanted.mean():.2f}", at_most_1=False),
    ]
    constant, length = constant_f2(right)
    if length:
        labels = "the most frequent label" if length == 1 else f"the {length} most frequent labels"
        meaning = f"mean F2 if every photo gets {labels}"
        rows.append(units.mean("baseline mean F2", constant, meaning, at_most_1=False))
    return tuple(rows)


def constant_f2(right: Bool[np.ndarray, "image label"]) -> tuple[Float64[np.ndarray, " image"], int]:
    """Return the F2 of each photo for the best baseline, and its number of labels.

    The baseline gives every photo the same n most frequent labels; n is chosen for the highest mean F2.
    """
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
    """Return the average precision of each label; NaN for labels that no photo has.

    Photos are sorted by the score of the label. Average precision is the mean, over photos with the label, of the
    precision among the photos sorted down to it. Photos with equal scores share one place.

    Args:
        proba: Scores; only their order matters.
        truth: Above 0 if the photo has the label.

    Raises:
        ShapeError: The matrices differ in shape.

    Source:
        The step-wise definition of scikit-learn's ``average_precision_score`` (no interpolation).
    """
    if proba.shape != truth.shape:
        raise ShapeError(
            "The scores and the truth have different shapes; average precision needs one score per image and label.",
            got=f"scores {proba.shape}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape.",
        )
    found = np.full(proba.shape[1], np.nan)
    for column, score, hits in _columns(proba, truth):
        if hits.any():
            found[column] = _average_precision(score, hits)
    return found


def _columns(proba: np.ndarray, truth: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield scores and truth of each label. Blocks are transposed, because reading columns of a matrix is slow."""
    for start in range(0, proba.shape[1], LABELS_AT_ONCE):
        block = slice(start, start + LABELS_AT_ONCE)
        scores, hits = np.ascontiguousarray(proba[:, block].T), np.ascontiguousarray(truth[:, block].T > 0)
        for place, (score, hit) in enumerate(zip(scores, hits, strict=True)):
            yield start + place, score, hit


def _average_precision(score: np.ndarray, hit: np.ndarray) -> float:
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # last place of each run of equal scores
    found = np.cumsum(hit[order])[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / found[-1])


def _f2(name: str, answer: np.ndarray, right: np.ndarray, units: Units, meaning: str) -> Measure:
    return units.mean(name, f_beta_per_image(answer, right), meaning)


def _ratio(name: str, part: np.ndarray, whole: np.ndarray, units: Units, meaning: str) -> list[Measure]:
    """Return a ratio of sums over photos; an empty list if the denominator is 0.

    A bootstrap of a ratio of 0 or 1 has no width. Its interval is Wilson's, with a photo (or group) as one trial.
    """
    some = whole > 0
    part, whole, units = part[some], whole[some], units.at(some)
    if not len(whole):
        return []
    if part.sum() in {0.0, whole.sum()}:
        return [units.share(name, np.full(len(whole), bool(part.sum())), meaning)]
    return [Measure.of(name, units.ratio(part, whole, trials=None), n=len(whole), meaning=meaning)]
