"""Text recognition (OCR) in photos: catalogue numbers, names, dates. Such text can leak the identity of a photo."""

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
"""Function from the RGB pixels of an image to the lines of text in it."""

Engine = Literal["rapidocr", "tesseract"]
NEEDED = ("rapidocr", "onnxruntime", "cv2")
INSTALL = 'pip install "fieldmark[text]"'
MOST_S = 60.0
"""Time limit of Tesseract for one photo, in seconds."""
ENOUGH_PX = 640
"""Smallest side in pixels at which the text in usual photos can still be read."""


def text_reader(by: Engine = "rapidocr") -> ReadText:
    """Return a function that recognises text in photos and runs on this machine.

    Args:
        by: OCR engine: ``rapidocr``, a Python package, or ``tesseract``, an installed program.

    Raises:
        FieldmarkError: The engine is missing, cannot be loaded, or its name is unknown.
    """
    readers = {"rapidocr": _rapidocr, "tesseract": _tesseract}
    if by not in readers:
        raise FieldmarkError("There is no OCR engine of that name.", got=by, fix=f"use one of {', '.join(readers)}.")
    return readers[by]()


def _rapidocr() -> ReadText:
    """Return a reader of printed lines by neural networks.

    It reads most drawn and printed ids, but drops or adds blanks and underscores. Compare only letters and digits.
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
        raise FieldmarkError("The OCR package rapidocr cannot be loaded.", got=error, fix=INSTALL) from error

    def lines(pixels: UInt8[np.ndarray, "height width 3"]) -> Sequence[str]:
        return engine(np.ascontiguousarray(pixels[:, :, ::-1])).txts or ()  # rapidocr takes BGR

    return lines


def _tesseract() -> ReadText:
    """Return a reader by the program Tesseract, in its mode for sparse text in no particular order."""
    program = which("tesseract")
    if program is None:
        raise FieldmarkError(
            "Reading text in photos by Tesseract needs the program, which is not installed.",
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
    """Return the lines of text in each of many photos. A photo that cannot be read has no lines.

    Args:
        paths: Image files.
        reader: Function that reads text; see ``text_reader``.
        limits: Largest files and images that are accepted.
        progress: Progress display, updated after each photo.
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
