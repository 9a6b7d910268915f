"""The table of the second level: one row per cell, with the columns that need no labels."""

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
"""Added to both sides of a quotient, so that probabilities of 0 do not give infinite values."""
MOST_TOGETHER = 3
LABEL, GROUP = "label", "label group"
CATEGORICAL = (LABEL, GROUP)
"""Columns with category numbers."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components of the ImageNet probabilities of photos.

    Attributes:
        mean: Mean of the square roots of the probabilities.
        components: (class, component) matrix; each component of length 1, largest variance first.
    """

    mean: Float32[np.ndarray, " class"]
    components: Float32[np.ndarray, "class component"]

    @classmethod
    def of(cls, imagenet: Float32[np.ndarray, "image class"], *, n_components: int) -> Projection:
        """Compute the components on some photos; labels are not used.

        Square roots are used because the probabilities are so near 0 that a few confident classes would dominate.

        Args:
            imagenet: Probabilities of at least one photo; may be a memory map.
            n_components: Maximum number of components; at most the number of classes.

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
        # The sign of an eigenvector is arbitrary; this choice does not depend on the library.
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
        return cls(mean.astype(np.float32), (components * np.where(largest < 0, -1, 1)).astype(np.float32))

    def __call__(self, imagenet: Float32[np.ndarray, "image class"]) -> Float32[np.ndarray, "image component"]:
        """Return the components of some photos."""
        return ((_roots(imagenet) - self.mean) @ self.components).astype(np.float32)


def column_names(inputs: SecondLevelInputs, features: TableColumns) -> tuple[str, ...]:
    """Return the names of the columns that ``tabulate`` fills, in order."""
    models = inputs.models
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
    if inputs.imagenet is not None and features.imagenet != "off":
        width = inputs.imagenet.shape[1]
        raw = features.imagenet == "raw"
        names += [f"imagenet {c}" if raw else f"imagenet component {c}" for c in range(_width(features, width))]
    if features.label:
        names += CATEGORICAL
    return tuple(names)


def tabulate(
    inputs: SecondLevelInputs,
    cells: Cells,
    features: TableColumns,
    *,
    label_groups: Int[np.ndarray, " label"] | None = None,
    projection: Projection | None = None,
    file: Path | None = None,
    progress: Progress = QUIET,
) -> Float32[np.ndarray, "cell column"]:
    """Return the columns that need no labels, filled in blocks so that memory use is limited.

    Args:
        inputs: The inputs that the columns need.
        cells: One row each.
        features: Which columns.
        label_groups: Group of each label; None: one group for all.
        projection: For the reduced form of the ImageNet probabilities.
        file: Path of the table as a memory-mapped .npy file; None: in memory.
        progress: Reports each block.

    Raises:
        FieldmarkError: An input that the columns need is missing.
        RunError: The disk is full.
    """
    inputs.must_serve(features)
    names = column_names(inputs, features)
    groups = np.zeros(inputs.n_labels, np.int64) if label_groups is None else np.asarray(label_groups)
    shape = (len(cells), len(names))
    if file is None or not len(cells):
        table = np.empty(shape, np.float32)
    else:
        with disk_errors(file):
            table = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    blocks = inputs.blocks()
    for rows in progress.track(blocks, total=len(blocks), what="tables"):
        part = cells.of_images(rows)
        where = (cells.image[part] - rows.start, cells.label[part].astype(np.int64))
        block = table[part]
        column = 0
        for values in _columns(inputs, rows, where, features, projection):
            block[:, column : column + values.shape[1]] = values
            column += values.shape[1]
        if features.label:
            block[:, column], block[:, column + 1] = where[1], groups[where[1]]
    return table


def competition_ranks(
    scores: Float32[np.ndarray, "image label"],
) -> Int[np.ndarray, "image label"]:
    """Return the rank of each label in its image, 1 the highest; ties share the better rank (1, 2, 2, 4)."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    place = np.zeros(scores.shape, np.int32)
    place[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], np.arange(1, scores.shape[1], dtype=np.int32), 0)
    ranks = np.empty_like(place)
    np.put_along_axis(ranks, order, np.maximum.accumulate(place, axis=1) + 1, axis=1)
    return ranks


def _columns(
    inputs: SecondLevelInputs,
    rows: slice,
    where: tuple[np.ndarray, np.ndarray],
    features: TableColumns,
    projection: Projection | None,
) -> Iterator[np.ndarray]:
    """Yield the columns of a block of images, in the order of ``column_names``, several at once."""
    blocks = [np.asarray(matrix[rows], np.float32) for matrix in inputs.scores.values()]
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
    if features.statistics and inputs.statistics is not None:
        yield np.asarray(inputs.statistics[rows], np.float32)[image]
    if features.imagenet != "off" and inputs.imagenet is not None:
        imagenet = np.asarray(inputs.imagenet[rows], np.float32)
        if features.imagenet == "raw":
            yield imagenet[image]
        elif projection is not None:
            yield projection(imagenet)[image]


def combined_models(proba: Float32[np.ndarray, "cell model"]) -> Float32[np.ndarray, "cell 3"]:
    """Return sum, quotient (first / second / third) and product of two or three models' probabilities."""
    raised = proba + np.float32(FLOOR)
    quotient = raised[:, 0].copy()
    for other in range(1, raised.shape[1]):
        quotient /= raised[:, other]
    return np.stack([proba.sum(axis=1), quotient, proba.prod(axis=1)], axis=1)


def _together(n_models: int) -> list[tuple[int, ...]]:
    return [some for size in range(2, MOST_TOGETHER + 1) for some in combinations(range(n_models), size)]


def _width(features: TableColumns, n_classes: int) -> int:
    return n_classes if features.imagenet == "raw" else min(features.n_components, n_classes)


def _roots(imagenet: np.ndarray) -> Float64[np.ndarray, "image class"]:
    return np.sqrt(np.maximum(np.asarray(imagenet, np.float64), 0))
