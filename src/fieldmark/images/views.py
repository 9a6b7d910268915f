"""How a photo is looked at when answers are asked for: as it is, and mirrored; and how both make one score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fieldmark.core.errors import ShapeError


def combine_flip_scores(
    plain: Float[np.ndarray, "image label"], flipped: Float[np.ndarray, "image label"], n_classes: int
) -> Float[np.ndarray, "image class_"]:
    """One score a photo and class from the two views.

    Where mirrored identities are classes of their own (class ``k + n_classes`` is the mirror image of ``k``), the
    mirrored photo of ``k`` must look like ``k + n_classes``: score(k) = (plain(k) + flipped(k + n_classes)) / 2.
    Where they are not, it is the mean of both views. Which of the two is told by the number of columns.

    Args:
        plain: Scores of the photos as they are; ``n_classes`` or ``2 * n_classes`` columns.
        flipped: Scores of the mirrored photos, of the same shape.
        n_classes: Identities, each counted once.

    Raises:
        ShapeError: The shapes differ, or have neither ``n_classes`` nor twice as many columns.

    Source:
        Humpback 2018/19, first place: flip as new identity, test-time flip.
    """
    n_columns = plain.shape[-1] if plain.ndim == 2 else -1
    if plain.shape != flipped.shape or n_classes < 1 or n_columns not in {n_classes, 2 * n_classes}:
        raise ShapeError(
            "combine_flip_scores() needs both views with a column for every class, or for every class and its mirror.",
            got=f"plain {plain.shape}, flipped {flipped.shape}, n_classes {n_classes}",
            fix=f"pass two matrices of {n_classes} or {2 * n_classes} columns and the same rows.",
        )
    return (plain[:, :n_classes] + flipped[:, n_columns - n_classes :]) / 2
