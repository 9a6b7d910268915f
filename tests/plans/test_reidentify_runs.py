"""Tests of ``reidentify`` at size ``toy``: margins, rounds with pseudo-labels, distillation, boxes and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json
from fieldmark.data.specs import OpenSetSplit
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.ranking import Ranking
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.plans.humpback import humpback_classify
from fieldmark.plans.reidentify import reidentify
from fieldmark.plans.sizes import Size
from fieldmark.specimens.collections import draw_flukes
from fieldmark.stages.common.lessons import identity_lesson
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.pseudo_label_identities import PseudoLabelIdentities
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.training.sparse_proba import MOST
from toys import Heard


@pytest.fixture(scope="module")
def run(flukes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = reidentify(size="toy", pseudo_label_rounds=1, pseudo_label_min_score=-1.0, max_fpir=0.5, effort=0.25)
    folder = tmp_path_factory.mktemp("reidentify") / "run"
    fieldmark.train(plan, flukes, run=folder, n_workers=0, skip_broken=True)
    return folder


def test_whole_identities_are_held_out_as_unknowns(run: Path) -> None:
    context = Context.open(run)
    folds, classes = context.artifact(Folds, "split"), context.known.classes
    fold = folds.fold
    held = np.setdiff1d(classes[(fold == 0) & (classes >= 0)], classes[fold == -1])
    assert len(held) >= 1
    truth = folds.classes(context.known)
    assert (truth[np.isin(classes, held)] == UNKNOWN).all()
    assert np.array_equal(truth[~np.isin(classes, held)], classes[~np.isin(classes, held)])
    scores, rows = context.artifact(Ranking, "ranking").scores, np.flatnonzero(fold >= 0)
    assert np.isneginf(scores[:, held]).all()  # the gallery has none of these individuals
    unknowns = {one["name"]: one["n"] for one in read_json(run / "metrics.json")}["FPIR"]
    assert unknowns == int((truth[rows] == UNKNOWN).sum())


def test_keypoints_are_matched_before_pseudo_labels_and_at_the_end() -> None:
    plan = reidentify(size="toy", pseudo_label_rounds=2, keypoints="xfeat", distil=True)
    reads = {stage.name: stage.reads() for stage in plan.stages}
    readers = ("pseudo_labels2", "pseudo_labels3", "submission")
    assert [reads[name][0] for name in readers] == ["matching", "matching2", "matching3"]
    matched = [stage.reads_from for stage in plan.stages if isinstance(stage, RerankKeypoints)]
    assert matched == ["ranking", "ranking2", "ranking3"]
    once = reidentify(size="toy", keypoints="xfeat", distil=True)
    assert [stage.name for stage in once.stages if stage.kind == "rerank_keypoints"] == ["matching2"]


def test_pseudo_labels_are_used_in_the_next_training_only(run: Path) -> None:
    context = Context.open(run)
    known, new, pseudo = context.known, context.new, context.artifact(IdentityPseudoLabels, "pseudo_labels2")
    assert new is not None
    rows, names = pseudo.rows(0), pseudo.classes(0)
    assert len(rows) > 0
    stage = next(one for one in context.plan.stages if isinstance(one, Train) and one.name == "net2")
    lesson = identity_lesson(stage, context, k=0)
    n, n_all, n_names = len(known), len(known) + len(new), len(known.vocabulary.identities)
    added = lesson.items[(lesson.items >= n) & (lesson.items < n_all)]
    assert sorted(added.tolist()) == sorted((n + rows).tolist())
    assert lesson.classes[n + rows].tolist() == names.tolist()
    assert lesson.classes[n_all + n + rows].tolist() == (names + n_names).tolist()  # mirrored
    assert not np.isin(np.flatnonzero(context.artifact(Folds, "split").fold == 0), lesson.items % n_all).any()
    for gallery in ("features", "features2"):
        kept = pl.read_parquet(run / gallery / "gallery0" / "rows.parquet")["image"].to_list()
        assert kept == known.images


def test_a_new_photo_that_copies_a_validation_photo_gets_no_pseudo_label(run: Path, tmp_path: Path) -> None:
    context = Context.open(run).computing(n_workers=0)
    assert context.new is not None
    row = int(np.flatnonzero(context.artifact(Folds, "split").fold == 0)[0])
    picked = context.artifact(IdentityPseudoLabels, "pseudo_labels2").rows(0)
    copy = context.new.paths[int(picked[0])]
    kept = copy.read_bytes()
    copy.write_bytes(context.known.paths[row].read_bytes())
    try:
        stage = next(one for one in context.plan.stages if isinstance(one, PseudoLabelIdentities))
        stage.fit(context, tmp_path)
        again = IdentityPseudoLabels(tmp_path).rows(0)
        assert int(picked[0]) not in again
        assert len(again) == len(picked) - 1
    finally:
        copy.write_bytes(kept)


def test_targets_of_unknowns_are_the_predictions_of_the_first_network(flukes: Path, tmp_path: Path) -> None:
    plan = reidentify(size="toy", distil=True, effort=0.5)
    fieldmark.train(plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True)
    context = Context.open(tmp_path / "run").computing(device="cpu", n_workers=0)
    stage, known = next(one for one in context.plan.stages if one.name == "net2"), context.known
    lesson = identity_lesson(stage, context, k=0)
    unknowns = lesson.items[lesson.classes[lesson.items] == UNKNOWN]
    assert len(unknowns) == 2 * (known.classes[context.artifact(Folds, "split").fold != 0] == UNKNOWN).sum() > 0
    teacher = context.artifact(Models, "net").nets("cpu")[0]
    for item in unknowns.tolist():
        mirrored = item >= len(known)
        proba = teacher.competing(known.take([item % len(known)]), flip=True, n_workers=0)[int(mirrored)]
        target = lesson.taught_of(np.array([item])).numpy()
        likeliest = np.argsort(-proba[0])[:MOST]
        np.testing.assert_allclose(target[0, likeliest], proba[0, likeliest], atol=1e-5)
        assert target.sum() == pytest.approx(1, abs=1e-5)
    others = np.setdiff1d(np.arange(2 * len(known)), unknowns)
    assert not lesson.taught_of(others).any()
    history = read_json(tmp_path / "run" / "net2" / "fold0" / "history.json")
    assert all(row["distilled"] > 0 for row in history)


def test_invalid_teacher_stages_are_refused_before_training() -> None:
    plan = reidentify(size="toy", distil=True)
    train = next(one for one in plan.stages if one.name == "net2")

    def error_with(**changed: object) -> str:
        stages = [one.model_copy(update=changed) if one is train else one for one in plan.stages]
        with pytest.raises(PlanError) as refused:
            plan.model_copy(update={"stages": tuple(stages)}).check()
        return str(refused.value)

    needs = "use 'taught', the loss 'distilled' and unknowns = true together"
    assert needs in error_with(taught=())
    assert needs in error_with(losses=train.losses[:1])
    assert needs in error_with(unknowns=False)
    assert "another flip_identity" in error_with(flip_identity=False)
    assert "'taught' must name a stage that writes models; 'split' (split) writes folds" in error_with(
        taught=("split",)
    )


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("one_vs_rest", "ohem_bce"),
        ("arcface", "arcface"),
        ("cosface", "cosface"),
        ("elastic", "elastic"),
        ("softmax", "cross_entropy"),
    ],
)
@pytest.mark.parametrize("size", ["toy", "small", "full"])
def test_every_loss_is_valid_at_every_size(loss: str, kind: str, size: str) -> None:
    train = reidentify(size=size, loss=loss).only(Train)
    assert train.losses[0].kind == kind
    assert train.net.head.kind == ("one_vs_rest" if loss == "one_vs_rest" else "cosine")


def test_size_small_trains_in_two_phases_with_the_one_vs_rest_loss() -> None:
    train = reidentify().only(Train)
    assert [loss.kind for loss in train.losses] == ["ohem_bce", "triplet"]
    assert [phase.min_photos for phase in train.training.phases] == [2, 1]
    plain = reidentify(curriculum=False).only(Train)
    assert {phase.min_photos for phase in plain.training.phases} == {1}
    assert sum(phase.epochs for phase in plain.training.phases) == sum(phase.epochs for phase in train.training.phases)


def test_the_small_recipe_runs_on_individuals_with_one_photo_each(tmp_path: Path) -> None:
    draw_flukes(tmp_path / "flukes", n_identities=24, n_unknown=2, n_test=1, size_px=(120, 60), seed=5)
    table = pl.read_csv(tmp_path / "flukes" / "train.csv")
    named = table.filter(pl.col("Id") != "new_whale").with_columns(number=pl.int_range(pl.len()).over("Id"))
    twice = named.filter(pl.col("number") == 1)["Id"][0]  # one of its two photos is in the validation part
    once = named.filter((pl.col("number") == 0) | (pl.col("Id") == twice) & (pl.col("number") == 1))
    once.with_columns(image="flukes/train/" + pl.col("Image"), identity="Id").select("image", "identity").write_csv(
        tmp_path / "once.csv"
    )
    small, toy = reidentify(effort=0.01), reidentify(size="toy")
    phases = tuple(phase.model_copy(update={"freeze": ()}) for phase in small.only(Train).training.phases)
    train = toy.only(Train)
    other = train.model_copy(update={"training": train.training.model_copy(update={"phases": phases})})
    split = toy.only(Split).model_copy(update={"folds": OpenSetSplit(n_known=1, n_unknown=6)})
    plan = toy.model_copy(update={"stages": (split, other, *toy.stages[2:])})
    progress, run = Heard(), tmp_path / "run"
    fieldmark.train(plan, tmp_path / "once.csv", run=run, n_workers=0, skip_broken=True, progress=progress)
    assert any("this phase uses all individuals" in line for line in progress.lines)
    assert (run / "submission").exists()


@pytest.mark.parametrize("boxes", ["table", "agreed", "grabcut", "features"])
def test_photos_are_cropped_to_the_boxes_of_a_finder(boxes: str) -> None:
    stages = {stage.kind: stage for stage in reidentify(size="toy", boxes=boxes).stages}
    (source,) = stages["train"].preprocess.crop.sources
    assert ("boxes" in stages) == (boxes != "table")
    assert boxes == "table" or stages["boxes"].finder == source.by


def test_a_choice_can_be_set_if_its_default_is_none() -> None:
    plan = fieldmark.plan("humpback-siamese", settings={"mining": "exact"})
    assert plan.stages[1].sampler.solver.kind == "exact"
    assert fieldmark.plan("humpback-siamese", settings={"mining": "batch"}).stages[1].sampler.kind == "pk"
    with pytest.raises(PlanError) as refused:
        fieldmark.plan("humpback-siamese", settings={"mining": "exactly"})
    assert "exact" in refused.value.fix


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"boxes": "tabel"}, "table"),
        ({"pseudo_label_rounds": -1}, "pseudo_label_rounds=1"),
        ({"loss": "arcfase"}, "arcface"),
        ({"loss": "one_vs_rest", "sub_centres": 2}, "leave out sub_centres"),
        ({"height_px": 8}, "height_px=96"),
        ({"trees": True, "keypoints": "xfeat"}, "leave out trees"),
        ({"size": "tiny"}, "toy"),
    ],
)
def test_refusals(settings: dict[str, object], fix: str) -> None:
    with pytest.raises(PlanError) as refused:
        reidentify(**settings)
    assert fix in refused.value.fix


def test_the_box_of_a_photo_changes_its_similarity(flukes: Path, tmp_path: Path) -> None:
    known = fieldmark.read(flukes, unknown="new_whale")
    marks, one = tmp_path / "boxes.csv", tmp_path / "one.csv"
    marks.write_text("image,x0,y0,x1,y1\n" + "".join(f"{image},0,0,60,30\n" for image in known.images))
    plan = reidentify(size="toy", boxes="table", effort=0.01)
    progress = Heard()
    fieldmark.train(
        plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True, boxes=[str(marks)], progress=progress
    )
    assert any("missing boxes of the new photos" in line for line in progress.lines)  # those beside the table
    progress.lines.clear()
    context = Context.open(tmp_path / "run")
    trained_on = np.flatnonzero((context.artifact(Folds, "split").fold == -1) & (context.known.classes >= 0))
    photo = context.known.paths[trained_on[0]]
    name = context.known.vocabulary.identities[context.known.classes[trained_on[0]]]
    one.write_text(f"image,x0,y0,x1,y1\n{photo.name},20,5,50,30\n")

    def similarity(*boxes: Path) -> float:
        tables = [str(each) for each in boxes]
        found = fieldmark.identify(tmp_path / "run", photo, k=30, boxes=tables, n_workers=0, progress=progress)
        return next(match.similarity or 0 for match in found[0].matches if match.identity == name)

    same_box, other_box = similarity(marks), similarity(one)
    assert same_box == pytest.approx(1, abs=1e-6)  # the same photo with the same box is in the gallery
    assert other_box < 1 - 1e-6
    assert not any("missing boxes" in line for line in progress.lines)
    similarity()
    assert any("missing boxes of these photos" in line for line in progress.lines)
    progress.lines.clear()
    draw_flukes(
        tmp_path / "others", n_identities=8, n_unknown=2, n_test=1, size_px=(120, 60), n_near_duplicates=0, seed=9
    )
    fieldmark.evaluate(tmp_path / "run", tmp_path / "others", n_workers=0, skip_broken=True, progress=progress)
    assert any("missing boxes of these photos" in line for line in progress.lines)


@pytest.mark.parametrize("size", ["toy", "small", "full"])
def test_validation_humpback_has_the_split_of_the_humpback_recipes(size: Size) -> None:
    """Runs can only be combined to an ensemble if they have the same validation photos."""
    ours, theirs = reidentify(size=size, validation="humpback"), humpback_classify(size=size)
    assert ours.only(Split) == theirs.only(Split)
    assert ours.stages[1:] == reidentify(size=size).stages[1:]
    assert reidentify(size=size).only(Split).folds == OpenSetSplit()
