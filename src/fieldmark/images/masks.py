"""Masks as short texts that fit a cell of a table: which pixels are the subject, run by run."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from fieldmark.core.errors import ShapeError

Mask = Bool[np.ndarray, "height width"]
"""True where the subject is; stretched over the whole upright picture, whatever its own size."""

MOST_PIXELS = 4096 * 4096


def to_text(mask: Mask) -> str:
    """A mask as height, width and the lengths of its runs, row by row, the first run outside of the subject.

    A fluke in a mask of 320 x 160 takes about a kilobyte.

    Example:
        >>> to_text(np.array([[False, True, True], [True, False, False]]))
        '2 3 1 3 2'

    Raises:
        ShapeError: The mask is not two-dimensional, or empty.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise ShapeError(
            "A mask needs height and width.", got=f"shape {mask.shape}", fix="pass a (height, width) array."
        )
    flat = np.asarray(mask, dtype=np.bool_).reshape(-1)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], turns, [flat.size])))
    if flat[0]:
        runs = np.concatenate(([0], runs))
    return " ".join(map(str, (*mask.shape, *runs.tolist())))


def from_text(text: str) -> Mask:
    """The mask that ``to_text`` wrote.

    Raises:
        ShapeError: The text is no mask: words, negative runs, runs that do not fill it, or more than 16 megapixels.
    """
    try:
        height, width, *runs = (int(word) for word in text.split())
    except ValueError:
        height, width, runs = 0, 0, []
    if not (0 < height * width <= MOST_PIXELS and height > 0 and min(runs, default=-1) >= 0) or sum(runs) != (
        height * width
    ):
        raise ShapeError(
            "This text is no mask.",
            got=repr(text[:60]),
            fix="write height, width and the lengths of the runs, as fieldmark.images.masks.to_text() does.",
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def stretched(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask over a picture of that height and width, by the nearest of its pixels.

    Example:
        >>> stretched(np.array([[False, True]]), (1, 4))
        array([[False, False,  True,  True]])
    """
    rows, columns = (
        np.minimum(((np.arange(side) + 0.5) * own / side).astype(int), own - 1)
        for side, own in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]


def bounds(mask: Mask) -> tuple[float, float, float, float] | None:
    """The box around the subject as shares of width and height: left, top, right, bottom; None if there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )
