"""The report page of tagging and attributes runs: one self-contained file that works without its script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fieldmark.reporting import label_plots, plots
from fieldmark.reporting.label_contents import (
    LabelRow,
    LabelsPage,
    MarkedPhoto,
    ThresholdRow,
    TrainingHistory,
)
from fieldmark.reporting.rendering import LARGE, SMALL, Section, aspect, rendered, run_parts, safe
from fieldmark.reporting.thumbnails import thumbnail_if_readable

N_EXTREMES = 8
"""Number of labels in the lists of the best and the worst labels."""

_SIGNS = {
    "right": {"sign": "✓", "words": "right"},
    "missed": {"sign": "○", "words": "missed"},
    "extra": {"sign": "+", "words": "extra"},
}
_LEGEND = (
    ("right", "in the table and predicted"),
    ("missed", "in the table, not predicted"),
    ("extra", "predicted, not in the table"),
)
_CHANGE_SIGNS = {"better": "▲", "worse": "▼", "no clear change": "●"}


def labels_page(page: LabelsPage) -> str:
    """Return the report of a tagging or attributes run as one HTML text. It loads nothing, and escapes every name.

    Empty attributes of ``page`` have no section. A picture that cannot be read is shown as an empty frame. The only
    script searches and sorts the list of labels; the page allows it by its hash.

    Raises:
        ShapeError: A curve or a scan of thresholds has arrays of different lengths.
    """
    pictures = {
        "worst": _photos(page.worst, **LARGE),
        "best": _photos(page.best, **LARGE),
        "issues": [{"row": one, "picture": thumbnail_if_readable(one.picture, **SMALL)} for one in page.issues],
        "dropped": [{"row": one, "photos": _photos(one.worst, **SMALL)} for one in page.dropped],
        "added": [{"row": one, "photos": _photos(one.examples, **SMALL)} for one in page.added],
    }
    least_count, worst_labels, best_labels = _extremes(page.labels)
    return rendered(
        "labels.html",
        script="labels.js" if page.labels else "",
        page=page,
        sections=_sections(page),
        aspect=aspect(pictures),
        signs=_SIGNS,
        legend_words=_LEGEND,
        change_signs=_CHANGE_SIGNS,
        stage_scores_plot=_stage_scores(page),
        thresholds=[{"row": row, "svg": _scan(row, page.score_name)} for row in page.thresholds],
        labels=sorted(page.labels, key=lambda row: (-row.count, row.name)),
        least_count=least_count,
        worst_labels=worst_labels,
        best_labels=best_labels,
        frequency_plot=_frequency(page.labels),
        training_histories=_training_plots(page.training_histories),
        rates=_rates(page),
        **pictures,
        **run_parts(page),
    )


def _sections(page: LabelsPage) -> tuple[Section, ...]:
    """Return the anchor, the short title and the content of every section."""
    return (
        ("scores", "Measures", page.scores),
        ("questions", "Questions", page.questions),
        ("stages", "Stage scores", page.stage_scores),
        ("examples", "Examples", page.worst or page.best),
        ("issues", "Possible label errors", page.issues),
        ("labels", "Labels", page.labels),
        ("thresholds", "Thresholds", page.thresholds),
        ("moved", "Removed and added photos", page.dropped or page.added),
        ("trees", "Boosted trees", page.trees),
        ("learning", "Training", page.training_histories or page.learning_rates),
        ("data", "Photos", page.facts or page.skipped),
        ("plan", "Stages", page.stages or page.plan_json),
        ("manifest", "Versions", page.manifest),
    )


def _photos(photos: Sequence[MarkedPhoto], *, area_px: int, most_bytes: int) -> list[dict[str, Any]]:
    return [
        {"row": one, "picture": thumbnail_if_readable(one.picture, area_px=area_px, most_bytes=most_bytes)}
        for one in photos
    ]


def _extremes(labels: Sequence[LabelRow]) -> tuple[int, list[LabelRow], list[LabelRow]]:
    """Return a minimum count, and the worst and best labels by average precision among labels with that many photos."""
    measured = [row for row in labels if row.average_precision is not None]
    if len(measured) < 2 * N_EXTREMES:  # the whole list is short
        return 0, [], []
    counts = sorted((row.count for row in measured), reverse=True)
    least = max(2, min(20, counts[2 * N_EXTREMES - 1]))
    frequent = sorted((row for row in measured if row.count >= least), key=lambda row: row.average_precision or 0.0)
    return least, frequent[:N_EXTREMES], frequent[: -N_EXTREMES - 1 : -1]


def _stage_scores(page: LabelsPage) -> Any:
    if not page.stage_scores:
        return None
    return safe(label_plots.stage_scores_plot(page.stage_scores, score_name=page.score_name))


def _scan(row: ThresholdRow, score_name: str) -> Any:
    return (
        None if row.scan is None else safe(label_plots.threshold_scan(row.scan, group=row.group, score_name=score_name))
    )


def _frequency(labels: Sequence[LabelRow]) -> Any:
    measured = [(row.count, row.average_precision) for row in labels if row.count and row.average_precision is not None]
    if not measured:
        return None
    counts, precision = zip(*measured, strict=True)
    return safe(label_plots.by_frequency(np.array(counts), np.array(precision)))


def _training_plots(training_histories: Sequence[TrainingHistory]) -> list[tuple[str, Any]]:
    """Return one plot per stage. Stages of the same scale share the ends of their vertical axis."""
    ends: dict[str, tuple[float, float]] = {}
    for history in training_histories:
        values = np.concatenate([np.asarray(curve.value, dtype=float) for curve in history.folds] or [np.zeros(0)])
        values = values[np.isfinite(values)]
        if len(values):
            low, high = ends.get(history.scale, (np.inf, -np.inf))
            ends[history.scale] = min(low, float(values.min())), max(high, float(values.max()))
    drawn = []
    for history in training_histories:
        low, high = ends.get(history.scale, (0.0, 1.0))
        margin = 0.05 * (high - low) or 0.05
        limits = (min(low - margin, 0.0) if low < 0 else max(0.0, low - margin), high + margin)
        svg = label_plots.fold_histories(history.folds, title=f"Loss of {history.stage}", limits=limits)
        drawn.append((history.stage, safe(svg)))
    return drawn


def _rates(page: LabelsPage) -> Any:
    if not page.learning_rates:
        return None
    return safe(plots.history(page.learning_rates, title="Learning rate", log=plots.spans_decades(page.learning_rates)))
