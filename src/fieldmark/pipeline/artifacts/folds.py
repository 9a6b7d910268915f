"""Which photos each model is trained on, and which validate it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.data.collection import Collection
from fieldmark.data.copies import among
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.pipeline.artifacts.base import Artifact

FILE = "fold.npy"


class Folds(Artifact):
    """The fold of each known photo: ``k >= 0`` is validation of model k, ``-1`` is training for all."""

    def write(self, fold: Int64[np.ndarray, " photo"]) -> None:
        """Write the fold of each known photo."""
        np.save(self.folder / FILE, fold)

    @cached_property
    def fold(self) -> Int64[np.ndarray, " photo"]:
        """The fold of each known photo."""
        return np.load(self.folder / FILE, allow_pickle=False)

    @property
    def n_folds(self) -> int:
        """How many folds, and so models, there are."""
        return int(self.fold.max()) + 1

    @property
    def rows(self) -> Int64[np.ndarray, " validation"]:
        """The rows of the known photos that validate a model, in their order."""
        return np.flatnonzero(self.fold >= 0)

    def validation(self, known: Collection, *, k: int) -> list[str]:
        """Ids of the photos that validate model ``k``."""
        return [known.images[row] for row in np.flatnonzero(self.fold == k)]

    def training(self, known: Collection, *, k: int) -> list[str]:
        """Ids of all other photos."""
        return [known.images[row] for row in np.flatnonzero(self.fold != k)]

    def classes(self, known: Collection) -> Int64[np.ndarray, " photo"]:
        """The class of each known photo as validation counts it.

        An individual without a photo in training is unknown to the model (-1), whatever the table calls it.
        """
        return classes_by(known, self.fold)

    def teaches(self, known: Collection, *, k: int) -> Bool[np.ndarray, " photo"]:
        """Which known photos model ``k`` may learn from: no validation photo, and no extra one that would leak it.

        That is an extra photo of a validation photo's group, of its file, or of an individual that validates as an
        unknown one.
        """
        own = self.fold == k
        spoilt = np.zeros(len(known), np.bool_)
        if (extra := known.extra).any():
            hidden = known.classes[own & (known.classes >= 0) & (self.classes(known) == UNKNOWN)]
            spoilt = extra & (np.isin(known.groups, known.groups[own]) | np.isin(known.classes, hidden))
            rows = np.flatnonzero(extra & ~spoilt)
            validation = [path for path, is_own in zip(known.paths, own, strict=True) if is_own]
            spoilt[rows] = among([known.paths[row] for row in rows], validation)
        return ~own & ~spoilt


def classes_by(known: Collection, fold: Int64[np.ndarray, " photo"]) -> Int64[np.ndarray, " photo"]:
    """The class of each known photo as validation by these folds counts it; see ``Folds.classes``."""
    classes = known.classes.copy()
    for k in range(int(fold.max()) + 1):
        own = (fold == k) & (classes >= 0)
        classes[own & ~np.isin(classes, classes[(fold != k) & ~known.extra])] = UNKNOWN
    return classes
