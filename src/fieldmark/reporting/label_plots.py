"""Plots of tagging runs: scores of stages, training losses, thresholds, and labels by frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from fieldmark.reporting.canvas import INK, aligned, canvas, colour, thinned
from fieldmark.reporting.contents import Curve
from fieldmark.reporting.label_contents import LabelThresholdScan, StageScore
from fieldmark.reporting.wording import counted, number

_SIGNS = {"better": ("^", 2), "worse": ("v", 1), "no clear change": ("o", 0), "first": ("D", 0)}
"""Marker and colour of each verdict. The shape alone is enough for readers who cannot distinguish the colours."""


def stage_scores_plot(stage_scores: Sequence[StageScore], *, score_name: str = "mean F2") -> str:
    """Plot the score of each stage with its interval, with the first stage on top.

    A triangle points up if the stage is better than the stage before (the whole interval of the difference is above
    zero), and down if it is worse.
    """
    places = np.arange(len(stage_scores))
    with canvas(f"{score_name} after each stage", height=58 + 26 * len(stage_scores)) as plot:
        axes = plot.axes(across=score_name, up="stage")
        for place, one_stage in enumerate(stage_scores):
            marker, shade = _SIGNS[one_stage.change.verdict if one_stage.change else "first"]
            axes.plot([one_stage.low, one_stage.high], [place, place], color=colour(shade), linewidth=3, alpha=0.45)
            axes.plot([one_stage.value], [place], marker=marker, markersize=8, color=colour(shade), markeredgecolor=INK)
        axes.set_yticks(places, [plot.text(one_stage.name) for one_stage in stage_scores])
        axes.set_ylim(len(stage_scores) - 0.4, -0.6)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(visible=False, axis="y")
        return plot.svg(
            description="; ".join(f"{one_stage.name}: {number(one_stage.value)}" for one_stage in stage_scores)
        )


def fold_histories(
    folds: Sequence[Curve], *, title: str, over: str = "epoch", limits: tuple[float, float] | None = None
) -> str:
    """Plot the training loss of one stage: a thin line per fold, and a thick line for their mean.

    Args:
        folds: One curve per fold.
        title: Title for screen readers.
        over: Label of the horizontal axis.
        limits: Ends of the vertical axis, so that plots of several stages can be compared.

    Raises:
        ShapeError: The numbers of positions and values of a curve differ.
    """
    with canvas(title, height=165) as plot:
        axes = plot.axes(across=over, up="loss")
        for curve in folds:
            at, value = thinned(*aligned(curve.name, curve.at, curve.value))
            axes.plot(at, value, color=colour(0), alpha=0.4, linewidth=1, marker="." if len(at) == 1 else "")
        at, value = _mean_line(folds)
        axes.plot(at, value, color=colour(0), linewidth=2.4, marker="o" if len(at) == 1 else "")
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.locator_params(axis="y", nbins=5)
        if len(at) == 1:
            axes.set_xlim(at[0] - 1, at[0] + 1)
        if limits is not None:
            axes.set_ylim(*limits)
        ends = f"from {number(float(value[0]))} to {number(float(value[-1]))}" if len(value) else "nothing"
        return plot.svg(description=f"Mean of {counted(len(folds), 'fold')}: {ends}.")


def _mean_line(folds: Sequence[Curve]) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Return the mean of the curves that have a value at each position. Folds may end at different epochs."""
    at = np.unique(np.concatenate([np.asarray(curve.at, dtype=float) for curve in folds] or [np.zeros(0)]))
    total, n = np.zeros(len(at)), np.zeros(len(at))
    for curve in folds:
        value = np.asarray(curve.value, dtype=float)
        place = np.searchsorted(at, curve.at)[np.isfinite(value)]
        np.add.at(total, place, value[np.isfinite(value)])
        np.add.at(n, place, 1)
    return thinned(at[n > 0], total[n > 0] / n[n > 0])


def threshold_scan(scan: LabelThresholdScan, *, group: str, score_name: str = "mean F2") -> str:
    """Plot the score at each threshold of a label group, with the chosen one marked.

    Raises:
        ShapeError: The numbers of scores and thresholds differ.
    """
    at, value = aligned(f"thresholds of {group}", scan.at, scan.value)
    with canvas(f"{score_name} at each threshold of {group}", height=190) as plot:
        axes = plot.axes(across="threshold", up=score_name)
        axes.plot(at, value, color=colour(0), linewidth=1.8)
        axes.axvline(scan.chosen_at, color=INK, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        chosen = float(np.interp(scan.chosen_at, at, value)) if len(at) else math.nan
        axes.plot([scan.chosen_at], [chosen], marker="o", markersize=6.5, color=colour(0), markeredgecolor=INK)
        place = {"xy": (scan.chosen_at, 1), "xycoords": ("data", "axes fraction"), "xytext": (0, 3)}
        axes.annotate(f"chosen {scan.chosen_at:.3g}", **place, textcoords="offset points", ha="center", fontsize=9.5)
        axes.set_ylim(0, 1.08 * float(value.max(initial=0.0)) or 1.0)
        axes.set_xlim(left=min(0.0, float(at.min(initial=0))))
        return plot.svg(description=f"Chosen: {number(scan.chosen_at)}, where {score_name} is {number(chosen)}.")


def by_frequency(counts: Int[np.ndarray, " label"], precision: Float[np.ndarray, " label"]) -> str:
    """Plot the average precision of each label over its number of photos, and the median of similarly rare labels.

    Args:
        counts: Number of photos with the label in the table, at least 1.
        precision: Average precision, 0 to 1.

    Raises:
        ShapeError: The numbers of counts and precisions differ.
    """
    counts, precision = aligned("labels", counts, precision)
    with canvas("Average precision of each label") as plot:
        axes = plot.axes(across="photos with the label", up="average precision")
        axes.set_xscale("log")
        axes.scatter(counts, precision, s=12, color=colour(0), alpha=0.5, linewidths=0)
        centre, median = _medians(counts, precision)
        name = plot.text("median at this frequency")
        axes.plot(centre, median, color=colour(1), linewidth=2, linestyle="--", label=name)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0.8 * counts.min(initial=1), 1.3 * max(10.0, counts.max(initial=1)))
        axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter(lambda _value, _place: "")
        plot.legend(columns=1)
        words = "; ".join(f"about {m:.0f} photos: {t:.2f}" for m, t in zip(centre, median, strict=True))
        return plot.svg(description=f"Median average precision of {counted(len(counts), 'label')}. {words}.")


def _medians(
    counts: Float[np.ndarray, " label"], precision: Float[np.ndarray, " label"]
) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Return medians of labels whose counts lie between two powers of 2; ranges of fewer than 3 labels have none."""
    doubling = np.floor(np.log2(np.maximum(counts, 1)))
    bins = [doubling == one for one in np.unique(doubling) if np.count_nonzero(doubling == one) >= 3]
    return (
        np.array([float(np.exp(np.log(counts[some]).mean())) for some in bins]),
        np.array([float(np.median(precision[some])) for some in bins]),
    )
