from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache

import numpy as np
import pytest

from fieldmark.core.errors import ShapeError
from fieldmark.reporting import plots
from fieldmark.reporting.contents import Cooccurrence, Curve, LabelCount, ThresholdScan

AT = np.linspace(0, 1, 21)
SCAN = ThresholdScan(AT, 0.6 - (AT - 0.4) ** 2, 0.4, share_new=AT, false_match_rate=1 - AT)
CURVES = (Curve("train", "loss", AT, np.exp(-AT)), Curve("validation", "loss", AT, np.exp(-AT / 2)))
DRAW = {
    "history": lambda: plots.history(CURVES, title="Loss"),
    "threshold": lambda: plots.threshold_plot(SCAN),
    "photos": lambda: plots.photos_per_identity(np.array([1, 1, 1, 2, 5])),
    "labels": lambda: plots.label_frequency([LabelCount("calf", 7), LabelCount("ice", 3)]),
    "pairs": lambda: plots.cooccurrence(Cooccurrence(("calf", "ice"), np.array([[7, 2], [2, 3]]))),
    "sizes": lambda: plots.image_sizes(np.array([800, 801, 200]), np.array([600, 600, 100])),
}


@cache
def drawn(name: str) -> str:
    return DRAW[name]()


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]  # noqa: S314 - our own


def rectangles(svg: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of every filled path with four corners."""
    found = []
    for path in re.findall(r'<path d="([^"]*)"[^>]*style="(?:opacity: [\d.]+; )?fill: var', svg):
        points = np.array(re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path), dtype=float)
        found.append((*points.min(axis=0), *points.max(axis=0)))
    return found


@pytest.mark.parametrize("name", DRAW)
def test_plot_is_small_whole_and_says_what_it_shows(name):
    svg = drawn(name)
    root = ET.fromstring(svg)  # noqa: S314 - our own
    title, description = root[0], root[1]
    assert title.tag.endswith("title")
    assert description.tag.endswith("desc")
    assert title.text
    assert description.text
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert len(svg) < 15_000


@pytest.mark.parametrize("name", DRAW)
def test_plot_takes_the_pages_ink_and_stands_on_no_ground(name):
    svg = drawn(name)
    assert "currentColor" in svg
    fixed = set(re.findall(r"(?:fill|stroke): (#\w+)", svg))
    assert fixed <= {"#000000"}  # black is what an unset edge or a clip path gets; it is invisible
    assert "font-family:" not in svg
    assert "<metadata" not in svg
    assert "<style" not in svg  # would restyle the whole page


@pytest.mark.parametrize("name", DRAW)
def test_same_input_gives_the_same_bytes(name):
    assert DRAW[name]() == drawn(name)


def test_plots_leave_the_global_style_and_pyplot_alone():
    code = (
        "import sys, numpy as np, fieldmark.reporting.pages, fieldmark.reporting.plots as p\n"
        "woken = [m for m in ('matplotlib', 'jinja2', 'PIL', 'torch') if m in sys.modules]\n"
        "assert not woken, woken\n"
        "import matplotlib as mpl\n"
        "style = lambda: {k: mpl.rcParams[k] for k in mpl.rcParams if k != 'backend'}\n"  # reading it imports pyplot
        "before = style()\n"
        "p.photos_per_identity(np.array([1, 2]))\n"
        "assert style() == before and 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bars_stand_for_the_counts():
    svg = plots.label_frequency([LabelCount("a", 10), LabelCount("b", 40), LabelCount("c", 20)])
    widths = [right - left for left, _, right, _ in rectangles(svg)]
    assert widths == pytest.approx([widths[0], widths[0] / 2, widths[0] / 4], rel=0.01)
    assert [word for word in words(svg) if word in "abc"] == ["b", "c", "a"]


def test_only_the_most_frequent_labels_are_drawn():
    svg = plots.label_frequency([LabelCount(f"label{n:02}", 100 - n) for n in range(50)], most=5)
    assert [word for word in words(svg) if word.startswith("label")] == [f"label{n:02}" for n in range(5)]


def test_histogram_has_one_bar_a_number_of_photos():
    svg = plots.photos_per_identity(np.array([1] * 100 + [2] * 10 + [7, 0]))
    heights = [bottom - top for _, top, _, bottom in rectangles(svg)]
    assert len(heights) == 3
    assert heights[0] > heights[1] > heights[2]
    assert "100 of 111 have a single photo; the maximum is 7." in svg


def test_log_axis_makes_equal_factors_equal_steps():
    svg = plots.photos_per_identity(np.repeat([1, 2, 3], [100, 10, 1]))
    tops = [top for _, top, _, _ in rectangles(svg)]
    assert tops[1] - tops[0] == pytest.approx(tops[2] - tops[1], rel=0.02)


def test_pairs_that_never_meet_get_no_cell():
    counts = np.array([[9, 4, 0], [4, 5, 0], [0, 0, 2]])
    assert len(rectangles(plots.cooccurrence(Cooccurrence(("a", "b", "c"), counts)))) == 2


def test_a_long_history_is_drawn_as_means():
    steps = np.arange(200_000, dtype=float)
    svg = plots.history([Curve("loss", "loss", steps, np.sin(steps))], title="Loss", over="step")
    assert len(svg) < 25_000


def test_nan_and_infinity_leave_a_gap():
    value = np.array([1.0, np.nan, np.inf, 2.0])
    svg = plots.history([Curve("loss", "loss", np.arange(4.0), value)], title="Loss")
    assert "nan" not in svg.replace("desc", "").lower()


def test_many_photos_make_a_small_scatter():
    rng = np.random.default_rng(0)
    svg = plots.image_sizes(rng.integers(100, 4000, 50_000), rng.integers(100, 4000, 50_000))
    assert len(svg) < 120_000
    assert "px" in svg


def test_no_photo_and_no_label_still_draw():
    assert "<svg" in plots.photos_per_identity(np.array([], dtype=int))
    assert "<svg" in plots.label_frequency([])
    assert "<svg" in plots.image_sizes(np.array([], dtype=int), np.array([], dtype=int))


@pytest.mark.parametrize("name", ["鯨 <b>", "$\\frac{1}$", "@0@", "ذيل", "a\nb & c", "x" * 300])
def test_names_of_any_script_are_drawn_as_they_are(name):
    drawn = words(plots.label_frequency([LabelCount(name, 3), LabelCount("other", 1)]))
    plain = " ".join(name.split())
    assert plain in drawn or f"{plain[:25]}…" in drawn


def test_threshold_plot_names_the_chosen_one():
    svg = plots.threshold_plot(SCAN)
    assert "chosen 0.4" in words(svg)
    assert "Chosen: 0.400, where MAP@5 is 0.600." in svg


def test_threshold_plot_leaves_out_what_could_not_be_counted():
    unknown = np.full_like(AT, np.nan)
    drawn = words(plots.threshold_plot(ThresholdScan(AT, SCAN.score, 0.4, share_new=AT, false_match_rate=unknown)))
    assert "FPIR" not in drawn
    assert "share answered as new" in drawn
    assert "<svg" in plots.threshold_plot(ThresholdScan(AT, unknown, 0.4))


@pytest.mark.parametrize(
    ("draw", "fix"),
    [
        (
            lambda: plots.history([Curve("c", "loss", AT, AT[:3])], title="t"),
            "two one-dimensional arrays of the same length",
        ),
        (lambda: plots.image_sizes(np.array([1, 2]), np.array([1])), "two one-dimensional arrays of the same length"),
        (lambda: plots.cooccurrence(Cooccurrence(("a",), np.zeros((2, 2), int))), "truth.T @ truth"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(draw, fix):
    with pytest.raises(ShapeError) as caught:
        draw()
    assert fix in caught.value.fix
