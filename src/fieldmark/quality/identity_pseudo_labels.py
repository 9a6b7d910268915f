"""Select unnamed photos, with a predicted name, for training identification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.specs import Agreement, FewShot, IdentityPseudoLabelRule

Scores = Float32[np.ndarray, "photo identity"]


def pick_identity_pseudo_labels(
    rankings: Sequence[Scores], n_photos: Int64[np.ndarray, " identity"], by: IdentityPseudoLabelRule
) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
    """Return the photos whose predicted identity becomes a pseudo-label, the most confident first.

    Use them for training only. In a gallery, a wrong pseudo-label attracts similar photos. In validation, the
    model would be scored against its own prediction.

    Args:
        rankings: One matrix of scores per ranking. Larger means more likely; -inf marks identities that cannot be
            compared. With several matrices, the mean score is used. ``Agreement`` also counts the rankings that put
            the same identity first.
        n_photos: Number of known photos of each identity.
        by: Rule for accepting an identity, and the maximum number of new photos per identity.

    Returns:
        Rows, and the identity of each. Of equally confident photos the earlier comes first.

    Raises:
        ShapeError: The matrices differ in shape, or the number of counts differs from the number of identities.
        FieldmarkError: ``Agreement`` with fewer than two rankings.

    Source:
        Humpback Whale Identification 2018/19: first place (confidence above 0.96), second place (identities of one
        photo, cosine above 0.65), others (softmax of 0.8, five rounds; a majority and a gap of 0.2). The limit per
        identity is ours.
    """
    if (
        not rankings
        or any(one.ndim != 2 or one.shape != rankings[0].shape for one in rankings)
        or (n_photos.shape != rankings[0].shape[1:])
    ):
        raise ShapeError(
            "The rankings for pseudo-labels must have the same photos and identities.",
            got=f"shapes {[one.shape for one in rankings]}, {len(n_photos)} photo counts",
            fix="pass matrices of one shape, and the number of photos of each identity.",
        )
    if isinstance(by.rule, Agreement) and len(rankings) < 2:
        raise FieldmarkError(
            "Rule 'agreement' needs at least two rankings.",
            got="1 ranking",
            fix='name two rank stages in the setting, or use kind = "sure".',
        )
    if 0 in rankings[0].shape:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    mean = np.mean(np.stack(rankings), axis=0)
    rows = np.arange(len(mean))
    best = mean.argmax(axis=1)
    score = mean[rows, best]
    if isinstance(by.rule, Agreement):
        second = np.where(np.arange(mean.shape[1]) == best[:, None], -np.inf, mean).max(axis=1)
        named = np.stack([one.argmax(axis=1) for one in rankings])
        score = np.where(np.isfinite(second), score - second, np.inf if mean.shape[1] == 1 else -np.inf)
        accepted = (score >= by.rule.gap) & ((named == best).sum(axis=0) * 2 > len(rankings))
    else:
        accepted = score >= by.rule.at
    if isinstance(by.rule, FewShot):
        accepted &= n_photos[best] <= by.rule.most_photos
    order = np.argsort(-score, kind="stable")
    order = order[accepted[order]]
    if by.most_per_identity is not None:
        order = order[_place_among_own(best[order]) < by.most_per_identity]
    return order.astype(np.int64), best[order].astype(np.int64)


def _place_among_own(identity: Int64[np.ndarray, " photo"]) -> Int64[np.ndarray, " photo"]:
    """Return the number of earlier photos with the same identity, for each photo."""
    by_identity = np.argsort(identity, kind="stable")
    ordered = identity[by_identity]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    place = np.empty(len(identity), np.int64)
    place[by_identity] = np.arange(len(identity)) - np.repeat(starts, np.diff(np.r_[starts, len(identity)]))
    return place
