"""Settings of keypoint evidence (no torch): which points are looked for, and when two photos agree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec


class Sift(Spec):
    """Points of SIFT, described by RootSIFT; nothing is learnt, so any texture will do.

    Attributes:
        size_px: The longer side to which a photo is brought before points are looked for.
        most: Points kept, the strongest first.
        clahe: Even out the contrast first, tile by tile.
        ratio: A match counts where its squared distance is below this share of the second nearest's.
        min_cosine: How similar two descriptors must be to match at all.

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
    """Points of AKAZE with a description in bits: found along edges that survive smoothing.

    Attributes:
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: How strong a point must answer to be one.
        ratio: As for ``Sift``, of the number of bits that differ.
        min_cosine: How similar two descriptors must be: 1 minus twice the share of bits that differ.

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
    """Points of XFeat, a small network that has learnt which points are found again in another photo.

    Attributes:
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: How sure the network must be of a point.
        matcher: ``mutual``: each the nearest of the other. ``lighterglue``: a second small network looks at all points
            of both photos before it pairs them; some ten times slower.
        ratio: As for ``Sift``; 1 asks nothing.
        min_cosine: How similar two descriptors must be to match at all.
        min_proba: How sure LighterGlue must be of a match.

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
    """Points of SuperPoint, from a weights file of your own: its licence forbids others to hand it out.

    Attributes:
        path: The published state dict (``superpoint_v1.pth``).
        sha256: What the file must hash to; None: any.
        size_px: As for ``Sift``.
        most: As for ``Sift``.
        threshold: How sure the network must be of a point.
        ratio: As for ``Sift``; 1 asks nothing.
        min_cosine: How similar two descriptors must be to match at all.

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
    """When two photos agree point by point.

    Matched points are lines from one photo to the other. Lines that one change of viewpoint explains (a homography: the
    two pictures are of one flat thing) are inliers; lines that merely look similar point anywhere.

    Attributes:
        points: Which points.
        within_px: How far from where the homography puts it a point may lie, in pixels of the resized photo.
        least: Fewer matches than this are no evidence: a homography fits any four.
        views_only: Count no inliers where the homography is no possible change of viewpoint (it mirrors, or squashes
            too much). For a pair looked at by itself; on shortlists of real photos it loses more than it brings.

    Source:
        Humpback 2018/19, fourth place: ten matches, RANSAC at 9 px, and a check of the homography's eight numbers
        (there by boosted trees).
    """

    points: KeypointMethod = Xfeat()
    within_px: Positive = 9.0
    least: Annotated[int, Field(ge=4)] = 10
    views_only: bool = False
