"""Where recipes look for the subject of a photo."""

from __future__ import annotations

from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.images.specs import Agreed, FeatureNorm, Finder, GrabCut, TableBoxes
from fieldmark.stages.common.boxes import Boxes

FoundBy = Literal["none", "table", "agreed", "grabcut", "features"]
FINDERS: dict[str, Finder] = {
    "table": TableBoxes(),
    "agreed": Agreed(),
    "grabcut": GrabCut(),
    "features": FeatureNorm(),
}


def finder_of(name: str, *, what: str) -> Finder | None:
    """The finder that a recipe's switch names; None for ``none``.

    Args:
        name: As in ``FoundBy``.
        what: ``Boxes`` or ``Masks``, for the error.

    Raises:
        PlanError: There is no such finder.
    """
    if name == "none":
        return None
    if name not in FINDERS:
        raise PlanError(f"{what} do not come from there.", got=name, fix=nearest(name, ["none", *FINDERS]))
    return FINDERS[name]


def looking(finder: Finder | None) -> tuple[Boxes, ...]:
    """The stage that looks for the subject; none where the table tells it, or nobody asks."""
    return () if finder is None or isinstance(finder, TableBoxes) else (Boxes(name="boxes", finder=finder),)
