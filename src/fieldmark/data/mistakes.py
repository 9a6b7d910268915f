"""What is wrong in a table of photos, told by file, row and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldmark.core.errors import DataError, several


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing a person must mend in a table.

    Attributes:
        file: Name of the table, or of the photo where there is no table.
        row: Row as a spreadsheet counts (the header is row 1); in Parquet and JSON the entry, from 1; None: the
            whole file.
        column: The column's name in that file, or None.
        problem: What is wrong, the same words for the same kind of mistake.
        value: The offending text.
        fix: What to do about this kind of mistake.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    value: str
    fix: str = ""

    def __str__(self) -> str:
        """One line: where, what, and the value with control characters spelled out."""
        where = [self.file]
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column!r}"] if self.column is not None else []
        value = repr(self.value)
        value = value if len(value) <= 100 else f"{value[:97]}..."
        return f"{', '.join(where)}: {self.problem}: {value}"


def refusal(name: str, mistakes: Sequence[Mistake], *, most: int = 5) -> DataError:
    """One error that tells all mistakes, similar ones together, ``most`` of each kind.

    Args:
        name: What was read, as the user called it.
        mistakes: At least one.
        most: How many of each kind are spelled out; the rest is counted.
    """
    kinds: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        kinds.setdefault(mistake.problem, []).append(mistake)
    fixes = list(dict.fromkeys(similar[0].fix for similar in kinds.values() if similar[0].fix))
    return DataError(
        f"{name} has {len(mistakes)} mistake(s).",
        got="\n".join(several(similar, most=most) for similar in kinds.values()),
        fix="; ".join(fixes) + f". `fieldmark inspect {name}` lists all of them.",
    )
