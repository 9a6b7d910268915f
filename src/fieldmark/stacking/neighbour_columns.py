"""Table columns from the labels of known photos, computed so that no label leaks to its own prediction.

The model for fold f must not depend on the labels of fold f, even indirectly. Its trees are trained on rows of the
other folds. Such a row of fold g contains labels of its neighbours. If a neighbour were in fold f, its label would
reach the trees through that row. So a row of fold g uses only photos outside g and f: each fold's model has its own
version of these columns.
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
"""Number of photos with the mean ImageNet probabilities that are added to every label: five photos are weak evidence.
"""

Image, Label = Int[np.ndarray, " cell"], Int[np.ndarray, " cell"]


@dataclass(frozen=True, eq=False)
class NeighbourLabels:
    """Labels of the known photos, stored so that any fold can be left out.

    Attributes:
        n_labelled: Number of photos per fold that are labelled (yes or no) for each label.
        n_with: Number of those that have the label.
        mass: Sum of the ImageNet probabilities of the photos with the label, or None.
        all_mass: Sum of the ImageNet probabilities of all photos of the fold, or None.
        unlabelled_mass: The same for the photos not labelled for this label, or None if there are none.
        embeddings: Embeddings of the known photos, or None.
        truth: Labels of the known photos.
        is_labelled: Which cells of the truth are labelled; None: all.
        fold: Folds of the known photos.
        by: Settings of the neighbours, or None.
        share: Whether the labels' shares are a column.
    """

    n_labelled: Int64[np.ndarray, "fold label"]
    n_with: Int64[np.ndarray, "fold label"]
    mass: Float32[np.ndarray, "fold label class"] | None
    all_mass: Float64[np.ndarray, "fold class"] | None
    unlabelled_mass: Float32[np.ndarray, "fold label class"] | None
    embeddings: Float32[np.ndarray, "image dim"] | None
    truth: Bool[np.ndarray, "image label"]
    is_labelled: Bool[np.ndarray, "image label"] | None
    fold: Int64[np.ndarray, " image"]
    by: Relevance | None
    share: bool

    @classmethod
    def of(
        cls,
        inputs: SecondLevelInputs,
        truth: Bool[np.ndarray, "image label"],
        fold: Int[np.ndarray, " image"],
        features: TableColumns,
        *,
        is_labelled: Bool[np.ndarray, "image label"] | None = None,
    ) -> NeighbourLabels:
        """Count and sum the labels of the known photos per fold; unlabelled cells (``is_labelled``) are ignored."""
        fold = np.asarray(fold, np.int64)
        if is_labelled is not None and is_labelled.all():
            is_labelled = None
        n_folds, n_labels = int(fold.max()) + 1, truth.shape[1]
        n_labelled, n_with = np.zeros((2, n_folds, n_labels), np.int64)
        imagenet = inputs.imagenet if features.imagenet == "reduced" else None
        by_label = () if imagenet is None else (n_folds, n_labels, imagenet.shape[1])
        mass = None if imagenet is None else np.zeros(by_label, np.float32)
        all_mass = None if imagenet is None else np.zeros((n_folds, imagenet.shape[1]))
        unlabelled_mass = None if imagenet is None or is_labelled is None else np.zeros(by_label, np.float32)
        for one, images in _by_fold(fold):
            labels = truth[images] if is_labelled is None else truth[images] & is_labelled[images]
            n_with[one] += labels.sum(axis=0)
            n_labelled[one] += len(images) if is_labelled is None else is_labelled[images].sum(axis=0)
            if imagenet is not None and mass is not None and all_mass is not None:
                part = np.asarray(imagenet[images], np.float32)
                mass[one] += labels.T.astype(np.float32) @ part
                all_mass[one] += part.sum(axis=0, dtype=np.float64)
                if unlabelled_mass is not None and is_labelled is not None:
                    unlabelled_mass[one] += (~is_labelled[images]).T.astype(np.float32) @ part
        return cls(
            n_labelled=n_labelled,
            n_with=n_with,
            mass=mass,
            all_mass=all_mass,
            unlabelled_mass=unlabelled_mass,
            embeddings=inputs.embeddings if features.relevance is not None else None,
            truth=truth,
            is_labelled=is_labelled,
            fold=fold,
            by=features.relevance,
            share=features.share,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        columns = {
            "label share": self.share,
            "imagenet affinity": self.mass is not None,
            "relevance of neighbours": self.by is not None,
        }
        return tuple(name for name, used in columns.items() if used)

    @property
    def folds(self) -> tuple[int, ...]:
        """All folds."""
        return tuple(range(len(self.n_labelled)))

    def columns_for(
        self, inputs: SecondLevelInputs, *, fold: Int[np.ndarray, " image"] | None = None
    ) -> NeighbourColumns:
        """Prepare the columns of some photos: find their neighbours in every fold.

        Args:
            inputs: Inputs of these photos.
            fold: Their folds if they are the known photos themselves; None for new photos.

        Raises:
            ShapeError: Their ImageNet probabilities or embeddings have another number of columns.
        """
        pairs = {
            "imagenet": (None if self.all_mass is None else self.all_mass.shape[1], inputs.imagenet),
            "embeddings": (None if self.embeddings is None else self.embeddings.shape[1], inputs.embeddings),
        }
        wrong = [
            f"{name} of {part.shape[1]} columns, known photos have {width}"
            for name, (width, part) in pairs.items()
            if width is not None and part is not None and part.shape[1] != width
        ]
        if wrong:
            raise ShapeError(
                "The inputs have other numbers of columns than those of the known photos.",
                got="; ".join(wrong),
                fix="use the same backbone for known and new photos.",
            )
        lists: list[NearestRows] = []
        if self.by is not None and self.embeddings is not None and inputs.embeddings is not None:
            lists = [self._neighbours(inputs.embeddings, one, fold, k=self.by.k) for one in self.folds]
        return NeighbourColumns(self, inputs.imagenet, tuple(lists))

    def _neighbours(self, query: np.ndarray, one: int, fold: np.ndarray | None, *, k: int) -> NearestRows:
        """Return each photo's neighbours in fold ``one``; photos of that fold itself have none."""
        photos = np.flatnonzero(self.fold == one).astype(np.int32)
        others = np.arange(len(query)) if fold is None else np.flatnonzero(fold != one)
        gallery = np.asarray(self.embeddings)[photos]
        found = neighbours(np.asarray(query)[others], gallery, k=k)
        index = np.full((len(query), k), -1, np.int32)
        cosine = np.full((len(query), k), -np.inf, np.float32)
        index[others] = np.where(found.index >= 0, photos[found.index], -1)
        cosine[others] = found.cosine
        return NearestRows(index, cosine)


@dataclass(frozen=True, eq=False)
class NeighbourColumns:
    """The columns of some photos, for any choice of folds."""

    known: NeighbourLabels
    imagenet: Float32[np.ndarray, "image class"] | None
    lists: tuple[NearestRows, ...]

    def columns(self, image: Image, label: Label, *, folds: Sequence[int]) -> Float32[np.ndarray, "cell column"]:
        """Return one row per cell and one column per name of ``NeighbourLabels.names``, from the photos of ``folds``.

        Args:
            image: Image of each cell, ascending.
            label: Label of each cell.
            folds: The folds to use, at least one.
        """
        known, folds = self.known, list(folds)
        columns: list[np.ndarray] = []
        n_labelled, n_with = known.n_labelled[folds].sum(axis=0), known.n_with[folds].sum(axis=0)
        if known.share:
            columns.append(np.log(label_share(n_labelled, n_with)).astype(np.float32)[label])
        if known.mass is not None and known.all_mass is not None and self.imagenet is not None:
            all_mass = known.all_mass[folds].sum(axis=0)[None]
            if known.unlabelled_mass is not None:
                all_mass = all_mass - known.unlabelled_mass[folds].sum(axis=0, dtype=np.float64)
            weights = affinity_weights(n_labelled, n_with, known.mass[folds].sum(axis=0, dtype=np.float64), all_mass)
            columns.append(_affinity(self.imagenet, weights, image, label))
        if known.by is not None:
            images, position = np.unique(image, return_inverse=True)
            lists = [NearestRows(self.lists[one].index[images], self.lists[one].cosine[images]) for one in folds]
            best = joined_galleries(lists, k=known.by.k)
            usual = None if known.is_labelled is None else (known.is_labelled, label_share(n_labelled, n_with))
            columns.append(cell_relevance(best, known.truth, known.by, image=position, label=label, usual=usual))
        return np.stack(columns, axis=1) if columns else np.empty((len(image), 0), np.float32)


def label_share(
    n_labelled: Int64[np.ndarray, " label"], n_with: Int64[np.ndarray, " label"]
) -> Float64[np.ndarray, " label"]:
    """Return each label's share of the photos labelled for it; half a photo is added so that no share is zero."""
    return (n_with + 0.5) / (n_labelled + 1)


def affinity_weights(
    n_labelled: Int64[np.ndarray, " label"],
    n_with: Int64[np.ndarray, " label"],
    mass: Float64[np.ndarray, "label class"],
    all_mass: Float64[np.ndarray, "#label class"],
) -> Float32[np.ndarray, "class label"]:
    """Return the weight of each ImageNet class for or against each label, in nats.

    Photos with a label have some ImageNet classes more often than photos without it. An image's ImageNet probabilities
    times these weights give the expected log-likelihood ratio of the label. This is naive Bayes with one uncertain word
    per image.

    Args:
        n_labelled: Number of photos that are labelled for each label.
        n_with: Number of those that have it.
        mass: Sum of their ImageNet probabilities.
        all_mass: Sum of the ImageNet probabilities of all labelled photos; one row if all photos are labelled for every
            label.
    """
    base = (all_mass + 1 / all_mass.shape[1]) / (n_labelled + 1)[:, None]
    inside = (mass + PRIOR_PHOTOS * base) / (n_with + PRIOR_PHOTOS)[:, None]
    # float32 sums may be slightly below zero if all photos of a class have the label.
    outside = (np.maximum(all_mass - mass, 0) + PRIOR_PHOTOS * base) / (n_labelled - n_with + PRIOR_PHOTOS)[:, None]
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
    """Yield (fold, some of its images) until all images are done."""
    for one in range(int(fold.max()) + 1):
        images = np.flatnonzero(fold == one)
        for start in range(0, len(images), block):
            yield one, images[start : start + block]
