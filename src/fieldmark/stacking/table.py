"""The table that trees read: one row a cell, the columns that need no truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int

from fieldmark.core.files import disk_errors
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.statistics import STATISTICS
from fieldmark.stacking.candidates import Cells
from fieldmark.stacking.inputs import IMAGE_BLOCK, SecondLevelInputs
from fieldmark.stacking.specs import TableColumns

FLOOR = 1e-6
"""Added above and below the line of a quotient: probabilities of 0 must not make infinities."""
MOST_TOGETHER = 3
LABEL, GROUP = "label", "label group"
CATEGORICAL = (LABEL, GROUP)
"""Columns whose numbers are names."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The main directions in which the ImageNet probabilities of photos differ.

    Attributes:
        mean: Of the square roots of the probabilities.
        components: (class, component), each of length 1, the widest first.
    """

    mean: Float32[np.ndarray, " class"]
    components: Float32[np.ndarray, "class component"]

    @classmethod
    def of(cls, imagenet: Float32[np.ndarray, "image class"], *, n_components: int) -> Projection:
        """Found on some photos; labels are not looked at.

        Square roots, as the probabilities themselves lie so near 0 that a few sure classes would be all that differs.

        Args:
            imagenet: Probabilities of at least one photo; may be a memory map.
            n_components: At most so many; there are no more than classes.

        Source:
            Principal components; the square root is that of the Hellinger distance.
        """
        n_images, width = imagenet.shape
        total, square = np.zeros(width), np.zeros((width, width))
        for start in range(0, n_images, IMAGE_BLOCK):
            root = _roots(imagenet[start : start + IMAGE_BLOCK])
            total += root.sum(axis=0)
            square += root.T @ root
        mean = total / n_images
        _, vectors = np.linalg.eigh(square / n_images - np.outer(mean, mean))
        components = vectors[:, ::-1][:, :n_components]
        # The sign of an eigenvector is anybody's choice; ours does not depend on the library.
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
        return cls(mean.astype(np.float32), (components * np.where(largest < 0, -1, 1)).astype(np.float32))

    def __call__(self, imagenet: Float32[np.ndarray, "image class"]) -> Float32[np.ndarray, "image component"]:
        """The components of some photos."""
        return ((_roots(imagenet) - self.mean) @ self.components).astype(np.float32)


def column_names(evidence: SecondLevelInputs, features: TableColumns) -> tuple[str, ...]:
    """The names of the columns that ``tabulate`` fills, in their order."""
    models = evidence.models
    names = [f"proba {model}" for model in models]
    if features.combinations:
        for some in _together(len(models)):
            these = [models[m] for m in some]
            names += [" + ".join(these), " / ".join(these), " x ".join(these)]
    if features.spread and len(models) > 1:
        names += ["mean", "median", "standard deviation", "greatest", "least"]
    if features.ranks:
        names += [f"rank {model}" for model in models]
    if features.statistics:
        names += STATISTICS
    if evidence.imagenet is not None and features.imagenet != "off":
        width = evidence.imagenet.shape[1]
        raw = features.imagenet == "raw"
        names += [f"imagenet {c}" if raw else f"imagenet component {c}" for c in range(_width(features, width))]
    if features.label:
        names += CATEGORICAL
    return tuple(names)


def tabulate(
    evidence: SecondLevelInputs,
    cells: Cells,
    features: TableColumns,
    *,
    label_groups: Int[np.ndarray, " label"] | None = None,
    projection: Projection | None = None,
    file: Path | None = None,
    progress: Progress = QUIET,
) -> Float32[np.ndarray, "cell column"]:
    """The columns that need no truth, filled block by block so that memory stays bounded.

    Args:
        evidence: What the features ask for.
        cells: One row each.
        features: Which columns.
        label_groups: Group of each label; all the same where None.
        projection: For the reduced form of the ImageNet probabilities.
        file: Where the table lies, as .npy, and is mapped from; None keeps it in memory.
        progress: Told of each block.

    Raises:
        FieldmarkError: Features ask for evidence that is not there.
        RunError: The disk is full.
    """
    evidence.must_serve(features)
    names = column_names(evidence, features)
    groups = np.zeros(evidence.n_labels, np.int64) if label_groups is None else np.asarray(label_groups)
    shape = (len(cells), len(names))
    if file is None or not len(cells):
        table = np.empty(shape, np.float32)
    else:
        with disk_errors(file):
            table = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    blocks = evidence.blocks()
    for rows in progress.track(blocks, total=len(blocks), what="tables"):
        part = cells.of_images(rows)
        where = (cells.image[part] - rows.start, cells.label[part].astype(np.int64))
        block = table[part]
        column = 0
        for values in _columns(evidence, rows, where, features, projection):
            block[:, column : column + values.shape[1]] = values
            column += values.shape[1]
        if features.label:
            block[:, column], block[:, column + 1] = where[1], groups[where[1]]
    return table


def competition_ranks(
    scores: Float32[np.ndarray, "image label"],
) -> Int[np.ndarray, "image label"]:
    """The place of each label in its image, 1 the highest; equals share the better place (1, 2, 2, 4)."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    place = np.zeros(scores.shape, np.int32)
    place[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], np.arange(1, scores.shape[1], dtype=np.int32), 0)
    ranks = np.empty_like(place)
    np.put_along_axis(ranks, order, np.maximum.accumulate(place, axis=1) + 1, axis=1)
    return ranks


def _columns(
    evidence: SecondLevelInputs,
    rows: slice,
    where: tuple[np.ndarray, np.ndarray],
    features: TableColumns,
    projection: Projection | None,
) -> Iterator[np.ndarray]:
    """The columns of a block of images, in the order of ``column_names``, several at once."""
    blocks = [np.asarray(matrix[rows], np.float32) for matrix in evidence.scores.values()]
    proba = np.stack([block[where] for block in blocks], axis=1)
    yield proba
    if features.combinations:
        for some in _together(proba.shape[1]):
            yield combined_models(proba[:, some])
    if features.spread and proba.shape[1] > 1:
        middle = (proba.mean(axis=1), np.median(proba, axis=1), proba.std(axis=1))
        yield np.stack([*middle, proba.max(axis=1), proba.min(axis=1)], axis=1)
    if features.ranks:
        yield np.stack([competition_ranks(block)[where] for block in blocks], axis=1)
    image = where[0]
    if features.statistics and evidence.statistics is not None:
        yield np.asarray(evidence.statistics[rows], np.float32)[image]
    if features.imagenet != "off" and evidence.imagenet is not None:
        seen = np.asarray(evidence.imagenet[rows], np.float32)
        if features.imagenet == "raw":
            yield seen[image]
        elif projection is not None:
            yield projection(seen)[image]


def combined_models(proba: Float32[np.ndarray, "cell model"]) -> Float32[np.ndarray, "cell 3"]:
    """Sum, quotient and product of two or three models' probabilities; the quotient is first / second / third."""
    lifted = proba + np.float32(FLOOR)
    quotient = lifted[:, 0].copy()
    for other in range(1, lifted.shape[1]):
        quotient /= lifted[:, other]
    return np.stack([proba.sum(axis=1), quotient, proba.prod(axis=1)], axis=1)


def _together(n_models: int) -> list[tuple[int, ...]]:
    return [some for size in range(2, MOST_TOGETHER + 1) for some in combinations(range(n_models), size)]


def _width(features: TableColumns, n_classes: int) -> int:
    return n_classes if features.imagenet == "raw" else min(features.n_components, n_classes)


def _roots(imagenet: np.ndarray) -> Float64[np.ndarray, "image class"]:
    return np.sqrt(np.maximum(np.asarray(imagenet, np.float64), 0))
