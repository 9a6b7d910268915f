from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import RunError, ShapeError
from fieldmark.reporting.contents import (
    Candidate,
    Cooccurrence,
    Curve,
    DuplicateGroup,
    Example,
    Fact,
    IdentityRow,
    InspectPage,
    LabelCount,
    Problem,
    RunPage,
    ScoreRow,
    SkippedFile,
    StageRow,
    ThresholdScan,
    Tile,
)
from fieldmark.reporting.pages import inspect_page, run_page, write_page
from fieldmark.reporting.rendering import MOST_ROWS
from naughty_strings import NAUGHTY

VOID = {"meta", "img", "br"}


class Structure(HTMLParser):
    """What the browser builds: every element with the names of its attributes, and whether all were closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all_of(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


@pytest.fixture(scope="session")
def run_html(samples) -> str:
    return run_page(samples.sample_run(samples.drawn_photos(), n_examples=16))


@pytest.fixture(scope="session")
def inspect_html(samples) -> str:
    return inspect_page(samples.sample_inspection(samples.drawn_photos()))


@pytest.fixture(params=["run", "inspect"])
def page_html(request, run_html, inspect_html) -> str:
    return run_html if request.param == "run" else inspect_html


def run_named(name: str) -> RunPage:
    line = np.array([1.0, 2.0])
    return RunPage(
        title=name, recipe=name, summary=name, scores_note=name, curves_over=name, plan_json=name,
        scores=(ScoreRow(name, 0.5, 0.4, 0.6, name),),
        curves=(Curve(name, "loss", line, line), Curve(name, "metric", line, line)),
        threshold=ThresholdScan(line, line / 4, 1.5, score_name=name),
        worst=(Example(name, name, None, (Candidate(name, 0.5), Candidate(name, is_unknown=True, is_truth=True))),),
        facts=(Fact(name, name, name),),
        skipped=(SkippedFile(name, name),),
        stages=(StageRow(name, name, (name,), name, 1.0),),
        manifest={name: name, "versions": {name: name}},
    )  # fmt: skip


def inspect_named(name: str) -> InspectPage:
    return InspectPage(
        title=name, summary=name, facts=(Fact(name, name, name),), problems=(Problem(name, name, 1, name, name),),
        broken=(SkippedFile(name, name),), duplicates=(DuplicateGroup((name, name), (name, "b")),),
        labels=(LabelCount(name, 3), LabelCount("b", 1)),
        cooccurrence=Cooccurrence((name, "b"), np.array([[3, 1], [1, 1]])),
        samples=(Tile(name, None, name),), identities=(IdentityRow(name, 2, (Tile(name, None),)),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "fill", [lambda name: run_page(run_named(name)), lambda name: inspect_page(inspect_named(name))]
)
def test_naughty_names_change_no_element_of_the_page(fill):
    # All strings at once in every text, and the ones that try to break out one by one (a page takes a while).
    naughty = [text for text in NAUGHTY if text.strip()]
    plain = Structure(fill("plain"))
    breaking = [text for text in naughty if "script" in text.lower()][::40]
    for text in ["\n".join(naughty), '"><script>alert(1)</script>', "</style><img src=x onerror=alert(1)>", *breaking]:
        html = fill(text)
        assert not re.search(r"<\s*script", html, re.IGNORECASE)
        assert Structure(html).elements == plain.elements


def test_a_naughty_name_is_shown_unchanged():
    name = '<b>O\'Keeffe</b> & "sons" 鯨'
    assert Structure(inspect_page(inspect_named(name))).text.count(name) > 8


@pytest.mark.parametrize("unfit", ["\x00", "\x1b", "\ud800", "\ufffe"])
def test_forbidden_characters_are_replaced(unfit, tmp_path):
    html = run_page(run_named(f"a{unfit}b"))
    write_page(tmp_path / "run.html", html)
    assert unfit not in html
    assert "a\ufffdb" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_page_loads_nothing_from_anywhere(page_html):
    page = Structure(page_html)
    assert page.open == []
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.all_of("src"))
    assert all(address.startswith("#") for address in page.all_of("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"@import|url\((?!#)", page_html)
    policy = next(text for text in page.all_of("content") if "default-src" in text)
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    assert "script-src" not in policy


def test_page_is_readable_by_screen_readers(page_html):
    page = Structure(page_html)
    for tag, names in page.elements:
        assert tag != "img" or "alt" in names
        assert tag != "th" or "scope" in names
        assert tag != "svg" or "aria-labelledby" in names
    assert all(page.all_of("alt"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_references_are_complete_and_ids_unique(page_html):
    page = Structure(page_html)
    ids = page.all_of("id")
    assert len(ids) == len(set(ids))
    referred = [one[1:] for one in page.all_of("href")]
    referred += [one for words in page.all_of("aria-labelledby") for one in words.split()]
    referred += re.findall(r"url\(#([^)]+)\)", page_html)
    assert set(referred) <= set(ids)


def test_only_sections_with_content_are_on_the_page():
    html = inspect_page(InspectPage(title="t", summary="s", facts=(Fact("photos", "3"),)))
    assert re.findall(r'<section id="(\w+)"', html) == ["facts"]
    assert re.findall(r'<a href="#(\w+)"', html) == ["facts"]
    assert "<section" not in run_page(RunPage(title="t", recipe="r", summary="s"))


def test_navigation_names_every_section_in_order(page_html):
    sections = re.findall(r'<section id="(\w+)"', page_html)
    assert re.findall(r'<li><a href="#(\w+)"', page_html) == sections
    assert len(sections) >= 7


def test_right_answer_is_marked_in_words_not_only_by_colour():
    wrong, right = Candidate("w_1", 0.8), Candidate("w_2", 0.3, is_truth=True)
    example = Example("q.jpg", "w_2", None, (wrong, right))
    text = " ".join(Structure(run_page(RunPage("t", "r", "s", worst=(example,)))).text)
    assert text.count("✓ right answer") == 1
    assert text.index("w_1") < text.index("✓ right answer")
    assert "right answer 2nd" in text


@pytest.mark.parametrize(
    ("truths", "words"),
    [((True, False), "right answer first"), ((False, True), "right answer 2nd"), ((), "not among the first 0")],
)
def test_verdict_of_an_example(truths, words):
    candidates = tuple(Candidate(f"w{place}", is_truth=is_truth) for place, is_truth in enumerate(truths))
    assert words in run_page(RunPage("t", "r", "s", best=(Example("q", "w", None, candidates),)))


def test_scores_below_zero_get_no_bar():
    def page(score):
        return run_page(
            RunPage("t", "r", "s", best=(Example("q", "w", None, (Candidate("a", 0.9), Candidate("b", score))),))
        )

    assert 'class="bar"' in page(0.2)
    assert 'class="bar"' not in page(-0.2)
    assert "-0.200" in page(-0.2)


def test_undefined_rates_are_left_out():
    at = np.array([0.0, 1.0])
    scan = ThresholdScan(at, at, 0.5, share_new=at, false_match_rate=np.full(2, np.nan))
    html = run_page(RunPage("t", "r", "s", threshold=scan))
    assert "of the unknown individuals" not in html
    assert "50\xa0%" in html
    assert "nan" not in " ".join(Structure(html).text).lower()


def test_long_tables_are_shortened_with_a_note():
    problems = tuple(Problem("t.csv", "is empty", row) for row in range(MOST_ROWS + 50))
    html = inspect_page(InspectPage(title="t", summary="s", problems=problems))
    assert html.count("is empty") == MOST_ROWS
    assert "Shown: the first 200 of 250 mistakes." in html


def test_conflicting_duplicates_come_first_and_are_counted():
    agreed = [DuplicateGroup((f"a{n}", f"b{n}"), ("w", "w")) for n in range(60)]
    html = inspect_page(InspectPage("t", "s", duplicates=(*agreed, DuplicateGroup(("x", "y"), ("w_1", "w_2")))))
    assert html.index("names differ") < html.index("same name")
    assert "1 of them has different names" in html


def test_unreadable_picture_is_an_empty_frame_and_no_failure():
    html = inspect_page(InspectPage("t", "s", samples=(Tile("a.jpg", b"no picture"),)))
    assert "no picture" in html
    assert "<img" not in html


def test_pictures_are_encoded_again_without_metadata(samples):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "secret bay"
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, format="JPEG", exif=exif, comment=b"secret bay")
    html = inspect_page(InspectPage("t", "s", samples=(Tile("a.jpg", buffer.getvalue()),)))
    embedded = base64.b64decode(re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)[1])
    with Image.open(io.BytesIO(embedded)) as image:
        assert image.size == (40, 20)
        assert not image.getexif()
    assert b"secret bay" in buffer.getvalue()
    assert b"secret bay" not in embedded


def test_forty_examples_of_the_heaviest_photos_stay_below_3_mb(samples):
    photos = [(f"{n}.jpg", f"w_{n // 2}", samples.drawn_photo(n, size=(400, 300), noise=90.0)) for n in range(24)]
    assert min(len(picture) for _, _, picture in photos) > 80_000
    page = run_page(samples.sample_run(photos, n_examples=40))
    assert page.count('class="example"') == 40
    assert len(page.encode()) < 3_000_000


def test_same_content_gives_the_same_page(samples, run_html):
    assert run_page(samples.sample_run(samples.drawn_photos(), n_examples=16)) == run_html


def test_page_refuses_a_curve_whose_arrays_differ(samples):
    page = RunPage("t", "r", "s", curves=(Curve("loss", "loss", np.arange(3.0), np.arange(4.0)),))
    with pytest.raises(ShapeError) as caught:
        run_page(page)
    assert "same length" in caught.value.fix


def test_write_page_replaces_the_file_as_a_whole(tmp_path):
    path = tmp_path / "new" / "run.html"
    write_page(path, "<p>old")
    write_page(path, "<p>new ü")
    assert path.read_text(encoding="utf-8") == "<p>new ü"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full to stand for a full disk")
def test_write_page_to_a_full_disk_keeps_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "run.html"
    write_page(path, "old")
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **kw: real_open(Path("/dev/full"), *args, **kw))
    with pytest.raises(RunError) as caught:
        write_page(path, "new" * 10_000)
    monkeypatch.undo()
    assert "free some space" in caught.value.fix
    assert path.read_text() == "old"


def test_duplicates_without_a_name_for_each_file_are_refused():
    with pytest.raises(ShapeError) as caught:
        DuplicateGroup(("a", "b"), ("w",))
    assert "one name for each file" in caught.value.fix


def test_contents_are_frozen_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ScoreRow("MAP@5", 0.5).value = 1.0


@pytest.mark.real
def test_page_of_real_flukes_shows_them(samples, real_flukes):
    html = run_page(samples.sample_run(samples.real_photos(real_flukes, most=120), n_examples=12))
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(pictures) > 50
    assert len(set(pictures)) > 25
