from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.data.collection import Collection
from fieldmark.images.specs import BoxCrop, Preprocess
from fieldmark.quality.regions.sources import photo_source


@pytest.mark.parametrize("orientation", [1, 6])
def test_boxes_are_in_pixels_of_the_true_size(tmp_path: Path, orientation: int) -> None:
    """A photo of 400x200 pixels is stored as 100x50, once rotated. The box still marks its red half."""
    upright = np.zeros((50, 100, 3), np.uint8)
    upright[:, 50:] = (255, 0, 0)
    picture = Image.fromarray(upright)
    if orientation == 6:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    table = {"image": ["a"], "file": ["a.png"], "box_x": [200.0], "box_y": [0.0], "box_w": [200.0], "box_h": [200.0]}
    photos = Collection.of(pl.DataFrame({**table, "width": [400], "height": [200]}), root=tmp_path, name="one")
    source = photo_source(photos, Preprocess(height_px=32, width_px=32, crop=BoxCrop(margin=0.0)))
    pixels = source.load(np.array([0]), epoch=0, start=0)[0].float()
    assert pixels[0].mean() > 240
    assert pixels[1].mean() < 15


def test_photos_without_a_box_are_not_cropped(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (0, 255, 0)).save(tmp_path / "a.png")
    table = {"image": ["a"], "file": ["a.png"], "box_x": [None], "box_y": [None], "box_w": [None], "box_h": [None]}
    schema = {"image": pl.String, "file": pl.String, **dict.fromkeys(("box_x", "box_y", "box_w", "box_h"), pl.Float64)}
    photos = Collection.of(pl.DataFrame(table, schema=schema), root=tmp_path, name="one")
    source = photo_source(photos, Preprocess(height_px=32, width_px=32, crop=BoxCrop()))
    assert source.load(np.array([0]), epoch=0, start=0)[0, 1].float().mean() > 250
