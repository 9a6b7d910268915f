"""The function ``lr_find``: a learning-rate finder for a recipe on given photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import need_torch, writable_path
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
    """The result of a learning-rate search.

    Attributes:
        stage: Name of the train stage.
        planned: Learning rate of its first phase in the plan.
        curve: Loss at each learning rate, and the suggested rate.
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
    """Find a learning rate for a recipe: a short training in which the rate rises, with the loss at each rate.

    The trained network is discarded. A good rate is where the loss falls fastest, well before it diverges.

    Args:
        recipe: Recipe, plan or file, as for ``train``.
        data: Photos with names or labels.
        stage: Name of a train stage that does not build on another one; None: the first.
        n_updates: Number of learning rates, from 0.000001 to 1.
        out: ``.svg`` file for the plot; None: no file.
        size: Size of the recipe, as for ``train``.
        settings: Settings of the recipe, as for ``train``.
        seed: Random seed.
        force: Whether to overwrite an existing ``out``.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        PlanError: The recipe, a setting or the stage does not exist, or the stage builds on another one.
        DataError: The photos have errors; the error lists all.
        RunError: ``out`` exists.
        FieldmarkError: ``out`` is not an ``.svg`` file.
    """
    progress = shown_by(progress)
    if out is not None and Path(out).suffix != ".svg":
        raise FieldmarkError("--out must be an .svg file.", got=out, fix=f"use --out {Path(out).with_suffix('.svg')}.")
    plot_file = writable_path(out, force=force)
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
