"""Matplotlib figures as SVG texts: transparent background, and the text colour, fonts and colours of the page."""

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
"""Width of every plot in its own units. A phone shows it at nearly this size, so text stays readable."""

INK = "#010203"
"""Placeholder for ``currentColor`` until the SVG is written. Matplotlib leaves black out of the SVG."""

_COLOURS = ("#0072b2", "#c8520a", "#008a63", "#b0568a")
LONGEST_NAME = 26
"""Maximum length of a name in a plot, in letters."""
MOST_POINTS = 300
"""Maximum number of points of a line; longer lines are drawn as means of this many segments."""

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
    """Return the colour of line number ``place``: blue, vermilion, green, purple, then blue again.

    Source:
        Okabe & Ito, "Color Universal Design", darkened where needed for a contrast of 3:1 on white.
    """
    return _COLOURS[place % len(_COLOURS)]


@contextmanager
def canvas(title: str, *, height: int = 240) -> Iterator[Canvas]:
    """Open a plot in the style of the pages. The matplotlib settings of the caller do not change.

    Args:
        title: Title for screen readers. It also makes the element ids of the plot unique on a page.
        height: Height of the plot, in the units of ``WIDTH``.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield Canvas(title, Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained"))


def shortened(name: str) -> str:
    """Return the name on one line, shortened to ``LONGEST_NAME`` letters.

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
    """Return the style of line number ``place``. Sixteen lines have different pairs of colour and dashes."""
    return {"color": colour(place), "linestyle": _DASHES[(place + place // 4) % 4], "linewidth": 1.8}


def aligned(
    name: str, at: Float[np.ndarray, " point"], value: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Convert positions and values of a line to floats, and check their shapes.

    Args:
        name: Name of the line, for the error message.
        at: Positions on the horizontal axis.
        value: Values on the vertical axis.

    Raises:
        ShapeError: The arrays are not one-dimensional or differ in length.
    """
    at, value = np.asarray(at, dtype=float), np.asarray(value, dtype=float)
    if at.shape != value.shape or at.ndim != 1:
        raise ShapeError(
            f"The line '{name}' needs one value for every position.",
            got=f"positions {at.shape}, values {value.shape}",
            fix="pass two one-dimensional arrays of the same length.",
        )
    return at, value


def thinned(
    at: Float[np.ndarray, " point"], value: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Average neighbouring points, so that a line has at most ``MOST_POINTS`` points."""
    if len(at) <= MOST_POINTS:
        return at, value
    segments = np.array_split(np.arange(len(at)), MOST_POINTS)
    return np.array([at[one].mean() for one in segments]), np.array([value[one].mean() for one in segments])


class Canvas:
    """An open plot, created by ``canvas``."""

    def __init__(self, title: str, figure: Figure) -> None:
        self._title = title
        self._figure = figure
        self._names: list[str] = []

    def axes(self, *, across: str = "", up: str = "") -> Axes:
        """Return the axes, with the labels of the horizontal and the vertical axis."""
        axes = self._figure.subplots()
        axes.set_xlabel(self.text(across) if across else "")
        axes.set_ylabel(self.text(up) if up else "")
        return axes

    def text(self, name: str) -> str:
        """Return a placeholder to draw in place of ``name``.

        Names may be in any script, but the font of matplotlib has few scripts. The placeholder has about the same
        length. It is replaced by the name in the finished SVG, which uses the fonts of the reader.
        """
        shown = shortened(name)
        self._names.append(shown)
        token = f"@{len(self._names) - 1}@"
        return token + "n" * (cell_len(shown) - len(token))

    def legend(self, *, columns: int) -> None:
        """Add a legend above the axes, if any line has a name."""
        if any(axes.get_legend_handles_labels()[1] for axes in self._figure.axes):
            self._figure.legend(loc="outside upper left", ncols=columns, borderpad=0.1, columnspacing=1.4)

    def svg(self, *, description: str = "") -> str:
        """Return the finished plot as an SVG text.

        Args:
            description: Content of the plot in words, for screen readers.
        """
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.StringIO()
        for patch in (self._figure.patch, *(axes.patch for axes in self._figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        # Figure.savefig would draw everything twice, once only for the layout.
        FigureCanvasSVG(self._figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return self._dressed(buffer.getvalue(), description)

    def _dressed(self, drawn: str, description: str) -> str:
        """Return the SVG without frame, fonts, unused ids and extra digits, and with our title, colours and names."""
        # A checksum, not the title: an id may not contain the letters of every script.
        prefix = f"plot-{zlib.crc32(self._title.encode(errors='replace')):08x}"
        view = re.search(r'viewBox="[^"]*"', drawn)
        body = drawn[drawn.index("<g ") :]
        used = set(re.findall(r"#([\w.-]+)[\")]", body))
        body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", body)
        body = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", body).replace("xlink:href", "href")
        body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
        body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
        body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0]), body)  # not in texts
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
