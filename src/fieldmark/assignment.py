"""Identities by nearest neighbours, label transfer between similar photos, and post-processing of scores.

Arrays may be lists, numpy arrays, tensors, or columns. Embeddings have length 1, as ``fieldmark.embed`` returns them.
Classes are whole numbers, -1 for unknown individuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

from fieldmark.core.arrays import takes_arrays
from fieldmark.core.public import exports, kinds_of, named
from fieldmark.decisions.specs import (
    Best,
    Centroid,
    IdentityScore,
    MeanTop,
    Nearest,
    PostProcessingRule,
    SumAbove,
    Swap,
    Transposed,
)

if TYPE_CHECKING:
    from fieldmark.gallery.identities import NearestIdentities

__all__ = ["NearestIdentities", "identity_scores", "nearest_identities", "post_process", "rank", "transfer_labels"]
IDENTITY_SCORES = kinds_of(Best, MeanTop, Nearest, SumAbove, Centroid)
POST_PROCESSING = kinds_of(Swap, Transposed)
By = Literal["best", "mean_top", "nearest", "sum_above", "centroid"]


@takes_arrays
def identity_scores(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    gallery_classes: Int[np.ndarray, " gallery"],
    *,
    n_classes: int | None = None,
    by: By | IdentityScore = "best",
    **settings: Any,
) -> Float32[np.ndarray, "query class"]:
    """Return the score of each known individual for each query.

    Args:
        query: Embeddings to identify.
        gallery: Embeddings of photos of known individuals.
        gallery_classes: The individual of each gallery photo; photos of class -1 are ignored.
        n_classes: Number of known individuals; None: the highest class + 1.
        by: ``best``: cosine to the individual's most similar photo. ``mean_top``: mean of the best few. ``nearest``:
            best photo among the nearest of all. ``sum_above``: sum of cosines above a floor. ``centroid``: cosine to
            the individual's mean.
        **settings: Settings of ``by``, such as ``m=3`` for ``mean_top``.

    Returns:
        Scores; larger is more likely, -inf for an individual without photos.

    Raises:
        ShapeError: The shapes differ, an array is empty, or rows do not have length 1.
        PlanError: ``by`` has no setting of that name, or the value is not valid.
        FieldmarkError: A class is out of range.

    Source:
        Humpback Whale Identification 2018/19, third and fifth place; Happywhale 2022, first place.
    """
    from fieldmark.decisions.identities import from_embeddings

    n_classes = int(gallery_classes.max(initial=-1)) + 1 if n_classes is None else n_classes
    rule = named(IDENTITY_SCORES, by, settings, what="identity score")
    return from_embeddings(query, gallery, gallery_classes, n_classes=n_classes, by=rule)


@takes_arrays
def nearest_identities(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    gallery_classes: Int[np.ndarray, " gallery"],
    *,
    k: int = 5,
    own: Int[np.ndarray, " query"] | None = None,
) -> NearestIdentities:
    """Return the ``k`` nearest individuals of each query, without storing all similarities in memory.

    Args:
        query: Embeddings to identify.
        gallery: Embeddings of photos of known individuals; may be a memory map.
        gallery_classes: The individual of each gallery photo; photos of class -1 are ignored.
        k: Number of individuals per query.
        own: Gallery row of the query itself, which is left out; -1 if it is not in the gallery.

    Returns:
        ``identities``, their most similar ``photos`` (gallery rows) and the ``similarity`` (cosine), best first.

    Raises:
        ShapeError: The shapes differ, an array is empty, or rows do not have length 1.
        FieldmarkError: ``k`` is below 1, or a class below -1.
    """
    from fieldmark.gallery.identities import best_identities

    return best_identities(query, gallery, gallery_classes, k=k, own=own)


@takes_arrays
def rank(
    scores: Float[np.ndarray, "query class"],
    *,
    unknown_at: float | Float[np.ndarray, " query"] | None = None,
    k: int = 5,
) -> Int64[np.ndarray, "query rank"]:
    """Return the ``k`` best classes of each query, best first; -1 is an unknown individual.

    Args:
        scores: Score of each known individual; larger is more likely, -inf: never.
        unknown_at: Threshold for unknown individuals: classes that score above it are ranked before -1. One number, or
            one per query; None: -1 is never returned.
        k: Number of classes per query.

    Returns:
        Classes; -2 if no candidate is left.

    Raises:
        ShapeError: ``scores`` is not a matrix or is empty.
        FieldmarkError: ``k`` is below 1, or a score or threshold is NaN.

    Example:
        >>> rank([[0.9, 0.2], [0.3, 0.2]], unknown_at=0.5, k=2).tolist()
        [[0, -1], [-1, 0]]
    """
    from fieldmark.decisions.ranking import rank as ranked

    return ranked(scores, unknown_at=unknown_at, k=k)


@takes_arrays
def transfer_labels(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    truth: Bool[np.ndarray, "gallery label"],
    *,
    k: int = 20,
    sharpness: float = 20.0,
    noise: float = 0.001,
    query_groups: Int[np.ndarray, " query"] | None = None,
    gallery_groups: Int[np.ndarray, " gallery"] | None = None,
) -> Float32[np.ndarray, "query label"]:
    """Return the probability of each label from the labels of the k nearest photos.

    Args:
        query: Embeddings of photos to label.
        gallery: Embeddings of labelled photos.
        truth: 1 where a gallery photo has a label, else 0.
        k: Number of neighbours per query.
        sharpness: A neighbour's weight is ``exp(-sharpness * (1 - cosine))``.
        noise: Probability that a gallery label is wrong, 0 to 0.5.
        query_groups: Group of each query; gallery photos of the same group are ignored. Use the fold as the group for
            out-of-fold probabilities.
        gallery_groups: Group of each gallery photo; needed with ``query_groups``.

    Raises:
        ShapeError: The shapes differ, or rows do not have length 1.
        PlanError: A setting is out of range.

    Source:
        Guillaumin et al. 2009 (TagProp); iMet Collection 2019, fourth place.
    """
    from fieldmark.core.errors import ShapeError
    from fieldmark.stacking.knn import neighbours, relevance
    from fieldmark.stacking.specs import Relevance

    if len(truth) != len(gallery) or (query_groups is None) != (gallery_groups is None):
        raise ShapeError(
            "transfer_labels() needs one row of truth per gallery photo, and both groups or none.",
            got=f"{len(truth)} rows of truth, {len(gallery)} gallery photos, "
            f"query_groups {query_groups is not None}, gallery_groups {gallery_groups is not None}",
            fix="pass one row of truth per gallery photo, and query_groups together with gallery_groups.",
        )
    groups = None if query_groups is None or gallery_groups is None else (query_groups, gallery_groups)
    weights = {"k": k, "sharpness": sharpness, "noise": noise}
    by = named({"relevance": Relevance}, "relevance", weights, what="setting")
    left, right = (one.astype(np.float32, copy=False) for one in (query, gallery))
    return relevance(neighbours(left, right, k=k, groups=groups), truth, by)


@takes_arrays
def post_process(
    scores: Float[np.ndarray, "query class"],
    rules: str | PostProcessingRule | Sequence[str | PostProcessingRule] = "swap",
    *,
    unknown_at: float | Float[np.ndarray, " query"] | None = None,
    n_photos: Int[np.ndarray, " class"] | None = None,
    **settings: Any,
) -> Float32[np.ndarray, "query class"]:
    """Return the scores after post-processing rules that use all queries together; rank them again.

    Use this for a set of photos that is predicted as a whole, such as a contest or a survey.

    Args:
        scores: Score of each known individual; larger is more likely.
        rules: ``swap``: a nearly equal second class becomes first if the first class is predicted often and the second
            never (class balance). ``transposed``: individuals with few photos receive the photo most similar to them.
            One rule or several, as names or settings of a plan.
        unknown_at: Threshold for unknown individuals, as in ``rank``.
        n_photos: Number of known photos per individual, for ``transposed``; None: one each.
        **settings: Settings of the rule, if there is one: ``lead=0.3, used=2``.

    Raises:
        ShapeError: The shapes differ.
        PlanError: The rule has no setting of that name, or the value is not valid.
        FieldmarkError: A score is NaN, or the rule does not exist.

    Source:
        Humpback Whale Identification 2018/19, first, fourth and fifth place.
    """
    from fieldmark.decisions.post_processing import apply_post_processing

    several = list(rules) if isinstance(rules, list | tuple) else [rules]
    chosen = [named(POST_PROCESSING, cast("str", one), settings, what="rule") for one in several]
    counts = np.ones(scores.shape[1], np.int64) if n_photos is None else n_photos
    return apply_post_processing(scores, chosen, unknown_at=unknown_at, n_photos=counts)


__getattr__, __dir__ = exports(__name__, {"NearestIdentities": "fieldmark.gallery.identities"}, own=__all__)
