"""The stage *boxes*: finds the subject on every photo, once for all stages that crop to it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fieldmark.data.collection import Collection
from fieldmark.images.specs import Agreed, Finder
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.regions import FoundRegions, Regions
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage, stage


@stage
class Boxes(Stage):
    """Find the subject on every photo. Later stages crop to it if their preprocessing names the same finder.

    Attributes:
        finder: Method that finds the subject: ``grabcut``, ``feature_norm``, ``agreed`` or ``trained``.
    """

    output = Regions
    changes_photos = True
    kind: Literal["boxes"] = "boxes"
    finder: Finder = Agreed()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the box, mask and landmarks of each known photo, or the reason why it has none."""
        found = self._found(context.known, context)
        Regions(folder).write(found)
        return found.said()

    def apply(self, ask: Ask) -> FoundRegions:
        """Return the regions of any photos. Regions of this finder that their table already has are not computed."""
        from fieldmark.quality.regions.finding import has_marks, source_name

        if has_marks(ask.photos, self.finder):
            return FoundRegions(None, source_name(self.finder))
        return self._found(ask.photos, ask.context)

    def _found(self, photos: Collection, context: Context) -> FoundRegions:
        from fieldmark.quality.regions.finding import find_subjects, landmarks_given, marks_of, source_name

        source = source_name(self.finder)
        found = find_subjects(photos, self.finder, device=context.device, **context.pace)
        marks = marks_of(photos, found, points=landmarks_given(self.finder), source=source)
        return FoundRegions(marks, source, tuple(one.note for one in found))
