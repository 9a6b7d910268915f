"""Settings for the source of boxes, masks and landmarks of the subject."""

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
FULL_FRAME = "full_frame"
N_PREDICTING = 2
"""Number of box sources used in prediction, out of several; as in Happywhale 2022, first place."""
FLUKE = (
    Point(name="left_tip", x=0.06, y=0.1, mirror="right_tip"),
    Point(name="notch", x=0.5, y=0.53),
    Point(name="right_tip", x=0.94, y=0.1, mirror="left_tip"),
    Point(name="root", x=0.5, y=0.9),
)
"""Landmarks of a fluke photographed from behind, with their positions in the aligned image."""


class SubjectSettings(Settings):
    """Settings for the position of the subject in the photo."""

    boxes: str | None = setting(
        "data",
        "none",
        "Source of the boxes to which photos are cropped. none: no crop. table: the box columns of the photo table; "
        "table.fin: its box source 'fin'. grabcut: boxes found by colour. features: boxes found by a network. agreed: "
        "boxes on which both agree. trained: boxes of a finder trained on clicks. Several sources with weights can be "
        "given, for example table:0.6,grabcut:0.3,full_frame:0.1. Training then draws one source per photo by weight, "
        "and prediction averages the first two.",
        example="grabcut",
    )
    landmarks: Literal["none", "table", "trained"] = setting(
        "data",
        "none",
        "Source of the four landmarks of a fluke (left_tip, notch, right_tip, root) by which photos are aligned. "
        "none: no alignment. table: columns of the photo table. trained: a finder trained on clicks. Training aligns "
        "half of the photos; prediction aligns all.",
    )
    finder_folder: str = setting(
        "data",
        "finder",
        "Folder of the finder trained on clicks. `fieldmark boxes --clicks FILE --save FOLDER` writes it.",
        why="neither boxes nor landmarks use a trained finder",
        example="other-finder",
    )


def finder_of(name: str, *, what: str, folder: str = "finder") -> Finder | None:
    """Return the finder that a setting names, or None for ``none``.

    Args:
        name: A key of ``FINDERS``, ``table.SOURCE``, ``trained`` or ``none``.
        what: Name of the setting, for the error: ``boxes``, ``masks`` or ``landmarks``.
        folder: Folder of the trained finder.

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
        raise PlanError(f"The setting '{what}' has no such source.", got=name, fix=nearest(name, words))
    return FINDERS[name]


def box_sources(boxes: str, *, folder: str = "finder") -> tuple[BoxSource, ...]:
    """Return the box sources of a setting such as ``table:0.6,grabcut:0.4``; an empty tuple for ``none``.

    Raises:
        PlanError: A source does not exist, a weight is not a number above 0, or ``full_frame`` is the only source.
    """
    if boxes == "none":
        return ()
    parts = [part.strip().partition(":") for part in boxes.split(",")]
    sources = []
    for place, (name, colon, weight) in enumerate(parts):
        by = FullFrame() if name == FULL_FRAME else finder_of(name, what="boxes", folder=folder)
        if by is None:
            raise PlanError(
                "The setting 'boxes' combines 'none' (no crop) with other sources.",
                got=f"boxes={boxes}",
                fix=f"use boxes={_without_none(boxes)}.",
            )
        in_use = place < N_PREDICTING
        sources.append(BoxSource(by=by, weight=_weight(boxes, weight) if colon else 1.0, in_use=in_use))
    if all(isinstance(source.by, FullFrame) for source in sources):
        raise PlanError(
            "The setting 'boxes' names no box source besides the full frame.",
            got=f"boxes={boxes}",
            fix="use boxes=none.",
        )
    return tuple(sources)


def _without_none(boxes: str) -> str:
    """Return the sources with ``full_frame`` instead of ``none``."""
    others = [part.strip() for part in boxes.split(",") if part.strip().partition(":")[0] not in {"none", FULL_FRAME}]
    return ",".join([*others, FULL_FRAME]) if others else "none"


def _weight(boxes: str, typed: str) -> float:
    try:
        weight = float(typed)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise PlanError(
            "The setting 'boxes' has a weight that is not a number above 0.",
            got=f"boxes={boxes}",
            fix="for instance --set boxes=table:0.6,full_frame:0.4.",
        )
    return weight


def cropped(
    preprocess: Preprocess, settings: SubjectSettings, *, boxes: str | None = None, margin: float, jitter: float = 0.0
) -> Preprocess:
    """Return the preprocessing with the boxes and landmarks of the settings.

    Args:
        preprocess: The preprocessing without boxes and landmarks.
        settings: The settings of the recipe.
        boxes: The default of the setting ``boxes`` at this size.
        margin: Margin around a box, as a share of its sides.
        jitter: Largest random shift of each box edge in training, as a share of the sides.
    """
    changes: dict[str, object] = {}
    if sources := box_sources(settings.boxes or boxes or "none", folder=settings.finder_folder):
        changes["crop"] = BoxCrop(margin=margin, jitter=jitter, sources=sources)
    by = finder_of(settings.landmarks, what="landmarks", folder=settings.finder_folder)
    if isinstance(by, TableBoxes | TrainedFinder):
        changes["align"] = Align(points=FLUKE, by=by, jitter=0.05)
    return preprocess.model_copy(update=changes) if changes else preprocess


def masked(preprocess: Preprocess, finder: Finder | None) -> Preprocess:
    """Return the preprocessing with a subject mask as the fourth channel; unchanged if ``finder`` is None."""
    return preprocess if finder is None else preprocess.model_copy(update={"mask": MaskChannel(by=finder)})


def finding(preprocess: Preprocess) -> tuple[Boxes, ...]:
    """Return the ``boxes`` stages for every finder of the preprocessing, except those that read the photo table."""
    finders = preprocess.finders()
    names = ["boxes"] if len(finders) == 1 else [f"boxes-{finder.kind.replace('_', '-')}" for finder in finders]
    return tuple(Boxes(name=name, finder=finder) for name, finder in zip(names, finders, strict=True))


def subject(train: Train) -> Finder:
    """Return the finder whose boxes and masks limit the keypoints: the network's first one, or the photo table."""
    preprocess = train.preprocess
    sources = preprocess.crop.sources if isinstance(preprocess.crop, BoxCrop) else ()
    found = [source.by for source in sources] + ([] if preprocess.mask is None else [preprocess.mask.by])
    return next((one for one in found if not isinstance(one, FullFrame)), TableBoxes())
