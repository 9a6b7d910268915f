"""Second thoughts about many answers at once: names spread over the photos, and asked the other way round.

Both look at all queries together, so they are for a pile of photos that is answered as one (a contest, a survey), not
for single photos: there an answer must not depend on what else was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from fieldmark.core.errors import ShapeError
from fieldmark.decisions.ranking import UnknownScore, top
from fieldmark.decisions.specs import PostProcessingRule, Swap, Transposed

DEPTH = 5
"""Places among which neighbours may be exchanged."""


def apply_post_processing(
    scores: Float[np.ndarray, "query class"],
    rules: Sequence[PostProcessingRule],
    *,
    unknown_at: UnknownScore,
    n_photos: Int[np.ndarray, " class"],
) -> Float32[np.ndarray, "query class"]:
    """The scores after each rule in turn: what changes places has exchanged its scores.

    Args:
        scores: Larger is likelier; not changed.
        rules: See ``fieldmark.decisions.specs.Swap`` and ``Transposed``.
        unknown_at: The score of "nobody we know"; one for all queries or one each.
        n_photos: Known photos of each class.

    Raises:
        ShapeError: There is not one number of photos a class.
        FieldmarkError: A score is NaN or +inf.
    """
    changed = np.array(scores, np.float32)
    if np.shape(n_photos) != changed.shape[1:]:
        raise ShapeError(
            "Every class needs its number of photos.",
            got=f"n_photos {np.shape(n_photos)}, scores {changed.shape}",
            fix="pass np.bincount(classes, minlength=n_classes) of the known photos.",
        )
    threshold = np.broadcast_to(np.inf * -1 if unknown_at is None else np.asarray(unknown_at), len(changed))
    for rule in rules:
        if isinstance(rule, Swap):
            _swap(changed, rule, threshold)
        else:
            _ask_back(changed, rule, threshold, np.asarray(n_photos))
    return changed


def _swap(scores: np.ndarray, rule: Swap, threshold: np.ndarray) -> None:
    """The smallest leads first, the count of names kept up with each change.

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


def _ask_back(scores: np.ndarray, rule: Transposed, threshold: np.ndarray, n_photos: np.ndarray) -> None:
    """Individuals ask, those with the highest scores first; a photo is given away once.

    Source:
        Humpback 2018/19, 4th and 5th place. Theirs has one exception more ("not where the score is three times the
        second's and below 0.6"), whose reading is open; it is left out.
    """
    asking = np.flatnonzero((n_photos > 0) & (n_photos <= rule.most_photos))
    if not len(asking):
        return
    photo = scores[:, asking].argmax(axis=0)
    reached = scores[photo, asking]
    classes, value = top(scores, k=2)
    named = value[:, 0] > threshold
    used = np.bincount(classes[named, 0], minlength=scores.shape[1])
    taken: set[int] = set()
    for one in np.argsort(-reached, kind="stable"):
        name, row = int(asking[one]), int(photo[one])
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
