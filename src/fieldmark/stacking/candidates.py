"""Candidate cells: for each image the labels that at least one model ranks high.

Of 109,237 images x 1,103 labels, all but about 4 % of the cells are hopeless, so the trees skip them. A label that is
not a candidate can never be predicted correctly. The share of true labels among the candidates, the recall ceiling, is
therefore reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.ranking import EMPTY, top
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.specs import Candidates


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of an (image, label) matrix, ordered by image, then label.

    Attributes:
        n_images: Number of rows of that matrix.
        image: Row of each cell, int32.
        label: Column of each cell, int16 if that is enough.
        scored: False for cells that were added only because the label is true: they are used for training, never
            scored.
    """

    n_images: int
    image: Int[np.ndarray, " cell"]
    label: Int[np.ndarray, " cell"]
    scored: Bool[np.ndarray, " cell"]

    def __len__(self) -> int:
        return len(self.image)

    def only_scored(self) -> Cells:
        """Return the cells without those added from the truth."""
        keep = self.scored
        return Cells(self.n_images, self.image[keep], self.label[keep], keep[keep])

    def of_images(self, images: slice) -> slice:
        """Return the slice of cells of a range of images."""
        bounds = np.searchsorted(self.image, np.array([images.start, images.stop], self.image.dtype))
        return slice(int(bounds[0]), int(bounds[1]))


def candidate_cells(
    inputs: SecondLevelInputs, by: Candidates, *, truth: Bool[np.ndarray, "image label"] | None = None
) -> Cells:
    """Return the labels that any single model ranks among the first ``by.top_k`` of an image.

    Args:
        inputs: Scores of the images.
        by: Maximum rank and minimum probability.
        truth: True labels to add, for training; None for photos to be scored.

    Raises:
        ShapeError: ``truth`` does not have the images and labels of the scores.
    """
    if truth is not None:
        refuse_truth(inputs, truth)
    images, labels, scored = [], [], []
    for rows in inputs.blocks():
        mask = np.zeros((rows.stop - rows.start, inputs.n_labels), bool)
        for matrix in inputs.scores.values():
            classes, values = top(np.asarray(matrix[rows]), k=by.top_k)
            candidate = (values >= by.least) & (classes != EMPTY)
            mask[np.nonzero(candidate)[0], classes[candidate]] = True
        selected = mask if truth is None else mask | truth[rows]
        image, label = np.nonzero(selected)
        images.append((image + rows.start).astype(np.int32))
        labels.append(label.astype(np.int16 if inputs.n_labels <= np.iinfo(np.int16).max else np.int32))
        scored.append(mask[image, label])
    if not images:
        images, labels, scored = [np.zeros(0, np.int32)], [np.zeros(0, np.int16)], [np.zeros(0, bool)]
    return Cells(inputs.n_images, np.concatenate(images), np.concatenate(labels), np.concatenate(scored))


def recall_ceiling(cells: Cells, truth: Bool[np.ndarray, "image label"]) -> float:
    """Return the share of the true labels among the scored cells: the maximum recall. 1 without any label."""
    n_true = int(np.count_nonzero(truth))
    found = np.count_nonzero(truth[cells.image, cells.label] & cells.scored)
    return float(found / n_true) if n_true else 1.0


def scatter(
    cells: Cells, proba: Float32[np.ndarray, " cell"], inputs: SecondLevelInputs
) -> Float32[np.ndarray, "image label"]:
    """Return the probabilities of the cells as a full matrix.

    Labels without a score keep the order of the models' mean. Their values are scaled to below half of the image's
    lowest scored probability. So they never come before a scored label, and a low threshold still selects the most
    probable ones first. An image without candidates keeps the mean itself.

    Args:
        cells: The cells, all scored.
        proba: Probability of each cell.
        inputs: The scores of the images.
    """
    dense = np.empty((inputs.n_images, inputs.n_labels), np.float32)
    for rows in inputs.blocks():
        mean = inputs.mean_of(rows)
        part = cells.of_images(rows)
        image, label, value = cells.image[part] - rows.start, cells.label[part], proba[part]
        least = np.full(len(mean), np.inf, np.float32)
        np.minimum.at(least, image, value)
        greatest = np.maximum(mean.max(axis=1), np.finfo(np.float32).tiny)
        factor = np.where(np.isfinite(least), np.minimum(1, 0.5 * least / greatest), 1).astype(np.float32)
        mean *= factor[:, None]
        mean[image, label] = value
        dense[rows] = mean
    return dense


def refuse_truth(inputs: SecondLevelInputs, truth: Bool[np.ndarray, "image label"]) -> None:
    """Raise an error for a truth that does not match the scores.

    Raises:
        ShapeError: It does not have the images and labels of the scores.
        FieldmarkError: It is not boolean.
    """
    expected = (inputs.n_images, inputs.n_labels)
    if np.shape(truth) != expected:
        raise ShapeError(
            "truth must have the images and labels of the scores.",
            got=f"truth {np.shape(truth)}, scores {expected}",
            fix="pass one row per image and one column per label, in the order of the scores.",
        )
    if truth.dtype != bool:
        raise FieldmarkError(
            "truth must be boolean.", got=truth.dtype, fix="pass a boolean matrix, for example truth > 0.5."
        )
