"""Two pages: what a run that identifies came to, and what lies in a collection. One file each, complete in itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.core.files import write_bytes
from fieldmark.reporting import plots
from fieldmark.reporting.contents import (
    Cooccurrence,
    Curve,
    Example,
    Fact,
    InspectPage,
    RunPage,
    ThresholdScan,
    Tile,
)
from fieldmark.reporting.rendering import LARGE, MOST_DUPLICATES, SMALL, WIDE, aspect, rendered, run_parts, safe
from fieldmark.reporting.thumbnails import thumbnail_if_readable
from fieldmark.reporting.wording import counted, number, ordinal, percent

_CURVE_TITLES = {"loss": "Loss", "metric": "Score", "lr": "Learning rate"}


def run_page(page: RunPage) -> str:
    """The report of a run as one HTML text: no network, no script, every name inert.

    What ``page`` leaves empty is left out. A picture that cannot be read is shown as an empty frame.

    Raises:
        ShapeError: A curve or the threshold scan has arrays of different lengths.
    """
    examples = {"worst": _examples(page.worst), "best": _examples(page.best)}
    confusions = [
        {
            "row": pair,
            "truth_picture": thumbnail_if_readable(pair.truth_picture, **SMALL),
            "answer_picture": thumbnail_if_readable(pair.answer_picture, **SMALL),
        }
        for pair in page.confusions
    ]
    sections = (
        ("scores", "Scores", page.scores),
        ("threshold", "Known or new", page.threshold),
        ("examples", "Photos", page.worst or page.best),
        ("confusions", "Confusions", page.confusions),
        ("issues", "Names", page.issues),
        ("curves", "Learning", page.curves),
        ("data", "Data", page.facts or page.skipped),
        ("plan", "Plan", page.stages or page.plan_json),
        ("manifest", "Manifest", page.manifest),
    )
    return rendered(
        "run.html",
        page=page,
        sections=[(anchor, words) for anchor, words, content in sections if content],
        aspect=aspect(examples),
        threshold=_threshold(page.threshold) if page.threshold else None,
        confusions=confusions,
        issues=[{"row": one, "lines": thumbnail_if_readable(one.lines, **WIDE)} for one in page.issues],
        curves=_curves(page.curves, over=page.curves_over),
        **examples,
        **run_parts(page),
    )


def inspect_page(page: InspectPage) -> str:
    """The page about a collection as one HTML text: no network, no script, every name inert.

    What ``page`` leaves empty is left out. A picture that cannot be read is shown as an empty frame.

    Raises:
        ShapeError: Widths and heights, or labels and their co-occurrence, do not fit together.
    """
    duplicates = sorted(page.duplicates, key=lambda duplicate: not duplicate.is_conflict)[:MOST_DUPLICATES]
    pictures = {
        "samples": _tiles(page.samples),
        "identities": [{"row": one, "tiles": _tiles(one.tiles)} for one in page.identities],
    }
    drawn = _collection_plots(page)
    sections = (
        ("facts", "At a glance", page.facts),
        ("refused", "Refused", page.problems),
        ("broken", "Broken", page.broken),
        ("duplicates", "Duplicates", page.duplicates),
        ("counts", "Counts", drawn),
        ("together", "Pairs", page.cooccurrence),
        ("odd-names", "Odd names", page.odd_names),
        ("names", "Names", page.name_hints),
        ("identities", "Identities", page.identities),
        ("samples", "Sample", page.samples),
    )
    return rendered(
        "inspect.html",
        page=page,
        sections=[(anchor, words) for anchor, words, content in sections if content],
        aspect=aspect(pictures),
        plots=drawn,
        together=safe(plots.cooccurrence(page.cooccurrence)) if page.cooccurrence else None,
        pairs=_pairs(page.cooccurrence) if page.cooccurrence else [],
        duplicates=[
            {
                "row": duplicate,
                "picture": thumbnail_if_readable(duplicate.picture, **SMALL),
                "lines": list(zip(duplicate.files, duplicate.names, strict=True)),
            }
            for duplicate in duplicates
        ],
        n_conflicts=sum(duplicate.is_conflict for duplicate in page.duplicates),
        **pictures,
    )


def write_page(path: Path, html: str) -> None:
    """Write a page so that a reader sees the old one or the new one whole; its folder is made where missing.

    Raises:
        RunError: The disk is full, failing or closed to us.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, html.encode())


def _examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [
        {
            "image": example.image,
            "truth": example.truth,
            "rank": example.rank,
            "verdict": _verdict(example),
            "picture": thumbnail_if_readable(example.picture, **LARGE),
            "lines": thumbnail_if_readable(example.lines, **WIDE),
            "has_bars": all(one.score is not None and 0 <= one.score <= 1 for one in example.candidates),
            "candidates": [
                {
                    "name": one.name,
                    "score": one.score,
                    "is_truth": one.is_truth,
                    "is_unknown": one.is_unknown,
                    "picture": thumbnail_if_readable(one.picture, **SMALL),
                }
                for one in example.candidates
            ],
        }
        for example in examples
    ]


def _verdict(example: Example) -> str:
    if example.rank is None:
        return f"not among these {len(example.candidates)}"
    return "right at once" if example.rank == 1 else f"right answer {ordinal(example.rank)}"


def _tiles(tiles: Sequence[Tile]) -> list[dict[str, Any]]:
    return [{"row": tile, "picture": thumbnail_if_readable(tile.picture, **SMALL)} for tile in tiles]


def _threshold(scan: ThresholdScan) -> dict[str, Any]:
    facts = [Fact("threshold", number(float(scan.chosen_at)))]
    for name, values, tell, note in (
        (scan.score_name, scan.score, number, "on the validation photos"),
        ("named “new”", scan.share_new, percent, "of all validation photos"),
        ("false matches", scan.false_match_rate, percent, "of the unknown individuals were given somebody's name"),
    ):
        value = float("nan") if values is None else float(np.interp(scan.chosen_at, scan.at, values))
        if np.isfinite(value):
            facts.append(Fact(name, tell(value), note))
    return {"svg": safe(plots.threshold_plot(scan)), "facts": facts}


def _curves(curves: Sequence[Curve], *, over: str) -> list[tuple[str, Any]]:
    drawn = []
    for kind, title in _CURVE_TITLES.items():
        similar = [curve for curve in curves if curve.kind == kind]
        if similar:
            svg = plots.history(similar, title=title, over=over, log=kind == "lr" and plots.spans_decades(similar))
            drawn.append((title, safe(svg)))
    return drawn


def _collection_plots(page: InspectPage) -> list[tuple[str, Any]]:
    drawn: list[tuple[str, str]] = []
    if page.photos_per_identity is not None and len(page.photos_per_identity):
        drawn.append(("Photos per identity", plots.photos_per_identity(page.photos_per_identity)))
    if page.widths_px is not None and page.heights_px is not None and len(page.widths_px):
        drawn.append(("Image sizes", plots.image_sizes(page.widths_px, page.heights_px)))
    if page.labels:
        drawn.append((f"Most frequent of {counted(len(page.labels), 'label')}", plots.label_frequency(page.labels)))
    return [(title, safe(svg)) for title, svg in drawn]


def _pairs(pairs: Cooccurrence, *, most: int = 12) -> list[tuple[str, str, int]]:
    """The pairs of different labels that share the most photos."""
    rows, columns = np.triu_indices(len(pairs.labels), k=1)
    counts = np.asarray(pairs.counts)[rows, columns]
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        (pairs.labels[rows[place]], pairs.labels[columns[place]], int(counts[place]))
        for place in order
        if counts[place] > 0
    ]
