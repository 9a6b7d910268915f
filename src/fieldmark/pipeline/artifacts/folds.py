"""The assignment of known photos to training and validation."""

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
    """The fold of each known photo: ``k >= 0`` validates model k, ``-1`` is training data for all models."""

    def write(self, fold: Int64[np.ndarray, " photo"]) -> None:
        """Write the fold of each known photo."""
        np.save(self.folder / FILE, fold)

    @cached_property
    def fold(self) -> Int64[np.ndarray, " photo"]:
        """The fold of each known photo."""
        return np.load(self.folder / FILE, allow_pickle=False)

    @property
    def n_folds(self) -> int:
        """The number of folds, which is also the number of models."""
        return int(self.fold.max()) + 1

    @property
    def rows(self) -> Int64[np.ndarray, " validation"]:
        """The rows of all validation photos among the known photos, in ascending order."""
        return np.flatnonzero(self.fold >= 0)

    def validation(self, known: Collection, *, k: int) -> list[str]:
        """Return the ids of the validation photos of model ``k``."""
        return [known.images[row] for row in np.flatnonzero(self.fold == k)]

    def training(self, known: Collection, *, k: int) -> list[str]:
        """Return the ids of all other known photos."""
        return [known.images[row] for row in np.flatnonzero(self.fold != k)]

    def classes(self, known: Collection) -> Int64[np.ndarray, " photo"]:
        """Return the class of each known photo for validation.

        An individual without a training photo counts as unknown (-1), even if the table names it.
        """
        return classes_by(known, self.fold)

    def teaches(self, known: Collection, *, k: int) -> Bool[np.ndarray, " photo"]:
        """Return which known photos are training photos of model ``k``.

        Validation photos are left out, and so are extra photos that would leak a validation photo. These are extra
        photos of the same group, with the same file, or of an individual that counts as unknown in validation.
        """
        own = self.fold == k
        leaks = np.zeros(len(known), np.bool_)
        if (extra := known.extra).any():
            hidden = known.classes[own & (known.classes >= 0) & (self.classes(known) == UNKNOWN)]
            leaks = extra & (np.isin(known.groups, known.groups[own]) | np.isin(known.classes, hidden))
            rows = np.flatnonzero(extra & ~leaks)
            validation = [path for path, is_own in zip(known.paths, own, strict=True) if is_own]
            leaks[rows] = among([known.paths[row] for row in rows], validation)
        return ~own & ~leaks


def classes_by(known: Collection, fold: Int64[np.ndarray, " photo"]) -> Int64[np.ndarray, " photo"]:
    """Return the class of each known photo for validation with these folds; see ``Folds.classes``."""
    classes = known.classes.copy()
    for k in range(int(fold.max()) + 1):
        own = (fold == k) & (classes >= 0)
        classes[own & ~np.isin(classes, classes[(fold != k) & ~known.extra])] = UNKNOWN
    return classes
