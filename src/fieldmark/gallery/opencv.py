"""OpenCV, asked for when it is needed: it is no part of a plain installation."""

from __future__ import annotations

import importlib
from typing import Any

from fieldmark.core.errors import FieldmarkError

INSTALL = 'pip install "fieldmark[keypoints]"'


def opencv() -> Any:
    """The module ``cv2``.

    Raises:
        FieldmarkError: It is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise FieldmarkError("Keypoints need OpenCV, which is not installed.", got=error, fix=f"{INSTALL}.") from error


def akaze(*, threshold: float) -> Any:
    """OpenCV's AKAZE, wherever this version keeps it.

    Raises:
        FieldmarkError: OpenCV is not installed, or without its extra modules, where AKAZE lies since version 5.
    """
    cv2 = opencv()
    create = getattr(cv2, "AKAZE_create", None) or getattr(getattr(cv2, "xfeatures2d", None), "AKAZE_create", None)
    if create is None:
        raise FieldmarkError(
            "This OpenCV has no AKAZE.",
            got=f"OpenCV {cv2.__version__} without its extra modules",
            fix="run `pip uninstall opencv-python opencv-python-headless`, then "
            "`pip install --force-reinstall --no-deps opencv-contrib-python-headless`: the wheels share one folder.",
        )
    return create(threshold=threshold)
