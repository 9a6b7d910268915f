"""Photos without names that may join the training of identities, and under which name."""

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
    """The photos whose name is believed, the surest first.

    They join the training only. In a gallery a wrong one would attract its like, and among the validation photos a
    guess would be marked by its own author.

    Args:
        rankings: One matrix of scores a ranking, larger is likelier; -inf where an identity cannot be compared with.
            With several, the mean counts (and, for ``Agreement``, how many name the same identity first).
        n_photos: Known photos of each identity.
        by: Whose name is believed, and how many photos an identity may get.

    Returns:
        Rows, and the identity of each. Of equally sure photos the earlier comes first.

    Raises:
        ShapeError: The matrices differ in shape, or there is not one count an identity.
        FieldmarkError: ``Agreement`` with fewer than two rankings.

    Source:
        Humpback Whale Identification 2018/19: first place (sure above 0.96), second place (identities of one photo,
        cosine above 0.65), others (softmax of 0.8, five rounds; a majority and a gap of 0.2). The cap is ours.
    """
    if (
        not rankings
        or any(one.ndim != 2 or one.shape != rankings[0].shape for one in rankings)
        or (n_photos.shape != rankings[0].shape[1:])
    ):
        raise ShapeError(
            "Recruiting needs rankings of the same photos and identities.",
            got=f"{[one.shape for one in rankings]}, {len(n_photos)} counts",
            fix="pass matrices of one shape, and the number of photos of each identity.",
        )
    if isinstance(by.rule, Agreement) and len(rankings) < 2:
        raise FieldmarkError(
            "One ranking alone cannot agree with others.", got="1 ranking", fix="name two rank stages, or use sure."
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
        believed = (score >= by.rule.gap) & ((named == best).sum(axis=0) * 2 > len(rankings))
    else:
        believed = score >= by.rule.at
    if isinstance(by.rule, FewShot):
        believed &= n_photos[best] <= by.rule.most_photos
    order = np.argsort(-score, kind="stable")
    order = order[believed[order]]
    if by.most_per_identity is not None:
        order = order[_place_among_own(best[order]) < by.most_per_identity]
    return order.astype(np.int64), best[order].astype(np.int64)


def _place_among_own(identity: Int64[np.ndarray, " photo"]) -> Int64[np.ndarray, " photo"]:
    """How many earlier photos have the same identity."""
    by_identity = np.argsort(identity, kind="stable")
    ordered = identity[by_identity]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    place = np.empty(len(identity), np.int64)
    place[by_identity] = np.arange(len(identity)) - np.repeat(starts, np.diff(np.r_[starts, len(identity)]))
    return place
