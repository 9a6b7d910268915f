"""The kinds' half for pairs of photos: do they agree point by point?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fieldmark.api.guards import need_torch, vacant
from fieldmark.core.errors import FieldmarkError, nearest

if TYPE_CHECKING:
    from fieldmark.gallery.specs import KeypointMatching

By = Literal["xfeat", "lighterglue", "sift", "akaze"]
FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class Matched:
    """How two photos agree.

    Attributes:
        n_points: Points found in each.
        n_matches: Points of one whose nearest in the other has them as its nearest.
        n_inliers: Matches that one change of viewpoint explains; 0 where there is none that a camera could make, unless
            ``by`` counts others, too (``views_only=False``).
        inlier_share: Inliers as a share of the matches.
        plausible: Whether a camera that went round the animal could have seen it so.
        took_s: Seconds for the comparison itself.
        out: The picture written, or None.
    """

    n_points: tuple[int, int]
    n_matches: int
    n_inliers: int
    inlier_share: float
    plausible: bool
    took_s: float
    out: Path | None


def match(
    left: Path | str,
    right: Path | str,
    *,
    by: By | KeypointMatching = "xfeat",
    out: Path | str | None = None,
    force: bool = False,
) -> Matched:
    """Whether two photos show the same marks: points of one found again in the other, in places that fit together.

    Args:
        left: A photo.
        right: Another.
        by: Which points: ``xfeat`` (learnt), ``lighterglue`` (the same, paired by a second network), ``sift`` or
            ``akaze`` (both without any network); or all settings.
        out: A ``.png`` or ``.jpg`` file for a picture of both photos with lines between their points; None writes none.
        force: Whether an existing ``out`` may be written over.

    Raises:
        ImageError: A photo cannot be read.
        RunError: ``out`` exists.
        WeightsError: The weights of the learnt points are not installed.
        FieldmarkError: OpenCV is not installed; ``by`` or the ending of ``out`` is unknown.
    """
    matching = matching_of(by)
    picture_file = vacant(out, force=force)
    if picture_file is not None and picture_file.suffix.lower() not in FORMS:
        raise FieldmarkError(
            "Lines are drawn as .png or .jpg.", got=out, fix=f"use --out {picture_file.with_suffix('.png')}."
        )
    if matching.points.kind in {"xfeat", "superpoint"}:
        need_torch()
    from fieldmark.core.files import write_bytes
    from fieldmark.gallery.keypoints import find_keypoints
    from fieldmark.gallery.matching import agreement
    from fieldmark.images.reading import read_pixels
    from fieldmark.reporting.match_lines import Side, encoded, match_lines

    pixels = [read_pixels(Path(photo)) for photo in (left, right)]
    points = [find_keypoints(matching.points, one) for one in pixels]
    found = agreement(points[0], points[1], matching)
    if picture_file is not None:
        sides = [
            Side(one, of.xy[found.pairs[:, side]], of.size)
            for side, (one, of) in enumerate(zip(pixels, points, strict=True))
        ]
        drawn = match_lines(sides[0], sides[1], found.inlier)
        write_bytes(picture_file, encoded(drawn, form=FORMS[picture_file.suffix.lower()]))
    return Matched(
        n_points=(len(points[0]), len(points[1])),
        n_matches=found.n_matches,
        n_inliers=found.n_inliers,
        inlier_share=found.inlier_share,
        plausible=found.plausible,
        took_s=found.took_s,
        out=picture_file,
    )


def matching_of(by: By | KeypointMatching) -> KeypointMatching:
    """The settings of keypoint matching that a name stands for.

    Raises:
        FieldmarkError: There is none of that name.
    """
    from fieldmark.gallery.specs import Akaze, KeypointMatching, Sift, Xfeat

    if isinstance(by, KeypointMatching):
        return by
    kinds = {"xfeat": Xfeat(), "lighterglue": Xfeat(matcher="lighterglue", most=512), "sift": Sift(), "akaze": Akaze()}
    if by not in kinds:
        raise FieldmarkError("There are no points of that kind.", got=by, fix=nearest(by, kinds))
    return KeypointMatching(points=kinds[by], views_only=True)
