"""The class ``Results``: predictions as a list, a data frame, JSON, CSV, and a table in a notebook."""

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
"""Polars types of the columns that do not hold text."""


class Results(list[Any]):
    """The predictions for photos, in their order: a list of ``Identification``, ``Tagged`` or ``Answered``.

    Args:
        task: Task of the run.
        answers: One prediction per photo.
        context: Context of the run.
    """

    def __init__(self, task: Task, answers: Iterable[Any], context: Context) -> None:
        super().__init__(answers)
        self._task, self._context = task, context

    def to_polars(self) -> pl.DataFrame:
        """Return a table with one row per photo and candidate, label or question.

        Columns: identification ``image, place, identity, is_new, score, most_similar_photo, similarity, known_proba,
        right_proba``; tagging ``image, label, proba, given``; attributes ``image, question, answer, proba, applies``.
        The column types do not depend on the predictions.
        """
        import polars as pl

        columns, rows = self._task.table(self, self._context)
        schema = {name: getattr(pl, TYPES.get(name, "String")) for name in columns}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def to_pandas(self) -> Any:
        """Return the same table as a pandas frame; needs pandas and pyarrow."""
        return self.to_polars().to_pandas()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the predictions as JSON values, as the commands print them with ``--json``."""
        return [self._task.as_json(one) for one in self]

    def write(self, path: Path | str, *, form: Form = "people") -> None:
        """Write the predictions as CSV.

        Args:
            path: CSV file to write.
            form: ``people``: the table of ``to_polars``, with spreadsheet formulas disabled. ``submission``: the format
                of the contest.

        Raises:
            DataError: Names do not fit the format of the contest.
        """
        self._task.write(Path(path), self, form=form, context=self._context)

    def _repr_html_(self) -> str:
        """Return the first rows of the table as HTML, for notebooks."""
        table = self.to_polars()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}</td>" for cell in row) + "</tr>"
            for row in table.head(MOST_SHOWN).iter_rows()
        )
        rest = f"<p>{table.height - MOST_SHOWN:,} more rows</p>" if table.height > MOST_SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
