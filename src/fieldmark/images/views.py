"""Test-time augmentation: combine the scores of a photo and of its horizontal flip."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fieldmark.core.errors import ShapeError


def combine_flip_scores(
    plain: Float[np.ndarray, "image label"], flipped: Float[np.ndarray, "image label"], n_classes: int
) -> Float[np.ndarray, "image class_"]:
    """Return one score per photo and class from the scores of the photo and of its flip.

    If flips are separate identities (class ``k + n_classes`` is the flip of class ``k``), the flipped photo of ``k``
    belongs to class ``k + n_classes``: score(k) = (plain(k) + flipped(k + n_classes)) / 2. Otherwise the score is the
    mean of both views. The number of columns decides which of the two rules applies.

    Args:
        plain: Scores of the original photos; ``n_classes`` or ``2 * n_classes`` columns.
        flipped: Scores of the flipped photos, of the same shape.
        n_classes: Number of identities, each counted once.

    Raises:
        ShapeError: The shapes differ, or the number of columns is neither ``n_classes`` nor ``2 * n_classes``.

    Source:
        Humpback 2018/19, first place: flip as new identity, test-time flip.
    """
    n_columns = plain.shape[-1] if plain.ndim == 2 else -1
    if plain.shape != flipped.shape or n_classes < 1 or n_columns not in {n_classes, 2 * n_classes}:
        raise ShapeError(
            "combine_flip_scores() needs two score matrices with one column per class, or per class and its flip.",
            got=f"plain {plain.shape}, flipped {flipped.shape}, n_classes {n_classes}",
            fix=f"pass two matrices of {n_classes} or {2 * n_classes} columns and the same rows.",
        )
    return (plain[:, :n_classes] + flipped[:, n_columns - n_classes :]) / 2
