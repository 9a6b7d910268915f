"""Settings that say where boxes, masks and landmarks of the subject come from."""

from __future__ import annotations

from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.images.specs import (
    Agreed,
    Align,
    BoxCrop,
    BoxSource,
    FeatureNorm,
    Finder,
    FullFrame,
    GrabCut,
    MaskChannel,
    Point,
    Preprocess,
    TableBoxes,
    TrainedFinder,
)
from fieldmark.plans.settings import Settings, setting
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.train import Train

FoundBy = Literal["none", "table", "agreed", "grabcut", "features"]
FINDERS: dict[str, Finder] = {
    "table": TableBoxes(),
    "agreed": Agreed(),
    "grabcut": GrabCut(),
    "features": FeatureNorm(),
}
WHOLE = "whole"
N_PREDICTING = 2
"""Of several box sources so many are used in prediction, as in Happywhale 2022, first place."""
FLUKE = (
    Point(name="left_tip", x=0.06, y=0.1, mirror="right_tip"),
    Point(name="notch", x=0.5, y=0.53),
    Point(name="right_tip", x=0.94, y=0.1, mirror="left_tip"),
    Point(name="root", x=0.5, y=0.9),
)
"""Landmarks of a fluke seen from behind, and where they lie in an aligned picture."""


class SubjectSettings(Settings):
    """Settings about the subject's place in the photo."""

    boxes: str | None = setting(
        "data",
        "none",
        "Crop to boxes: of the table, or found by colour (grabcut), by a network (features), where both agree "
        "(agreed), or by a finder trained on clicks (trained); none: the whole photo. Several sources are drawn at "
        "random in training, by weight, and the first two are averaged in prediction: table:0.6,grabcut:0.3,whole:0.1. "
        "table.fin is the table's box source 'fin'.",
        example="grabcut",
    )
    landmarks: Literal["none", "table", "trained"] = setting(
        "data",
        "none",
        "Align half of the training photos, and all in prediction, by four landmarks of a fluke (left_tip, notch, "
        "right_tip, root): of the table, or by a finder trained on clicks.",
    )
    finder: str = setting(
        "data",
        "finder",
        "Folder of the finder trained on clicks, as `fieldmark boxes --clicks FILE --save FOLDER` writes it.",
        why="neither boxes nor landmarks are those of a trained finder",
        example="other-finder",
    )


def finder_of(name: str, *, what: str, folder: str = "finder") -> Finder | None:
    """The finder that a setting names; None for ``none``.

    Args:
        name: A key of ``FINDERS``, ``table.SOURCE``, ``trained`` or ``none``.
        what: ``Boxes``, ``Masks`` or ``Landmarks``, for the error.
        folder: Of the trained finder.

    Raises:
        PlanError: There is no such finder.
    """
    if name == "none":
        return None
    if name == "trained":
        return TrainedFinder(folder=folder)
    table, dot, source = name.partition(".")
    if table == "table" and dot and source:
        return TableBoxes(source=source)
    if name not in FINDERS:
        words = ["none", *FINDERS, "trained"]
        raise PlanError(f"{what} do not come from there.", got=name, fix=nearest(name, words))
    return FINDERS[name]


def box_sources(boxes: str, *, folder: str = "finder") -> tuple[BoxSource, ...]:
    """The box sources of a setting such as ``table:0.6,grabcut:0.4``; none for ``none``.

    Raises:
        PlanError: A source does not exist, a weight is no number above 0, or only ``whole`` is named.
    """
    if boxes == "none":
        return ()
    parts = [part.strip().partition(":") for part in boxes.split(",")]
    sources = []
    for place, (name, colon, weight) in enumerate(parts):
        by = FullFrame() if name == WHOLE else finder_of(name, what="Boxes", folder=folder)
        if by is None:
            raise PlanError(
                "The word 'none' means no boxes at all, and has no place among others.",
                got=f"boxes={boxes}",
                fix=f"use boxes={_without_none(boxes)}.",
            )
        in_use = place < N_PREDICTING
        sources.append(BoxSource(by=by, weight=_weight(boxes, weight) if colon else 1.0, in_use=in_use))
    if all(isinstance(source.by, FullFrame) for source in sources):
        raise PlanError("Only the whole photo is no box.", got=f"boxes={boxes}", fix="use boxes=none.")
    return tuple(sources)


def _without_none(boxes: str) -> str:
    """The sources with ``whole``, which means the whole photo, instead of ``none``."""
    others = [part.strip() for part in boxes.split(",") if part.strip().partition(":")[0] not in {"none", WHOLE}]
    return ",".join([*others, WHOLE]) if others else "none"


def _weight(boxes: str, typed: str) -> float:
    try:
        weight = float(typed)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise PlanError(
            "The weight of a box source is a number above 0.",
            got=f"boxes={boxes}",
            fix="for instance --set boxes=table:0.6,whole:0.4.",
        )
    return weight


def cropped(
    preprocess: Preprocess, settings: SubjectSettings, *, boxes: str | None = None, margin: float, jitter: float = 0.0
) -> Preprocess:
    """The preprocessing with the boxes and landmarks that the settings ask for.

    Args:
        preprocess: Without them.
        settings: Of the recipe.
        boxes: Instead of the settings' boxes where these are left to the size.
        margin: By which share of its sides a box is enlarged.
        jitter: By which share of its sides training moves its edges.
    """
    changes: dict[str, object] = {}
    if sources := box_sources(settings.boxes or boxes or "none", folder=settings.finder):
        changes["crop"] = BoxCrop(margin=margin, jitter=jitter, sources=sources)
    by = finder_of(settings.landmarks, what="Landmarks", folder=settings.finder)
    if isinstance(by, TableBoxes | TrainedFinder):
        changes["align"] = Align(points=FLUKE, by=by, jitter=0.05)
    return preprocess.model_copy(update=changes) if changes else preprocess


def masked(preprocess: Preprocess, finder: Finder | None) -> Preprocess:
    """The preprocessing with a mask of the subject as its fourth channel; unchanged without a finder."""
    return preprocess if finder is None else preprocess.model_copy(update={"mask": MaskChannel(by=finder)})


def finding(preprocess: Preprocess) -> tuple[Boxes, ...]:
    """The stages that find what the preprocessing reads and the table of photos does not hold."""
    finders = preprocess.finders()
    names = ["boxes"] if len(finders) == 1 else [f"boxes-{finder.kind.replace('_', '-')}" for finder in finders]
    return tuple(Boxes(name=name, finder=finder) for name, finder in zip(names, finders, strict=True))


def subject(train: Train) -> Finder:
    """The finder in whose boxes and masks keypoints must lie: the network's first, else the table's."""
    preprocess = train.preprocess
    sources = preprocess.crop.sources if isinstance(preprocess.crop, BoxCrop) else ()
    found = [source.by for source in sources] + ([] if preprocess.mask is None else [preprocess.mask.by])
    return next((one for one in found if not isinstance(one, FullFrame)), TableBoxes())
