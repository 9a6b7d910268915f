"""Mistakes in a table of photos, with their file, row and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldmark.core.errors import DataError, several


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a table that the user must correct.

    Attributes:
        file: Name of the table, or of the photo if there is no table.
        row: Row number as in a spreadsheet (the header is row 1); in Parquet and JSON the number of the entry, from 1;
            None: the whole file.
        column: Name of the column in that file, or None.
        problem: Kind of mistake, with the same words for all mistakes of a kind.
        value: The wrong text.
        fix: How to correct this kind of mistake.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    value: str
    fix: str = ""

    def __str__(self) -> str:
        """One line with file, row, column, problem and value. Control characters of the value are escaped."""
        where = [self.file]
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column!r}"] if self.column is not None else []
        value = repr(self.value)
        value = value if len(value) <= 100 else f"{value[:97]}..."
        return f"{', '.join(where)}: {self.problem}: {value}"


def refusal(name: str, mistakes: Sequence[Mistake], *, most: int = 5) -> DataError:
    """One error for all mistakes of a table, sorted by kind.

    Args:
        name: Name of the table, as the user wrote it.
        mistakes: The mistakes, at least one.
        most: Number of mistakes of each kind that are listed; the others are counted.
    """
    kinds: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        kinds.setdefault(mistake.problem, []).append(mistake)
    fixes = list(dict.fromkeys(similar[0].fix for similar in kinds.values() if similar[0].fix))
    return DataError(
        f"{name} has {len(mistakes)} mistake(s).",
        got="\n".join(several(similar, most=most) for similar in kinds.values()),
        fix="; ".join(fixes) + f". List all mistakes with `fieldmark inspect {name}`.",
    )
