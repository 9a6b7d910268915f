"""Import OpenCV when it is needed; it is an optional dependency."""

from __future__ import annotations

import importlib
from typing import Any

from fieldmark.core.errors import FieldmarkError

INSTALL = 'pip install "fieldmark[keypoints]"'


def opencv() -> Any:
    """Return the module ``cv2``.

    Raises:
        FieldmarkError: It is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise FieldmarkError("Keypoints need OpenCV, which is not installed.", got=error, fix=f"{INSTALL}.") from error


def akaze(*, threshold: float) -> Any:
    """Return OpenCV's AKAZE from the module of this version.

    Raises:
        FieldmarkError: OpenCV is not installed, or lacks its extra modules, which contain AKAZE since version 5.
    """
    cv2 = opencv()
    create = getattr(cv2, "AKAZE_create", None) or getattr(getattr(cv2, "xfeatures2d", None), "AKAZE_create", None)
    if create is None:
        raise FieldmarkError(
            "The installed OpenCV has no AKAZE.",
            got=f"OpenCV {cv2.__version__} without its extra modules",
            fix="run `pip uninstall opencv-python opencv-python-headless`, then "
            "`pip install --force-reinstall --no-deps opencv-contrib-python-headless`: they share one folder.",
        )
    return create(threshold=threshold)
