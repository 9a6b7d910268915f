"""Boxes, masks and landmarks that were found on photos."""

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
        marks: Box, mask and landmarks of each photo; None if its table has those of this finder already.
        source: Under which name the table of photos keeps them.
        notes: Of the finder on each photo, as why it has no box.
    """

    marks: Marks | None
    source: str
    notes: tuple[str, ...] = ()

    def marked(self, photos: Collection) -> Collection:
        """The photos with these regions beside their other columns."""
        return photos if self.marks is None else marked(photos, self.marks, source=self.source)

    def said(self) -> str:
        """How many photos have a box, and why others have none."""
        if self.marks is None:
            return "the table has the boxes already"
        lacking = self.marks.table[BOX[0]].is_null().to_list()
        notes = (note for note, lacks in zip(self.notes, lacking, strict=True) if lacks)
        counts = Counter((note or "without a box").split(":")[0].split(" (")[0] for note in notes)
        told = ", ".join(f"{count} {note}" for note, count in counts.most_common())
        said = f"{len(lacking) - counts.total()} of {len(lacking)} photos have a box"
        return f"{said}; full frame: {told}" if told else said


class Regions(Artifact):
    """Box, mask and landmarks of each known photo and of the run's new ones: a Parquet table each."""

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
        return f"of the new photos {value.said()}"

    def kept(self, context: Context) -> FoundRegions:
        """The regions of the new photos."""
        del context
        return FoundRegions(self._read("new"), self.source)

    @property
    def source(self) -> str:
        """Under which name tables of photos keep these regions."""
        return str(read_json(self.folder / SOURCE))

    def marked(self, photos: Collection, *, part: Literal["known", "new"]) -> Collection:
        """The known or the new photos with their regions."""
        return marked(photos, self._read(part), source=self.source)

    def _write(self, part: str, found: FoundRegions) -> None:
        if found.marks is None:
            raise TypeError("regions are written once, by the stage that finds them")
        table = found.marks.table.with_columns(pl.Series(NOTE, list(found.notes), dtype=pl.String))
        table.write_parquet(self._path(part))

    def _read(self, part: str) -> Marks:
        with self._path(part).open("rb") as file:
            table = pl.read_parquet(file)
        points = tuple(name[2:] for name in table.columns if name.startswith("x_"))
        return Marks(table.drop(NOTE, strict=False), points, self.source)

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.parquet"
