"""File metadata: encoder, camera, notes, no location; damaged files do not fail."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.images.traces import Trace, trace, traces

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def exif() -> Image.Exif:
    notes = Image.Exif()
    notes[0x010F], notes[0x0110], notes[0x0131] = "Canon", "EOS 5D", "GIMP"
    notes.get_ifd(0x8769)[0x9003] = "2019:03:01 10:20:30"
    notes.get_ifd(0x8825).update({1: "S", 2: (41.0, 52.0, 1.5), 3: "W", 4: (70.0, 1.0, 2.0)})
    return notes


def saved(path: Path, **settings: object) -> Trace:
    Image.fromarray(PIXELS).save(path, **settings)
    return trace(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_camera_time_and_kinds_of_notes_are_read(name: str, tmp_path: Path) -> None:
    found = saved(tmp_path / name, exif=exif())
    assert (found.camera, found.software) == ("Canon EOS 5D", "GIMP")
    if name != "a.tif":  # into which Pillow writes no further directories
        assert found.taken == "2019:03:01 10:20:30"
        assert "8825" in found.notes.split()
    assert (found.width, found.height) == (32, 24)
    assert found.n_bytes == (tmp_path / name).stat().st_size


def test_no_location_is_returned(tmp_path: Path) -> None:
    text = repr(saved(tmp_path / "a.jpg", exif=exif()))
    assert not any(number in text for number in ("41.", "52.", "70."))


def test_the_encoder_is_identified_by_its_tables_and_not_by_the_size(tmp_path: Path) -> None:
    usual, same = saved(tmp_path / "a.jpg", quality=80), saved(tmp_path / "b.jpg", quality=80)
    other = saved(tmp_path / "c.jpg", quality=81)
    finer = saved(tmp_path / "d.jpg", quality=80, subsampling=0)
    stepwise = saved(tmp_path / "e.jpg", quality=80, progressive=True)
    Image.fromarray(PIXELS[:8, :8]).save(tmp_path / "f.jpg", quality=80)
    assert usual.encoder == same.encoder == trace(tmp_path / "f.jpg").encoder != ""
    assert len({one.encoder for one in (usual, other, finer, stepwise)}) == 4
    assert saved(tmp_path / "g.png").encoder == ""


def test_format_has_file_format_and_colour_mode(tmp_path: Path) -> None:
    assert saved(tmp_path / "a.jpg").format == "JPEG RGB"
    Image.fromarray(PIXELS[:, :, 0]).save(tmp_path / "b.jpg")
    assert trace(tmp_path / "b.jpg").format == "JPEG L"


def test_metadata_truncated_at_any_byte_does_not_fail(tmp_path: Path) -> None:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif())
    whole = file.getvalue()
    start = whole.index(b"Exif\0\0")
    length = int.from_bytes(whole[start - 2 : start], "big")
    for at in range(start, start + length - 2, 3):
        broken = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        (tmp_path / "a.jpg").write_bytes(broken)
        assert trace(tmp_path / "a.jpg").width == 32


def test_a_directory_that_refers_to_itself_ends(tmp_path: Path) -> None:
    entry = (0x8769).to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little")
    loop = b"II*\0" + (8).to_bytes(4, "little") + (1).to_bytes(2, "little") + entry + (8).to_bytes(4, "little")
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=b"Exif\0\0" + loop)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert trace(tmp_path / "a.jpg").notes.split()[-1] == "8769"


def test_missing_files_and_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>")
    saved(tmp_path / "b.jpg")
    found = traces([tmp_path / "a.jpg", None, tmp_path / "b.jpg", tmp_path / "c.jpg"], n_threads=1)
    assert [one is None for one in found] == [True, True, False, True]
    with pytest.raises(ImageError) as raised:
        trace(tmp_path / "c.jpg")
    assert "path" in raised.value.fix


def test_reading_needs_a_thread() -> None:
    with pytest.raises(FieldmarkError) as raised:
        traces([], n_threads=0)
    assert "n_threads=1" in raised.value.fix
