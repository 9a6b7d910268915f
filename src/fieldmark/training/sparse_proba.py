"""What teachers say of unknown individuals: the likeliest individuals of each, and what is left for all others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

MOST = 32
"""Classes of which a teacher's probability is kept; the others of an item share the rest evenly."""


@dataclass(frozen=True, eq=False)
class SparseProba:
    """Probabilities of classes for some items, nearly all of them told by a few numbers an item.

    Attributes:
        row: Of every item; -1 where nothing is said.
        classes: The likeliest classes of each row.
        proba: Their probabilities.
        n_classes: How many classes there are.
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
        """What is said of some of ``n_items`` items; ``parts`` come one after the other, in the order of ``items``."""
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
        """The probability of every class for some items; 0 for those of which nothing is said."""
        row = self.row[items]
        said = row >= 0
        proba, classes = self.proba[row[said]], self.classes[row[said]]
        n_others = self.n_classes - classes.shape[1]
        told = np.zeros((len(items), self.n_classes), np.float32)
        if n_others:
            told[said] = np.maximum(0, 1 - proba.sum(axis=1, keepdims=True)) / n_others
        told[np.flatnonzero(said)[:, None], classes] = proba
        return torch.from_numpy(told)
