"""Boxes, masks and landmarks found on photos."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from fieldmark.core.files import read_json, write_json
from fieldmark.data.collection import BOX, Collection
from fieldmark.data.marks import Marks, marked
from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

NOTE = "note"
SOURCE = "source.json"


@dataclass(frozen=True)
class FoundRegions:
    """Regions found on some photos.

    Attributes:
        marks: Box, mask and landmarks of each photo; None if the table of photos already has those of this finder.
        source: Name of these regions in the table of photos.
        notes: The finder's note on each photo, such as the reason why it has no box.
    """

    marks: Marks | None
    source: str
    notes: tuple[str, ...] = ()

    def marked(self, photos: Collection) -> Collection:
        """Return the photos with these regions added to their table."""
        return photos if self.marks is None else marked(photos, self.marks, source=self.source)

    def said(self) -> str:
        """Return how many photos have a box, and why others have none."""
        if self.marks is None:
            return "the table already has the boxes"
        lacking = self.marks.table[BOX[0]].is_null().to_list()
        notes = (note for note, lacks in zip(self.notes, lacking, strict=True) if lacks)
        counts = Counter((note or "without a box").split(":")[0].split(" (")[0] for note in notes)
        reasons = ", ".join(f"{count} {note}" for note, count in counts.most_common())
        summary = f"{len(lacking) - counts.total()} of {len(lacking)} photos have a box"
        return f"{summary}; full frame: {reasons}" if reasons else summary


class Regions(Artifact):
    """Boxes, masks and landmarks of the known and the new photos, in one Parquet table each."""

    of_photos = True
    each_fold = True

    def write(self, found: FoundRegions) -> None:
        """Write the regions of the known photos."""
        write_json(self.folder / SOURCE, found.source)
        self._write("known", found)

    def keep(self, value: FoundRegions, context: Context) -> str:
        """Write the regions of the new photos."""
        del context
        self._write("new", value)
        return f"new photos: {value.said()}"

    def kept(self, context: Context) -> FoundRegions:
        """Return the regions of the new photos."""
        del context
        return FoundRegions(self._read("new"), self.source)

    @property
    def source(self) -> str:
        """The name of these regions in tables of photos."""
        return str(read_json(self.folder / SOURCE))

    def marked(self, photos: Collection, *, part: Literal["known", "new"]) -> Collection:
        """Return the known or the new photos with their regions."""
        return marked(photos, self._read(part), source=self.source)

    def _write(self, part: str, found: FoundRegions) -> None:
        if found.marks is None:
            raise TypeError("only the stage that finds regions can write them")
        table = found.marks.table.with_columns(pl.Series(NOTE, list(found.notes), dtype=pl.String))
        table.write_parquet(self._path(part))

    def _read(self, part: str) -> Marks:
        with self._path(part).open("rb") as file:
            table = pl.read_parquet(file)
        points = tuple(name[2:] for name in table.columns if name.startswith("x_"))
        return Marks(table.drop(NOTE, strict=False), points, self.source)

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.parquet"
