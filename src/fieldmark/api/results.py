"""Answers to photos as a list that becomes a data frame and shows itself in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import Form, Task

MOST_SHOWN = 20
TYPES = {
    "place": "Int64",
    **dict.fromkeys(("is_new", "given", "applies"), "Boolean"),
    **dict.fromkeys(("score", "similarity", "known_proba", "right_proba", "proba"), "Float64"),
}
"""The polars types of columns that hold no texts."""


class Results(list[Any]):
    """The answers to some photos, in their order: a list of ``Identification``, ``Tagged`` or ``Answered``.

    Args:
        task: What the run is for.
        answers: One per photo.
        context: The run.
    """

    def __init__(self, task: Task, answers: Iterable[Any], context: Context) -> None:
        super().__init__(answers)
        self._task, self._context = task, context

    def to_polars(self) -> pl.DataFrame:
        """A table with one row per photo and candidate, label or question.

        Columns: identification ``image, place, identity, is_new, score, most_similar_photo, similarity, known_proba,
        right_proba``; tagging ``image, label, proba, given``; attributes ``image, question, answer, proba, applies``.
        Their types do not depend on the answers.
        """
        import polars as pl

        columns, rows = self._task.table(self, self._context)
        schema = {name: getattr(pl, TYPES.get(name, "String")) for name in columns}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def to_pandas(self) -> Any:
        """The same table as a pandas frame; needs pandas and pyarrow."""
        return self.to_polars().to_pandas()

    def to_json(self) -> list[dict[str, Any]]:
        """The answers as JSON values, as the commands print them with ``--json``."""
        return [self._task.as_json(one) for one in self]

    def write(self, path: Path | str, *, form: Form = "people") -> None:
        """Write the answers as CSV.

        Args:
            path: The file.
            form: ``people``: the table of ``to_polars``, harmless in a spreadsheet; ``submission``: the contest's.

        Raises:
            DataError: Names do not fit into the contest's form.
        """
        self._task.write(Path(path), self, form=form, context=self._context)

    def _repr_html_(self) -> str:
        """The first rows of the table, for notebooks."""
        table = self.to_polars()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}</td>" for cell in row) + "</tr>"
            for row in table.head(MOST_SHOWN).iter_rows()
        )
        rest = f"<p>{table.height - MOST_SHOWN:,} more rows</p>" if table.height > MOST_SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
