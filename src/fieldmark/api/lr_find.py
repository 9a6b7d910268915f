"""The kind *rates*: which learning rates a recipe stands on some photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import need_torch, vacant
from fieldmark.api.photos import Reading, gather
from fieldmark.api.recipe_plans import Setting, choose
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.pipeline.plan import Plan
    from fieldmark.training.lr_finder import LrCurve


@dataclass(frozen=True)
class LrSearch:
    """What learning rates did to a training.

    Attributes:
        stage: The train stage.
        planned: The rate its first phase has in the plan.
        curve: The loss at each rate, and the one suggested.
    """

    stage: str
    planned: float
    curve: LrCurve


def lr_find(
    recipe: str | Path | Plan,
    data: Collection | Path | str,
    *,
    stage: str | None = None,
    n_updates: int = 100,
    out: Path | str | None = None,
    size: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> LrSearch:
    """The loss of a short training whose learning rate grows: which rates a recipe stands on these photos.

    Nothing is kept. A good rate lies where the loss falls fastest, well before it leaps.

    Args:
        recipe: As for ``train``.
        data: Photos with names or labels.
        stage: A train stage that needs no other training before it; None for the first.
        n_updates: How many rates are tried, from 0.000001 to 1.
        out: An ``.svg`` file for the plot; None writes none.
        size: As for ``train``.
        settings: As for ``train``.
        seed: Of everything random.
        force: Whether an existing ``out`` may be written over.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: See ``fieldmark.api.photos.Reading``.

    Raises:
        PlanError: The recipe, a setting or the stage does not exist, or cannot be tried.
        DataError: The photos have mistakes; all are told.
        RunError: ``out`` exists.
        FieldmarkError: ``out`` is no ``.svg`` file.
    """
    progress = shown_by(progress)
    if out is not None and Path(out).suffix != ".svg":
        raise FieldmarkError("The plot is written as .svg.", got=out, fix=f"use --out {Path(out).with_suffix('.svg')}.")
    plot_file = vacant(out, force=force)
    chosen = choose(recipe, size=size, settings=settings)
    need_torch()
    from fieldmark.core.files import write_text
    from fieldmark.reporting.plots import rate_plot
    from fieldmark.stages.common.lr_finding import search_learning_rate
    from fieldmark.tasks.task import task_of

    known = gather(data, labelled=True, reading=reading, n_workers=n_workers, progress=progress)
    task = task_of(chosen)
    photos = task.prepared(known.collection)
    task.check(chosen, photos)
    tried, curve = search_learning_rate(
        chosen,
        photos,
        stage=stage,
        n_updates=n_updates,
        seed=seed,
        device=device,
        n_workers=n_workers,
        progress=progress,
    )
    if plot_file is not None:
        write_text(plot_file, rate_plot(curve.rates, curve.smoothed, chosen=curve.suggested))
    return LrSearch(stage=tried.name, planned=tried.training.phases[0].lr, curve=curve)
