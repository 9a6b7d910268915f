"""Cached keypoints equal newly computed ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from drawn_photos import textured
from fieldmark.core.errors import ImageError, ShapeError
from fieldmark.gallery import keypoint_store
from fieldmark.gallery.keypoint_store import KeypointStore
from fieldmark.gallery.specs import Akaze, Sift

pytest.importorskip("cv2", reason="keypoints need OpenCV")
SPEC = Sift(size_px=160, most=60)


def equal(one, other):
    return all((getattr(one, name) == getattr(other, name)).all() for name in keypoint_store.ARRAYS)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(textured(0)).save(path)
    return path


@pytest.fixture
def never_found(monkeypatch):
    """Make any new computation fail."""

    def forbid():
        monkeypatch.setattr(keypoint_store, "find_keypoints", lambda *_, **__: pytest.fail("computed again"))

    return forbid


@pytest.mark.parametrize("spec", [SPEC, Akaze(size_px=160, most=60, threshold=0.0005)])
def test_cached_keypoints_equal_computed_ones(photo, tmp_path, never_found, spec):
    fresh = KeypointStore(None, spec).of(photo)
    first = KeypointStore(tmp_path / "kept", spec).of(photo)
    never_found()
    kept = KeypointStore(tmp_path / "kept", spec).of(photo)
    assert len(kept) > 10
    assert equal(kept, fresh)
    assert equal(kept, first)
    assert kept.size == fresh.size
    assert kept.descriptors.dtype == fresh.descriptors.dtype


def test_a_copy_of_a_photo_under_another_name_uses_the_cache(photo, tmp_path, never_found):
    KeypointStore(tmp_path / "kept", SPEC).of(photo)
    (tmp_path / "copy.png").write_bytes(photo.read_bytes())
    never_found()
    KeypointStore(tmp_path / "kept", SPEC).of(tmp_path / "copy.png")


def test_another_setting_box_mask_shape_or_content_is_another_file(photo, tmp_path):
    folder = tmp_path / "kept"
    KeypointStore(folder, SPEC).of(photo)
    KeypointStore(folder, SPEC.model_copy(update={"clahe": False})).of(photo)
    KeypointStore(folder, SPEC).of(photo, box=(0, 0, 200, 200))
    KeypointStore(folder, SPEC).of(photo, true_size=(120, 320))
    KeypointStore(folder, SPEC).of(photo, mask="1 2 1 1")
    Image.fromarray(textured(1)).save(photo)
    KeypointStore(folder, SPEC).of(photo)
    assert len(list(folder.iterdir())) == 6


def test_a_box_is_given_in_px_of_the_true_size(photo):
    found = KeypointStore(None, SPEC).of(photo, true_size=(480, 640), box=(320, 0, 640, 480))
    assert len(found)
    assert found.xy[:, 0].min() >= found.size[1] / 2 - 1


def test_a_mask_is_resized_to_the_photo_and_overrides_a_box(photo):
    found = KeypointStore(None, SPEC).of(photo, mask="1 2 1 1", box=(0, 0, 100, 100))
    assert len(found) > 10
    assert found.xy[:, 0].min() >= found.size[1] / 2 - 1
    with pytest.raises(ShapeError):
        KeypointStore(None, SPEC).of(photo, mask="no mask")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_computed_again(photo, tmp_path, damage):
    folder = tmp_path / "kept"
    whole = KeypointStore(folder, SPEC).of(photo)
    file = next(folder.iterdir())
    content = bytearray(file.read_bytes())
    content[-10] ^= 0xFF
    ruined = {"cut": bytes(content[:-20]), "flipped": bytes(content), "empty": b"", "text": b"no points here"}
    file.write_bytes(ruined[damage])
    assert equal(KeypointStore(folder, SPEC).of(photo), whole)
    assert file.read_bytes() != ruined[damage]
    assert [one.name for one in folder.iterdir()] == [file.name]


def test_keypoints_of_a_blank_photo_are_cached_too(tmp_path, never_found):
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / "blank.png")
    assert len(KeypointStore(tmp_path / "kept", SPEC).of(tmp_path / "blank.png")) == 0
    never_found()
    assert len(KeypointStore(tmp_path / "kept", SPEC).of(tmp_path / "blank.png")) == 0


def test_a_missing_photo_is_named(tmp_path):
    with pytest.raises(ImageError) as raised:
        KeypointStore(tmp_path / "kept", SPEC).of(tmp_path / "gone.png")
    assert "gone.png" in str(raised.value.got)
    assert "check the path" in raised.value.fix


def test_keypoints_are_computed_if_the_cache_cannot_be_written(photo, tmp_path):
    (tmp_path / "taken").write_text("no folder")
    store = KeypointStore(tmp_path / "taken/kept", SPEC)
    assert equal(store.of(photo), KeypointStore(None, SPEC).of(photo))
    assert equal(store.of(photo), store.of(photo))
