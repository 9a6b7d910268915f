"""Should mirrored photos count as other individuals? Asked of embeddings, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.centroids import check_unit_length
from fieldmark.metrics.intervals import Interval, interval

BLIND = 0.95
"""Cosine of a photo to its own mirror image from which on an embedding cannot tell them apart."""

FEWEST = 5
"""Identities below which no interval means anything."""


@dataclass(frozen=True)
class SymmetryVerdict:
    """What mirroring costs an embedding in telling individuals apart.

    Attributes:
        same: Mean cosine of two photos of one individual.
        same_mirrored: The same with one of the two mirrored.
        other: Mean cosine of photos of different individuals.
        other_mirrored: The same with one of the two mirrored.
        own: Mean cosine of a photo to its own mirror image.
        lost: Share of what tells an individual from others (``same - other``) that mirroring takes away, with its
            interval over individuals: 0, nothing; 1, a mirrored photo says no more of its individual than an unknown individual's.
        n_identities: How many individuals had two photos to compare.
        verdict: ``other``: mirrored photos show other identities (``flip_identity = true``). ``same``: they show the
            same, and mirroring is a harmless augmentation. ``unsure``: the interval holds both. ``blind``: this
            embedding does not see whether a photo is mirrored, so it cannot be asked.
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
    """Whether a mirrored photo still shows the individual that it showed.

    The left and the right half of a whale's fluke are not similar: mirrored it is the fluke of no whale, and may as well
    count as another individual. An animal seen from the side is, mirrored, itself seen from the other side. The
    question is put to the embeddings: by how much are two photos of one individual less similar if one is mirrored?

    Mirroring changes all photos somewhat (light, which way animals swim), so that what two photos of *different*
    individuals lose by it is taken off; and each individual counts once, whatever number of photos it has.

    Args:
        plain: Embeddings of photos, length 1, that tell left from right: those of ``train.layouts``, or of a network
            that was not taught to overlook flips. (Pooled features of a backbone pretrained with mirrored pictures do
            not: the verdict is then ``blind``.)
        mirrored: Those of the same photos mirrored, by the same network.
        classes: The individual of each photo; below 0 left out.
        groups: Encounter (or series) of each photo. Photos of one group are not compared: shot a second apart they
            are similar in everything, and any mirroring hurts.
        least: Share of what tells individuals apart that mirroring must take away to count, between 0 and 1.
        seed: Of the interval.

    Returns:
        Similarities, the share that is lost, and the verdict: ``other`` where the whole interval lies above ``least``,
        ``same`` where it lies below.

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
        FieldmarkError: Fewer than five individuals have two photos to compare, photos of one individual are no more
            similar than others, or ``least`` is impossible.

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
        told = same - other
        return (told - (same_mirrored - other_mirrored)) / told if told > 0 else np.nan

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
    """Of each identity with pairs to compare: mean cosines among its photos, plain and mirrored, and to others'.

    Those to others follow from sums: the mean cosine to many is the cosine to their sum, by their number.
    """
    sums = plain.sum(axis=0), mirrored.sum(axis=0)
    found = []
    order = np.argsort(names, kind="stable")
    for photos in np.split(order, np.flatnonzero(np.diff(names[order])) + 1):
        apart = groups[photos][:, None] != groups[photos][None, :]
        n_others = len(names) - len(photos)
        if not apart.any() or not n_others:
            continue
        mine, turned = plain[photos], mirrored[photos]
        total = mine.sum(axis=0)
        others = [total @ (everybody - own.sum(axis=0)) for everybody, own in zip(sums, (mine, turned), strict=True)]
        found.append(
            (
                (mine @ mine.T)[apart].mean(),
                (mine @ turned.T)[apart].mean(),
                *(cosines / (len(photos) * n_others) for cosines in others),
            )
        )
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _check(plain: np.ndarray, mirrored: np.ndarray, classes: np.ndarray, groups: np.ndarray, *, least: float) -> None:
    if plain.ndim != 2 or not plain.size or plain.shape != mirrored.shape:
        raise ShapeError(
            "measure_symmetry() needs each photo's embedding as it is and mirrored.",
            got=f"plain {plain.shape}, mirrored {mirrored.shape}",
            fix="pass two (image, dim) arrays of one shape, rows in the same order.",
        )
    if classes.shape != plain.shape[:1] or groups.shape != classes.shape:
        raise ShapeError(
            "measure_symmetry() needs the individual (and group, if any) of each photo.",
            got=f"classes {classes.shape}, groups {groups.shape} for {len(plain)} photos",
            fix="pass vectors as long as the embeddings; -1 for unknown individuals.",
        )
    check_unit_length(plain, what="plain")
    check_unit_length(mirrored, what="mirrored")
    if not 0 < least < 1:
        raise FieldmarkError("measure_symmetry() needs a share.", got=f"least {least}", fix="use least = 0.1.")


def _check_enough(rows: Float64[np.ndarray, "identity 4"]) -> None:
    if len(rows) < FEWEST:
        raise FieldmarkError(
            "Too few individuals have two photos to compare.",
            got=f"{len(rows)} individuals",
            fix=f"give photos of at least {FEWEST} individuals with two photos each (of different groups).",
        )
    same, _, other, _ = rows.mean(axis=0)
    if same <= other:
        raise FieldmarkError(
            "To these embeddings photos of one individual are no more similar than others; they cannot judge flips.",
            got=f"mean cosine {same:.3f} to the same, {other:.3f} to others",
            fix="use a network that tells these individuals apart at least a little, or photos cropped to them.",
        )
