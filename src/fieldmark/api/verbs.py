"""The commands as Python functions of the same names; ``fieldmark.train(...)`` is ``train`` here.

Photos are given as a path, which is read with the options of ``fieldmark.api.photos.Reading``, or as a
``fieldmark.data.collection.Collection`` that was read before.
"""

from __future__ import annotations

from fieldmark.api.answering import attributes, identify, tag
from fieldmark.api.audit import audit
from fieldmark.api.blending import blend
from fieldmark.api.demonstration import demo
from fieldmark.api.download import download
from fieldmark.api.duplicates import twins
from fieldmark.api.embedding import embed
from fieldmark.api.estimating import estimate
from fieldmark.api.flips import flips
from fieldmark.api.labels import doubts, tune
from fieldmark.api.pairs import match
from fieldmark.api.predictor import Predictor, load
from fieldmark.api.rates import rates
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

__all__ = [
    "Predictor",
    "Results",
    "Trained",
    "attributes",
    "audit",
    "blend",
    "boxes",
    "demo",
    "doubts",
    "download",
    "embed",
    "estimate",
    "evaluate",
    "flips",
    "identify",
    "inspect",
    "load",
    "match",
    "plan",
    "predict",
    "rates",
    "recipes",
    "relocate",
    "report",
    "runs",
    "tag",
    "train",
    "tune",
    "twins",
]
