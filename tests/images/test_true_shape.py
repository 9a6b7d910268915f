from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.images.thumbnails import thumbnail


@pytest.mark.parametrize(
    ("true_size", "longest_px", "shown"),
    [
        ((1050, 350), 320, (300, 100)),
        ((1050, 350), 150, (150, 50)),
        ((300, 600), 320, (100, 200)),
        (None, 320, (100, 100)),
    ],
)
def test_a_resized_file_gets_its_true_aspect_ratio(
    tmp_path: Path, true_size: tuple[int, int] | None, longest_px: int, shown: tuple[int, int]
) -> None:
    path = tmp_path / "squashed.jpg"
    Image.fromarray(np.full((100, 100, 3), 90, np.uint8)).save(path)
    picture = Image.open(BytesIO(thumbnail(path, longest_px=longest_px, true_size=true_size)))
    assert picture.size == shown
