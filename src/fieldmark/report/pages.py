"""The two pages: what a run came to, and what lies in a collection. One file each, complete in itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fieldmark.core.files import write_bytes
from fieldmark.report import plots
from fieldmark.report.contents import (
    Cooccurrence,
    Curve,
    Example,
    Fact,
    InspectPage,
    RunPage,
    ScoreRow,
    ThresholdScan,
    Tile,
)
from fieldmark.report.thumbnails import Thumbnail, shown
from fieldmark.report.wording import counted, duration, grouped, number, ordinal, percent, printable, unbroken

MOST_ROWS = 200
"""Of a table of files or problems; the count of all is told."""

MOST_TWINS = 40
FIRST_EXAMPLES = 6
"""So many are open at once, the others one click away."""

_CURVE_TITLES = {"loss": "Loss", "metric": "Score", "lr": "Learning rate"}

# Forty examples of a query and five candidates then stay below 2.7 MB as base64, whatever the photos.
_LARGE = {"area_px": 40_000, "most_bytes": 14_000}
_SMALL = {"area_px": 18_000, "most_bytes": 7_000}


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
            "truth_picture": shown(pair.truth_picture, **_SMALL),
            "answer_picture": shown(pair.answer_picture, **_SMALL),
        }
        for pair in page.confusions
    ]
    sections = (
        ("scores", "Scores", page.scores),
        ("threshold", "Known or new", page.threshold),
        ("examples", "Photos", page.worst or page.best),
        ("confusions", "Confusions", page.confusions),
        ("curves", "Learning", page.curves),
        ("data", "Data", page.facts or page.skipped),
        ("plan", "Plan", page.stages or page.plan_json),
        ("manifest", "Manifest", page.manifest),
    )
    return _rendered(
        "run.html",
        page=page,
        sections=[(anchor, words) for anchor, words, content in sections if content],
        aspect=_aspect(examples),
        scores=[_score(row) for row in page.scores],
        threshold=_threshold(page.threshold) if page.threshold else None,
        confusions=confusions,
        curves=_curves(page.curves, over=page.curves_over),
        plan=_pretty(page.plan_json),
        took_s=sum(stage.took_s or 0.0 for stage in page.stages),
        manifest=grouped(page.manifest),
        **examples,
    )


def inspect_page(page: InspectPage) -> str:
    """The page about a collection as one HTML text: no network, no script, every name inert.

    What ``page`` leaves empty is left out. A picture that cannot be read is shown as an empty frame.

    Raises:
        ShapeError: Widths and heights, or labels and their co-occurrence, do not fit together.
    """
    twins = sorted(page.twins, key=lambda twin: not twin.is_conflict)[:MOST_TWINS]
    pictures = {
        "samples": _tiles(page.samples),
        "identities": [{"row": one, "tiles": _tiles(one.tiles)} for one in page.identities],
    }
    drawn = _collection_plots(page)
    sections = (
        ("facts", "At a glance", page.facts),
        ("refused", "Refused", page.problems),
        ("broken", "Broken", page.broken),
        ("twins", "Duplicates", page.twins),
        ("counts", "Counts", drawn),
        ("together", "Pairs", page.cooccurrence),
        ("identities", "Identities", page.identities),
        ("samples", "Sample", page.samples),
    )
    return _rendered(
        "inspect.html",
        page=page,
        sections=[(anchor, words) for anchor, words, content in sections if content],
        aspect=_aspect(pictures),
        plots=drawn,
        together=_svg(plots.cooccurrence(page.cooccurrence)) if page.cooccurrence else None,
        pairs=_pairs(page.cooccurrence) if page.cooccurrence else [],
        twins=[
            {
                "row": twin,
                "picture": shown(twin.picture, **_SMALL),
                "lines": list(zip(twin.files, twin.names, strict=True)),
            }
            for twin in twins
        ],
        n_conflicts=sum(twin.is_conflict for twin in page.twins),
        **pictures,
    )


def write_page(path: Path, html: str) -> None:
    """Write a page so that a reader sees the old one or the new one whole; its folder is made where missing.

    Raises:
        RunError: The disk is full, failing or closed to us.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, html.encode())


def _rendered(template: str, **content: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("fieldmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, counted=counted, duration=duration, unbroken=unbroken)
    style = resources.files("fieldmark.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    limits = {"most_rows": MOST_ROWS, "most_twins": MOST_TWINS, "first_examples": FIRST_EXAMPLES}
    version = metadata.version("fieldmark")
    return environment.get_template(template).render(style=Markup(style), version=version, **limits, **content)  # noqa: S704 - our own file


def _svg(text: str) -> Any:
    """Marked as safe: plots escape the names in them."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see above


def _examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [
        {
            "image": example.image,
            "truth": example.truth,
            "rank": example.rank,
            "verdict": _verdict(example),
            "picture": shown(example.picture, **_LARGE),
            "has_bars": all(one.score is not None and 0 <= one.score <= 1 for one in example.candidates),
            "candidates": [
                {
                    "name": one.name,
                    "score": one.score,
                    "is_truth": one.is_truth,
                    "is_unknown": one.is_unknown,
                    "picture": shown(one.picture, **_SMALL),
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
    return [{"row": tile, "picture": shown(tile.picture, **_SMALL)} for tile in tiles]


def _aspect(content: Any) -> float:
    """Width to height of the frames of a page: that of its typical picture, within bounds."""
    found = [picture.width_px / picture.height_px for picture in _thumbnails(content)]
    return min(2.2, max(0.8, median(found))) if found else 1.5


def _thumbnails(content: Any) -> Iterator[Thumbnail]:
    if isinstance(content, Thumbnail):
        yield content
    elif isinstance(content, Mapping):
        yield from _thumbnails(list(content.values()))
    elif isinstance(content, Iterable) and not isinstance(content, str | bytes):
        for one in content:
            yield from _thumbnails(one)


def _score(row: ScoreRow) -> dict[str, Any]:
    has_interval = row.low is not None and row.high is not None
    ends = (row.low, row.value, row.high) if has_interval else (row.value,)
    return {"row": row, "has_interval": has_interval, "on_scale": all(0 <= (end or 0.0) <= 1 for end in ends)}


def _threshold(scan: ThresholdScan) -> dict[str, Any]:
    facts = [Fact("threshold", number(float(scan.chosen_at)))]
    for name, values, tell, note in (
        (scan.score_name, scan.score, number, "on the validation photos"),
        ("named “new”", scan.share_new, percent, "of all validation photos"),
        ("false matches", scan.false_match_rate, percent, "of the strangers were given somebody's name"),
    ):
        value = float("nan") if values is None else float(np.interp(scan.chosen_at, scan.at, values))
        if np.isfinite(value):
            facts.append(Fact(name, tell(value), note))
    return {"svg": _svg(plots.threshold_plot(scan)), "facts": facts}


def _curves(curves: Sequence[Curve], *, over: str) -> list[tuple[str, Any]]:
    drawn = []
    for kind, title in _CURVE_TITLES.items():
        alike = [curve for curve in curves if curve.kind == kind]
        if alike:
            svg = plots.history(alike, title=title, over=over, log=kind == "lr" and _spans_decades(alike))
            drawn.append((title, _svg(svg)))
    return drawn


def _spans_decades(curves: Sequence[Curve]) -> bool:
    values = np.concatenate([np.asarray(curve.value, dtype=float) for curve in curves])
    above = values[np.isfinite(values) & (values > 0)]
    return bool(above.size) and bool(above.max() >= 30 * above.min())


def _collection_plots(page: InspectPage) -> list[tuple[str, Any]]:
    drawn: list[tuple[str, str]] = []
    if page.photos_per_identity is not None and len(page.photos_per_identity):
        drawn.append(("Photos per identity", plots.photos_per_identity(page.photos_per_identity)))
    if page.widths_px is not None and page.heights_px is not None and len(page.widths_px):
        drawn.append(("Image sizes", plots.image_sizes(page.widths_px, page.heights_px)))
    if page.labels:
        drawn.append((f"Most frequent of {counted(len(page.labels), 'label')}", plots.label_frequency(page.labels)))
    return [(title, _svg(svg)) for title, svg in drawn]


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


def _pretty(text: str) -> str:
    """JSON with indents; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
