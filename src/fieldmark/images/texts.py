"""What is written in photos: catalogue numbers, names, dates. They tell who is on a photo without a look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.reading import DEFAULT, Limits, decode, opened

ReadText = Callable[[UInt8[np.ndarray, "height width 3"]], Sequence[str]]
"""From the colours of a picture to the lines written in it."""

NEEDED = ("rapidocr", "onnxruntime", "cv2")
INSTALL = 'pip install "fieldmark[text]"'
ENOUGH_PX = 640
"""Pixels on the shorter side at which labels of a usual photo can still be read."""


def text_reader() -> ReadText:
    """Reads printed lines by the package RapidOCR, on this machine; any other reader may take its place.

    Of drawn and printed ids it reads most, and drops or adds blanks and underscores: compare letters and digits.

    Raises:
        FieldmarkError: A package is missing, or cannot be loaded.
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
