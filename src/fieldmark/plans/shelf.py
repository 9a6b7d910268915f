"""All recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fieldmark.plans.humpback import humpback_classify, humpback_nearest
from fieldmark.plans.imaterialist import imaterialist2017
from fieldmark.plans.imet import imet2019, tags_plain
from fieldmark.plans.recipe import Recipe
from fieldmark.plans.reidentify import reidentify
from fieldmark.plans.siamese import humpback_siamese

SHELF: Mapping[str, Recipe[Any]] = MappingProxyType(
    {
        one.name: one
        for one in (
            humpback_classify,
            humpback_nearest,
            humpback_siamese,
            imaterialist2017,
            imet2019,
            reidentify,
            tags_plain,
        )
    }
)
