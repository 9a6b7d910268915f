"""The page of a run that tags: one file, complete in itself, that can be read without its script."""

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
from fieldmark.reporting.rendering import LARGE, SMALL, aspect, rendered, run_parts, safe
from fieldmark.reporting.thumbnails import thumbnail_if_readable

N_EXTREMES = 8
"""Labels has_labels best and has_labels worst."""

_SIGNS = {
    "right": {"sign": "✓", "words": "found"},
    "missed": {"sign": "○", "words": "missed"},
    "extra": {"sign": "+", "words": "added"},
}
_LEGEND = (
    ("right", "in the table and given"),
    ("missed", "in the table, not given"),
    ("extra", "given, not in the table"),
)
_CHANGE_SIGNS = {"better": "▲", "worse": "▼", "no clear change": "●"}


def labels_page(page: LabelsPage) -> str:
    """The report of a run that tags as one HTML text: no network, every name inert.

    What ``page`` leaves empty is left out. A picture that cannot be read is shown as an empty frame. The one script,
    ours and allowed by its hash alone, searches and sorts the list of labels.

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
        stage_scores_plot=safe(label_plots.stage_scores_plot(page.stage_scores, score_name=page.score_name)) if page.stage_scores else None,
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


def _sections(page: LabelsPage) -> list[tuple[str, str]]:
    """Anchor and words of every section that has content."""
    all_of_them = (
        ("scores", "Scores", page.scores),
        ("stages", "Stages", page.stage_scores),
        ("examples", "Photos", page.worst or page.best),
        ("issues", "Issues", page.issues),
        ("questions", "Questions", page.questions),
        ("labels", "Labels", page.labels),
        ("thresholds", "LabelThresholds", page.thresholds),
        ("moved", "Left out, taken in", page.dropped or page.added),
        ("trees", "Trees", page.trees),
        ("learning", "Learning", page.training_histories or page.learning_rates),
        ("data", "Data", page.facts or page.skipped),
        ("plan", "Plan", page.stages or page.plan_json),
        ("manifest", "Manifest", page.manifest),
    )
    return [(anchor, words) for anchor, words, content in all_of_them if content]


def _photos(photos: Sequence[MarkedPhoto], *, area_px: int, most_bytes: int) -> list[dict[str, Any]]:
    return [
        {"row": one, "picture": thumbnail_if_readable(one.picture, area_px=area_px, most_bytes=most_bytes)}
        for one in photos
    ]


def _extremes(labels: Sequence[LabelRow]) -> tuple[int, list[LabelRow], list[LabelRow]]:
    """Labels has_labels worst and best, of those that are frequent enough for it to mean something; the count that is."""
    measured = [row for row in labels if row.average_precision is not None]
    if len(measured) < 2 * N_EXTREMES:  # the whole list is short enough to be read
        return 0, [], []
    counts = sorted((row.count for row in measured), reverse=True)
    least = max(2, min(20, counts[2 * N_EXTREMES - 1]))
    frequent = sorted((row for row in measured if row.count >= least), key=lambda row: row.average_precision or 0.0)
    return least, frequent[:N_EXTREMES], frequent[: -N_EXTREMES - 1 : -1]


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
    """A plot a stage; stages of the same scale share the ends of their vertical axis."""
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
        room = 0.05 * (high - low) or 0.05
        limits = (min(low - room, 0.0) if low < 0 else max(0.0, low - room), high + room)
        svg = label_plots.fold_histories(history.folds, title=f"Loss of {history.stage}", limits=limits)
        drawn.append((history.stage, safe(svg)))
    return drawn


def _rates(page: LabelsPage) -> Any:
    if not page.learning_rates:
        return None
    return safe(plots.history(page.learning_rates, title="Learning rate", log=plots.spans_decades(page.learning_rates)))
