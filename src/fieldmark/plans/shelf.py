"""All recipes by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldmark.plans import humpback, imaterialist, imet, reidentify, siamese
from fieldmark.plans.recipe import RECIPES, Recipe

BUILT_IN = (humpback, imaterialist, imet, reidentify, siamese)
"""The modules whose recipes are registered when they are imported."""


class Shelf(Mapping[str, Recipe[Any]]):
    """The registered recipes, those of other packages among them, by name."""

    def __getitem__(self, name: str) -> Recipe[Any]:
        """The recipe of that name.

        Raises:
            KeyError: There is none.
        """
        found = RECIPES.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        """The names, sorted."""
        return iter(RECIPES.names())

    def __len__(self) -> int:
        """How many there are."""
        return len(RECIPES.names())


SHELF: Mapping[str, Recipe[Any]] = Shelf()
