"""Tell who or what is on the photograph: fine-grained recognition that gives a decision with a known error.

The commands of ``fieldmark`` are functions here under the same names: ``inspect``, ``train``, ``identify``, ``tag``
and so on; ``read`` gives a ``Collection`` of photos, which all of them take. The modules ``losses``,
``samplers``, ``folds``, ``metrics``, ``thresholding``, ``assignment``, ``calibration``, ``near_duplicates`` and
``keypoints`` hold their parts, for programs of your own. Nothing heavy is loaded before one of them is used.
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
_KINDS = "fieldmark.api.functions"
_HOME = {
    "Collection": "fieldmark.data.collection",
    "FieldmarkError": "fieldmark.core.errors",
    "read": "fieldmark.data.reading",
}


def __getattr__(name: str) -> Any:
    """Load a name from its room when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'fieldmark' has no attribute '{name}'")
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(_HOME.get(name, _KINDS)), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
