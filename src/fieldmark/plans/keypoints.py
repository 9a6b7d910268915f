"""Settings of recipes that match the keypoints of a photo with photos of its top-ranked individuals."""

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
    """Settings for keypoint matching."""

    keypoints: Method = setting(
        "ranking",
        "none",
        "Keypoint method that re-ranks the top individuals by the number of matched keypoints; none: no re-ranking. "
        'Needs `pip install "fieldmark[keypoints]"`.',
    )
    keypoint_weights: str = setting(
        "ranking",
        "",
        "Weights file of SuperPoint. Its licence does not allow us to include the file.",
        needs={"keypoints": ("superpoint",)},
        example="superpoint_v1.pth",
    )
    keypoint_shortlist: int = setting(
        "ranking", 10, "Number of top-ranked individuals per photo that are matched.", ge=1, needs={"keypoints": ON}
    )


def keypoint_reranking(
    settings: KeypointSettings,
    *,
    name: str = "matching",
    ranking: str,
    embedded: str,
    within: Finder,
    unknown: UnknownAt,
    per_group: PerGroup | None = None,
) -> RerankKeypoints | None:
    """Return the stage that re-ranks the stage ``ranking`` by keypoints, or None if keypoints are off.

    Raises:
        PlanError: SuperPoint is chosen without a weights file.
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
            "The setting 'keypoint_weights' is missing: SuperPoint needs a weights file.",
            got="keypoints=superpoint",
            fix="add --set keypoint_weights=superpoint_v1.pth",
        )
    return Superpoint(path=settings.keypoint_weights)
