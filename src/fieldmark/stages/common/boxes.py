"""The verb *boxes*: where the subject is on every photo, found once for all stages that crop by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.data.marks import marked
from fieldmark.images.specs import Agreed, Finder
from fieldmark.stages.job import Job


class Boxes(Spec):
    """Find the subject on known and new photos; later stages crop by it where their preprocessing names this finder.

    At the doors of a finished run (identify, predict, tag) the same finder looks at the photos that come in: the
    preprocessing is stored with the network, so that boxes in use come from where boxes in training came from.

    Attributes:
        finder: ``grabcut``, ``feature_norm``, ``agreed`` or ``trained``.
    """

    verb: Literal["boxes"] = "boxes"
    name: str
    finder: Finder = Agreed()

    def reads(self) -> tuple[str, ...]:
        """Nothing but the photos."""
        return ()

    def run(self, job: Job, folder: Path) -> str:
        """Write ``known.parquet`` and ``new.parquet``: box, mask and landmarks of each photo, or why it has none."""
        from fieldmark.quality.regions.finding import find, marks_of, noted, points_told, source_name

        notes: Counter[str] = Counter()
        n_photos = 0
        for part, photos in _parts(job).items():
            found = find(photos, self.finder, device=job.device, **job.pace)
            marks = marks_of(photos, found, points=points_told(self.finder), source=source_name(self.finder))
            noted(marks, found).table.write_parquet(folder / f"{part}.parquet")
            notes.update(one.note.split(":")[0].split(" (")[0] for one in found if one.box is None)
            n_photos += len(photos)
        told = ", ".join(f"{count} {note or 'without a box'}" for note, count in notes.most_common())
        said = f"{n_photos - notes.total()} of {n_photos} photos have a box"
        return f"{said}; full frame: {told}" if told else said

    def applied(self, job: Job) -> Job:
        """The job with what this stage has found beside the columns of its photos."""
        from fieldmark.quality.regions.finding import opened_marks, source_name

        source = source_name(self.finder)
        photos = {
            part: marked(
                photos, opened_marks(job.run.stage(self.name) / f"{part}.parquet", source=source), source=source
            )
            for part, photos in _parts(job).items()
        }
        return replace(job, known=photos["known"], new=photos.get("new", job.new))


def _parts(job: Job) -> dict[str, Collection]:
    parts = {"known": job.known}
    if job.new is not None and len(job.new):
        parts["new"] = job.new
    return parts
