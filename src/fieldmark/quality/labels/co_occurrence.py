"""Predict each label of an image from its other labels.

For example, "lute" makes "musical instruments" likely, and "men" makes "women" slightly less likely. This adds
information to the scores of the picture: people who forgot one label of an image rarely also forgot a related label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.quality.labels.inputs import ROW_BLOCK

N_PARTS = 4
RIDGE = 5.0
"""Ridge penalty, in images without any label. It prevents overconfident predictions between rare labels."""
FLOOR = 0.5
"""Smallest expected value, relative to the frequency of the label. Other labels never prove that a label is absent."""


@dataclass(frozen=True)
class CoOccurrence:
    """A fitted model that predicts each label from the other labels, cross-fitted over parts of the images.

    Attributes:
        weights: One weight matrix for each part, fitted on the other parts. The weight of a label for itself is 0.
        share: Share of the images that have each label, 0 to 1.
        part: Number of the part of each image.
    """

    weights: Float32[np.ndarray, "part label label"]
    share: Float32[np.ndarray, " label"]
    part: Int[np.ndarray, " image"]

    def lift(
        self, truth: Bool[np.ndarray, "image label"], rows: Int[np.ndarray, " row"]
    ) -> Float32[np.ndarray, "row label"]:
        """Return the log ratio between the expected value of each label, given the other labels, and its frequency.

        Args:
            truth: The matrix that the model was fitted on.
            rows: Rows of the images to compute.
        """
        given = truth[rows].astype(np.float32)
        expected = np.empty_like(given)
        for part, weights in enumerate(self.weights):
            inside = self.part[rows] == part
            expected[inside] = given[inside] @ weights
        np.clip(expected, 0, 1, out=expected)
        expected += FLOOR * self.share
        expected /= (1 + FLOOR) * self.share
        return np.log(expected, out=expected)


def fit_co_occurrence(
    truth: Bool[np.ndarray, "image label"], *, groups: Int[np.ndarray, " image"] | None = None
) -> CoOccurrence:
    """Fit the co-occurrence of labels.

    Args:
        truth: The given labels, 0 and 1.
        groups: Group number of each image, such as copies of a picture or one encounter. The images of a group are in
            the same part, because copies carry the same mistakes.

    Returns:
        The fitted model. The values of each quarter of the images come from the other three quarters.

    Source:
        Steck 2019, arXiv:1905.03375, equation 8 (EASE: ridge regression of each label on all others, in one
        inversion). The parts and the logarithm are ours.
    """
    n_images, n_labels = truth.shape
    part = (np.arange(n_images) if groups is None else np.asarray(groups)) % N_PARTS
    together = np.zeros((N_PARTS, n_labels, n_labels))
    for start in range(0, n_images, ROW_BLOCK):
        block = truth[start : start + ROW_BLOCK].astype(np.float32)  # whole numbers below 2^24: exact
        inside = part[start : start + ROW_BLOCK]
        for number in range(N_PARTS):
            of_part = block[inside == number]
            together[number] += of_part.T @ of_part
    total = together.sum(axis=0)
    weights = np.empty(together.shape, np.float32)
    for number in range(N_PARTS):
        inverse = np.linalg.inv(total - together[number] + RIDGE * np.eye(n_labels))
        weights[number] = -inverse / np.diag(inverse)
        np.fill_diagonal(weights[number], 0)
    share = (np.diag(total) + 1) / (n_images + 2)
    return CoOccurrence(weights=weights, share=share.astype(np.float32), part=part)
