"""Embeddings, hashes and keypoints of photos in any form, without a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import fieldmark
from fieldmark import keypoints, near_duplicates
from fieldmark.core.errors import DataError, FieldmarkError, ImageError, PlanError, WeightsError

TINY = "test_efficientnet"


@pytest.fixture(scope="module")
def pixels() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 255, (12, 16, 3), dtype=np.uint8) for _ in range(3)]
    return [np.asarray(Image.fromarray(one).resize((320, 240), Image.Resampling.BICUBIC)) for one in coarse]


@pytest.fixture(scope="module")
def files(pixels: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three photos, and a smaller copy of the first."""
    folder = tmp_path_factory.mktemp("photos")
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    Image.fromarray(pixels[0]).resize((200, 150)).save(folder / "copy.jpg", quality=92)
    return [str(folder / name) for name in ("0.png", "1.png", "2.png", "copy.jpg")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny backbone in a file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY, pretrained=False, num_classes=0).state_dict(), path)
    return path


FORMS: dict[str, Callable[[list[str], list[np.ndarray]], Any]] = {
    "paths": lambda files, pixels: [Path(one) for one in files[:3]],
    "tuple": lambda files, pixels: tuple(files[:3]),
    "column": lambda files, pixels: pl.Series(files[:3]),
    "strings": lambda files, pixels: np.array(files[:3]),
    "bytes": lambda files, pixels: [Path(one).read_bytes() for one in files[:3]],
    "pictures": lambda files, pixels: [Image.open(one) for one in files[:3]],
    "arrays": lambda files, pixels: pixels,
    "one array": lambda files, pixels: np.stack(pixels),
    "tensors": lambda files, pixels: [torch.from_numpy(one.copy()) for one in pixels],
    "one tensor": lambda files, pixels: torch.from_numpy(np.stack(pixels)),
    "mixed": lambda files, pixels: [files[0], pixels[1], Image.open(files[2])],
}


@pytest.fixture(scope="module")
def expected(files: list[str], weights: Path) -> np.ndarray:
    return fieldmark.embed(files[:3], backbone=TINY, weights=weights, size_px=64)


@pytest.mark.parametrize("form", FORMS)
def test_embeddings_of_photos_in_any_form(
    form: str, files: list[str], pixels: list[np.ndarray], weights: Path, expected: np.ndarray
) -> None:
    found = fieldmark.embed(FORMS[form](files, pixels), backbone=TINY, weights=weights, size_px=64)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.array_equal(found, expected)


def test_embeddings_of_tables_folders_and_single_photos(files: list[str], weights: Path, expected: np.ndarray) -> None:
    more = {"backbone": TINY, "weights": weights, "size_px": 64}
    table = pl.DataFrame({"image": ["b", "a"], "file": [files[1], files[0]]})
    assert np.array_equal(fieldmark.embed(table, **more), expected[[1, 0]])
    assert np.array_equal(fieldmark.embed(files[2], **more), expected[[2]])
    assert fieldmark.embed(Path(files[0]).parent, **more).shape == (4, expected.shape[1])
    assert np.array_equal(fieldmark.embed([files[1], files[1], files[0]], **more), expected[[1, 1, 0]])
    assert fieldmark.embed([], **more).shape == (0, expected.shape[1])


def test_the_default_network_is_installed_and_finds_copies(files: list[str]) -> None:
    found = fieldmark.embed(files)
    assert found.shape == (4, 1280)
    similar = found @ found.T
    assert similar[0, 3] > max(similar[0, 1], similar[0, 2]) + 0.02


def test_the_input_size_changes_embeddings(files: list[str], weights: Path, expected: np.ndarray) -> None:
    wide = fieldmark.embed(files[:3], backbone=TINY, weights=weights, size_px=(64, 96))
    assert wide.shape == expected.shape
    assert not np.allclose(wide, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda files: fieldmark.embed([3]), FieldmarkError, "unsupported type"),
        (lambda files: fieldmark.embed(np.zeros((4, 4, 3))), FieldmarkError, "unsupported type"),
        (lambda files: fieldmark.embed(["no.jpg"]), DataError, "photo does not exist"),
        (lambda files: fieldmark.embed([b"nothing"]), ImageError, "0.png"),
        (lambda files: fieldmark.embed(files, backbone="resnet18"), WeightsError, "No installed package has weights"),
        (lambda files: fieldmark.embed(files, backbone="renset"), PlanError, "no backbone of that name"),
        (lambda files: near_duplicates.phash(3), FieldmarkError, "unsupported type"),
        (lambda files: near_duplicates.phashes(["no.jpg"]), DataError, "photo does not exist"),
        (lambda files: near_duplicates.groups([b"nothing"]), ImageError, "0.png"),
        (lambda files: near_duplicates.near_pairs([0.5]), FieldmarkError, "needs one hash per photo"),
        (lambda files: near_duplicates.near_pairs([1], within=65), FieldmarkError, "65"),
        (lambda files: keypoints.match(files[0], 4), FieldmarkError, "unsupported type"),
        (lambda files: keypoints.find(files[0], by="sfit"), FieldmarkError, "no keypoint method of that name"),
    ],
)
def test_invalid_photos_and_settings_are_refused(
    call: Callable[[list[str]], object], error: type[Exception], words: str, files: list[str]
) -> None:
    with pytest.raises(error) as caught:
        call(files)
    assert words in str(caught.value)


def test_a_rotated_image_has_the_hash_of_its_file(files: list[str], tmp_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees
    Image.open(files[0]).save(turned, exif=exif, quality=95)
    assert near_duplicates.phash(Image.open(turned)) == near_duplicates.phash(turned)
    assert near_duplicates.phash(turned) != near_duplicates.phash(files[0])


def test_hashes_find_copies_and_groups_share_numbers(files: list[str], pixels: list[np.ndarray]) -> None:
    hashes = near_duplicates.phashes(files)
    assert hashes.dtype == np.uint64
    assert near_duplicates.phash(files[0]) == near_duplicates.phash(pixels[0]) == int(hashes[0])
    assert near_duplicates.near_pairs(hashes).tolist() == [[0, 3]]
    assert near_duplicates.near_pairs([2**64 - 1, 2**64 - 2, 0], within=1).tolist() == [[0, 1]]
    assert near_duplicates.groups(files).tolist() == [0, 1, 2, 0]
    assert near_duplicates.groups([*pixels, pixels[1]]).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("by", ["sift", "akaze", "xfeat"])
def test_keypoints_of_a_copy_match_at_their_positions(by: str, files: list[str], pixels: list[np.ndarray]) -> None:
    found = keypoints.match(pixels[0], Image.open(files[3]), by=by)
    assert found.plausible
    assert found.n_inliers > 20
    assert found.inlier_share == found.n_inliers / len(found)
    left, right = found.left[found.is_inlier], found.right[found.is_inlier]
    assert np.abs(left * 0.625 - right).max() < 4  # the copy is 200 px wide, the photo 320
    assert found.homography is not None
    mapped = np.c_[left, np.ones(len(left))] @ found.homography.T
    assert np.abs(mapped[:, :2] / mapped[:, 2:] - right).max() < 4
    assert keypoints.match(files[0], files[1], by=by).n_inliers < found.n_inliers / 2
    assert len(keypoints.find(files[0], by=by)) == found.n_points[0]
