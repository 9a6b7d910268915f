"""The errors of fieldmark. Each has three parts: problem, got and fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FieldmarkError(Exception):
    """An error that the user can correct, shown in three lines.

    Args:
        problem: One sentence that names the setting, file, row or column at fault.
        got: The wrong value; for many values pass ``several(values)``.
        fix: What the user can type or do next.

    Example:
        >>> print(FieldmarkError("There is no recipe of that name.", got="imet", fix="run `fieldmark recipes`."))
        There is no recipe of that name.
          got: imet
          fix: run `fieldmark recipes`.
    """

    def __init__(self, problem: str, *, got: object, fix: str) -> None:
        self.problem = problem
        self.got = got
        self.fix = fix
        super().__init__(problem)

    def __str__(self) -> str:
        """The three lines. Further lines of ``got`` are indented below the first one."""
        got = str(self.got).replace("\n", "\n       ")
        return f"{self.problem}\n  got: {got}\n  fix: {self.fix}"


class DataError(FieldmarkError):
    """The table of photos, its labels or its files contain mistakes."""


class ImageError(FieldmarkError):
    """One image cannot be read; ``got`` names its file."""


class ShapeError(FieldmarkError):
    """An array has a wrong shape, or arrays do not agree in shape."""


class PlanError(FieldmarkError):
    """A plan, a recipe or a setting is invalid."""


class RunError(FieldmarkError):
    """A run folder is missing, unfinished or damaged, or belongs to another plan."""


class WeightsError(FieldmarkError):
    """Model weights are missing or damaged, or belong to another network."""


def several(values: Sequence[object], *, most: int = 5) -> str:
    """The first few of many values, one per line, and the number of the others.

    Example:
        >>> print(several(["a", "b", "c"], most=2))
        a
        b
        ... and 1 more (3 in all)
    """
    lines = [str(value) for value in values[:most]]
    if len(values) > most:
        lines.append(f"... and {len(values) - most} more ({len(values)} in all)")
    return "\n".join(lines)


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence for ``fix`` that suggests the closest known name, or lists all of them.

    Example:
        >>> nearest("imet2091", ["imet2019", "humpback"])
        "did you mean 'imet2019'?"
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"did you mean '{close[0]}'?" if close else f"use one of: {', '.join(known)}."
