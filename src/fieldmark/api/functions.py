"""All commands as Python functions of the same names; ``fieldmark.train(...)`` is ``train`` here.

Photos are given as a path, which is read with the options of ``fieldmark.api.photos.Reading``, or as a
``fieldmark.data.collection.Collection``.
"""

from __future__ import annotations

from fieldmark.api.answering import attributes, identify, tag
from fieldmark.api.audit import audit
from fieldmark.api.demonstration import demo
from fieldmark.api.download import download
from fieldmark.api.duplicates import duplicates
from fieldmark.api.embedding import embed
from fieldmark.api.ensembling import ensemble
from fieldmark.api.estimating import estimate
from fieldmark.api.labels import issues, thresholds
from fieldmark.api.lr_find import lr_find
from fieldmark.api.pairs import match
from fieldmark.api.predictor import Predictor, load
from fieldmark.api.results import Results
from fieldmark.api.running import (
    Trained,
    evaluate,
    inspect,
    plan,
    predict,
    recipes,
    relocate,
    report,
    runs,
    train,
)
from fieldmark.api.subjects import boxes
from fieldmark.api.symmetry import symmetry

__all__ = [
    "Predictor",
    "Results",
    "Trained",
    "attributes",
    "audit",
    "boxes",
    "demo",
    "download",
    "duplicates",
    "embed",
    "ensemble",
    "estimate",
    "evaluate",
    "identify",
    "inspect",
    "issues",
    "load",
    "lr_find",
    "match",
    "plan",
    "predict",
    "recipes",
    "relocate",
    "report",
    "runs",
    "symmetry",
    "tag",
    "thresholds",
    "train",
]
