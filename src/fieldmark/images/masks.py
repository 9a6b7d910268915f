"""Run-length encoding of masks, as texts that fit a cell of a table."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from fieldmark.core.errors import ShapeError

Mask = Bool[np.ndarray, "height width"]
"""True where the subject is. A mask covers the whole upright image, whatever the mask's own size."""

MOST_PIXELS = 4096 * 4096


def to_text(mask: Mask) -> str:
    """Return a mask as text: height, width and run lengths, row by row. The first run lies outside the subject.

    The mask of a fluke of 320 x 160 takes about one kilobyte.

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
    """Return the mask from a text that ``to_text`` wrote.

    Raises:
        ShapeError: The text is not a mask: it holds words or negative runs, the runs do not add up to height x width,
            or the mask has more than 16 megapixels.
    """
    try:
        height, width, *runs = (int(word) for word in text.split())
    except ValueError:
        height, width, runs = 0, 0, []
    if not (0 < height * width <= MOST_PIXELS and height > 0 and min(runs, default=-1) >= 0) or sum(runs) != (
        height * width
    ):
        raise ShapeError(
            "The text is not a run-length encoded mask.",
            got=repr(text[:60]),
            fix="write height, width and the run lengths, as fieldmark.images.masks.to_text() does.",
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def stretched(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return the mask resized to an image of the given height and width, by nearest neighbour.

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
    """Return the bounding box of a mask as shares of width and height (left, top, right, bottom); None if empty."""
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
