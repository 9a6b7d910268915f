"""Public modules: names that are loaded when they are first asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def exports(module: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a public module.

    Functions among the names take lists, tensors and columns as well (``fieldmark.core.arrays.takes_arrays``).

    Args:
        module: Name of the public module.
        homes: The module that defines each name.

    Example:
        ``__getattr__, __dir__ = exports(__name__, {"map_at_k": "fieldmark.metrics.ranking"})``
    """
    loaded: dict[str, Any] = {}

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        if name not in loaded:
            from fieldmark.core.arrays import takes_arrays

            found = getattr(importlib.import_module(homes[name]), name)
            loaded[name] = takes_arrays(found) if inspect.isfunction(found) else found
        return loaded[name]

    def names() -> list[str]:
        return sorted(homes)

    return attribute, names
