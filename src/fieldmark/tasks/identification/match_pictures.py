"""Pictures of keypoint matches: a photo beside the known photo it matches, with lines between matching points."""

from __future__ import annotations

from functools import cached_property

from fieldmark.core.errors import FieldmarkError
from fieldmark.data.collection import Collection
from fieldmark.images.reading import read_pixels
from fieldmark.pipeline.artifacts.keypoints import KeypointRanking, agreeing
from fieldmark.pipeline.context import Context
from fieldmark.reporting.match_lines import Side, encoded, match_lines
from fieldmark.stages.identity.keypoints import KEPT, KeypointComparer
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints


class MatchPictures:
    """Draws the keypoint matches of validation photos of a finished run.

    It draws nothing if the plan has no ``rerank_keypoints`` stage.

    Args:
        context: The run.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        stages = [stage for stage in context.plan.stages if isinstance(stage, RerankKeypoints)]
        self._stage = stages[-1] if stages else None

    @cached_property
    def _photos(self) -> dict[tuple[str, str], str]:
        """Return the best matching known photo for each pair of validation photo and shortlisted name."""
        if self._stage is None:
            return {}
        return agreeing(self._context.artifact(KeypointRanking, self._stage.name).matches("validation"))

    @cached_property
    def _known(self) -> Collection:
        return self._context.with_regions().known

    def of(self, image: str, identity: str) -> bytes | None:
        """Draw the matches between a validation photo and its best photo of ``identity``.

        Args:
            image: Id of the validation photo.
            identity: Name of the individual.

        Returns:
            The bytes of a JPEG; None if no keypoints match or a file cannot be read.
        """
        photo = self._photos.get((image, identity))
        if photo is None or self._stage is None:
            return None
        known = self._known
        comparer = KeypointComparer(self._stage.matching, self._context.run.path / KEPT, within=self._stage.within)
        rows = [known.images.index(one) for one in (image, photo)]
        try:
            points = [comparer.points(known, row) for row in rows]
            found = comparer.agreement(known, rows[0], known, rows[1])
            pixels = [read_pixels(known.paths[row]) for row in rows]
        except FieldmarkError:  # a missing photo or a missing OpenCV must not stop the report
            return None
        left, right = (Side(pixels[side], points[side].xy[found.pairs[:, side]], points[side].size) for side in (0, 1))
        return encoded(match_lines(left, right, found.inlier, height_px=240, most=60))
