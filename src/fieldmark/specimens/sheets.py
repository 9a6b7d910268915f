"""Contact sheets: one row an individual, one column a view, to see at a glance what the pen can do."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from fieldmark.specimens.flukes import Fluke, View, draw_fluke


def draw_sheet(
    *, n_identities: int = 6, n_views: int = 5, size_px: tuple[int, int] = (320, 160), gap_px: int = 4, seed: int = 0
) -> UInt8[np.ndarray, "height width 3"]:
    """Some whales, each seen some times, on one white sheet.

    Args:
        n_identities: Rows, at least 1.
        n_views: Columns, at least 1.
        size_px: Width and height of each picture.
        gap_px: White between the pictures.
        seed: The ocean; the whales are numbers 0, 1, 2 ... of ``fieldmark.specimens.flukes.Fluke.of``.

    Returns:
        Red, green and blue, 0 to 255.

    Source:
        Ours.
    """
    width, height = size_px[0] + gap_px, size_px[1] + gap_px
    sheet = np.full((n_identities * height - gap_px, n_views * width - gap_px, 3), 255, dtype=np.uint8)
    for row in range(n_identities):
        for column in range(n_views):
            picture = draw_fluke(Fluke.of(seed, row), View.of(seed, row * n_views + column), size_px=size_px)
            top, left = row * height, column * width
            sheet[top : top + size_px[1], left : left + size_px[0]] = picture
    return sheet
