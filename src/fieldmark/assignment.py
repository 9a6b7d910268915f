"""From embeddings to answers: identities by nearest neighbours, labels of similar photos, and post-processing.

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
    """The score of every known individual for every query.

    Args:
        query: Embeddings to identify.
        gallery: Embeddings of photos of known individuals.
        gallery_classes: The individual of each gallery photo; photos with -1 are no candidates.
        n_classes: Number of individuals; None: the highest class + 1.
        by: ``best``: cosine to the individual's most similar photo. ``mean_top``: mean of the best few. ``nearest``:
            best photo among the nearest of all. ``sum_above``: sum of cosines above a floor. ``centroid``: cosine to
            the individual's mean.
        **settings: Of ``by``, such as ``m=3`` for ``mean_top``.

    Returns:
        Scores, larger is more likely; -inf where an individual has no photo.

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
        PlanError: A setting is not one of ``by``'s.
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
    """The ``k`` individuals with the most similar photo, without holding all similarities in memory.

    Args:
        query: Embeddings to identify.
        gallery: Embeddings of photos of known individuals; may be a memory map.
        gallery_classes: The individual of each gallery photo; photos with -1 are no candidates.
        k: Individuals per query.
        own: The gallery row of the query itself, which is left out; -1 where it is not in the gallery.

    Returns:
        ``identities``, their most similar ``photos`` (gallery rows) and its ``similarity`` (cosine), best first.

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
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
    """The first ``k`` answers of each query, best first; -1 is unknown.

    Args:
        scores: Score of each known individual, larger is more likely; -inf: never.
        unknown_at: The threshold: individuals must score above it to be answered before -1. One number, or one per
            query; None: -1 is never answered.
        k: Answers per query.

    Returns:
        Classes; -2 where no candidate is left.

    Raises:
        ShapeError: ``scores`` is no matrix or is empty.
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
    """The probability of each label by the labels of the most similar photos (k nearest neighbours).

    Args:
        query: Embeddings of photos to label.
        gallery: Embeddings of labelled photos.
        truth: 1 where a gallery photo has a label, else 0.
        k: Neighbours per query.
        sharpness: A neighbour's weight is ``exp(-sharpness * (1 - cosine))``.
        noise: How often a photo has, or lacks, a label by mistake, 0 to 0.5.
        query_groups: Queries take no labels from gallery photos of their own group. Give the fold as the group of both
            for out-of-fold probabilities.
        gallery_groups: See ``query_groups``; both or neither.

    Raises:
        ShapeError: The arrays do not fit each other, or rows are not of length 1.
        PlanError: A setting is out of range.

    Source:
        Guillaumin et al. 2009 (TagProp); iMet Collection 2019, fourth place.
    """
    from fieldmark.core.errors import ShapeError
    from fieldmark.stacking.knn import neighbours, relevance
    from fieldmark.stacking.specs import Relevance

    if len(truth) != len(gallery) or (query_groups is None) != (gallery_groups is None):
        raise ShapeError(
            "transfer_labels() needs the labels of each gallery photo, and groups of both sides or of neither.",
            got=f"{len(truth)} rows of truth, {len(gallery)} gallery photos, "
            f"query_groups {query_groups is not None}, gallery_groups {gallery_groups is not None}",
            fix="pass one row of truth for each gallery photo, and query_groups together with gallery_groups.",
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
    """The scores after rules that look at all queries together; rank them anew.

    For a set of photos that is answered as one, such as a contest or a survey.

    Args:
        scores: Score of each known individual, larger is more likely.
        rules: ``swap``: a nearly equal second answer comes first where the first is used often and it is not used at
            all. ``transposed``: individuals known from few photos claim the photo most similar to them. One or several,
            as names or settings of a plan.
        unknown_at: The threshold of unknown individuals.
        n_photos: Known photos of each individual, for ``transposed``; None: one each.
        **settings: Of the rule, where there is one: ``lead=0.3, used=2``.

    Raises:
        ShapeError: The arrays do not fit each other.
        PlanError: A setting is not one of the rule's.
        FieldmarkError: A score is NaN, or there is no such rule.

    Source:
        Humpback Whale Identification 2018/19, first, fourth and fifth place.
    """
    from fieldmark.decisions.post_processing import apply_post_processing

    several = list(rules) if isinstance(rules, list | tuple) else [rules]
    chosen = [named(POST_PROCESSING, cast("str", one), settings, what="rule") for one in several]
    counts = np.ones(scores.shape[1], np.int64) if n_photos is None else n_photos
    return apply_post_processing(scores, chosen, unknown_at=unknown_at, n_photos=counts)


__getattr__, __dir__ = exports(__name__, {"NearestIdentities": "fieldmark.gallery.identities"}, own=__all__)
