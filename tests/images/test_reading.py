"""Image reading: every format and orientation, truncated files; the result is upright pixels or an ImageError."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from fieldmark.core.errors import ImageError
from fieldmark.images.containers import TIFF_KEPT
from fieldmark.images.reading import Limits, decode, opened, probe, read_pixels

BLOCK = 8  # px: a block of a JPEG, so that flat colours stay flat
COLOURS = np.array(
    [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(255, 255, 255), (0, 0, 0), (250, 200, 10)]], dtype=np.uint8
)  # two rows, three columns: all its rotations and flips differ
GREYS = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)


def blocks(colours: np.ndarray) -> np.ndarray:
    return colours.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


def exif(orientation: int) -> bytes:
    notes = Image.Exif()
    notes[0x0112] = orientation
    return notes.tobytes()


def saved(image: Image.Image, kind: str, orientation: int = 1, **options: object) -> bytes:
    file = io.BytesIO()
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x0112] = orientation
        options |= {"tiffinfo": tags}
    elif kind in {"JPEG", "PNG", "WEBP"}:
        options |= {"exif": exif(orientation)}
    image.save(file, kind, **options)
    return file.getvalue()


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[..., None] / 255
    return np.rint(colours * a + 255 * (1 - a)).astype(np.uint8)


def as_rgb(greys: np.ndarray) -> np.ndarray:
    return np.repeat(greys[..., None], 3, axis=2)


ALPHA = np.array([[255, 128, 0], [255, 0, 51]], dtype=np.uint8)


def golden(mode: str, orientation: int) -> tuple[bytes, np.ndarray, int]:  # noqa: C901, PLR0911, PLR0912 - a table
    """A file, the 2 x 3 colours it must show before turning, and how far a lossy one may be off."""
    rgb, grey = Image.fromarray(blocks(COLOURS)), Image.fromarray(blocks(GREYS))
    if mode == "1":
        bits = (GREYS > 127).astype(np.uint8) * 255
        return saved(Image.fromarray(blocks(bits)).convert("1"), "PNG", orientation), as_rgb(bits), 0
    if mode == "L":
        return saved(grey, "PNG", orientation), as_rgb(GREYS), 0
    if mode == "LA":
        picture = Image.merge("LA", (grey, Image.fromarray(blocks(ALPHA))))
        return saved(picture, "PNG", orientation), over_white(as_rgb(GREYS), ALPHA), 1
    if mode in {"P", "P+transparency"}:
        picture = Image.fromarray(blocks(np.arange(6, dtype=np.uint8).reshape(2, 3)), mode="L").convert("P")
        picture.putpalette(COLOURS.tobytes())
        if mode == "P":
            return saved(picture, "PNG", orientation), COLOURS, 0
        table = bytes(ALPHA.ravel())
        return saved(picture, "PNG", orientation, transparency=table), over_white(COLOURS, ALPHA), 1
    if mode == "RGB":
        return saved(rgb, "TIFF", orientation, compression="tiff_lzw"), COLOURS, 0
    if mode == "RGB+transparency":
        expected = COLOURS.copy()
        expected[0, 2] = 255  # the blue is named as the transparent colour
        return saved(rgb, "PNG", orientation, transparency=(0, 0, 255)), expected, 0
    if mode == "RGBA":
        picture = rgb.convert("RGBA")
        picture.putalpha(Image.fromarray(blocks(ALPHA)))
        return saved(picture, "WEBP", orientation, lossless=True, exact=True), over_white(COLOURS, ALPHA), 1
    if mode == "YCbCr":
        return saved(rgb, "JPEG", orientation, quality=100, subsampling=0), COLOURS, 3
    if mode == "CMYK":
        return saved(rgb.convert("CMYK"), "JPEG", orientation, quality=100, subsampling=0), COLOURS, 3
    if mode == "LAB":
        stored = np.array([[lab_of(rgb) for rgb in row] for row in COLOURS.tolist()], dtype=np.uint8)
        planes = [Image.fromarray(blocks(stored[..., i])) for i in range(3)]
        return (
            saved(Image.merge("LAB", planes), "TIFF", orientation),
            COLOURS,
            24,
        )  # whole-number a and b are that coarse
    if mode == "I;16":
        return saved(Image.fromarray(blocks(GREYS.astype(np.uint16) * 257)), "PNG", orientation), as_rgb(GREYS), 0
    if mode == "I":
        return saved(Image.fromarray(blocks(GREYS.astype(np.int32) * 257)), "TIFF", orientation), as_rgb(GREYS), 0
    if mode == "F":
        return saved(Image.fromarray(blocks((GREYS / 255).astype(np.float32))), "TIFF", orientation), as_rgb(GREYS), 0
    raise AssertionError(mode)


def lab_of(rgb: list[int]) -> tuple[int, int, int]:
    """sRGB to CIE LAB under D50, by the formulas, in Pillow's 8 bits: L of 0-255, a and b moved up by 128."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    rows = [(0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733)]
    white = (0.96422, 1.0, 0.82521)
    xyz = [sum(a * b for a, b in zip(row, linear, strict=True)) / w for row, w in zip(rows, white, strict=True)]
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in xyz)
    return round((116 * y - 16) * 2.55), round(500 * (x - y)) + 128, round(200 * (y - z)) + 128


MODES = ["1", "L", "LA", "P", "P+transparency", "RGB", "RGB+transparency", "RGBA", "YCbCr", "CMYK", "LAB"]
MODES += ["I;16", "I", "F"]


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Exif's table of tag 274, a pixel at a time: which side of the shown picture row 0 and column 0 are."""
    height, width = stored.shape[:2]
    shown = np.zeros((width, height, 3) if orientation >= 5 else (height, width, 3), dtype=stored.dtype)
    for r in range(height):
        for c in range(width):
            bottom, right = height - 1 - r, width - 1 - c
            place = {1: (r, c), 2: (r, right), 3: (bottom, right), 4: (bottom, c)}
            place |= {5: (c, r), 6: (c, bottom), 7: (right, bottom), 8: (right, r)}
            shown[place[orientation]] = stored[r, c]
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_and_orientation_gives_the_right_colours(mode: str, orientation: int) -> None:
    data, stored, tolerance = golden(mode, orientation)
    expected = blocks(turned(stored, orientation))
    pixels = read_pixels(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance
    probed = probe(data)
    assert (probed.height, probed.width, probed.orientation) == (*expected.shape[:2], orientation)


def test_inks_stored_as_ycck_by_an_adobe_program() -> None:
    inks = np.asarray(Image.fromarray(blocks(COLOURS)).convert("CMYK"))
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(255 - inks), quality=100, colorspace="CMYK")
    assert b"Adobe" in data
    assert probe(data).mode == "CMYK"
    assert np.abs(read_pixels(data).astype(int) - blocks(COLOURS)).max() <= 4


def test_16_bit_is_scaled_and_not_clipped() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(ramp / 257)
    for kind in ("PNG", "TIFF"):
        assert (read_pixels(saved(Image.fromarray(ramp), kind))[..., 0] == expected).all()
    big_endian = saved(Image.fromarray(ramp), "PNG")
    assert len(np.unique(read_pixels(big_endian, colour="grey"))) == 256


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 200.0], [0, 100, 200]),
        ([-1.0, 0.0, 3.0], [0, 64, 255]),
        ([1e6, 1e6, 1e6], [0, 0, 0]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
        ([np.inf, 0.0, 1.0], [255, 0, 255]),
    ],
)
def test_decimal_numbers_become_shades(numbers: list[float], expected: list[int]) -> None:
    data = saved(Image.fromarray(np.array([numbers], dtype=np.float32)), "TIFF")
    assert read_pixels(data, colour="grey")[0, :, 0].tolist() == expected


def test_transparent_shade_of_a_16_bit_png_is_white() -> None:
    shades = np.array([[0, 30000, 65535]], dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, "PNG", transparency=30000)
    assert read_pixels(file.getvalue(), colour="grey")[0, :, 0].tolist() == [0, 255, 255]


def test_only_the_first_frame_is_read() -> None:
    frames = [Image.fromarray(np.full((4, 6, 3), shade, dtype=np.uint8)) for shade in (10, 120, 240)]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        file = io.BytesIO()
        options = {"lossless": True} if kind == "WEBP" else {}
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)
        with Image.open(file) as whole:
            assert whole.n_frames == 3, kind
        assert np.abs(read_pixels(file.getvalue()).astype(int) - 10).max() <= 1, kind


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    data, whole = golden("RGBA", 1)[0], read_pixels(golden("RGBA", 1)[0])
    monkeypatch.setattr("fieldmark.images.pixels.STRIP_PIXELS", 100)
    assert (read_pixels(data) == whole).all()
    for mode in ("I;16", "P+transparency", "LAB"):
        data = golden(mode, 6)[0]
        assert read_pixels(data).shape == (3 * BLOCK, 2 * BLOCK, 3)


# -- scaled decoding


def scene(height: int, width: int) -> np.ndarray:
    """Smooth content with edges, as photographs have."""
    y, x = np.mgrid[:height, :width] / 100
    layers = [np.sin(5 * x + 2 * y), np.cos(3 * y * x), np.sign(np.sin(9 * x) + np.cos(7 * y)) * 0.3]
    return np.clip(128 + 90 * np.stack(layers, axis=2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("orientation", [1, 6])
@settings(max_examples=40, deadline=None)
@given(least=st.tuples(st.integers(1, 400), st.integers(1, 500)), colour=st.sampled_from(["rgb", "grey"]))
def test_a_scaled_jpeg_is_never_below_the_requested_size(orientation: int, least: tuple[int, int], colour: str) -> None:
    data = saved(Image.fromarray(scene(203, 307)), "JPEG", orientation)
    full = (203, 307) if orientation == 1 else (307, 203)
    shape = read_pixels(data, at_least=least, colour=colour).shape
    assert shape[2] == (3 if colour == "rgb" else 1)
    enough = [
        all(-(-side // share) >= min(to, side) for side, to in zip(full, least, strict=True)) for share in (2, 4, 8)
    ]
    smallest = max([1] + [share for share, fits in zip((2, 4, 8), enough, strict=True) if fits])
    if any(to > side for to, side in zip(least, full, strict=True)):
        smallest = 1
    assert shape[:2] == tuple(-(-side // smallest) for side in full)


def test_a_scaled_jpeg_is_close_to_the_full_one() -> None:
    data = saved(Image.fromarray(scene(768, 1024)), "JPEG", 8, quality=90)
    whole = Image.fromarray(read_pixels(data))
    assert whole.size == (768, 1024)
    scaled = read_pixels(data, at_least=(280, 280))
    assert scaled.shape == (512, 384, 3)
    small = [
        np.asarray(p.resize((224, 224), Image.Resampling.BICUBIC)).astype(int) for p in (whole, Image.fromarray(scaled))
    ]
    assert np.abs(small[0] - small[1]).mean() < 1.0


def test_cmyk_is_scaled_by_the_fallback() -> None:
    data = saved(Image.fromarray(scene(160, 320)).convert("CMYK"), "JPEG", 6)
    assert read_pixels(data, at_least=(80, 40)).shape == (80, 40, 3)
    assert read_pixels(data, at_least=(81, 40)).shape == (160, 80, 3)


# -- malformed or too large metadata


def jpeg_with_notes(notes: bytes) -> bytes:
    plain = io.BytesIO()
    Image.fromarray(blocks(COLOURS)).save(plain, "JPEG", quality=100)
    block = b"Exif\0\0" + notes
    return plain.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain.getvalue()[2:]


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def test_malformed_metadata_does_not_affect_the_pixels() -> None:
    # The width is said to be text: Pillow's exif_transpose() fails on such a file.
    notes = b"II*\0" + struct.pack("<IH", 8, 2) + entry(0x0100, 2, 1, 65) + entry(0x0112, 3, 1, 6) + bytes(4)
    data = jpeg_with_notes(notes)
    with pytest.raises(struct.error), Image.open(io.BytesIO(data)) as naive:
        ImageOps.exif_transpose(naive)
    assert probe(data).orientation == 6
    assert (read_pixels(data) == turned(read_pixels(jpeg_with_notes(b"")), 6)).all()


@pytest.mark.parametrize(
    "notes",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*" + bytes(8),
        b"II*\0" + struct.pack("<IH", 8, 65535),
        b"II*\0" + struct.pack("<IH", 8, 1) + entry(0x0112, 3, 1, 9),
        b"II*\0" + struct.pack("<IH", 8, 1) + entry(0x0112, 2, 1, 6),
        b"II*\0" + struct.pack("<IH", 8, 1) + entry(0x0112, 3, 5, 6),
        b"II*\0" + struct.pack("<IH", 8, 1) + entry(0x0112, 3, 1, 6)[:9],
    ],
)
def test_invalid_orientation_leaves_the_image_as_stored(notes: bytes) -> None:
    data = jpeg_with_notes(notes)
    assert probe(data).orientation == 1
    assert read_pixels(data).shape == (2 * BLOCK, 3 * BLOCK, 3)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *extra: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes(min(width * height + height, 10**6)))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")))


@pytest.mark.parametrize(
    "note",
    [
        chunk(b"tEXt", b"k\0word")[:-1] + b"\xff",
        chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7))),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(10**8))),
        chunk(b"gAMA", b""),
        chunk(b"pHYs", b""),
    ],
    ids=["checksum", "long text", "long profile", "short gamma", "short density"],
)
def test_png_metadata_that_pillow_rejects_does_not_affect_the_pixels(note: bytes) -> None:
    with pytest.raises((SyntaxError, ValueError, OSError)), Image.open(io.BytesIO(png(3, 2, note))) as naive:
        naive.load()
    assert (read_pixels(png(3, 2, note)) == read_pixels(png(3, 2))).all()


def gif(width: int, height: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0," + bytes(4) + size + b"\0\x08\x01\0\0;"


def tiff_of_one_stretch_named_often(n_bytes: int) -> bytes:
    """Every tag a picture may have points at the same long stretch; some versions of Pillow copy it for each."""
    tags = b"".join(entry(tag, 7, n_bytes, 1000) for tag in sorted(TIFF_KEPT))
    return (b"II*\0" + struct.pack("<IH", 8, len(TIFF_KEPT)) + tags).ljust(1000, b"\0") + bytes(n_bytes)


def many_scans() -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene(64, 64)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 600 + b"\xff\xd9"


def one_channel_a_scan(n_times: int) -> bytes:
    """A sequential JPEG, as old cameras wrote them, each of its channels coded by itself, again and again."""
    file = io.BytesIO()
    Image.fromarray(scene(64, 64)).convert("L").save(file, "JPEG")
    data = file.getvalue()
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    channels = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    three = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 64, 64, 3) + channels
    coded = data[scan + 10 : -2]
    scans = b"".join(b"\xff\xda\0\x08\x01" + bytes((number, 0, 0, 63, 0)) + coded for number in (1, 2, 3))
    return data[:frame] + three + data[frame + 13 : scan] + scans * n_times + b"\xff\xd9"


def test_a_jpeg_with_a_scan_for_each_channel_is_read() -> None:
    pixels = read_pixels(one_channel_a_scan(1))
    assert pixels.shape == (64, 64, 3)
    assert pixels.std() > 10


def hostile() -> dict[str, bytes]:
    small = io.BytesIO()
    Image.fromarray(scene(64, 64)).save(small, "JPEG")
    return {
        "png": png(50_000, 50_000),
        "gif": gif(50_000, 50_000),
        "webp": b"RIFF"
        + struct.pack("<I", 200)
        + b"WEBPVP8X"
        + struct.pack("<II", 10, 0)
        + b"\xfe\x3f\0" * 2
        + bytes(178),
        "jpeg": small.getvalue().replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 65_000, 65_000)),
        "scans": many_scans(),
        "channels": one_channel_a_scan(200),
        "tiff": tiff_of_one_stretch_named_often(4 * 2**20),
        "bmp": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(46),
    }


@pytest.mark.parametrize("name", ["png", "gif", "webp", "jpeg", "scans", "channels", "bmp"])
def test_decompression_bombs_are_refused_by_their_size(name: str) -> None:
    with pytest.raises(ImageError, match="too large") as refused:
        read_pixels(hostile()[name])
    assert "Limits(" in refused.value.fix


def test_tags_that_name_more_bytes_than_there_are_stop_before_pillow() -> None:
    with pytest.raises(ImageError) as refused:
        read_pixels(tiff_of_one_stretch_named_often(2000))
    assert "tags refer to bytes after the end" in refused.value.got
    assert "again" in refused.value.fix


def test_decompression_bombs_need_no_memory(tmp_path: Path) -> None:
    for name, data in hostile().items():
        (tmp_path / name).write_bytes(data)
    texts = [chunk(b"zTXt", b"note%d\0\0" % i + zlib.compress(bytes(10**6))) for i in range(60)]
    (tmp_path / "text").write_bytes(png(2, 2, *texts, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(10**8)))))
    code = """
import resource, sys
from pathlib import Path
from fieldmark.core.errors import ImageError
from fieldmark.images.reading import read_pixels
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        assert path.name == "text" and read_pixels(path).shape == (2, 2, 3), path
    except AssertionError:
        try:
            read_pixels(path)
        except ImageError:
            continue
        raise
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert float(done.stdout) <= 64


def test_limits_are_ours_and_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(30, 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # a host program's own limit has no effect
    assert read_pixels(data, limits=Limits(max_pixels=600)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="too large") as refused:
        read_pixels(data, limits=Limits(max_pixels=599))
    assert "Limits(max_pixels=...)" in refused.value.fix
    with pytest.raises(ImageError, match="too large") as refused:
        probe(data, limits=Limits(max_bytes=len(data) - 1))
    assert "max_bytes" in refused.value.fix
    noted = png(30, 20, chunk(b"tEXt", b"k\0" + bytes(1000)))
    assert read_pixels(noted).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="too large") as refused:
        read_pixels(noted, limits=Limits(max_notes_bytes=1000))
    assert "max_notes_bytes" in refused.value.fix


def test_nothing_of_pillow_is_changed() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    read_pixels(golden("CMYK", 1)[0])
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


# -- files that are broken


FIXTURES = {
    "JPEG": {"quality": 80},
    "progressive JPEG": {"progressive": True},
    "PNG": {},
    "WEBP": {"quality": 80},
    "TIFF": {},
    "LZW TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
    "BMP": {},
}


def outcome(data: bytes, ask: Callable[..., object] = read_pixels) -> object:
    """Return the pixels or the error."""
    try:
        return ask(data, limits=Limits(max_pixels=10**6))
    except ImageError as error:
        return error


@pytest.mark.parametrize("name", FIXTURES)
def test_a_file_cut_anywhere_gives_pixels_or_says_truncated(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = saved(Image.fromarray(scene(60, 80)), name.rpartition(" ")[2], **FIXTURES[name])
    n_refused = 0
    for at in np.linspace(0, len(data) - 1, 100).astype(int):
        came = outcome(data[:at])
        if isinstance(came, np.ndarray):
            assert came.shape == (60, 80, 3)
            continue
        n_refused += 1
        assert "<bytes>" in came.got
        word = "empty" if at == 0 else "not an image of a supported format" if at < 16 else "truncated"
        assert word in came.problem or "truncated" in came.problem, (at, str(came))
    assert n_refused >= 90  # a truncated file may still hold all pixels; these files end with their pixels
    capfd.readouterr()  # libtiff writes to stderr


def test_refusals_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    whole = saved(Image.fromarray(scene(60, 80)), "JPEG")
    texts = {"cut.jpg": whole[: len(whole) // 2], "page.jpg": b"<html>not found</html>", "empty.png": b""}
    words = {"cut.jpg": "again", "page.jpg": "JPEG, PNG, WebP, TIFF, GIF or BMP", "empty.png": "--skip-broken"}
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError) as refused:
            read_pixels(tmp_path / name)
        assert name in str(refused.value.got)
        assert words[name] in refused.value.fix
    for path, word in ((tmp_path / "none.jpg", "path"), (tmp_path, "folder"), (Path("a\0b"), "path")):
        with pytest.raises(ImageError) as refused:
            read_pixels(path)
        assert str(path) in str(refused.value.got)
        assert word in refused.value.fix
    with pytest.raises(ImageError, match="not a regular file"):
        read_pixels(Path(os.devnull))


def test_lost_blocks_are_refused_and_stray_bytes_are_not() -> None:
    whole = saved(Image.fromarray(scene(240, 320)), "JPEG", quality=90)
    assert whole[20] == 0xFF
    strayed = whole[:20] + b"\0\0\0" + whole[20:]  # some cameras pad between the parts of a file
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(strayed)
    assert read_pixels(strayed).shape == (240, 320, 3)
    lost = whole[: len(whole) // 2] + b"\xff\xd9"
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        read_pixels(lost)


def test_an_error_in_decoding_is_reported_like_one_in_opening() -> None:
    data = saved(Image.fromarray(scene(60, 80)), "PNG")
    photo = opened(data[: len(data) // 2])
    assert (photo.height, photo.width) == (60, 80)
    with pytest.raises(ImageError, match="truncated"):
        decode(photo)


STARTS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"BM",
    b"RIFF\0\0\0\0WEBPVP8X",
]


@settings(max_examples=150, deadline=None)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200))
def test_any_bytes_give_pixels_or_one_error(start: bytes, rest: bytes) -> None:
    for ask in (read_pixels, probe):
        came = outcome(start + rest, ask)
        assert came.fix if isinstance(came, ImageError) else came is not None


WHOLE = {name: saved(Image.fromarray(scene(20, 30)), name.rpartition(" ")[2], **FIXTURES[name]) for name in FIXTURES}


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(FIXTURES)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=4),
)
def test_any_corruption_gives_pixels_or_one_error(name: str, changes: list[tuple[float, bytes]]) -> None:
    data = bytearray(WHOLE[name])
    for share, bytes_ in changes:
        at = int(share * len(data))
        data[at : at + len(bytes_)] = bytes_
    came = outcome(bytes(data))
    assert came.fix if isinstance(came, ImageError) else came.ndim == 3


def test_turns_agree_with_pillow() -> None:
    for orientation in range(1, 9):
        data = saved(Image.fromarray(scene(40, 56)), "PNG", orientation)
        with Image.open(io.BytesIO(data)) as stored:
            assert (read_pixels(data) == np.asarray(ImageOps.exif_transpose(stored))).all()


@pytest.mark.real
def test_real_whales_are_nearly_equal_scaled_or_full() -> None:
    data = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    paths = sorted((data / "meta_humpback2019" / "images_fullres").glob("*.jpg"))
    if not paths:
        pytest.skip(f"no full-resolution whales under {data}; set FIELDMARK_DATA")
    for path in paths:
        with Image.open(path) as stored:
            whole = np.asarray(stored.convert("RGB"))
        assert np.abs(read_pixels(path).astype(int) - whole).mean() < 0.5
        scaled = Image.fromarray(read_pixels(path, at_least=(160, 320))).resize((256, 128), Image.Resampling.BICUBIC)
        small = Image.fromarray(whole).resize((256, 128), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(scaled).astype(int) - small).mean() < 2.5  # rough water differs most
