"""All recipes by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fieldmark.pipeline.plan import Plan
from fieldmark.plans.humpback import humpback_classify, humpback_nearest
from fieldmark.plans.imaterialist import imaterialist2017
from fieldmark.plans.imet import imet2019, tags_plain
from fieldmark.plans.reidentify import reidentify
from fieldmark.plans.siamese import humpback_siamese

SHELF: Mapping[str, Callable[..., Plan]] = MappingProxyType(
    {
        "humpback-classify": humpback_classify,
        "humpback-nearest": humpback_nearest,
        "humpback-siamese": humpback_siamese,
        "imaterialist2017": imaterialist2017,
        "imet2019": imet2019,
        "reidentify": reidentify,
        "tags-plain": tags_plain,
    }
)
"""Functions with keyword-only settings, ``size`` among them, that return a checked plan."""
