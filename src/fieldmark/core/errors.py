"""The one kind of error a user meets: problem, got, fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FieldmarkError(Exception):
    """Something the user can mend, told in three lines.

    Args:
        problem: One sentence that names what the user typed or gave.
        got: The offending value; for many, pass ``several(values)``.
        fix: Something the user can type or do next.

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
        """Three lines; further lines of ``got`` are indented below the first."""
        got = str(self.got).replace("\n", "\n       ")
        return f"{self.problem}\n  got: {got}\n  fix: {self.fix}"


class DataError(FieldmarkError):
    """The table of photos, its labels or its files are not as they must be."""


class ImageError(FieldmarkError):
    """One picture cannot be read; ``got`` names its file."""


class ShapeError(FieldmarkError):
    """Arrays that must agree in shape do not."""


class PlanError(FieldmarkError):
    """A plan, recipe or setting cannot work."""


class RunError(FieldmarkError):
    """A run folder is missing, unfinished, damaged or belongs to another plan."""


class WeightsError(FieldmarkError):
    """Model weights are missing, damaged or of another network."""


def several(values: Sequence[object], *, most: int = 5) -> str:
    """The first few of many values, one a line, with the count of the rest.

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
    """A sentence for ``fix``: the closest known name, or all of them.

    Example:
        >>> nearest("imet2091", ["imet2019", "humpback"])
        "did you mean 'imet2019'?"
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"did you mean '{close[0]}'?" if close else f"use one of: {', '.join(known)}."
