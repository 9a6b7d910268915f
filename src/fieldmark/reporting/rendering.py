"""Rendering of page contents to one HTML file with Jinja. Pages load nothing, and every name is escaped."""

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
from fieldmark.reporting.wording import counted, duration, grouped, likelihood, no_break, number, percent, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from fieldmark.reporting.contents import RunPage, ScoreRow
    from fieldmark.reporting.label_contents import LabelsPage

Section = tuple[str, str, object]
"""Anchor, short title, and content (or whether there is any)."""

MOST_ROWS = 200
"""Maximum number of rows of a table of files or mistakes; the page states the total number."""

MOST_DUPLICATES = 40
FIRST_EXAMPLES = 6
"""Number of examples that are open at first; a click shows the others."""

# Forty examples of a query and five candidates then stay below 2.7 MB as base64, whatever the photos.
LARGE = {"area_px": 40_000, "most_bytes": 14_000}
SMALL = {"area_px": 18_000, "most_bytes": 7_000}
WIDE = {"area_px": 160_000, "most_bytes": 36_000}
"""Sizes of thumbnails: maximum area in pixels and maximum size in bytes."""


def rendered(template: str, *, sections: Iterable[Section], script: str = "", **content: Any) -> str:
    """Return a template filled with ``content``. Every text is escaped, and unprintable characters are replaced.

    Args:
        template: File name of the template.
        sections: Sections of the page; the menu lists those with content.
        script: File name of the only script that the page may run; empty for none.
        **content: Variables of the template.
    """
    code = _own(script) if script else ""
    limits = {"most_rows": MOST_ROWS, "most_duplicates": MOST_DUPLICATES, "first_examples": FIRST_EXAMPLES}
    page = _environment().get_template(template)
    return page.render(
        sections=[(anchor, words) for anchor, words, content_of in sections if content_of],
        style=_own("style.css"),
        script=code,
        script_hash=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() if code else "",
        version=metadata.version("fieldmark"),
        **limits,
        **content,
    )


@cache
def _environment() -> Environment:
    """Return the Jinja environment of all pages. It compiles each template once per process."""
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
    """Return a file of the template folder without escaping."""
    from markupsafe import Markup

    text = resources.files("fieldmark.reporting").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


def safe(text: str) -> Markup:
    """Mark a plot as safe for a page. Plots escape the names they contain."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see above


def run_parts(page: RunPage | LabelsPage) -> dict[str, Any]:
    """Return the variables that the templates of all report pages use: scores, plan, times and manifest."""
    return {
        "scores": [_score(row) for row in page.scores],
        "plan": _pretty(page.plan_json),
        "took_s": sum(stage.took_s or 0.0 for stage in page.stages),
        "manifest": grouped(page.manifest),
    }


def aspect(content: Any) -> float:
    """Return the aspect ratio (width to height) of picture frames: the median of the page's pictures, within bounds."""
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
    """Return JSON with indents, and any other text unchanged."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
