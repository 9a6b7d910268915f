"""What is written in photos: catalogue numbers, names, dates. They tell who is on a photo without a look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from subprocess import TimeoutExpired, run
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.reading import DEFAULT, Limits, decode, opened

ReadText = Callable[[UInt8[np.ndarray, "height width 3"]], Sequence[str]]
"""From the colours of a picture to the lines written in it."""

Engine = Literal["rapidocr", "tesseract"]
NEEDED = ("rapidocr", "onnxruntime", "cv2")
INSTALL = 'pip install "fieldmark[text]"'
MOST_S = 60.0
"""Seconds that Tesseract is given for one photo."""
ENOUGH_PX = 640
"""Pixels on the shorter side at which labels of a usual photo can still be read."""


def text_reader(by: Engine = "rapidocr") -> ReadText:
    """Reads what is written, on this machine; any other reader may take its place.

    Args:
        by: ``rapidocr``, a package, or ``tesseract``, a program that the machine has.

    Raises:
        FieldmarkError: It is missing, or cannot be loaded, or there is no reader of that name.
    """
    readers = {"rapidocr": _rapidocr, "tesseract": _tesseract}
    if by not in readers:
        raise FieldmarkError("There is no reader of that name.", got=by, fix=f"use one of {', '.join(readers)}.")
    return readers[by]()


def _rapidocr() -> ReadText:
    """Reads printed lines by neural networks.

    Of drawn and printed ids it reads most, and drops or adds blanks and underscores: compare letters and digits.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FieldmarkError(
            "Reading text in photos needs packages that are not installed.", got=", ".join(missing), fix=INSTALL
        )
    try:
        from rapidocr import RapidOCR

        engine: Any = RapidOCR(params={"Global.log_level": "error"})
    except (ImportError, OSError) as error:
        raise FieldmarkError("The reader of text cannot be loaded.", got=error, fix=INSTALL) from error

    def lines(pixels: UInt8[np.ndarray, "height width 3"]) -> Sequence[str]:
        return engine(np.ascontiguousarray(pixels[:, :, ::-1])).txts or ()  # it wants blue first

    return lines


def _tesseract() -> ReadText:
    """Reads by the program Tesseract, made for scanned pages: text anywhere in the picture, in no order."""
    program = which("tesseract")
    if program is None:
        raise FieldmarkError(
            "Reading text in photos by Tesseract needs the program, which is not on this machine.",
            got="tesseract",
            fix="install it (Debian and Ubuntu: apt install tesseract-ocr), or use --ocr rapidocr.",
        )

    def lines(pixels: UInt8[np.ndarray, "height width 3"]) -> Sequence[str]:
        head = b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0])
        try:
            done = run(
                [program, "stdin", "stdout", "-c", "tessedit_pageseg_mode=11"],
                input=head + np.ascontiguousarray(pixels).tobytes(),
                capture_output=True,
                timeout=MOST_S,
                check=False,
            )
        except TimeoutExpired:
            return ()
        return [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]

    return lines


def texts(
    paths: Sequence[Path], reader: ReadText, *, limits: Limits = DEFAULT, progress: Progress = QUIET
) -> list[tuple[str, ...]]:
    """The lines written in many photos; none in a photo that cannot be read.

    Args:
        paths: Picture files.
        reader: Of the text; see ``text_reader``.
        limits: What to refuse.
        progress: Told as photos are done.
    """
    found: list[tuple[str, ...]] = []
    for path in progress.track(paths, total=len(paths), what="reading text"):
        try:
            photo = opened(path, limits=limits)
            enough = (min(ENOUGH_PX, photo.height), min(ENOUGH_PX, photo.width))
            found.append(tuple(reader(decode(photo, at_least=enough))))
        except ImageError:
            found.append(())
    return found
