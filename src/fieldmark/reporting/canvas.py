"""A matplotlib figure that becomes an SVG for any page: clear ground, the page's own ink, fonts and colours."""

from __future__ import annotations

import html
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from rich.cells import cell_len
from rich.text import Text

from fieldmark.core.errors import ShapeError
from fieldmark.reporting.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 350
"""Of every plot, in its own units: a phone shows it nearly one to one, so words stay readable."""

INK = "#010203"
"""Stands for ``currentColor`` until the SVG is written; black would be left out of it."""

_COLOURS = ("#0072b2", "#c8520a", "#008a63", "#b0568a")
LONGEST_NAME = 26
"""In letters."""
MOST_POINTS = 300
"""A longer line is drawn as the means of so many stretches."""

_DASHES = ("-", (0, (5, 2)), (0, (1.4, 1.4)), (0, (6, 2, 1.4, 2)))
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "font.size": 10.5,
    "grid.alpha": 0.16,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handlelength": 2.4,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "fieldmark",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


def colour(place: int) -> str:
    """The colour of the line at ``place``: blue, vermilion, green, purple, and again.

    Source:
        Okabe & Ito, "Color Universal Design", darkened where needed to stand 3:1 on white.
    """
    return _COLOURS[place % len(_COLOURS)]


@contextmanager
def canvas(title: str, *, height: int = 240) -> Iterator[Canvas]:
    """A plot to draw on, under our style; the style of the caller's own plots is left as it was.

    Args:
        title: Read out by screen readers; also makes the plot's element ids its own on a page with others.
        height: In units of ``WIDTH``.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield Canvas(title, Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained"))


def shortened(name: str) -> str:
    """The name on one line, cut where it is too long for the side of a plot.

    Example:
        >>> shortened("a name that is much too long to stand beside a bar")
        'a name that is much too l…'
    """
    whole, most = " ".join(printable(name).split()), 4 * LONGEST_NAME
    while most < len(whole) and cell_len(whole[:most]) <= 2 * LONGEST_NAME:  # letters without width are rare
        most *= 2
    text = Text(whole[:most])
    text.truncate(LONGEST_NAME, overflow="ellipsis")
    return text.plain


def line(place: int) -> dict[str, Any]:
    """The look of the line at ``place``: lines differ in dashes as well as in colour; sixteen of them in both."""
    return {"color": colour(place), "linestyle": _DASHES[(place + place // 4) % 4], "linewidth": 1.8}


def aligned(
    name: str, at: Float[np.ndarray, " point"], value: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Places and values of a line as numbers.

    Args:
        name: Of the line, for the refusal.
        at: Where it was measured.
        value: What was measured there.

    Raises:
        ShapeError: They are not flat arrays of the same length.
    """
    at, value = np.asarray(at, dtype=float), np.asarray(value, dtype=float)
    if at.shape != value.shape or at.ndim != 1:
        raise ShapeError(
            "A plot needs one value for every place.",
            got=f"{name}: places {at.shape}, values {value.shape}",
            fix="pass two flat arrays of the same length.",
        )
    return at, value


def thinned(
    at: Float[np.ndarray, " point"], value: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Means of neighbouring points, so that a million steps make a small picture."""
    if len(at) <= MOST_POINTS:
        return at, value
    stretches = np.array_split(np.arange(len(at)), MOST_POINTS)
    return np.array([at[one].mean() for one in stretches]), np.array([value[one].mean() for one in stretches])


class Canvas:
    """One plot in the making; made by ``canvas``."""

    def __init__(self, title: str, figure: Figure) -> None:
        self._title = title
        self._figure = figure
        self._names: list[str] = []

    def axes(self, *, across: str = "", up: str = "") -> Axes:
        """The axes, with the names of the horizontal and the vertical one."""
        axes = self._figure.subplots()
        axes.set_xlabel(self.text(across) if across else "")
        axes.set_ylabel(self.text(up) if up else "")
        return axes

    def text(self, name: str) -> str:
        """What to draw in the place of ``name``.

        Names may be in any script, and matplotlib's font holds few: a placeholder of about the same length is drawn
        and replaced in the finished SVG, where the reader's own fonts show it.
        """
        shown = shortened(name)
        self._names.append(shown)
        token = f"@{len(self._names) - 1}@"
        return token + "n" * (cell_len(shown) - len(token))

    def legend(self, *, columns: int) -> None:
        """The names of the lines, above the axes; nothing where no line was drawn."""
        if any(axes.get_legend_handles_labels()[1] for axes in self._figure.axes):
            self._figure.legend(loc="outside upper left", ncols=columns, borderpad=0.1, columnspacing=1.4)

    def svg(self, *, description: str = "") -> str:
        """The finished plot.

        Args:
            description: What the plot says, in words, for those who do not see it.
        """
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.StringIO()
        for patch in (self._figure.patch, *(axes.patch for axes in self._figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        # Figure.savefig would draw everything twice, once only to lay it out; drawing lays out too.
        FigureCanvasSVG(self._figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return self._dressed(buffer.getvalue(), description)

    def _dressed(self, drawn: str, description: str) -> str:
        """Matplotlib's SVG without its frame, fonts, spare ids and digits, with our title, colours and names."""
        # A number and not the title's letters: titles in other scripts have none that an id may hold.
        prefix = f"plot-{zlib.crc32(self._title.encode(errors='replace')):08x}"
        view = re.search(r'viewBox="[^"]*"', drawn)
        body = drawn[drawn.index("<g ") :]
        used = set(re.findall(r"#([\w.-]+)[\")]", body))
        body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", body)
        body = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", body).replace("xlink:href", "href")
        body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
        body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
        body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0]), body)  # words keep theirs
        body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
        body = body.replace(INK, "currentColor")
        for place, value in enumerate(_COLOURS, start=1):
            body = body.replace(value, f"var(--plot-{place}, {value})")
        body = re.sub(r"@(\d+)@n*", lambda found: html.escape(self._names[int(found[1])]), body)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {view[0] if view else ""} role="img" '
            f'aria-labelledby="{prefix}-title {prefix}-words" font-family="system-ui, sans-serif" '
            f'stroke-linejoin="round"><title id="{prefix}-title">{html.escape(printable(self._title))}</title>'
            f'<desc id="{prefix}-words">{html.escape(printable(description))}</desc>{body}'
        ).rstrip()
