"""Teacher probabilities for photos of unknown individuals, stored sparsely: the likeliest classes of each photo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

MOST = 32
"""Number of stored classes per item. The other classes share the remaining probability evenly."""


@dataclass(frozen=True, eq=False)
class SparseProba:
    """Class probabilities of some items, stored as the few likeliest classes of each item.

    Attributes:
        row: Row of every item; -1 for items without probabilities.
        classes: Likeliest classes of each row.
        proba: Probabilities of these classes.
        n_classes: Number of all classes.
    """

    row: Int64[np.ndarray, " all_items"]
    classes: Int64[np.ndarray, "row likeliest"]
    proba: Float32[np.ndarray, "row likeliest"]
    n_classes: int

    @classmethod
    def of(
        cls,
        items: Int[np.ndarray, " row"],
        parts: Iterable[Float[np.ndarray, "part class"]],
        *,
        n_items: int,
        most: int = MOST,
    ) -> SparseProba:
        """Store the probabilities of some items.

        Args:
            items: Items with probabilities.
            parts: Probabilities of all classes in blocks of rows, in the order of ``items``.
            n_items: Number of all items.
            most: Number of classes to store per item.
        """
        classes, proba, n_classes = [], [], 0
        for part in parts:
            n_classes = part.shape[1]
            likeliest = np.argpartition(-part, min(most, n_classes) - 1, axis=1)[:, :most].astype(np.int64)
            classes.append(likeliest)
            proba.append(np.take_along_axis(part, likeliest, axis=1).astype(np.float32))
        row = np.full(n_items, -1, np.int64)
        row[items] = np.arange(len(items))
        return cls(row, np.concatenate(classes), np.concatenate(proba), n_classes)

    def about(self, items: Int[np.ndarray, " batch"]) -> Float[Tensor, "batch class"]:
        """Return the probability of every class for some items; 0 for items without probabilities."""
        row = self.row[items]
        stored = row >= 0
        proba, classes = self.proba[row[stored]], self.classes[row[stored]]
        n_others = self.n_classes - classes.shape[1]
        dense = np.zeros((len(items), self.n_classes), np.float32)
        if n_others:
            dense[stored] = np.maximum(0, 1 - proba.sum(axis=1, keepdims=True)) / n_others
        dense[np.flatnonzero(stored)[:, None], classes] = proba
        return torch.from_numpy(dense)
