"""The tables of ``fieldmark plan`` about the cost of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldmark.cli.tables import add_row, new_table
from fieldmark.cli.terminal import lasts

if TYPE_CHECKING:
    from rich.table import Table

    from fieldmark.plans.downloads_needed import WeightsNeeded
    from fieldmark.plans.estimates import PlanEstimate, TrainEstimate

DAYS_S = 2 * 86400
"""Shortest time in seconds that is written in days."""


def estimated(found: PlanEstimate) -> list[object]:
    """Return the tables of networks and phases, the conditions of the estimate, and the downloads."""
    if not found.stages:
        return [*_weights(found)]
    phases = _phases(found)
    return [_networks(found), "", *([phases, ""] if phases.row_count else []), _made_for(found), *_weights(found)]


def _networks(found: PlanEstimate) -> Table:
    names = ("network", "head", "input", ">networks (folds)", ">photos per step", ">parameters", ">memory", ">time")
    table = new_table("stage", *names, title="Networks to train")
    for one in found.stages:
        step = f"{one.batch:,}" if one.accumulate == 1 else f"{one.batch:,} x {one.accumulate:,}"
        size = f"{one.height_px} x {one.width_px} px"
        memory = "unknown" if one.memory_bytes is None else f"{one.memory_bytes / 2**30:.1f} GiB"
        numbers = (str(one.folds), step, _parameters(one), memory, time_text(one.seconds))
        add_row(table, one.name, one.network, one.head, size, *numbers)
    return table


def _parameters(one: TrainEstimate) -> str:
    return "unknown without torch" if one.parameters is None else count_text(one.parameters)


def _phases(found: PlanEstimate) -> Table:
    names = (">phase", ">epochs", ">learning rate", ">trained", "frozen", ">photos per epoch", ">time per network")
    table = new_table("stage", *names, title="Training phases")
    for one in found.stages:
        for number, phase in enumerate(one.phases, start=1):
            trained = "unknown" if phase.trained is None else count_text(phase.trained)
            numbers = (str(number), f"{phase.epochs:,}", f"{phase.lr:g}", trained, ", ".join(phase.frozen) or "nothing")
            add_row(table, one.name, *numbers, f"{phase.photos_per_epoch:,}", time_text(phase.seconds))
    return table


def _made_for(found: PlanEstimate) -> str:
    """Return the data set, the machine, the total time and its uncertainty."""
    photos, machine = found.photos, found.machine
    given = " (use --data DATA for yours)" if photos.assumed else ""
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    where = f"{cores} of this CPU" if machine.device == "cpu" else machine.name
    rough = "half to twice the real time" if machine.device == "cpu" else "not verified on GPUs"
    whole = (
        "time unknown, because the speed of this device is unknown"
        if machine.macs_per_s is None
        else f"training takes {time_text(found.seconds)}"
    )
    basis = f"Estimated for {photos.n_photos:,} photos{given} on {where}"
    lines = [f"{basis}: {whole} ({rough}). Other stages take additional time."]
    most = max((one.memory_bytes or 0 for one in found.stages), default=0)
    if 0 < machine.memory_bytes < most:
        have, need = machine.memory_bytes / 2**30, most / 2**30
        lines.append(f"Not enough memory: about {need:.0f} GiB needed, {have:.0f} GiB here. Choose a smaller size.")
    return "\n".join(lines)


def _weights(found: PlanEstimate) -> list[str]:
    """Return one line per download that training needs."""
    missing = [one for one in found.weights if one.here is not True]
    lines = [f"To download: {_download(one)}" for one in missing]
    here = ", ".join(dict.fromkeys(one.name for one in found.weights if one.here))
    return lines or [f"Downloads: none{f' ({here} is on this machine)' if here else ''}"]


def _download(one: WeightsNeeded) -> str:
    size = "" if one.megabytes is None else f", about {one.megabytes:,} MB"
    return f"{one.name} ({one.source}{size}): {one.get}" + (
        "" if one.here is False else ", unless timm has already cached it"
    )


def count_text(number: int) -> str:
    """Return a number of parameters in millions or thousands.

    Example:
        >>> count_text(23508032), count_text(2560)
        ('23.5 M', '2.6 k')
    """
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number / 1e3:.1f} k"


def time_text(seconds: float | None) -> str:
    """Return a time in its two largest units, or in days.

    Example:
        >>> time_text(95), time_text(864000), time_text(None)
        ('1 min 35 s', '10 days', 'unknown')
    """
    if seconds is None:
        return "unknown"
    return f"{seconds / 86400:,.0f} days" if seconds >= DAYS_S else lasts(seconds)
