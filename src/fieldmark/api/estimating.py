"""The kind *estimate*: what a plan would cost on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.photos import Reading, look_up
from fieldmark.api.recipe_plans import Setting, choose

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.pipeline.plan import Plan
    from fieldmark.plans.estimates import PlanEstimate


def estimate(
    what: str | Path | Plan,
    data: Collection | Path | str | None = None,
    *,
    size: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    device: str = "auto",
    **reading: Unpack[Reading],
) -> PlanEstimate:
    """Networks, parameters, memory, time and downloads of a plan on this machine, without running any of it.

    No photo is opened and torch is not loaded, unless the plan names a backbone that no shipped recipe uses. Times and
    memory are rough: half to twice of what is measured.

    Args:
        what: A plan, a recipe's name, a ``.toml`` or ``.json`` file, or a run folder.
        data: The labelled photos; None: 1,000 photos, four of each individual.
        size: Of a recipe: ``toy``, ``small`` or ``full``.
        settings: Of a recipe.
        device: ``auto``, ``cpu``, ``cuda`` ...
        **reading: How to read ``data``; see ``fieldmark.api.photos.Reading``.

    Returns:
        One entry for each train stage, with its phases; their sum; and the pretrained weights that are needed.

    Raises:
        PlanError: There is no such recipe, size or setting, or the file holds no plan that works.
        DataError: There is no table or folder of photos at ``data``, or no photo in it.
        FieldmarkError: There is no such device.
    """
    from fieldmark.core.errors import DataError
    from fieldmark.core.machine import this_machine
    from fieldmark.plans.estimates import PhotoCounts
    from fieldmark.plans.estimates import plan_estimate as estimated

    plan, machine = choose(what, size=size, settings=settings), this_machine(device)
    if data is None:
        return estimated(plan, machine=machine)
    photos = look_up(data, labelled=True, reading=reading, check_files=False).collection
    if not len(photos):
        raise DataError("There is no usable row in the data set.", got=data, fix=f"run `fieldmark inspect {data}`.")
    return estimated(plan, PhotoCounts.of(photos), machine=machine)
