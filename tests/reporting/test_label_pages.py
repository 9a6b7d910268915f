from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from fieldmark.reporting.contents import Curve
from fieldmark.reporting.label_contents import (
    AddedPhotos,
    Difference,
    DroppedPhotosSection,
    LabelIssueRow,
    LabelRow,
    LabelsPage,
    LabelThresholdScan,
    Mark,
    MarkedPhoto,
    StageScore,
    ThresholdRow,
    TrainingHistory,
    TreesSection,
)
from fieldmark.reporting.label_pages import labels_page
from naughty_strings import NAUGHTY


class Structure(HTMLParser):
    """Every element with the names of its attributes, and all texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)

    def all_of(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="session")
def html(label_samples) -> str:
    return labels_page(label_samples.sample_labels())


def named(name: str) -> LabelsPage:
    line = np.array([0.1, 0.2])
    photo = MarkedPhoto(name, None, (Mark(name, "right", 0.5), Mark(name, "missed"), Mark(name, "plain")), name)
    return LabelsPage(
        title=name, recipe=name, summary=name, scores_note=name, score_name=name, stage_scores_note=name,
        thresholds_note=name,
        stage_scores=(
            StageScore(name, 0.5, 0.4, 0.6, None, (name,), name),
            StageScore(name, 0.5, 0.4, 0.6, Difference(0.1, 0.0, 0.2)),
        ),
        training_histories=(TrainingHistory(name, (Curve(name, "loss", line, line),), name),),
        learning_rates=(Curve(name, "lr", line, line), Curve(name, "lr", line, line)),
        thresholds=(ThresholdRow(name, 3, 0.1, note=name, scan=LabelThresholdScan(line, line, 0.1)),),
        labels=(LabelRow(name, 3, 2, 0.5), LabelRow("b", 0, 0)),
        best=(photo,), worst=(photo,), issues=(LabelIssueRow(name, name, "wrong", 0.1, 0.9, None, (name, name)),),
        issues_note=name, dropped=(DroppedPhotosSection(name, name, 1, (photo,)),),
        added=(AddedPhotos(name, name, (photo,)),),
        trees=(TreesSection(name, ((name, 0.5),), 1, 0.9, 10),),
    )  # fmt: skip


def test_naughty_names_change_no_element_of_the_page():
    plain = Structure(labels_page(named("plain")))
    naughty = "\n".join(text for text in NAUGHTY if text.strip())
    for text in (naughty, '"><script>alert(1)</script>', "</style><img src=x onerror=alert(1)>"):
        assert Structure(labels_page(named(text))).elements == plain.elements


def test_a_naughty_label_is_shown_unchanged():
    name = '<b>O\'Keeffe</b> & "sons" 鯨'
    assert Structure(labels_page(named(name))).text.count(name) > 15


def test_page_loads_nothing_and_runs_only_its_script(html):
    page = Structure(html)
    assert [names for tag, names in page.elements if tag == "script"] == [()]
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "form", "base"}
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.all_of("src"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    policy = next(text for text in page.all_of("content") if "default-src 'none'" in text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_page_without_labels_allows_no_script():
    html = labels_page(LabelsPage("t", "r", "s"))
    assert "<script" not in html
    assert "script-src" not in html
    assert "<section" not in html


def test_page_is_readable_by_screen_readers_and_without_script(html):
    page = Structure(html)
    for tag, names in page.elements:
        assert tag != "img" or "alt" in names
        assert tag != "th" or "scope" in names
        assert tag != "svg" or "aria-labelledby" in names
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = page.all_of("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    assert re.search(r'<p class="find" hidden>', html)  # without a script there is no search field


def test_marks_differ_by_sign_and_word_not_only_by_colour():
    photo = MarkedPhoto("a.jpg", None, (Mark("vases", "right", 0.5), Mark("ink", "missed"), Mark("blue", "extra", 1.0)))
    html = labels_page(LabelsPage("t", "r", "s", worst=(photo,)))
    marks = re.findall(r'<li class="chip \w+">(.*?)</li>', html, re.DOTALL)
    plain = [re.sub(r"<[^>]+>", "", mark).replace("\xa0", " ").strip() for mark in marks]
    assert plain == ["✓ right: vases 50 %", "○ missed: ink", "+ extra: blue &gt;99 %"]


def test_worse_stages_are_marked_as_worse(html):
    words = re.findall(r'<span class="verdict (\w+)">(.) ([\w ]+)</span>', html)
    assert words == [
        ("better", "▲", "better"),
        ("worse", "▼", "worse"),
        ("no", "●", "no clear change"),
        ("better", "▲", "better"),
    ]
    assert "-0.004" in html
    assert "-0.007 to -0.001" in html


def test_labels_are_sorted_by_frequency_and_extremes_are_frequent(html):
    found = re.findall(r"<caption>(.*?)</caption>(.*?)</table>", html, re.DOTALL)
    tables = {
        caption: [int(count.replace(",", "")) for count in re.findall(r'</th><td class="num">([\d,]+)</td>', body)]
        for caption, body in found
        if "average precision, of" in caption or caption.startswith("All")
    }
    everything = next(counts for caption, counts in tables.items() if caption.startswith("All 486 labels"))
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 486
    for caption in (
        "Lowest average precision, of labels with 20 photos or more",
        "Highest average precision, of labels with 20 photos or more",
    ):
        assert len(tables[caption]) == 8
        assert min(tables[caption]) >= 20


def test_few_labels_are_listed_once():
    rows = tuple(LabelRow(f"l{n}", 9 - n, 3, 0.5, None, 0.5, 0.5) for n in range(9))
    html = labels_page(LabelsPage("t", "r", "s", labels=rows))
    assert "Lowest average precision" not in html
    assert html.count("<tr><th") == 10  # with the head


def test_missing_measures_are_a_dash():
    html = labels_page(LabelsPage("t", "r", "s", labels=(LabelRow("never seen", 0, 0),)))
    assert re.findall(r'<td class="num">(.*?)</td>', html) == ["0", *["\u2013"] * 4, "0"]


def test_issues_state_kind_and_probability(html):
    assert html.count('class="card photo issue"') == 40
    first = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split('class="card photo issue"')[1])).replace("\xa0", " ")
    assert "probably missing" in first
    assert "Not in the table; predicted probability 97 %" in first
    assert "label error: 99 %" in first


def test_training_curves_are_one_plot_per_stage_on_one_scale(html):
    learning = html.split('id="learning"')[1].split("</section>")[0]
    assert learning.count("<figure") == 7  # six stages and the learning rate
    ticks = [re.findall(r">(\d+)</text>", figure) for figure in learning.split("<figure")[1:7]]
    assert len({tuple(one) for one in ticks}) == 1


def test_hundreds_of_labels_and_heavy_photos_stay_small(label_samples):
    page = labels_page(label_samples.sample_labels(n_examples=16, n_labels=1103, noise=90.0))
    assert len(page.encode()) < 3_000_000


def test_same_content_gives_the_same_page():
    assert labels_page(named("a")) == labels_page(named("a"))
