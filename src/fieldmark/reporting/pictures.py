"""Small pictures of the photos of a collection, for pages."""

from __future__ import annotations

import numpy as np

from fieldmark.core.errors import ImageError
from fieldmark.data.collection import Collection
from fieldmark.images.thumbnails import thumbnail

LONGEST_PX = 320


def picture(photos: Collection, row: int) -> bytes | None:
    """Return a photo as a small JPEG without metadata; None if it cannot be read.

    If the table has the columns ``width`` and ``height``, a file with another aspect ratio is stretched to that shape.
    """
    one = photos.take(np.array([row]))
    width, height = (one.table[side][0] if side in one.table.columns else None for side in ("width", "height"))
    true_size = None if width is None or height is None else (int(width), int(height))
    try:
        return thumbnail(one.paths[0], longest_px=LONGEST_PX, true_size=true_size)
    except ImageError:
        return None
