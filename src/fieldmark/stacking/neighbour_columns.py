"""Columns that need the truth of known photos, told fold by fold.

Whoever judges the photos of fold f must not have been told their labels, not even by a detour. A tree for fold f
learns from rows of the other folds, and such a row of fold g may itself say what the labels of its neighbours are. If a
neighbour were of fold f, its truth would reach the tree through that row. So a row of fold g is told only by photos
neither of g nor of f: each judge has its own version of these columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.knn import NearestRows, cell_relevance, joined_galleries, neighbours
from fieldmark.stacking.specs import Relevance, TableColumns

PRIOR_PHOTOS = 10.0
"""So many photos of no label in particular are added to every label's ImageNet mean: five photos prove little."""

Image, Label = Int[np.ndarray, " cell"], Int[np.ndarray, " cell"]


@dataclass(frozen=True, eq=False)
class NeighbourLabels:
    """What known photos tell of the labels of others, kept so that any fold can be left out.

    Attributes:
        n_told: Photos of each fold of which it is told whether they have each label.
        n_with: Of them, those that have it.
        mass: ImageNet probabilities summed over those, or None.
        all_mass: ImageNet probabilities summed over all photos of the fold, or None.
        unlabelled_mass: The same over those of which it is not told, or None where there are none.
        embeddings: Of the known photos, or None.
        truth: Their labels.
        is_told: Where that is known; None: everywhere.
        fold: Their folds.
        by: How neighbours are heard, or None.
        share: Whether the labels' shares are a column.
    """

    n_told: Int64[np.ndarray, "fold label"]
    n_with: Int64[np.ndarray, "fold label"]
    mass: Float32[np.ndarray, "fold label class"] | None
    all_mass: Float64[np.ndarray, "fold class"] | None
    unlabelled_mass: Float32[np.ndarray, "fold label class"] | None
    embeddings: Float32[np.ndarray, "image dim"] | None
    truth: Bool[np.ndarray, "image label"]
    is_told: Bool[np.ndarray, "image label"] | None
    fold: Int64[np.ndarray, " image"]
    by: Relevance | None
    share: bool

    @classmethod
    def of(
        cls,
        evidence: SecondLevelInputs,
        truth: Bool[np.ndarray, "image label"],
        fold: Int[np.ndarray, " image"],
        features: TableColumns,
        *,
        is_told: Bool[np.ndarray, "image label"] | None = None,
    ) -> NeighbourLabels:
        """Count and sum what the known photos say, fold by fold; cells that are not told (``is_told``) say nothing."""
        fold = np.asarray(fold, np.int64)
        if is_told is not None and is_told.all():
            is_told = None
        n_folds, n_labels = int(fold.max()) + 1, truth.shape[1]
        n_told, n_with = np.zeros((2, n_folds, n_labels), np.int64)
        seen = evidence.imagenet if features.imagenet == "reduced" else None
        by_label = () if seen is None else (n_folds, n_labels, seen.shape[1])
        mass = None if seen is None else np.zeros(by_label, np.float32)
        all_mass = None if seen is None else np.zeros((n_folds, seen.shape[1]))
        unlabelled_mass = None if seen is None or is_told is None else np.zeros(by_label, np.float32)
        for one, images in _by_fold(fold):
            labels = truth[images] if is_told is None else truth[images] & is_told[images]
            n_with[one] += labels.sum(axis=0)
            n_told[one] += len(images) if is_told is None else is_told[images].sum(axis=0)
            if seen is not None and mass is not None and all_mass is not None:
                part = np.asarray(seen[images], np.float32)
                mass[one] += labels.T.astype(np.float32) @ part
                all_mass[one] += part.sum(axis=0, dtype=np.float64)
                if unlabelled_mass is not None and is_told is not None:
                    unlabelled_mass[one] += (~is_told[images]).T.astype(np.float32) @ part
        return cls(
            n_told=n_told,
            n_with=n_with,
            mass=mass,
            all_mass=all_mass,
            unlabelled_mass=unlabelled_mass,
            embeddings=evidence.embeddings if features.relevance is not None else None,
            truth=truth,
            is_told=is_told,
            fold=fold,
            by=features.relevance,
            share=features.share,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are told."""
        told = {
            "label share": self.share,
            "imagenet affinity": self.mass is not None,
            "relevance of neighbours": self.by is not None,
        }
        return tuple(name for name, there in told.items() if there)

    @property
    def folds(self) -> tuple[int, ...]:
        """All folds."""
        return tuple(range(len(self.n_told)))

    def ask(self, evidence: SecondLevelInputs, *, fold: Int[np.ndarray, " image"] | None = None) -> NeighbourColumns:
        """Get ready to tell of some photos: look up their neighbours in every fold.

        Args:
            evidence: Of the photos that are asked about.
            fold: Their folds where they are the known photos themselves; None for new ones.

        Raises:
            ShapeError: Their ImageNet probabilities or embeddings are of another width.
        """
        pairs = {
            "imagenet": (None if self.all_mass is None else self.all_mass.shape[1], evidence.imagenet),
            "embeddings": (None if self.embeddings is None else self.embeddings.shape[1], evidence.embeddings),
        }
        wrong = [
            f"{name} of {part.shape[1]} columns, known photos have {width}"
            for name, (width, part) in pairs.items()
            if width is not None and part is not None and part.shape[1] != width
        ]
        if wrong:
            raise ShapeError(
                "The evidence is not of the kind that the known photos have.",
                got="; ".join(wrong),
                fix="use the same backbone for known and new photos.",
            )
        lists: list[NearestRows] = []
        if self.by is not None and self.embeddings is not None and evidence.embeddings is not None:
            lists = [self._neighbours(evidence.embeddings, one, fold, k=self.by.k) for one in self.folds]
        return NeighbourColumns(self, evidence.imagenet, tuple(lists))

    def _neighbours(self, query: np.ndarray, one: int, fold: np.ndarray | None, *, k: int) -> NearestRows:
        """Each photo's neighbours in fold ``one``; photos of that fold itself have none."""
        photos = np.flatnonzero(self.fold == one).astype(np.int32)
        asking = np.arange(len(query)) if fold is None else np.flatnonzero(fold != one)
        gallery = np.asarray(self.embeddings)[photos]
        found = neighbours(np.asarray(query)[asking], gallery, k=k)
        index = np.full((len(query), k), -1, np.int32)
        cosine = np.full((len(query), k), -np.inf, np.float32)
        index[asking] = np.where(found.index >= 0, photos[found.index], -1)
        cosine[asking] = found.cosine
        return NearestRows(index, cosine)


@dataclass(frozen=True, eq=False)
class NeighbourColumns:
    """The told columns of some photos, by any choice of folds."""

    told: NeighbourLabels
    imagenet: Float32[np.ndarray, "image class"] | None
    lists: tuple[NearestRows, ...]

    def columns(self, image: Image, label: Label, *, folds: Sequence[int]) -> Float32[np.ndarray, "cell told"]:
        """One row a cell, one column each of ``NeighbourLabels.names``, told by the photos of ``folds`` alone.

        Args:
            image: Of each cell, ascending.
            label: Of each cell.
            folds: Folds that may speak, at least one.
        """
        told, folds = self.told, list(folds)
        columns: list[np.ndarray] = []
        n_told, n_with = told.n_told[folds].sum(axis=0), told.n_with[folds].sum(axis=0)
        if told.share:
            columns.append(np.log(label_share(n_told, n_with)).astype(np.float32)[label])
        if told.mass is not None and told.all_mass is not None and self.imagenet is not None:
            all_mass = told.all_mass[folds].sum(axis=0)[None]
            if told.unlabelled_mass is not None:
                all_mass = all_mass - told.unlabelled_mass[folds].sum(axis=0, dtype=np.float64)
            weights = affinity_weights(n_told, n_with, told.mass[folds].sum(axis=0, dtype=np.float64), all_mass)
            columns.append(_affinity(self.imagenet, weights, image, label))
        if told.by is not None:
            images, position = np.unique(image, return_inverse=True)
            lists = [NearestRows(self.lists[one].index[images], self.lists[one].cosine[images]) for one in folds]
            best = joined_galleries(lists, k=told.by.k)
            usual = None if told.is_told is None else (told.is_told, label_share(n_told, n_with))
            columns.append(cell_relevance(best, told.truth, told.by, image=position, label=label, usual=usual))
        return np.stack(columns, axis=1) if columns else np.empty((len(image), 0), np.float32)


def label_share(
    n_told: Int64[np.ndarray, " label"], n_with: Int64[np.ndarray, " label"]
) -> Float64[np.ndarray, " label"]:
    """Each label's share of the photos of which it is told; half a photo is added so that none is zero."""
    return (n_with + 0.5) / (n_told + 1)


def affinity_weights(
    n_told: Int64[np.ndarray, " label"],
    n_with: Int64[np.ndarray, " label"],
    mass: Float64[np.ndarray, "label class"],
    all_mass: Float64[np.ndarray, "#label class"],
) -> Float32[np.ndarray, "class label"]:
    """What each ImageNet class says for or against each label, in nats.

    Photos with a label look like some ImageNet classes more often than photos without it. An image's ImageNet
    probabilities times these weights is the expected log-likelihood ratio of the label: naive Bayes with one word an
    image, the word being uncertain.

    Args:
        n_told: Photos that speak of each label.
        n_with: Of them, those that have it.
        mass: Their ImageNet probabilities, summed.
        all_mass: ImageNet probabilities summed over all that speak; one row where all speak of every label.

    Source:
        Ours; the features are those of iMet 2019, 1st place, stage 5, which had all 1,000 as columns.
    """
    base = (all_mass + 1 / all_mass.shape[1]) / (n_told + 1)[:, None]
    inside = (mass + PRIOR_PHOTOS * base) / (n_with + PRIOR_PHOTOS)[:, None]
    # float32 sums may leave a hair below zero where all photos of a class have the label.
    outside = (np.maximum(all_mass - mass, 0) + PRIOR_PHOTOS * base) / (n_told - n_with + PRIOR_PHOTOS)[:, None]
    return np.log(inside / outside).T.astype(np.float32)


def _affinity(imagenet: np.ndarray, weights: np.ndarray, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    images, position = np.unique(image, return_inverse=True)
    value = np.empty(len(image), np.float32)
    bounds = np.searchsorted(position, np.arange(0, len(images) + 1024, 1024))
    for block, (start, stop) in enumerate(pairwise(bounds)):
        rows = images[block * 1024 : (block + 1) * 1024]
        nats = np.asarray(imagenet[rows], np.float32) @ weights
        value[start:stop] = nats[position[start:stop] - block * 1024, label[start:stop]]
    return value


def _by_fold(fold: np.ndarray, block: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
    """(fold, some of its images), until all are through."""
    for one in range(int(fold.max()) + 1):
        images = np.flatnonzero(fold == one)
        for start in range(0, len(images), block):
            yield one, images[start : start + block]
