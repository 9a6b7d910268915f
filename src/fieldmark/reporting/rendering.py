"""From frozen values to one HTML file: what all pages are made with. No network, every name inert."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata, resources
from statistics import median
from typing import TYPE_CHECKING, Any

from fieldmark.reporting.thumbnails import Thumbnail
from fieldmark.reporting.wording import counted, duration, grouped, likelihood, number, percent, printable, no_break

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from fieldmark.reporting.contents import RunPage, ScoreRow
    from fieldmark.reporting.label_contents import LabelsPage

MOST_ROWS = 200
"""Of a table of files or problems; the count of all is told."""

MOST_DUPLICATES = 40
FIRST_EXAMPLES = 6
"""So many are open at once, the others one click away."""

# Forty examples of a query and five candidates then stay below 2.7 MB as base64, whatever the photos.
LARGE = {"area_px": 40_000, "most_bytes": 14_000}
SMALL = {"area_px": 18_000, "most_bytes": 7_000}
WIDE = {"area_px": 160_000, "most_bytes": 36_000}
"""Sizes of thumbnails."""


def rendered(template: str, *, script: str = "", **content: Any) -> str:
    """A template of ours filled with ``content``: every text in it is escaped, unfit characters are replaced.

    Args:
        template: Its file name.
        script: The file name of a script of ours that the page may run, and no other; empty for none.
        **content: What the template names.
    """
    code = _own(script) if script else ""
    limits = {"most_rows": MOST_ROWS, "most_duplicates": MOST_DUPLICATES, "first_examples": FIRST_EXAMPLES}
    page = _environment().get_template(template)
    return page.render(
        style=_own("style.css"),
        script=code,
        script_hash=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() if code else "",
        version=metadata.version("fieldmark"),
        **limits,
        **content,
    )


@cache
def _environment() -> Environment:
    """Jinja as all pages use it; it compiles each template once in a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("fieldmark.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        counted=counted,
        duration=duration,
        likelihood=likelihood,
        number=number,
        percent=percent,
        no_break=no_break,
    )
    return environment


@cache
def _own(name: str) -> Markup:
    """A file of ours as it is."""
    from markupsafe import Markup

    text = resources.files("fieldmark.reporting").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own file


def safe(text: str) -> Markup:
    """A plot marked as safe to stand in a page: plots escape the names in them."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see above


def run_parts(page: RunPage | LabelsPage) -> dict[str, Any]:
    """What the templates of all run pages ask for: scores, plan, times and manifest."""
    return {
        "scores": [_score(row) for row in page.scores],
        "plan": _pretty(page.plan_json),
        "took_s": sum(stage.took_s or 0.0 for stage in page.stages),
        "manifest": grouped(page.manifest),
    }


def aspect(content: Any) -> float:
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


def _pretty(text: str) -> str:
    """JSON with indents; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
