"""Perceptual hashes: copies, the reference implementation, unreadable files."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.images.hashes import SEEN_PX, hashes, phash, seen
from fieldmark.images.reading import read_pixels


def scene(seed: int = 0, *, height: int = 480, width: int = 720) -> np.ndarray:
    """A grey picture with coarse light and dark and fine noise, as photos have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 12), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    return np.clip(np.asarray(coarse, float) + rng.normal(0, 6, (height, width)), 0, 255).astype(np.uint8)


def n_different(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def save(path: Path, grey: np.ndarray, **settings: object) -> Path:
    Image.fromarray(grey).save(path, **settings)
    return path


def slow_phash(grey: np.ndarray) -> int:
    """The hash of a picture whose sides are whole multiples of 32, by loops."""
    down, right = grey.shape[0] // 32, grey.shape[1] // 32
    cell = [
        [float(np.mean(grey[y * down : (y + 1) * down, x * right : (x + 1) * right])) for x in range(32)]
        for y in range(32)
    ]
    waves = []
    for v in range(8):
        for u in range(8):
            total = 0.0
            for y in range(32):
                for x in range(32):
                    down_wave = math.cos(math.pi / 32 * v * (y + 0.5))
                    total += cell[y][x] * down_wave * math.cos(math.pi / 32 * u * (x + 0.5))
            waves.append(total)
    middle = (sorted(waves)[31] + sorted(waves)[32]) / 2
    return int("".join("1" if wave > middle else "0" for wave in waves), 2)


def test_hash_is_that_of_the_definition_by_loops() -> None:
    grey = scene(3, height=96, width=64)
    assert phash(grey) == slow_phash(grey)
    assert phash(grey[:, :, None]) == phash(grey)


@pytest.mark.parametrize("size", [(360, 240), (150, 100), (1440, 960), (713, 481)])
def test_a_resized_copy_keeps_its_hash_within_a_few_bits(size: tuple[int, int]) -> None:
    grey = scene(1)
    copy = np.asarray(Image.fromarray(grey).resize(size, Image.LANCZOS))
    assert n_different(phash(grey), phash(copy)) <= 4


def test_saving_again_and_brightening_change_few_bits() -> None:
    grey = scene(2)
    file = BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=30)
    assert n_different(phash(grey), phash(read_pixels(file.getvalue(), colour="grey"))) <= 4
    brighter = np.clip(grey * 0.7 + 60, 0, 255).astype(np.uint8)
    assert n_different(phash(grey), phash(brighter)) <= 4


def test_other_images_have_distant_hashes() -> None:
    found = [phash(scene(seed)) for seed in range(12)]
    assert min(n_different(one, other) for at, one in enumerate(found) for other in found[:at]) > 12


def test_blank_pictures_of_any_shade_and_size_share_one_hash() -> None:
    found = {phash(np.full((height, 50), shade, np.uint8)) for height in (7, 50, 333) for shade in (1, 90, 255)}
    assert len(found) == 1


def test_pictures_of_a_few_pixels_have_a_hash() -> None:
    assert 0 <= phash(np.array([[200]], np.uint8)) < 2**64
    assert phash(np.array([[0, 255]], np.uint8)) != phash(np.array([[0], [255]], np.uint8))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_only_grey_images_are_accepted(wrong: np.ndarray) -> None:
    with pytest.raises(ShapeError) as raised:
        phash(wrong)
    assert "colour='grey'" in raised.value.fix


def test_files_are_hashed_in_order_upright_and_errors_are_reported(tmp_path: Path) -> None:
    tall = Image.fromarray(scene(4)).transpose(Image.Transpose.ROTATE_90)
    notes = Image.Exif()
    notes[0x0112] = 6
    tall.save(tmp_path / "tall.jpg", quality=95, exif=notes)
    paths = [
        save(tmp_path / "b.jpg", scene(4), quality=95),
        tmp_path / "gone.jpg",
        tmp_path / "tall.jpg",
        save(tmp_path / "a.png", scene(4)),
    ]
    found = hashes(paths, n_threads=2)
    assert found.fault[1] is not None
    assert "gone.jpg" in str(found.fault[1].got)
    assert [found.fault[at] for at in (0, 2, 3)] == [None] * 3
    assert found.width_px.tolist() == [720, 0, 720, 720]
    assert found.height_px.tolist() == [480, 0, 480, 480]
    assert n_different(int(found.phash[0]), int(found.phash[3])) <= 4  # decoded at an eighth and at full size
    assert n_different(int(found.phash[0]), int(found.phash[2])) <= 4
    assert hashes(paths, n_threads=1).phash.tolist() == found.phash.tolist()


def test_zero_threads_are_refused() -> None:
    with pytest.raises(FieldmarkError) as raised:
        hashes([], n_threads=0)
    assert "n_threads=1" in raised.value.fix


def test_grey_vectors_ignore_brightness_and_contrast(tmp_path: Path) -> None:
    grey = scene(5)
    one = seen(save(tmp_path / "one.png", grey))
    other = seen(save(tmp_path / "other.jpg", np.clip(grey * 0.6 + 70, 0, 255).astype(np.uint8), quality=70))
    unknown = seen(save(tmp_path / "unknown.png", scene(6)))
    assert one.shape == (SEEN_PX**2,)
    assert abs(one.mean()) < 1e-6
    assert one @ one == pytest.approx(1, abs=1e-5)
    assert one @ other > 0.99
    assert one @ unknown < 0.6


def test_a_blank_image_is_similar_to_no_other(tmp_path: Path) -> None:
    blank = seen(save(tmp_path / "blank.png", np.full((90, 90), 250, np.uint8)))
    assert not blank.any()


@pytest.mark.real
def test_hashes_agree_with_the_published_hashes_of_a_contestant() -> None:
    import csv
    import os

    data = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    table = data / "meta_humpback2019" / "phash_size.csv"
    if not table.is_file():
        pytest.skip("meta_humpback2019 is not there")
    with table.open(newline="") as file:
        theirs = {row["Image"]: int(row["phash"], 16) for row in csv.DictReader(file)}
    photos = sorted((data / "meta_humpback2019" / "images_fullres").glob("*.jpg"))
    assert len(photos) == 3
    assert [phash(read_pixels(photo, colour="grey")) for photo in photos] == [theirs[photo.name] for photo in photos]
    scaled = hashes(photos).phash.tolist()
    assert max(n_different(one, theirs[photo.name]) for one, photo in zip(scaled, photos, strict=True)) <= 2
