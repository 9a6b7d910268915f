from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fieldmark.core.errors import ShapeError
from fieldmark.reporting import label_plots, plots
from fieldmark.reporting.contents import Curve
from fieldmark.reporting.label_contents import Difference, LabelThresholdScan, StageScore

AT = np.linspace(0.01, 0.9, 20)
STAGE_SCORES = (
    StageScore("zoo", 0.5, 0.48, 0.52),
    StageScore("better", 0.55, 0.53, 0.57, Difference(0.05, 0.03, 0.07)),
    StageScore("worse", 0.52, 0.50, 0.54, Difference(-0.03, -0.05, -0.01)),
    StageScore("same", 0.521, 0.50, 0.54, Difference(0.001, -0.01, 0.012)),
)
FOLDS = tuple(Curve(f"fold {k}", "loss", np.arange(1.0, 6.0), np.exp(-np.arange(5.0)) + k) for k in range(3))
DRAW = {
    "stage-scores": lambda: label_plots.stage_scores_plot(STAGE_SCORES),
    "folds": lambda: label_plots.fold_histories(FOLDS, title="Loss of zoo"),
    "scan": lambda: label_plots.threshold_scan(LabelThresholdScan(AT, 0.6 - (AT - 0.3) ** 2, 0.3), group="tag"),
    "frequency": lambda: label_plots.by_frequency(np.array([1, 2, 2, 3, 40, 900]), np.linspace(0.1, 0.9, 6)),
}


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]  # noqa: S314 - our own


@pytest.mark.parametrize("name", DRAW)
def test_plot_is_small_whole_and_the_same_each_time(name):
    svg = DRAW[name]()
    root = ET.fromstring(svg)  # noqa: S314 - our own
    assert root[0].tag.endswith("title")
    assert root[0].text
    assert root[1].text
    assert len(svg) < 15_000
    assert "currentColor" in svg
    assert svg == DRAW[name]()


def test_verdicts_follow_the_whole_interval():
    assert [one_stage.change.verdict for one_stage in STAGE_SCORES if one_stage.change] == [
        "better",
        "worse",
        "no clear change",
    ]


def test_stage_scores_show_stages_in_order_and_verdicts_by_shape():
    svg = label_plots.stage_scores_plot(STAGE_SCORES)
    assert [word for word in words(svg) if word in {one_stage.name for one_stage in STAGE_SCORES}] == [
        one_stage.name for one_stage in STAGE_SCORES
    ]
    shapes = {re.sub(r"[-\d. ]+", "", path) for path in re.findall(r'<path id="[^"]*" d="([^"]*)"', svg)}
    assert len(shapes) >= 2  # a circle is curves, the others straight
    assert "zoo: 0.500; better: 0.550; worse: 0.520" in svg


def test_fold_histories_draw_a_line_a_fold_and_their_mean_within_limits():
    svg = label_plots.fold_histories(FOLDS, title="Loss", limits=(0.0, 40.0))
    assert svg.count("stroke-width: 2.4") == 1
    assert svg.count("stroke-opacity: 0.4") == 3
    assert "40" in words(svg)
    assert "from 2 to" in svg


def test_folds_that_ended_early_do_not_drag_the_mean():
    short = Curve("short", "loss", np.array([1.0]), np.array([8.0]))
    long = Curve("long", "loss", np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    assert "from 5 to 2" in label_plots.fold_histories([short, long], title="Loss")


def test_one_epoch_is_drawn_as_a_point():
    point = Curve("one", "loss", np.array([1.0]), np.array([3.0]))
    assert "<use" in label_plots.fold_histories([point], title="Loss")


def test_threshold_plot_marks_the_chosen_one():
    svg = DRAW["scan"]()
    assert "chosen 0.3" in words(svg)
    assert "is 0.600" in svg


def test_frequency_plot_says_the_middle_of_labels_about_as_rare():
    svg = label_plots.by_frequency(np.array([2, 3, 3, 900]), np.array([0.1, 0.2, 0.6, 0.9]))
    assert "about 3 photos: 0.20" in svg
    assert "900 photos" not in svg


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as caught:
        label_plots.threshold_scan(LabelThresholdScan(AT, AT[:3], 0.3), group="tag")
    assert "same length" in caught.value.fix
    with pytest.raises(ShapeError):
        label_plots.by_frequency(np.array([1, 2]), np.array([0.5]))


def test_titles_in_scripts_without_latin_letters_get_ids_of_their_own():
    ids = [
        re.findall(r' id="([^"]+)"', label_plots.threshold_scan(LabelThresholdScan(AT, AT, 0.3), group=group))
        for group in ("文化", "物")
    ]
    assert not set(ids[0]) & set(ids[1])


def test_small_numbers_on_an_axis_keep_their_digits():
    rate = Curve("head", "lr", np.array([1.0, 2.0]), np.array([0.0015, 0.003]))
    assert {"0.0016", "0.0020"} < set(words(plots.history([rate], title="Learning rate")))


def test_sixteen_lines_all_look_different():
    from fieldmark.reporting.canvas import line

    looks = {str(sorted(line(place).items(), key=str)) for place in range(16)}
    assert len(looks) == 16
