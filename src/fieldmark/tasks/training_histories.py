"""Training histories of the networks of a run, for its report page."""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.context import Context
from fieldmark.reporting.contents import Curve
from fieldmark.reporting.label_contents import TrainingHistory
from fieldmark.stages.common.train import Train

LOSS, RATE = "loss", "lr"


def training_histories(context: Context) -> tuple[TrainingHistory, ...]:
    """Return the training loss of each ``train`` stage, with one curve per fold.

    Stages share a scale if they minimise the same losses over the same number of labels. Values of different losses
    cannot be compared.
    """
    found = []
    for stage in _trained(context):
        folds = tuple(
            _curve(history, LOSS, "loss", f"{stage.name}, fold {k}")
            for k, history in enumerate(context.artifact(Models, stage.name).histories())
            if any(LOSS in row for row in history)
        )
        if folds:
            n_labels = len(context.artifact(Models, stage.name).labels)
            losses = ", ".join(loss.model_dump_json() for loss in stage.losses)
            found.append(TrainingHistory(stage.name, folds, f"{losses} over {n_labels}"))
    return tuple(found)


def learning_rates(context: Context) -> tuple[Curve, ...]:
    """Return one learning-rate curve per distinct schedule, named after the first stage that uses it."""
    named: dict[tuple[tuple[float, float], ...], list[str]] = {}
    curves: dict[tuple[tuple[float, float], ...], Curve] = {}
    for stage in _trained(context):
        histories = context.artifact(Models, stage.name).histories()
        if not histories or not histories[0]:
            continue
        curve = _curve(histories[0], RATE, "lr", stage.name)
        key = tuple(zip(curve.at.tolist(), curve.value.tolist(), strict=True))
        named.setdefault(key, []).append(stage.name)
        curves[key] = curve
    return tuple(
        Curve(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", "lr", curve.at, curve.value)
        for key, names in named.items()
        for curve in (curves[key],)
    )


def _trained(context: Context) -> list[Train]:
    return [stage for stage in context.plan.stages if isinstance(stage, Train)]


def _curve(history: list[dict[str, Any]], name: str, kind: Any, title: str) -> Curve:
    rows = [row for row in history if name in row]
    at, value = ([float(row[column]) for row in rows] for column in ("epoch", name))
    return Curve(title, kind, np.array(at), np.array(value))
