"""What the other labels of an image say about each of its labels.

"Lute" makes "musical instruments" likely, "men" makes "women" a little less so. This is evidence about a label that
no score of the picture holds: people who forgot one label of an image rarely forgot the one that goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.quality.labels.inputs import ROW_BLOCK

N_PARTS = 4
RIDGE = 5.0
"""Images without any label that are added in thought; they keep labels of few images from being sure of each other."""
FLOOR = 0.5
"""Smallest expectation, as a part of the label's own share: other labels are a hint, not a proof of absence."""


@dataclass(frozen=True)
class Company:
    """Expectations of each label from the others, learned on other images than those they are asked about.

    Attributes:
        weights: For each part of the images a matrix learned on the other parts; a label has no say about itself.
        share: Share of the images that have the label.
        part: Part of each image.
    """

    weights: Float32[np.ndarray, "part label label"]
    share: Float32[np.ndarray, " label"]
    part: Int[np.ndarray, " image"]

    def lift(
        self, truth: Bool[np.ndarray, "image label"], rows: Int[np.ndarray, " row"]
    ) -> Float32[np.ndarray, "row label"]:
        """How much likelier than usual each label is beside the image's other labels, as a logarithm.

        Args:
            truth: The matrix it was learned from.
            rows: Which of its images to tell of.
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


def company(truth: Bool[np.ndarray, "image label"], *, groups: Int[np.ndarray, " image"] | None = None) -> Company:
    """Learn what labels keep company with each other.

    Args:
        truth: The given labels, 0 and 1.
        groups: Images of one number (copies of a picture, an encounter) are never learned from to judge one another:
            copies carry the same mistakes.

    Returns:
        Expectations, learned on three quarters of the images for the fourth.

    Source:
        Steck 2019, arXiv:1905.03375, equation 8 (EASE: ridge regression of each label on all others, in one
        inversion); parts and the logarithm are ours.
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
    return Company(weights=weights, share=share.astype(np.float32), part=part)
