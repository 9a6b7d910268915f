"""Identify, tag and describe photographs, with measured error rates.

The commands of ``fieldmark`` are functions of the same names: ``inspect``, ``train``, ``identify``, ``tag`` and so on.
``read`` returns a ``Collection`` of photos, which all of them accept. The modules ``losses``, ``samplers``, ``folds``,
``metrics``, ``thresholding``, ``assignment``, ``calibration``, ``near_duplicates`` and ``keypoints`` hold the parts for
your own programs. Large packages such as torch are imported at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldmark.api.functions import (
        Predictor,
        Results,
        attributes,
        audit,
        boxes,
        demo,
        download,
        duplicates,
        embed,
        ensemble,
        estimate,
        evaluate,
        identify,
        inspect,
        issues,
        load,
        lr_find,
        match,
        plan,
        predict,
        recipes,
        relocate,
        report,
        runs,
        symmetry,
        tag,
        thresholds,
        train,
    )
    from fieldmark.core.errors import FieldmarkError
    from fieldmark.data.collection import Collection
    from fieldmark.data.reading import read

    from . import (
        assignment,
        calibration,
        folds,
        keypoints,
        losses,
        metrics,
        near_duplicates,
        samplers,
        thresholding,
    )

__version__ = "0.1.0"
__all__ = [
    "Collection",
    "FieldmarkError",
    "Predictor",
    "Results",
    "__version__",
    "assignment",
    "attributes",
    "audit",
    "boxes",
    "calibration",
    "demo",
    "download",
    "duplicates",
    "embed",
    "ensemble",
    "estimate",
    "evaluate",
    "folds",
    "identify",
    "inspect",
    "issues",
    "keypoints",
    "load",
    "losses",
    "lr_find",
    "match",
    "metrics",
    "near_duplicates",
    "plan",
    "predict",
    "read",
    "recipes",
    "relocate",
    "report",
    "runs",
    "samplers",
    "symmetry",
    "tag",
    "thresholding",
    "thresholds",
    "train",
]

_MODULES = {
    "assignment",
    "calibration",
    "folds",
    "keypoints",
    "losses",
    "metrics",
    "near_duplicates",
    "samplers",
    "thresholding",
}
_FUNCTIONS = "fieldmark.api.functions"
_OTHER_MODULES = {
    "Collection": "fieldmark.data.collection",
    "FieldmarkError": "fieldmark.core.errors",
    "read": "fieldmark.data.reading",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'fieldmark' has no attribute '{name}'")
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(_OTHER_MODULES.get(name, _FUNCTIONS)), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
