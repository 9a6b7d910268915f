"""The function ``estimate``: the cost of training a plan on this machine."""

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
    """Estimate the networks, parameters, memory, time and downloads of a plan on this machine. Nothing is trained.

    No photo is opened. Torch is loaded only for a backbone that no recipe of the package uses. Time and memory are
    rough: half to twice the measured value.

    Args:
        what: A plan, the name of a recipe, a ``.toml`` or ``.json`` file, or a run folder.
        data: Labelled photos to estimate for; None: 1,000 photos, four per individual.
        size: Size of a recipe: ``toy``, ``small`` or ``full``.
        settings: Settings of a recipe.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Returns:
        One entry per train stage with its phases, the totals, and the pretrained weights to download.

    Raises:
        PlanError: The recipe, size or setting does not exist, or the file holds no valid plan.
        DataError: ``data`` does not exist or holds no photo.
        FieldmarkError: The device does not exist.
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
        raise DataError("The data set has no valid row.", got=data, fix=f"run `fieldmark inspect {data}`.")
    return estimated(plan, PhotoCounts.of(photos), machine=machine)
