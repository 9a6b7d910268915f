"""Settings of recipes that match keypoints of a photo with photos of its likeliest individuals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import PerGroup, UnknownAt
from fieldmark.gallery.specs import Akaze, KeypointMatching, KeypointMethod, Sift, Superpoint, Xfeat
from fieldmark.images.specs import Finder
from fieldmark.plans.settings import Settings, setting
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints

Method = Literal["none", "sift", "akaze", "xfeat", "lighterglue", "superpoint"]
ON = ("xfeat", *(one for one in get_args(Method) if one not in {"none", "xfeat"}))
KEYPOINT_METHODS: Mapping[str, Callable[[], KeypointMethod]] = {
    "sift": Sift,
    "akaze": Akaze,
    "xfeat": Xfeat,
    "lighterglue": lambda: Xfeat(matcher="lighterglue"),
}


class KeypointSettings(Settings):
    """Settings about keypoints."""

    keypoints: Method = setting(
        "ranking",
        "none",
        "Re-rank the first names by matched keypoints of this method (extra keypoints).",
    )
    keypoint_weights: str = setting(
        "ranking",
        "",
        "Weights file of SuperPoint, which its licence forbids us to ship.",
        needs={"keypoints": ("superpoint",)},
        example="superpoint_v1.pth",
    )
    keypoint_shortlist: int = setting(
        "ranking", 10, "Individuals a photo whose keypoints are matched.", ge=1, needs={"keypoints": ON}
    )


def rechecked(
    settings: KeypointSettings,
    *,
    name: str = "matching",
    ranking: str,
    embedded: str,
    within: Finder,
    unknown: UnknownAt,
    per_group: PerGroup | None = None,
) -> RerankKeypoints | None:
    """The stage that re-ranks the stage ``ranking`` by keypoints; None if the settings ask for none.

    Raises:
        PlanError: SuperPoint has no weights.
    """
    if settings.keypoints == "none":
        return None
    return RerankKeypoints(
        name=name,
        reads_from=ranking,
        embedded=embedded,
        on="split",
        matching=KeypointMatching(points=_points(settings)),
        within=within,
        shortlist=settings.keypoint_shortlist,
        unknown=unknown,
        per_group=per_group,
    )


def _points(settings: KeypointSettings) -> KeypointMethod:
    if settings.keypoints != "superpoint":
        return KEYPOINT_METHODS[settings.keypoints]()
    if not settings.keypoint_weights:
        raise PlanError(
            "SuperPoint needs its weights as a file of your own.",
            got="keypoints=superpoint",
            fix="add --set keypoint_weights=superpoint_v1.pth",
        )
    return Superpoint(path=settings.keypoint_weights)
