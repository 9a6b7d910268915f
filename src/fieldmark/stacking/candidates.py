"""The cells worth judging: for each image the labels that some model takes seriously.

Of 109,237 images x 1,103 labels all but some 4 % of the cells are hopeless, and no tree needs to look at them. What is
pruned away can never be answered, so the share of the true labels that are left, the recall ceiling, is told.
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
        n_images: Rows of that matrix.
        image: Row of each cell, int32.
        label: Column of each cell, int16 where that is enough.
        judged: False for cells that only the truth put here: they may be learnt from, never judged.
    """

    n_images: int
    image: Int[np.ndarray, " cell"]
    label: Int[np.ndarray, " cell"]
    judged: Bool[np.ndarray, " cell"]

    def __len__(self) -> int:
        return len(self.image)

    def only_judged(self) -> Cells:
        """Without those that only the truth put here."""
        keep = self.judged
        return Cells(self.n_images, self.image[keep], self.label[keep], keep[keep])

    def of_images(self, images: slice) -> slice:
        """The cells of a range of images."""
        bounds = np.searchsorted(self.image, np.array([images.start, images.stop], self.image.dtype))
        return slice(int(bounds[0]), int(bounds[1]))


def candidate_cells(
    evidence: SecondLevelInputs, by: Candidates, *, truth: Bool[np.ndarray, "image label"] | None = None
) -> Cells:
    """The labels that any one model ranks among the first ``by.top_k`` of an image.

    Args:
        evidence: Scores of the images.
        by: How many, and how probable at least.
        truth: True labels to unite with them, for learning; None for photos to be judged.

    Raises:
        ShapeError: ``truth`` is not of the images and labels of the scores.
    """
    if truth is not None:
        refuse_truth(evidence, truth)
    images, labels, judged = [], [], []
    for rows in evidence.blocks():
        mask = np.zeros((rows.stop - rows.start, evidence.n_labels), bool)
        for matrix in evidence.scores.values():
            classes, values = top(np.asarray(matrix[rows]), k=by.top_k)
            serious = (values >= by.least) & (classes != EMPTY)
            mask[np.nonzero(serious)[0], classes[serious]] = True
        wanted = mask if truth is None else mask | truth[rows]
        image, label = np.nonzero(wanted)
        images.append((image + rows.start).astype(np.int32))
        labels.append(label.astype(np.int16 if evidence.n_labels <= np.iinfo(np.int16).max else np.int32))
        judged.append(mask[image, label])
    if not images:
        images, labels, judged = [np.zeros(0, np.int32)], [np.zeros(0, np.int16)], [np.zeros(0, bool)]
    return Cells(evidence.n_images, np.concatenate(images), np.concatenate(labels), np.concatenate(judged))


def recall_ceiling(cells: Cells, truth: Bool[np.ndarray, "image label"]) -> float:
    """The share of the true labels that stand among the judged cells: no answer can find more. 1 without any label."""
    n_true = int(np.count_nonzero(truth))
    found = np.count_nonzero(truth[cells.image, cells.label] & cells.judged)
    return float(found / n_true) if n_true else 1.0


def scatter(
    cells: Cells, proba: Float32[np.ndarray, " cell"], evidence: SecondLevelInputs
) -> Float32[np.ndarray, "image label"]:
    """Judged probabilities as a whole matrix.

    What was not judged keeps the order of the models' mean, pressed below half of the image's least judged
    probability: so it never comes before a judged label, and a threshold that reaches down to it still takes the
    likeliest first. An image without any candidate keeps the mean itself.

    Args:
        cells: All of them judged.
        proba: Of each cell.
        evidence: The scores of the images.
    """
    dense = np.empty((evidence.n_images, evidence.n_labels), np.float32)
    for rows in evidence.blocks():
        mean = evidence.mean_of(rows)
        part = cells.of_images(rows)
        image, label, value = cells.image[part] - rows.start, cells.label[part], proba[part]
        least = np.full(len(mean), np.inf, np.float32)
        np.minimum.at(least, image, value)
        greatest = np.maximum(mean.max(axis=1), np.finfo(np.float32).tiny)
        squeeze = np.where(np.isfinite(least), np.minimum(1, 0.5 * least / greatest), 1).astype(np.float32)
        mean *= squeeze[:, None]
        mean[image, label] = value
        dense[rows] = mean
    return dense


def refuse_truth(evidence: SecondLevelInputs, truth: Bool[np.ndarray, "image label"]) -> None:
    """Refuse a truth that does not fit.

    Raises:
        ShapeError: It is not of the images and labels of the scores.
        FieldmarkError: It is not yes or no.
    """
    wanted = (evidence.n_images, evidence.n_labels)
    if np.shape(truth) != wanted:
        raise ShapeError(
            "The truth must be of the same images and labels as the scores.",
            got=f"truth {np.shape(truth)}, scores {wanted}",
            fix="pass one row an image and one column a label, in the order of the scores.",
        )
    if truth.dtype != bool:
        raise FieldmarkError(
            "The truth of a label is yes or no.", got=truth.dtype, fix="pass a boolean matrix, e.g. truth > 0.5."
        )
