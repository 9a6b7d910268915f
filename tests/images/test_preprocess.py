"""Preprocessing: size, crop, flip, fill, and equality of scaled and full decoding."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ImageError, ShapeError
from fieldmark.images.preprocess import normalise, prepare
from fieldmark.images.specs import BoxCrop, CropIfNeeded, ImetAugment, Preprocess, WhaleAugment


def scene(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[:height, :width] / 100
    layers = [np.sin(5 * x + 2 * y), np.cos(3 * y * x), np.sign(np.sin(9 * x) + np.cos(7 * y)) * 0.3]
    return Image.fromarray(np.clip(128 + 90 * np.stack(layers, axis=2), 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def shown(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_full_frame_agrees_with_pillow(interpolation: str) -> None:
    spec = Preprocess(height_px=48, width_px=96, interpolation=interpolation)
    expected = scene(200, 300).resize((96, 48), Image.Resampling[interpolation.upper()])
    made = prepare(saved(scene(200, 300)), spec)
    assert made.dtype == torch.uint8
    assert made.is_contiguous()
    assert np.abs(shown(made) - pixels(expected)).max() <= 1


def test_scaled_decoding_changes_little() -> None:
    data = saved(scene(768, 1024), "JPEG", quality=90)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for crop, part in (
        (Preprocess(height_px=96, width_px=96).crop, (0, 0, 1024, 768)),
        (CropIfNeeded(times=6.0), (224, 96, 800, 672)),
    ):
        made = prepare(data, Preprocess(height_px=96, width_px=96, crop=crop))
        expected = whole.crop(part).resize((96, 96), Image.Resampling.BICUBIC)
        assert np.abs(shown(made) - pixels(expected)).mean() < 1.0
    box = (100.0, 200.0, 900.0, 600.0)
    made = prepare(data, Preprocess(height_px=64, width_px=128, crop=BoxCrop(margin=0.0)), box=box)
    expected = whole.crop((100, 200, 900, 600)).resize((128, 64), Image.Resampling.BICUBIC)
    assert np.abs(shown(made) - pixels(expected)).mean() < 1.5


def test_box_is_in_pixels_of_the_upright_image() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    stored = np.zeros((40, 80, 3), dtype=np.uint8)
    stored[:20, 60:] = (255, 0, 0)  # upper right as stored: lower right when upright
    data = saved(Image.fromarray(stored), exif=turned.tobytes())
    spec = Preprocess(height_px=16, width_px=16, crop=BoxCrop(margin=0.0))
    assert (shown(prepare(data, spec, box=(20, 60, 40, 80))) == (255, 0, 0)).all()
    assert (shown(prepare(data, spec, box=(0, 0, 20, 20))) == 0).all()


def test_outside_of_a_box_crop_has_the_mean_colour_of_the_inside() -> None:
    picture = np.full((50, 50, 3), (200, 100, 0), dtype=np.uint8)
    picture[:, 25:] = (100, 200, 50)
    spec = Preprocess(height_px=20, width_px=40, crop=BoxCrop(margin=0.0))
    made = shown(prepare(saved(Image.fromarray(picture)), spec, box=(0, 0, 50, 50)))
    assert np.abs(made[:, :10] - (150, 150, 25)).max() <= 1
    assert np.abs(made[:, 30:] - (150, 150, 25)).max() <= 1
    assert np.abs(made[:, 11:18] - (200, 100, 0)).max() <= 1
    assert np.abs(made[:, 22:29] - (100, 200, 50)).max() <= 1


def test_a_very_long_box_costs_no_more_than_its_target() -> None:
    spec = Preprocess(height_px=16, width_px=16, crop=BoxCrop(margin=0.0))
    made = prepare(saved(Image.new("L", (30_000, 2), 77)), spec, box=(0, 0, 30_000, 2))
    assert (made == 77).all()


def test_grey_gives_three_equal_channels() -> None:
    spec = Preprocess(height_px=32, width_px=32, colour="grey")
    for kind in ("JPEG", "PNG"):
        made = prepare(saved(scene(64, 64), kind), spec)
        assert made.shape == (3, 32, 32)
        assert torch.equal(made[0], made[2])
        expected = scene(64, 64).convert("L").resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(made[0].numpy().astype(int) - pixels(expected)).mean() < 2


def test_the_flip_comes_before_the_augmentation() -> None:
    spec, data = Preprocess(height_px=32, width_px=32), saved(scene(64, 64))
    plain, flipped = prepare(data, spec), prepare(data, spec, flip=True)
    assert torch.equal(flipped, plain.flip(2))
    mirrored_file = saved(scene(64, 64).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    for augment in (WhaleAugment(), ImetAugment()):
        by_flag = prepare(data, spec, flip=True, augment=augment, rng=np.random.default_rng(5))
        by_file = prepare(mirrored_file, spec, augment=augment, rng=np.random.default_rng(5))
        assert (by_flag.int() - by_file.int()).abs().max() <= 2


def test_crops_are_random_only_where_augmented() -> None:
    spec, data = Preprocess(height_px=16, width_px=16, crop=CropIfNeeded()), saved(scene(100, 100))
    still = WhaleAugment(rotate_deg=0.0, shear_deg=0.0, zoom=(1.0, 1.0), shift=0.0, light=0.0)
    fixed = [prepare(data, spec, rng=np.random.default_rng(seed)) for seed in range(5)]
    assert all(torch.equal(picture, fixed[0]) for picture in fixed)
    drawn = {prepare(data, spec, augment=still, rng=np.random.default_rng(seed)).numpy().tobytes() for seed in range(9)}
    assert len(drawn) > 5


def test_normalise_applies_the_backbone_s_mean_and_std() -> None:
    spec = Preprocess(height_px=16, width_px=16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    batch = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = normalise(batch, spec)
    expected = (batch.numpy() / 255 - np.reshape(spec.mean, (3, 1, 1))) / np.reshape(spec.std, (3, 1, 1))
    assert made.dtype == torch.float32
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert np.abs(made.numpy() - expected).max() < 1e-5
    with pytest.raises(ShapeError) as refused:
        normalise(batch[0], spec)
    assert "stack()" in refused.value.fix


def test_refusals_name_the_photo(tmp_path: Path) -> None:
    path = tmp_path / "fluke.png"
    path.write_bytes(saved(scene(30, 40)))
    spec = Preprocess(height_px=16, width_px=16, crop=BoxCrop())
    with pytest.raises(FieldmarkError, match="box") as refused:
        prepare(path, spec, box=(50, 0, 60, 9))
    assert "fluke.png" in refused.value.got
    assert "left, top" in refused.value.fix
    with pytest.raises(FieldmarkError, match="random generator") as refused:
        prepare(path, spec, augment=ImetAugment())
    assert "rng" in refused.value.fix
    path.write_bytes(b"GIF89a")
    with pytest.raises(ImageError) as refused:
        prepare(path, spec)
    assert "fluke.png" in refused.value.got
