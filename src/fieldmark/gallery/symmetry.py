"""Symmetry test: do flipped photos show other individuals? Measured on embeddings, before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.centroids import check_unit_length
from fieldmark.metrics.intervals import Interval, interval

BLIND = 0.95
"""From this cosine of a photo to its own flipped copy, an embedding cannot distinguish the two."""

FEWEST = 5
"""Minimum number of identities for an interval."""


@dataclass(frozen=True)
class SymmetryVerdict:
    """Effect of a horizontal flip on how well an embedding separates individuals.

    Attributes:
        same: Mean cosine of two photos of one individual.
        same_mirrored: The same with one of the two flipped.
        other: Mean cosine of photos of different individuals.
        other_mirrored: The same with one of the two flipped.
        own: Mean cosine of a photo to its own flipped copy.
        lost: Share of the separation (``same - other``) that a flip removes, with its interval over individuals. 0:
            nothing; 1: a flipped photo is no more similar to its individual than to others.
        n_identities: Number of individuals with two photos to compare.
        verdict: ``other``: flipped photos show other identities (``flip_identity = true``). ``same``: they show the
            same, and flips are a harmless augmentation. ``unsure``: the interval includes both. ``blind``: the
            embedding does not depend on flips, so it cannot be used for this test.
    """

    same: float
    same_mirrored: float
    other: float
    other_mirrored: float
    own: float
    lost: Interval
    n_identities: int
    verdict: Literal["other", "same", "unsure", "blind"]


def measure_symmetry(
    plain: Float[np.ndarray, "image dim"],
    mirrored: Float[np.ndarray, "image dim"],
    classes: Int[np.ndarray, " image"],
    *,
    groups: Int[np.ndarray, " image"] | None = None,
    least: float = 0.1,
    seed: int = 0,
) -> SymmetryVerdict:
    """Measure whether a flipped photo still shows the same individual.

    The two halves of a whale's fluke differ. A flipped photo shows a fluke of no real whale, and can be used as another
    individual. For an animal in side view, a flipped photo shows the same animal from the other side. The test measures
    on embeddings how much less similar two photos of one individual are if one is flipped.

    A flip changes all photos somewhat (light, swimming direction). So the change between photos of *different*
    individuals is subtracted. Each individual has the same weight, whatever its number of photos.

    Args:
        plain: Embeddings of photos, of unit length, that depend on left and right: those of ``train.layouts``, or of a
            network that was trained without flips. (Pooled features of a backbone pretrained with flips do not; the
            verdict is then ``blind``.)
        mirrored: Embeddings of the same photos flipped, by the same network.
        classes: The individual of each photo; photos of a negative class are left out.
        groups: Encounter (or series) of each photo. Photos of one group are not compared: photos taken a second apart
            are similar in everything, so any flip would lower their similarity.
        least: Minimum share of the separation that a flip must remove, between 0 and 1.
        seed: Random seed of the interval.

    Returns:
        Similarities, the lost share, and the verdict: ``other`` if the whole interval is above ``least``, ``same`` if
        it is below.

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
        FieldmarkError: Fewer than five individuals have two photos to compare, photos of one individual are no more
            similar than others, or ``least`` is out of range.

    Source:
        Ours. Flips as new identities: Humpback Whale Identification 2018/19, first and third place; that it harms with
        side views: Happywhale 2022.
    """
    plain, mirrored, classes = np.asarray(plain), np.asarray(mirrored), np.asarray(classes)
    groups = np.arange(len(classes)) if groups is None else np.asarray(groups)
    _check(plain, mirrored, classes, groups, least=least)
    known = classes >= 0
    one, two = plain[known].astype(np.float64), mirrored[known].astype(np.float64)
    _, names = np.unique(classes[known], return_inverse=True)
    rows = _of_identities(one, two, names, groups[known])
    _check_enough(rows)

    def lost(chosen: Int64[np.ndarray, " draw"]) -> float:
        same, same_mirrored, other, other_mirrored = rows[chosen].mean(axis=0)
        separation = same - other
        return (separation - (same_mirrored - other_mirrored)) / separation if separation > 0 else np.nan

    share = interval(lost, n_queries=len(rows), seed=seed, unit="individual")
    own = float((one * two).sum(axis=1).mean())
    same, same_mirrored, other, other_mirrored = rows.mean(axis=0).tolist()
    return SymmetryVerdict(
        same=same,
        same_mirrored=same_mirrored,
        other=other,
        other_mirrored=other_mirrored,
        own=own,
        lost=share,
        n_identities=len(rows),
        verdict="blind" if own >= BLIND else _verdict(share, least),
    )


def _verdict(share: Interval, least: float) -> Literal["other", "same", "unsure"]:
    if share.low > least:
        return "other"
    return "same" if share.high < least else "unsure"


def _of_identities(
    plain: Float64[np.ndarray, "image dim"],
    mirrored: Float64[np.ndarray, "image dim"],
    names: Int64[np.ndarray, " image"],
    groups: Int[np.ndarray, " image"],
) -> Float64[np.ndarray, "identity 4"]:
    """Return for each identity with pairs the mean cosines among its photos and to others', plain and flipped.

    The mean cosine to many photos is the cosine to their sum, divided by their number.
    """
    sums = plain.sum(axis=0), mirrored.sum(axis=0)
    found = []
    order = np.argsort(names, kind="stable")
    for photos in np.split(order, np.flatnonzero(np.diff(names[order])) + 1):
        comparable = groups[photos][:, None] != groups[photos][None, :]
        n_others = len(names) - len(photos)
        if not comparable.any() or not n_others:
            continue
        own_plain, own_mirrored = plain[photos], mirrored[photos]
        total = own_plain.sum(axis=0)
        others = [
            total @ (sum_of_all - own.sum(axis=0))
            for sum_of_all, own in zip(sums, (own_plain, own_mirrored), strict=True)
        ]
        found.append(
            (
                (own_plain @ own_plain.T)[comparable].mean(),
                (own_plain @ own_mirrored.T)[comparable].mean(),
                *(cosines / (len(photos) * n_others) for cosines in others),
            )
        )
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _check(plain: np.ndarray, mirrored: np.ndarray, classes: np.ndarray, groups: np.ndarray, *, least: float) -> None:
    if plain.ndim != 2 or not plain.size or plain.shape != mirrored.shape:
        raise ShapeError(
            "measure_symmetry() needs the embedding of each photo and of its flipped copy.",
            got=f"plain {plain.shape}, mirrored {mirrored.shape}",
            fix="pass two (image, dim) arrays of one shape, with rows in the same order.",
        )
    if classes.shape != plain.shape[:1] or groups.shape != classes.shape:
        raise ShapeError(
            "measure_symmetry() needs the individual (and group, if any) of each photo.",
            got=f"classes {classes.shape}, groups {groups.shape} for {len(plain)} photos",
            fix="pass one entry per row of the embeddings; -1 for unknown individuals.",
        )
    check_unit_length(plain, what="plain")
    check_unit_length(mirrored, what="mirrored")
    if not 0 < least < 1:
        raise FieldmarkError("least must be between 0 and 1.", got=f"least={least}", fix="use least=0.1.")


def _check_enough(rows: Float64[np.ndarray, "identity 4"]) -> None:
    if len(rows) < FEWEST:
        raise FieldmarkError(
            "Too few individuals have two photos to compare.",
            got=f"{len(rows)} individuals",
            fix=f"add photos: at least {FEWEST} individuals need two photos each, of different groups.",
        )
    same, _, other, _ = rows.mean(axis=0)
    if same <= other:
        raise FieldmarkError(
            "These embeddings do not separate the individuals, so they cannot be used to test flips.",
            got=f"mean cosine {same:.3f} to the same individual, {other:.3f} to others",
            fix="use a network that separates these individuals at least slightly, or photos cropped to the animals.",
        )
