"""Post-processing of a batch of answers: balance the names over the photos, and rank photos per individual.

Both rules use all queries together. Use them for a set of photos that is answered as one (a contest, a survey). For
single photos an answer must not depend on the other photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from fieldmark.core.errors import ShapeError
from fieldmark.decisions.ranking import UnknownScore, top
from fieldmark.decisions.specs import PostProcessingRule, Swap, Transposed

DEPTH = 5
"""Number of first answers within which two neighbours may be exchanged."""


def apply_post_processing(
    scores: Float[np.ndarray, "query class"],
    rules: Sequence[PostProcessingRule],
    *,
    unknown_at: UnknownScore,
    n_photos: Int[np.ndarray, " class"],
) -> Float32[np.ndarray, "query class"]:
    """Return the scores after each rule in turn: answers change places by an exchange of their scores.

    Args:
        scores: Larger is more likely; not modified.
        rules: See ``fieldmark.decisions.specs.Swap`` and ``Transposed``.
        unknown_at: The score threshold for unknown individuals; one for all queries or one each.
        n_photos: Number of known photos of each class.

    Raises:
        ShapeError: The length of ``n_photos`` differs from the number of classes.
        FieldmarkError: A score is NaN or +inf.
    """
    changed = np.array(scores, np.float32)
    if np.shape(n_photos) != changed.shape[1:]:
        raise ShapeError(
            "n_photos must hold one number per class.",
            got=f"n_photos {np.shape(n_photos)}, scores {changed.shape}",
            fix="pass np.bincount(classes, minlength=n_classes) of the known photos.",
        )
    threshold = np.broadcast_to(np.inf * -1 if unknown_at is None else np.asarray(unknown_at), len(changed))
    for rule in rules:
        if isinstance(rule, Swap):
            _swap(changed, rule, threshold)
        else:
            _transpose(changed, rule, threshold, np.asarray(n_photos))
    return changed


def _swap(scores: np.ndarray, rule: Swap, threshold: np.ndarray) -> None:
    """Exchange first and second names, smallest score difference first; counts of names are updated each time.

    Source:
        Humpback 2018/19, 1st place (lead 0.3, "already used many times"); neighbours further down: Happywhale 2022,
        14th.
    """
    classes, value = top(scores, k=DEPTH)
    named = value[:, 0] > threshold
    used = np.bincount(classes[named, 0], minlength=scores.shape[1])
    for place in range(classes.shape[1] - 1 if rule.adjacent else min(1, classes.shape[1] - 1)):
        lead = value[:, place] - value[:, place + 1]
        rows = np.flatnonzero(named & (lead < rule.lead) & (value[:, place + 1] > -np.inf))
        for row in rows[np.argsort(lead[rows], kind="stable")]:
            first, second = classes[row, place], classes[row, place + 1]
            if used[first] < rule.used or used[second]:
                continue
            scores[row, first], scores[row, second] = scores[row, second], scores[row, first]
            classes[row, place], classes[row, place + 1] = second, first
            if place == 0:
                used[first] -= 1
                used[second] += 1


def _transpose(scores: np.ndarray, rule: Transposed, threshold: np.ndarray, n_photos: np.ndarray) -> None:
    """Rank the photos for each individual, highest scores first; each photo is assigned at most once.

    Source:
        Humpback 2018/19, 4th and 5th place. Their code has one exception more ("not where the score is three times the
        second's and below 0.6"). Its reading is ambiguous, so it is left out.
    """
    individuals = np.flatnonzero((n_photos > 0) & (n_photos <= rule.most_photos))
    if not len(individuals):
        return
    photo = scores[:, individuals].argmax(axis=0)
    reached = scores[photo, individuals]
    classes, value = top(scores, k=2)
    named = value[:, 0] > threshold
    used = np.bincount(classes[named, 0], minlength=scores.shape[1])
    taken: set[int] = set()
    for one in np.argsort(-reached, kind="stable"):
        name, row = int(individuals[one]), int(photo[one])
        if not rule.at <= reached[one] < np.inf or row in taken:
            continue
        if named[row] and classes.shape[1] > 1 and classes[row, 1] == name and value[row, 1] > threshold[row]:
            first = classes[row, 0]
            scores[row, name], scores[row, first] = scores[row, first], scores[row, name]
            used[first] -= 1
        elif rule.over_new and not named[row] and classes[row, 0] == name and not used[name]:
            scores[row, name] = _just_above(threshold[row])
        else:
            continue
        used[name] += 1
        taken.add(row)


def _just_above(threshold: float) -> np.float32:
    above = np.float32(threshold)
    return above if above > threshold else np.nextafter(above, np.float32(np.inf))
