"""The report page of an identification run, and the page about a data set. Each page is one self-contained file."""

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

_CURVE_TITLES = {"loss": "Loss", "metric": "Validation score", "lr": "Learning rate"}


def run_page(page: RunPage) -> str:
    """Return the report of an identification run as one HTML text. It loads nothing and runs no script.

    Every name is escaped. Empty attributes of ``page`` have no section. A picture that cannot be read is shown as an
    empty frame.

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
        ("scores", "Measures", page.scores),
        ("threshold", "Unknown individuals", page.threshold),
        ("examples", "Examples", page.worst or page.best),
        ("confusions", "Confusions", page.confusions),
        ("issues", "Possible label errors", page.issues),
        ("curves", "Training", page.curves),
        ("data", "Photos", page.facts or page.skipped),
        ("plan", "Stages", page.stages or page.plan_json),
        ("manifest", "Versions", page.manifest),
    )
    return rendered(
        "run.html",
        page=page,
        sections=sections,
        aspect=aspect(examples),
        threshold=_threshold(page.threshold) if page.threshold else None,
        confusions=confusions,
        issues=[{"row": one, "lines": thumbnail_if_readable(one.lines, **WIDE)} for one in page.issues],
        curves=_curves(page.curves, over=page.curves_over),
        **examples,
        **run_parts(page),
    )


def inspect_page(page: InspectPage) -> str:
    """Return the page about a data set as one HTML text. It loads nothing and runs no script.

    Every name is escaped. Empty attributes of ``page`` have no section. A picture that cannot be read is shown as an
    empty frame.

    Raises:
        ShapeError: The numbers of widths and heights, or of labels and co-occurrence counts, differ.
    """
    duplicates = sorted(page.duplicates, key=lambda duplicate: not duplicate.is_conflict)[:MOST_DUPLICATES]
    pictures = {
        "samples": _tiles(page.samples),
        "identities": [{"row": one, "tiles": _tiles(one.tiles)} for one in page.identities],
    }
    drawn = _collection_plots(page)
    sections = (
        ("facts", "At a glance", page.facts),
        ("refused", "Mistakes", page.problems),
        ("broken", "Unreadable files", page.broken),
        ("duplicates", "Duplicates", page.duplicates),
        ("counts", "Counts", drawn),
        ("together", "Label pairs", page.cooccurrence),
        ("odd-names", "Unusual names", page.odd_names),
        ("names", "Label names", page.name_hints),
        ("identities", "Identities", page.identities),
        ("samples", "Sample", page.samples),
    )
    return rendered(
        "inspect.html",
        page=page,
        sections=sections,
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
    """Write a page. The file is replaced as a whole, and its folder is created if it is missing.

    Raises:
        RunError: The disk is full or fails, or the folder is not writable.
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
        return f"not among the first {len(example.candidates)}"
    return "right answer first" if example.rank == 1 else f"right answer {ordinal(example.rank)}"


def _tiles(tiles: Sequence[Tile]) -> list[dict[str, Any]]:
    return [{"row": tile, "picture": thumbnail_if_readable(tile.picture, **SMALL)} for tile in tiles]


def _threshold(scan: ThresholdScan) -> dict[str, Any]:
    facts = [Fact("threshold", number(float(scan.chosen_at)))]
    for name, values, formatted, note in (
        (scan.score_name, scan.score, number, "on the validation photos"),
        ("answered as new", scan.share_new, percent, "of all validation photos"),
        ("FPIR", scan.false_match_rate, percent, "of the unknown individuals were answered with a name"),
    ):
        value = float("nan") if values is None else float(np.interp(scan.chosen_at, scan.at, values))
        if np.isfinite(value):
            facts.append(Fact(name, formatted(value), note))
    return {"svg": safe(plots.threshold_plot(scan)), "facts": facts}


def _curves(curves: Sequence[Curve], *, over: str) -> list[tuple[str, Any]]:
    drawn = []
    for kind, title in _CURVE_TITLES.items():
        of_kind = [curve for curve in curves if curve.kind == kind]
        if of_kind:
            svg = plots.history(of_kind, title=title, over=over, log=kind == "lr" and plots.spans_decades(of_kind))
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
    """Return the pairs of different labels with the most common photos."""
    rows, columns = np.triu_indices(len(pairs.labels), k=1)
    counts = np.asarray(pairs.counts)[rows, columns]
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        (pairs.labels[rows[place]], pairs.labels[columns[place]], int(counts[place]))
        for place in order
        if counts[place] > 0
    ]
