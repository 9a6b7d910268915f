"""Plots as small SVG texts for light and dark pages.

Axes and texts use the text colour of the page, and lines its colours ``--plot-1`` to ``--plot-4``. If a page sets no
colours, lines use colours that colour-blind readers can distinguish. The background is transparent. The same input
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from fieldmark.core.errors import ShapeError
from fieldmark.reporting.canvas import INK, LONGEST_NAME, aligned, canvas, colour, line, thinned
from fieldmark.reporting.contents import Cooccurrence, Curve, LabelCount, ThresholdScan
from fieldmark.reporting.wording import counted, number, percent


def history(
    curves: Sequence[Curve], *, title: str, over: str = "epoch", up: str | None = None, log: bool = False
) -> str:
    """Plot a training history: losses, metrics or learning rates over epochs or steps.

    Args:
        curves: Curves of one kind; more than four repeat colours.
        title: Title for screen readers.
        over: Label of the horizontal axis.
        up: Label of the vertical axis; None for the title in lower case.
        log: Whether the vertical axis is logarithmic; values of 0 or less are then left out.

    Returns:
        An SVG text.

    Raises:
        ShapeError: The numbers of positions and values of a curve differ.
    """
    with canvas(title) as plot:
        axes = plot.axes(across=over, up=title[:1].lower() + title[1:] if up is None else up)
        for place, curve in enumerate(curves):
            at, value = thinned(*aligned(curve.name, curve.at, curve.value))
            shown = np.isfinite(value) & ((value > 0) | (not log))
            style = {
                "marker": "o" if shown.sum() == 1 else "",
                "drawstyle": "steps-post" if curve.kind == "lr" else None,
            }
            axes.plot(at, np.where(shown, value, np.nan), label=plot.text(curve.name), **style, **line(place))
        axes.locator_params(axis="x", integer=True)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(_power)
            axes.yaxis.set_minor_formatter(_no_words)
        if len(curves) > 1:
            plot.legend(columns=2)
        return plot.svg(description="; ".join(_ends(curve) for curve in curves))


def rate_plot(
    rates: Float[np.ndarray, " update"], losses: Float[np.ndarray, " update"], *, chosen: float | None
) -> str:
    """Plot the loss at each tested learning rate, with the suggested rate marked.

    Args:
        rates: Learning rates, ascending and above 0.
        losses: Loss at each rate.
        chosen: Suggested rate; None if there is none.

    Raises:
        ShapeError: The numbers of losses and rates differ.
    """
    with canvas("Loss at each learning rate") as plot:
        axes = plot.axes(across="learning rate", up="loss")
        axes.plot(*aligned("loss", rates, losses), **line(0))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_power)
        axes.xaxis.set_minor_formatter(_no_words)
        if chosen is not None:
            axes.axvline(chosen, color=INK, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        fell = "the loss never fell" if chosen is None else f"the loss falls fastest at {chosen:.2g}"
        return plot.svg(description=fell)


def spans_decades(curves: Sequence[Curve]) -> bool:
    """Return whether the largest value is at least 30 times the smallest, so that a logarithmic axis is needed."""
    values = np.concatenate([np.asarray(curve.value, dtype=float) for curve in curves])
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(positive.size) and bool(positive.max() >= 30 * positive.min())


def threshold_plot(scan: ThresholdScan) -> str:
    """Plot score, share of photos answered as unknown, and FPIR at each threshold, with the chosen one marked.

    Raises:
        ShapeError: The arrays differ in length.
    """
    lines = [
        (scan.score_name, scan.score),
        ("share answered as new", scan.share_new),
        ("FPIR", scan.false_match_rate),
    ]
    with canvas(f"{scan.score_name} at each threshold") as plot:
        axes = plot.axes(across="threshold", up="score or share")
        for place, (name, values) in enumerate(lines):
            if values is not None and np.isfinite(values).any():
                axes.plot(*aligned(name, scan.at, values), label=plot.text(name), **line(place))
        axes.axvline(scan.chosen_at, color=INK, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        chosen = float(np.interp(scan.chosen_at, scan.at, scan.score))
        axes.plot([scan.chosen_at], [chosen], marker="o", markersize=6.5, color=colour(0), markeredgecolor=INK)
        place = {"xy": (scan.chosen_at, 1), "xycoords": ("data", "axes fraction"), "xytext": (0, 3)}
        axes.annotate(f"chosen {scan.chosen_at:.3g}", **place, textcoords="offset points", ha="center", fontsize=9.5)
        axes.set_ylim(0, max(1.0, float(np.max(scan.score[np.isfinite(scan.score)], initial=0))))
        plot.legend(columns=2)
        return plot.svg(description=f"Chosen: {number(scan.chosen_at)}, where {scan.score_name} is {number(chosen)}.")


def photos_per_identity(counts: Int[np.ndarray, " identity"]) -> str:
    """Plot the number of identities with one photo, two photos, and so on, on a logarithmic axis.

    Args:
        counts: Number of photos of each identity.
    """
    photos, identities = np.unique(counts[counts > 0], return_counts=True)
    most = int(photos.max(initial=0))
    single = int(identities[photos == 1].sum())
    with canvas("Photos per identity") as plot:
        axes = plot.axes(across="photos per identity", up="number of identities")
        axes.bar(photos, identities, width=0.8, color=colour(0))
        axes.set_yscale("log")
        axes.set_ylim(0.7, max(10, 1.6 * int(identities.max(initial=1))))
        axes.set_xlim(0.3, max(10, most) + 0.7)
        axes.yaxis.set_major_formatter(_plain)
        axes.grid(visible=False, axis="x")
        return plot.svg(
            description=f"{single:,} of {int(identities.sum()):,} have a single photo; the maximum is {most:,}."
        )


def label_frequency(labels: Sequence[LabelCount], *, most: int = 20) -> str:
    """Plot the most frequent labels as bars, with their counts."""
    shown = sorted(labels, key=lambda label: (-label.count, label.name))[:most]
    places = np.arange(len(shown))
    with canvas("Label frequencies", height=44 + 19 * len(shown)) as plot:
        axes = plot.axes(across="number of photos")
        axes.barh(places, [label.count for label in shown], height=0.68, color=colour(0))
        for place, label in enumerate(shown):
            beside = {"xy": (label.count, place), "xytext": (4, 0), "textcoords": "offset points"}
            axes.annotate(f"{label.count:,}", **beside, va="center", fontsize=9.5)
        axes.set_yticks(places, [plot.text(label.name) for label in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.2 * max((label.count for label in shown), default=1))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.grid(visible=False)
        return plot.svg(description="; ".join(f"{label.name}: {label.count:,}" for label in shown))


def cooccurrence(pairs: Cooccurrence, *, most: int = 14) -> str:
    """Plot which labels occur on the same photos.

    The darker a cell, the larger the share of photos with the row's label that also have the column's label.

    Raises:
        ShapeError: ``counts`` is not a square matrix with one row per label.
    """
    n_labels = len(pairs.labels)
    if pairs.counts.shape != (n_labels, n_labels):
        raise ShapeError(
            "The attribute counts needs one row and one column per label.",
            got=f"{n_labels} labels, counts {pairs.counts.shape}",
            fix="pass counts as truth.T @ truth, and the labels in the order of its columns.",
        )
    frequent = np.argsort(-np.diag(pairs.counts), kind="stable")[:most]
    counts = pairs.counts[np.ix_(frequent, frequent)]
    share = counts / np.maximum(np.diag(counts), 1)[:, None]
    names = [pairs.labels[place] for place in frequent]
    places = np.arange(len(names))
    with canvas(
        "Labels on the same photos",
        height=60 + 5 * min(LONGEST_NAME, max(map(len, names), default=0)) + 21 * len(names),
    ) as plot:
        from matplotlib.patches import Rectangle

        axes = plot.axes(across="also with this label", up="photos with this label")
        for row, column in zip(*(side.tolist() for side in np.nonzero(counts)), strict=True):
            corner = (column - 0.45, row - 0.45)
            if row == column:
                axes.add_patch(Rectangle(corner, 0.9, 0.9, facecolor="none", edgecolor=INK, linewidth=0.4))
            else:
                alpha = 0.08 + 0.92 * float(share[row, column])
                axes.add_patch(Rectangle(corner, 0.9, 0.9, facecolor=colour(0), alpha=alpha, linewidth=0))
        axes.set_yticks(places, [plot.text(name) for name in names])
        axes.set_xticks(places, [plot.text(name) for name in names], rotation=55, ha="right", rotation_mode="anchor")
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return plot.svg(description=f"All pairs of the {counted(len(names), 'most frequent label')}.")


def image_sizes(widths_px: Int[np.ndarray, " image"], heights_px: Int[np.ndarray, " image"]) -> str:
    """Plot widths and heights of the photos. The larger a dot, the more photos have about that size.

    Raises:
        ShapeError: The numbers of widths and heights differ.
    """
    widths, heights = aligned("image sizes", widths_px, heights_px)
    across, up, counts = _grouped_sizes(widths, heights)
    with canvas("Image sizes") as plot:
        axes = plot.axes(across="width in px", up="height in px")
        sizes = np.ceil(6 * np.sqrt(counts / counts.max(initial=1)))
        for size in np.unique(sizes):  # one call per size, so that the SVG defines each dot once
            chosen = sizes == size
            axes.scatter(across[chosen], up[chosen], s=5 * size**2, color=colour(0), alpha=0.55, linewidths=0)
        axes.set_xlim(0, 1.12 * widths.max(initial=1))
        axes.set_ylim(0, 1.12 * heights.max(initial=1))
        return plot.svg(description=_sizes_in_words(widths, heights))


def _grouped_sizes(
    widths: Float[np.ndarray, " image"], heights: Float[np.ndarray, " image"]
) -> tuple[Float[np.ndarray, " dot"], Float[np.ndarray, " dot"], Int[np.ndarray, " dot"]]:
    """Group sizes that differ by less than 1/30 of the largest side, and return the mean size of each group."""
    step = max(1.0, float(np.max([*widths, *heights], initial=0)) / 30)
    _, dot = np.unique(np.round(np.stack([widths, heights]) / step), axis=1, return_inverse=True)
    counts = np.bincount(dot.ravel())
    across, up = (np.bincount(dot.ravel(), weights=side) / np.maximum(counts, 1) for side in (widths, heights))
    return across, up, counts


def _sizes_in_words(widths: Float[np.ndarray, " image"], heights: Float[np.ndarray, " image"]) -> str:
    if not len(widths):
        return "No sizes are known."
    medians = f"{np.median(widths):.0f} px, median height {np.median(heights):.0f} px"
    wide = percent(float(np.mean(widths > heights)))
    return f"Median width {medians}; {wide} are wider than high."


def _ends(curve: Curve) -> str:
    if not len(curve.value):
        return f"{curve.name}: empty"
    return f"{curve.name}: from {number(float(curve.value[0]))} to {number(float(curve.value[-1]))}"


def _power(value: float, _place: float) -> str:
    """Format 0.0001 as 1e-4."""
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _no_words(_value: float, _place: float) -> str:
    return ""


def _plain(value: float, _place: float) -> str:
    """Format 1000 as 1,000, not as a power of ten."""
    return f"{value:,.0f}" if value >= 1 else ""
