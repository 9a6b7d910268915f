"""Report page and measures of a finished tagging run. The test writes the output of its stages directly."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.core.errors import RunError
from fieldmark.core.files import read_json, write_json, write_text
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.decisions.label_thresholds import LabelThresholds, MeanWithInterval
from fieldmark.decisions.specs import LabelThreshold
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.predictions import LabelAnswers
from fieldmark.pipeline.artifacts.scores import LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.artifacts.selection import DroppedPhotos, LabelPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import METRICS
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.imet import imet2019, tags_plain
from fieldmark.stages.common.train import Train
from fieldmark.tasks.reporting import REPORT, write_report
from fieldmark.tasks.tagging.marked_photos import dropped, examples, label_issue_rows
from fieldmark.tasks.tagging.report import label_report
from fieldmark.tasks.tagging.stage_scores import scores_by_stage
from fieldmark.tasks.tagging.validation import CROSSED, OutOfFoldLabels, crossed_f2, plain_thresholds

N, N_NEW, N_FOLDS = 60, 8, 3
LABELS = ("culture::greek", "culture::dutch", "tag::vases", "tag::<b>ink</b>", "tag::plants", "tag::women")
FOLD = np.arange(N) % N_FOLDS
MISSING = (5, 2)
"""A photo and a label that it shows but that is missing in the table."""
DUPLICATES = range(20, 40)
"""Copies of one picture."""
NOISE = {"zoo": 0.3, "zoo2": 0.2, "zoo3": 0.6, "special": 0.15, "trees": 0.05}
"""Noise of the scores of each stage: zoo3 is worse than the stage before, the trees are better."""
GROUPS = {"culture": LabelThreshold(at=0.5, least=0, most=1), "tag": LabelThreshold(at=0.4, least=1, most=4)}


def shown() -> np.ndarray:
    """Return which photo shows which label."""
    chance = np.random.default_rng(11)
    truth = chance.random((N, len(LABELS))) < np.array([0.3, 0.2, 0.5, 0.3, 0.4, 0.3])
    truth[np.arange(N), 2 + np.arange(N) % 4] = True
    truth[MISSING] = True
    return truth


def collections(folder: Path) -> tuple[Collection, Collection]:
    chance = np.random.default_rng(12)
    names = {"known": [f"{n:03d}.png" for n in range(N)], "new": [f"new{n}.png" for n in range(N_NEW)]}
    for part, images in names.items():
        (folder / part).mkdir()
        for image in images:
            pixels = np.full((24, 20, 3), chance.integers(0, 255, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / image)
    table = shown()
    table[MISSING] = False
    labels = [[name for name, has in zip(LABELS, row, strict=True) if has] for row in table]
    groups = ["duplicates" if n in DUPLICATES else f"alone {n}" for n in range(N)]
    known = Collection.of({"image": names["known"], "labels": labels, "group": groups}, root=folder / "known")
    assert known.vocabulary.tags == tuple(sorted(LABELS))
    new = Collection.of({"image": names["new"]}, root=folder / "new", vocabulary=known.vocabulary)
    return known, new


class ByHand:
    """Writes the output of the stages of a run without running them."""

    def __init__(self, folder: Path, plan: Plan, known: Collection, new: Collection | None) -> None:
        self.run = RunFolder.create(folder, key={"seed": 0})
        known.write(folder / "collection")
        if new is not None:
            new.write(folder / "new")
        write_text(folder / "plan.json", plan.model_dump_json())
        write_json(folder / "manifest.json", {"seed": 0, "versions": {"numpy": "2"}})
        self.plan, self.known, self.new = plan, known, new
        self.opened = Context(self.run, plan, known, new, 0)
        self.chance = np.random.default_rng(13)

    def finish(self, name: str, message: str) -> None:
        self.run.finish(name, receipt={"kind": "", "said": message, "took_s": 1.0})

    def split(self) -> None:
        Folds(self.run.work_directory("split")).write(FOLD)
        self.finish("split", "3 folds")

    def trained(self) -> None:
        for stage in self.plan.stages:
            if isinstance(stage, Train):
                left = Models(self.run.work_directory(stage.name))
                for k in range(N_FOLDS):
                    left.place(k).mkdir()
                    rows = [{"phase": 1, "epoch": e, "loss": 9 / e + k, "lr": 0.1 / e} for e in (1, 2, 3)]
                    left.write_history(k, rows)
                    left.write_labels(k, list(self.known.vocabulary.tags))
                self.finish(stage.name, "loss 3")

    def scored(self, name: str, *, noise: float) -> None:
        column = [LABELS.index(label) for label in self.known.vocabulary.tags]
        truth = shown()[:, column]
        proba = np.clip(0.2 + 0.6 * truth + self.chance.normal(0, noise, truth.shape), 0.01, 0.99).astype(np.float32)
        proba[MISSING[0], self.known.vocabulary.tags.index(LABELS[MISSING[1]])] = 0.99
        folder, tags = self.run.work_directory(name), self.known.vocabulary.tags
        left = LabelScores(folder)
        for member in ("net", "mean"):
            left.write(member, self.known, labels=tags, fold=FOLD, proba=proba)
        if self.new is not None:
            new = np.tile(np.linspace(0.9, 0.1, len(LABELS), dtype=np.float32), (N_FOLDS, N_NEW, 1))
            scores = MemberScores(tags, new)
            left.keep(ScoredPhotos(scores, np.zeros(N_NEW, np.bool_), {"net": scores}), self.opened)
        if name == "trees":
            write_json(folder / "importance.json", [{"column": f"c{n}", "share": n / 435} for n in range(30)])
            write_json(folder / "ceiling.json", {"recall_ceiling": 0.875, "n_judged": 321})
        self.finish(name, f"{name} scored")

    def moved(self) -> None:
        DroppedPhotos(self.run.work_directory("filtered")).write(
            ["003.png", "007.png"], np.array([2.5, 1.25], np.float32)
        )
        self.finish("filtered", "2 of 60 photos dropped")
        left = LabelPseudoLabels(self.run.work_directory("pseudo_labels"))
        for k in range(N_FOLDS):
            left.write(k, np.array([4, 2]), np.eye(2, len(LABELS), dtype=np.float32))
        self.finish("pseudo_labels", "2 to 2 of 8 new photos joined")

    def cut(self, thresholds: LabelThresholds) -> None:
        LabelAnswers(self.run.work_directory("thresholds")).write_thresholds(thresholds)
        self.finish("thresholds", "threshold")
        self.run.work_directory("submission")
        self.finish("submission", "8 photos answered")


def fitted_thresholds(groups: dict[str, LabelThreshold] = GROUPS) -> LabelThresholds:
    crossed = MeanWithInterval(value=0.512, low=0.41, high=0.613, unit="photo", n_units=N)
    return LabelThresholds(
        kind="group_f2", groups=groups, beta=2, n_images=N, mean_labels=2.5, fitted=crossed, crossed=crossed
    )


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A finished run of the whole recipe."""
    folder = tmp_path_factory.mktemp("tagged")
    hand = ByHand(folder / "run", imet2019(size="toy"), *collections(folder))
    hand.split()
    hand.trained()
    for name, noise in NOISE.items():
        hand.scored(name, noise=noise)
    hand.moved()
    hand.cut(fitted_thresholds())
    return Context.open(folder / "run")


@pytest.fixture(scope="session")
def oof(tagged: Context) -> OutOfFoldLabels:
    return OutOfFoldLabels(tagged)


@pytest.fixture(scope="session")
def measures(tagged: Context) -> dict[str, Measure]:
    """Measures of the run, by name."""
    return {one.name: one for one in write_report(tagged)}


@pytest.fixture(scope="session")
def page(tagged: Context, measures: dict[str, Measure]) -> str:
    return (tagged.run.path / REPORT).read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>", maxsplit=1)[0]


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("\xa0", " ")


def slow_f2(answer: np.ndarray, truth: np.ndarray) -> float:
    values = []
    for given, right in zip(answer.tolist(), truth.tolist(), strict=True):
        below = 4 * sum(right) + sum(given)
        values.append(5 * sum(a and b for a, b in zip(given, right, strict=True)) / below if below else 0.0)
    return sum(values) / len(values)


def test_measures_match_the_answers(tagged: Context, oof: OutOfFoldLabels, measures: dict[str, Measure]) -> None:
    assert read_json(tagged.run.path / METRICS) == [one.model_dump(mode="json") for one in measures.values()]
    assert measures["mean F2"].value == pytest.approx(slow_f2(oof.answer, oof.truth))
    assert list(measures)[1] == CROSSED
    assert measures[CROSSED].value == 0.512
    assert oof.answer[:, oof.groups["culture"]].sum(axis=1).max() == 1  # most
    assert oof.answer[:, oof.groups["tag"]].sum(axis=1).min() >= 1  # least


def test_page_starts_with_the_verdict(page: str, oof: OutOfFoldLabels) -> None:
    found = int((oof.answer & oof.truth).sum())
    lead = words(page.split('class="lead">')[1].split("</p>", maxsplit=1)[0])
    assert f"found {100 * found / oof.truth.sum():.0f} of every 100 labels" in lead
    assert f"it predicted, {100 * found / oof.answer.sum():.0f} are in the table" in lead
    assert "With thresholds found on other photos, mean F2 is 0.512" in words(section(page, "scores"))


def test_every_stage_with_scores_has_a_verdict(tagged: Context, oof: OutOfFoldLabels) -> None:
    stage_scores = scores_by_stage(tagged, oof)
    assert [one_stage.name for one_stage in stage_scores] == list(NOISE)
    assert stage_scores[0].change is None
    verdicts = {one_stage.name: one_stage.change.verdict for one_stage in stage_scores if one_stage.change}
    assert verdicts["zoo3"] == "worse"
    assert verdicts["trees"] == "better"
    for before, one_stage in pairwise(stage_scores):
        assert one_stage.change is not None
        assert one_stage.change.value == pytest.approx(one_stage.value - before.value)
        assert one_stage.change.low < one_stage.change.value < one_stage.change.high
        paired, separate = (
            one_stage.change.high - one_stage.change.low,
            (one_stage.high - one_stage.low) + (before.high - before.low),
        )
        assert paired < separate


def test_stage_scores_describe_only_new_steps(tagged: Context, oof: OutOfFoldLabels) -> None:
    changes = {one_stage.name: " | ".join(one_stage.new_steps) for one_stage in scores_by_stage(tagged, oof)}
    assert "2 networks per fold" in changes["zoo"]
    assert "loss focal" in changes["zoo"]
    assert "without the photos removed by filtered: 2 of 60 photos dropped" in changes["zoo2"]
    assert "hardest 5.0\xa0%" in changes["zoo2"]
    assert "with the photos added by pseudo_labels: 2 to 2 of 8 new photos joined" in changes["zoo3"]
    assert "filtered" not in changes["zoo3"]
    assert "predicts only tag" in changes["special"]
    assert "loss bce" in changes["special"]
    assert "boosted trees on the scores of zoo3 and special" in changes["trees"]


def test_thresholds_are_found_on_other_parts(oof: OutOfFoldLabels) -> None:
    """With random scores, thresholds found on the same photos give a higher F2 than thresholds of other photos."""
    part = np.arange(N) % 2
    proba = np.random.default_rng(1).random(oof.truth.shape).astype(np.float32)
    found = crossed_f2(oof, proba, part)
    for one in (0, 1):
        here, there = part == one, part != one
        answer = oof.labels_above(plain_thresholds(oof, proba[there], oof.truth[there]), proba[here])
        assert found[here].mean() == pytest.approx(slow_f2(answer, oof.truth[here]))
    in_sample = oof.labels_above(plain_thresholds(oof, proba, oof.truth), proba)
    assert found.mean() < slow_f2(in_sample, oof.truth)


def test_a_missing_label_is_the_first_issue(tagged: Context, oof: OutOfFoldLabels) -> None:
    found, note = label_issue_rows(tagged, oof)
    first = next(one for one in found if one.kind == "missing")
    assert (first.image, first.label) == (f"{MISSING[0]:03d}.png", LABELS[MISSING[1]])
    assert first.picture is not None
    assert first.label not in first.others
    assert "special" in note
    assert len(found) == len({(one.image, one.label) for one in found}) <= 40


def test_removed_photos_are_shown_with_predicted_labels(tagged: Context, oof: OutOfFoldLabels) -> None:
    (left,) = dropped(tagged, oof)
    assert (left.n, [one.image for one in left.worst], left.others) == (2, ["003.png", "007.png"], ())
    assert left.worst[0].note == "error 2.500"
    table = {name for name, has in zip(oof.names, oof.truth[3], strict=True) if has}
    assert {mark.label for mark in left.worst[0].marks if mark.kind in {"right", "missed"}} == table
    assert not {mark.label for mark in left.worst[0].marks if mark.kind == "extra"} & table


def test_page_has_every_section_and_escapes_every_name(page: str) -> None:
    assert re.findall(r'<section id="(\w+)"', page) == [
        "scores", "stages", "examples", "issues", "labels", "thresholds", "moved", "trees", "learning", "data", "plan",
        "manifest",
    ]  # fmt: skip
    assert "<b>ink" not in page
    assert "tag::&lt;b&gt;ink&lt;/b&gt;" in page
    moved = words(section(page, "moved"))
    assert "Removed by filtered : 2 photos" in moved
    assert "new4.png" in moved
    trees = words(section(page, "trees"))
    assert "scored 321 pairs of photo and label. These pairs contain 88 % of the labels" in trees
    assert "25 most important of 30 columns" in trees
    assert trees.index("c29") < trees.index("c28")
    assert section(page, "learning").count("<figure") == 9  # two networks in four stages, one learning rate
    assert section(page, "thresholds").count("<svg") == 2
    assert len(page.encode()) < 1_000_000


def test_one_copy_of_a_picture_is_shown(oof: OutOfFoldLabels) -> None:
    duplicates = {oof.known.images[row] for row in DUPLICATES}
    for photos in examples(oof):
        assert len(photos) == 16
        assert len(duplicates & {photo.image for photo in photos}) <= 1


def test_best_and_worst_photos_are_sorted_by_f2(oof: OutOfFoldLabels) -> None:
    best, worst = examples(oof)
    assert {mark.kind for mark in best[0].marks} == {"right"}
    assert len(best[0].marks) >= len(best[1].marks)
    assert {mark.kind for mark in worst[0].marks} & {"missed", "extra"}
    notes = [float(photo.note.removeprefix("F2 ")) for photo in worst]
    assert notes == sorted(notes)


def test_the_scan_of_a_group_has_the_chosen_threshold_and_its_score(oof: OutOfFoldLabels) -> None:
    at, value = oof.scan("tag")
    chosen = float(value[np.flatnonzero(at == GROUPS["tag"].at)[0]])
    assert chosen == pytest.approx(slow_f2(oof.answer, oof.truth))
    assert (np.diff(at) > 0).all()


def test_a_plan_without_the_later_stages_has_a_shorter_page(tmp_path: Path) -> None:
    known, _ = collections(tmp_path)
    hand = ByHand(tmp_path / "run", tags_plain(size="toy"), known, None)
    hand.split()
    hand.trained()
    hand.scored("zoo", noise=0.2)
    hand.cut(LabelThresholds(kind="relative", times=7.0, beta=2, n_images=N, mean_labels=3.0))
    measures, html = label_report(Context.open(tmp_path / "run"))
    assert CROSSED not in {one.name for one in measures}
    assert re.findall(r'<section id="(\w+)"', html) == [
        "scores", "stages", "examples", "issues", "labels", "learning", "data", "plan", "manifest",
    ]  # fmt: skip
    assert "The thresholds were not found on the labels of these photos" in words(html)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    known, new = collections(tmp_path)
    hand = ByHand(tmp_path / "run", imet2019(size="toy"), known, new)
    hand.split()
    with pytest.raises(RunError) as caught:
        write_report(Context.open(tmp_path / "run"))
    assert "fieldmark train" in caught.value.fix


def test_intervals_of_measures_and_stages_resample_groups(tagged: Context) -> None:
    alone = replace(tagged, known=replace(tagged.known, table=tagged.known.table.drop("group")))
    known = replace(
        tagged.known, table=tagged.known.table.with_columns(group=pl.Series([f"{n // 6}" for n in range(N)]))
    )
    opened = replace(tagged, known=known)
    grouped = OutOfFoldLabels(opened)
    for one, plain in zip(grouped.measures(), OutOfFoldLabels(alone).measures(), strict=True):
        assert plain.unit == "photo"
        assert one.unit == ("photo" if one.name == CROSSED else "group")  # the cut stage has found that one
        assert one.name == CROSSED or one.n_units <= 10
    stage_scores, plain_stages = scores_by_stage(opened, grouped), scores_by_stage(alone, OutOfFoldLabels(alone))
    assert [one.value for one in stage_scores] == [one.value for one in plain_stages]
    assert [(one.low, one.high) for one in stage_scores] != [(one.low, one.high) for one in plain_stages]
    assert [one.change for one in stage_scores] != [one.change for one in plain_stages]
    _, html = label_report(opened)
    assert "95 % intervals over 10 groups" in words(html)
