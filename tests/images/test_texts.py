"""Text in photos: with a fake reader, and with RapidOCR if it is installed."""

from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.texts import ENOUGH_PX, INSTALL, NEEDED, text_reader, texts
from fieldmark.quality.leakage.written_ids import letters_and_digits


def label(path: Path, text: str) -> Path:
    picture = Image.new("RGB", (460, 120), (90, 120, 150))
    ImageDraw.Draw(picture).text((20, 30), text, fill="white", font=ImageFont.load_default(36))
    picture.save(path)
    return path


def test_photos_are_read_in_order_and_broken_ones_have_no_text(tmp_path: Path) -> None:
    large = Image.new("RGB", (4 * ENOUGH_PX, 4 * ENOUGH_PX), (250, 0, 0))
    large.save(tmp_path / "large.jpg")
    shapes = []

    def reader(pixels: np.ndarray) -> list[str]:
        shapes.append(pixels.shape)
        return ["red"] if pixels[0, 0, 0] > pixels[0, 0, 2] else []

    paths = [label(tmp_path / "a.png", "x"), tmp_path / "gone.jpg", tmp_path / "large.jpg"]
    assert texts(paths, reader) == [(), (), ("red",)]
    assert shapes == [(120, 460, 3), (ENOUGH_PX, ENOUGH_PX, 3)]


def test_missing_packages_are_listed_with_an_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldmark.images.texts.find_spec", lambda name: None)
    with pytest.raises(FieldmarkError) as raised:
        text_reader()
    assert raised.value.got == ", ".join(NEEDED)
    assert raised.value.fix == INSTALL


def test_a_missing_program_is_reported_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldmark.images.texts.which", lambda name: None)
    with pytest.raises(FieldmarkError) as raised:
        text_reader("tesseract")
    assert "--ocr rapidocr" in raised.value.fix


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(FieldmarkError) as raised:
        text_reader("abbyy")  # type: ignore[arg-type]
    assert raised.value.got == "abbyy"
    assert "rapidocr, tesseract" in raised.value.fix


@pytest.mark.skipif(which("tesseract") is None, reason="the program tesseract is not installed")
def test_tesseract_reads_printed_ids(tmp_path: Path) -> None:
    paths = []
    for number, one in enumerate(["HWC 034", "SPLASH 7718", ""]):
        page = Image.new("RGB", (460, 120), "white")
        ImageDraw.Draw(page).text((20, 30), one, fill="black", font=ImageFont.load_default(36))
        paths.append(tmp_path / f"{number}.png")
        page.save(paths[-1])
    found = texts(paths, text_reader("tesseract"))
    assert [letters_and_digits("".join(lines)) for lines in found] == [
        letters_and_digits("HWC 034"),
        letters_and_digits("SPLASH 7718"),
        "",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(any(find_spec(name) is None for name in NEEDED), reason="the extra `text` is not installed")
def test_ids_drawn_on_pictures_are_read(tmp_path: Path) -> None:
    ids = ["w_0a1b2c3", "HWC 034", "SPLASH 7718"]
    paths = [label(tmp_path / f"{n}.png", one) for n, one in enumerate(ids)]
    paths.append(tmp_path / "blank.png")
    Image.new("RGB", (300, 200), "grey").save(paths[-1])
    found = texts(paths, text_reader())
    assert [letters_and_digits("".join(lines)) for lines in found] == [*(letters_and_digits(one) for one in ids), ""]
