"""Settings of keypoint matching (no torch): the keypoint method, and when two photos match."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec


class Sift(Spec):
    """SIFT keypoints with RootSIFT descriptors; needs no training, so it works for any texture.

    Attributes:
        size_px: Longer side in px to which a photo is resized first.
        most: Maximum number of keypoints, the strongest first.
        clahe: Equalise the contrast first, tile by tile.
        ratio: A match counts if its squared distance is below this share of the second nearest's.
        min_cosine: Minimum cosine of two matching descriptors.

    Source:
        Lowe 2004; RootSIFT: Arandjelovic and Zisserman 2012; CLAHE and the ratio: Humpback 2018/19, fourth place.
    """

    kind: Literal["sift"] = "sift"
    size_px: Annotated[int, Field(ge=64, le=4096)] = 640
    most: Count = 1024
    clahe: bool = True
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.64
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = -1.0


class Akaze(Spec):
    """AKAZE keypoints with binary descriptors, found along edges that remain after smoothing.

    Attributes:
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: Minimum strength of a keypoint.
        ratio: As for ``Sift``, for the number of different bits.
        min_cosine: Minimum similarity of two descriptors: 1 minus twice the share of different bits.

    Source:
        Alcantarilla et al. 2013, BMVC.
    """

    kind: Literal["akaze"] = "akaze"
    size_px: Annotated[int, Field(ge=64, le=4096)] = 640
    most: Count = 1024
    threshold: Positive = 0.001
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = -1.0


class Xfeat(Spec):
    """XFeat keypoints, from a small network trained to find points that are repeatable in another photo.

    Attributes:
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: Minimum confidence of the network in a keypoint.
        matcher: ``mutual``: mutual nearest neighbours. ``lighterglue``: a second small network matches the keypoints of
            both photos together; about ten times slower.
        ratio: As for ``Sift``; 1 disables this check.
        min_cosine: Minimum cosine of two matching descriptors.
        min_proba: Minimum confidence of LighterGlue in a match.

    Source:
        Potje et al. 2024, arXiv:2404.19174; 0.82 is their code's threshold; LighterGlue is theirs after Lindenberger et
        al. 2023, arXiv:2306.13643.
    """

    kind: Literal["xfeat"] = "xfeat"
    size_px: Annotated[int, Field(ge=64, le=4096)] = 640
    most: Count = 1024
    threshold: Fraction = 0.05
    matcher: Literal["mutual", "lighterglue"] = "mutual"
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.82
    min_proba: Fraction = 0.1


class Superpoint(Spec):
    """SuperPoint keypoints, from a weights file that the user provides; its licence forbids redistribution.

    Attributes:
        path: The published state dict (``superpoint_v1.pth``).
        sha256: Expected hash of the file; None: any.
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: Minimum confidence of the network in a keypoint.
        ratio: As for ``Sift``; 1 disables this check.
        min_cosine: Minimum cosine of two matching descriptors.

    Source:
        DeTone et al. 2018, arXiv:1712.07629; 0.7 is the largest distance at which their code matches.
    """

    kind: Literal["superpoint"] = "superpoint"
    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    size_px: Annotated[int, Field(ge=64, le=4096)] = 640
    most: Count = 1024
    threshold: Fraction = 0.015
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.755


KeypointMethod = Annotated[Sift | Akaze | Xfeat | Superpoint, Field(discriminator="kind")]


class KeypointMatching(Spec):
    """When two photos match by their keypoints.

    Matched keypoints are checked with one change of viewpoint (a homography, which assumes that both photos show one
    flat surface). Matches that agree with it are inliers; random matches rarely agree.

    Attributes:
        points: The keypoint method.
        within_px: Maximum distance of a point from the position that the homography predicts, in px of the resized
            photo.
        least: Minimum number of matches for a homography; any four points fit one.
        views_only: Count no inliers if the homography is not a possible change of viewpoint (it mirrors, or distorts
            too much). Useful for a single pair; on shortlists of real photos it lowers the accuracy.

    Source:
        Humpback 2018/19, fourth place: ten matches, RANSAC at 9 px, and a check of the homography's eight numbers
        (there by boosted trees).
    """

    points: KeypointMethod = Xfeat()
    within_px: Positive = 9.0
    least: Annotated[int, Field(ge=4)] = 10
    views_only: bool = False
