"""The function ``match``: keypoint matching of two photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fieldmark.api.guards import need_torch, writable_path
from fieldmark.core.errors import FieldmarkError, nearest

if TYPE_CHECKING:
    from fieldmark.gallery.specs import KeypointMatching

By = Literal["xfeat", "lighterglue", "sift", "akaze"]
FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class Matched:
    """The keypoint matches of two photos.

    Attributes:
        n_points: Number of keypoints in each photo.
        n_matches: Number of pairs of keypoints that are mutual nearest neighbours.
        n_inliers: Number of matches that one change of viewpoint explains. 0 if no camera could make that change,
            unless ``by`` also counts other changes (``views_only=False``).
        inlier_share: Inliers as a share of the matches, 0 to 1.
        plausible: Whether a camera moving around the animal could have taken both photos.
        took_s: Time of the comparison in seconds.
        out: Path of the picture; None if none was written.
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
    """Match the keypoints of two photos; many inliers mean that both show the same marks.

    Args:
        left: Path of a photo.
        right: Path of the other photo.
        by: Keypoint method: ``xfeat`` (a network), ``lighterglue`` (the same keypoints, matched by a second network),
            ``sift`` or ``akaze`` (no network); or all settings.
        out: ``.png`` or ``.jpg`` file to write: both photos with lines between matches; None: no file.
        force: Whether to overwrite an existing ``out``.

    Raises:
        ImageError: A photo cannot be read.
        RunError: ``out`` exists.
        WeightsError: The weights of the keypoint network are not installed.
        FieldmarkError: OpenCV is not installed, or ``by`` or the suffix of ``out`` is unknown.
    """
    matching = matching_of(by)
    picture_file = writable_path(out, force=force)
    if picture_file is not None and picture_file.suffix.lower() not in FORMS:
        raise FieldmarkError(
            "--out must be a .png or .jpg file.", got=out, fix=f"use --out {picture_file.with_suffix('.png')}."
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
    """Return the settings of keypoint matching for the name of a method.

    Raises:
        FieldmarkError: There is no method of that name.
    """
    from fieldmark.gallery.specs import Akaze, KeypointMatching, Sift, Xfeat

    if isinstance(by, KeypointMatching):
        return by
    kinds = {"xfeat": Xfeat(), "lighterglue": Xfeat(matcher="lighterglue", most=512), "sift": Sift(), "akaze": Akaze()}
    if by not in kinds:
        raise FieldmarkError("There is no keypoint method of that name.", got=by, fix=nearest(by, kinds))
    return KeypointMatching(points=kinds[by], views_only=True)
