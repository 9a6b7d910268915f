"""Joining of finished runs: the joined run has all stages, trains nothing, and predicts like any run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import FieldmarkError, PlanError, RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import HumpbackSplit
from fieldmark.decisions.specs import ByVote
from fieldmark.gallery.specs import KeypointMatching, Xfeat
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan, renamed
from fieldmark.plans.humpback import humpback_classify, humpback_nearest
from fieldmark.plans.recipe import RECIPES
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.ensemble_rankings import EnsembleRankings
from fieldmark.stages.identity.keypoints import KEPT
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.tasks.identification import joining
from fieldmark.tasks.identification.joining import join_runs
from fieldmark.tasks.identification.run_ensembles import ensemble_runs
from fieldmark.tasks.reporting import write_report
from toys import applied, quick_rerank, ranked

SHELF = dict(RECIPES.items())

NEAREST = humpback_nearest(size="toy")


@pytest.fixture(scope="module")
def nearest(known: Collection, new: Collection, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of another recipe with the same photos, seed and split."""
    return execute(NEAREST, known, tmp_path_factory.mktemp("nearest") / "run", new=new, seed=1, n_workers=0)


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined runs match few keypoints of small pictures, for two individuals per photo."""
    matching = KeypointMatching(points=Xfeat(size_px=64, most=40))
    planned = joining._plan

    def plan(*args: Any, **more: Any) -> Plan:
        made = planned(*args, **more)
        quick = {"matching": matching, "shortlist": 2}
        stages = (one.model_copy(update=quick) if one.name == "points" else one for one in made.stages)
        return made.model_copy(update={"stages": tuple(stages)})

    monkeypatch.setattr(joining, "_plan", plan)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Train, "fit", lambda *_: pytest.fail("trained again"))


def names(run: RunFolder) -> list[str]:
    return [stage.name for stage in Context.open(run.path).plan.stages]


@pytest.mark.usefixtures("no_training")
def test_the_joined_run_ranks_as_the_ensemble_of_answers(
    finished: RunFolder, nearest: RunFolder, new: Collection, tmp_path: Path
) -> None:
    folders = [finished.path, nearest.path]
    run = join_runs(folders, tmp_path / "both", weights=[2.0, 1.0])
    both = ["split", "net", "features", "ranking", "net-2", "features-2", "ranking-2", "ensemble", "submission"]
    assert names(run) == both
    wanted, decision = ensemble_runs(folders, weights=[2.0, 1.0])
    made = pl.read_parquet(run.stage("ensemble") / "ranking.parquet").filter(pl.col("part") == "new")
    assert made.select("image", "place", "identity").equals(wanted.select("image", "place", "identity"))
    assert np.allclose(made["score"], wanted["score"])
    assert json.loads((run.stage("ensemble") / "decision.json").read_text())["at"] == decision.threshold.at
    submission = pl.read_csv(run.stage("submission") / "submission.csv")
    assert submission["Image"].to_list() == new.images
    assert {one.name for one in write_report(Context.open(run.path))} >= {"MAP@5", "top-1 of known"}
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "net, validation" in page  # training curves per network


@pytest.mark.usefixtures("no_training")
def test_the_joined_run_predicts_single_photos_as_it_ranked_them(
    finished: RunFolder, nearest: RunFolder, new: Collection, tmp_path: Path
) -> None:
    run = join_runs([finished.path, nearest.path], tmp_path / "both", by=ByVote())
    table = pl.read_parquet(run.stage("ensemble") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(table.sort("place").group_by("image").agg("identity").iter_rows())
    for one in fieldmark.load(run.path, device="cpu", n_workers=0)(new):
        assert [match.identity for match in one.matches] == wanted[one.image]


@pytest.mark.usefixtures("few_points")
def test_keypoints_come_after_the_ensemble(
    finished: RunFolder, nearest: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="keypoints need OpenCV")
    rerank = quick_rerank(shortlist=2)
    ends = (rerank, WriteSubmission(name="answers", reads_from="matching"))
    plan = NEAREST.model_copy(update={"stages": (*NEAREST.stages[:-1], *ends)}).check()
    pointed = execute(plan, known, tmp_path / "pointed", new=new, seed=1, n_workers=0, reuse=nearest.path)
    kept = {path.name for path in (pointed.path / KEPT).iterdir()}
    run = join_runs([pointed.path, finished.path], tmp_path / "both", points=True)
    stages = Context.open(run.path).plan.stages
    assert [stage.name for stage in stages if isinstance(stage, RerankKeypoints)] == ["points"]
    (ensemble,) = (stage for stage in stages if isinstance(stage, EnsembleRankings))
    assert ensemble.reads_from == ("ranking", "ranking-2")
    assert kept <= {path.name for path in (run.path / KEPT).iterdir()}
    assert pl.read_parquet(run.stage("points") / "keypoint_matches.parquet").height > 0
    table = pl.read_parquet(run.stage("points") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(table.sort("place").group_by("image").agg("identity").iter_rows())
    proba = np.load(run.stage("points") / "new.npy")
    assert np.allclose(ranked(run.path, new), proba, atol=1e-4)
    for one in fieldmark.load(run.path, device="cpu", n_workers=0)(new):
        assert [match.identity for match in one.matches] == wanted[one.image]
    plain = join_runs([pointed.path, finished.path], tmp_path / "plain")
    assert Context.open(plain.path).plan.only(EnsembleRankings).reads_from == ("matching", "ranking-2")


def test_an_ensemble_shows_the_embedding_of_its_keypoints(
    finished: RunFolder, nearest: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="keypoints need OpenCV")
    both = join_runs([finished.path, nearest.path], tmp_path / "both")
    rerank = quick_rerank(name="points", reads_from="ensemble", embedded="features-2", shortlist=2)
    again = EnsembleRankings(name="again", reads_from=("points", "ranking"), on="split")
    stages = (
        *Context.open(both.path).plan.stages[:-1],
        rerank,
        again,
        WriteSubmission(name="answers", reads_from="again"),
    )
    plan = Plan(name="nested", stages=stages).check()
    run = execute(plan, known, tmp_path / "nested", new=new, seed=1, n_workers=0, reuse=both.path)
    application = applied(run.path, new)
    shown = plan.answering().shown(application.context.stages)
    assert shown == "features-2"
    embeddings = application.value(shown).embedding
    assert np.allclose(application.value("again").scores, np.load(run.stage("again") / "new.npy"), atol=1e-3)
    assert np.allclose(embeddings[0], np.load(run.stage("features-2") / "new0.npy"), atol=1e-4)


def test_missing_opencv_is_an_error_before_files_are_written(
    finished: RunFolder, nearest: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FieldmarkError) as refusal:
        join_runs([finished.path, nearest.path], tmp_path / "both", points=True)
    assert "keypoints" in refusal.value.fix
    assert not (tmp_path / "both").exists()


def test_an_interrupted_join_continues(
    finished: RunFolder, nearest: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [finished.path, nearest.path]
    with monkeypatch.context() as broken:
        broken.setattr(EnsembleRankings, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            join_runs(folders, tmp_path / "both")
    assert not RunFolder(tmp_path / "both").done("ensemble")
    stamp = (tmp_path / "both" / "net" / "stage.json").stat().st_mtime_ns
    run = join_runs(folders, tmp_path / "both")
    assert (run.path / "net" / "stage.json").stat().st_mtime_ns == stamp
    assert run.done("submission")


def test_a_joined_run_can_be_joined_again(
    finished: RunFolder, nearest: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    """A third recipe joins two others; stages of both sides are stored once."""
    both = join_runs([finished.path, nearest.path], tmp_path / "both")
    plan = humpback_classify(size="toy", score_by_centroid=False)
    third = execute(plan, known, tmp_path / "third", new=new, seed=1, n_workers=0, reuse=finished.path)
    run = join_runs([both.path, third.path], tmp_path / "three")
    opened = Context.open(run.path)
    assert names(run)[-4:] == ["ensemble", "ranking-3", "ensemble-2", "submission"]
    assert opened.plan.final().named() == {"on": ("split",), "reads_from": ("ensemble", "ranking-3")}
    wanted = pl.read_parquet(run.stage("ensemble-2") / "ranking.parquet").filter(pl.col("part") == "new")
    answers = fieldmark.load(run.path, device="cpu", n_workers=0)(new)
    first = wanted.filter(pl.col("place") == 1).select("image", "identity")
    assert {one.image: one.matches[0].identity for one in answers} == dict(first.iter_rows())


def test_runs_that_do_not_fit_are_errors(
    finished: RunFolder, nearest: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path, finished.path], tmp_path / "same")
    assert "the same ranking" in refusal.value.problem
    other = execute(NEAREST, known, tmp_path / "seed", new=new, seed=2, n_workers=0)
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path, other.path], tmp_path / "seeds")
    assert "seed 2" in str(refusal.value.got)
    split = Split(name="split", folds=HumpbackSplit(n_known=4, n_unknown=2))
    plan = NEAREST.model_copy(update={"stages": (split, *NEAREST.stages[1:])})
    other = execute(plan, known, tmp_path / "split", new=new, seed=1, n_workers=0)
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path, other.path], tmp_path / "splits")
    assert "--out" in refusal.value.fix
    alone = execute(NEAREST, known, tmp_path / "alone", seed=1, n_workers=0)
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path, alone.path], tmp_path / "news")
    assert "other new photos" in str(refusal.value.got)
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path], tmp_path / "one")
    assert "two run folders" in refusal.value.fix
    with pytest.raises(PlanError) as wrong:
        join_runs([finished.path, nearest.path], tmp_path / "weights", weights=[1.0])
    assert "1 weights for 2 rankings" in str(wrong.value.got)
    for name in ("same", "seeds", "splits", "news", "one", "weights"):
        assert not (tmp_path / name).exists()
    (nearest.path / "net" / "stage.json").rename(tmp_path / "kept.json")
    with pytest.raises(RunError) as refusal:
        join_runs([finished.path, nearest.path], tmp_path / "unfinished")
    (tmp_path / "kept.json").rename(nearest.path / "net" / "stage.json")
    assert "no finished stage 'net'" in refusal.value.problem
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.parametrize("recipe", sorted(SHELF))
def test_a_plan_with_other_names_is_the_same_plan(recipe: str) -> None:
    plan: Plan = SHELF[recipe](size="toy")
    called = {stage.name: f"{stage.name}-9" for stage in plan.stages}
    other = Plan(name=plan.name, stages=tuple(renamed(stage, called) for stage in plan.stages)).check()
    assert [stage.reads() for stage in other.stages] == [
        tuple(called[name] for name in stage.reads()) for stage in plan.stages
    ]
    back = {new: old for old, new in called.items()}
    assert tuple(renamed(stage, back) for stage in other.stages) == plan.stages


def test_keypoints_need_an_embedding_of_the_ensemble(finished: RunFolder) -> None:
    plan = Context.open(finished.path).plan
    embed = plan.stages[2].model_copy(update={"name": "others"})
    rerank = RerankKeypoints(name="points", reads_from="ranking", embedded="others", on="split")
    with pytest.raises(PlanError) as refusal:
        Plan(name="more", stages=(*plan.stages[:-1], embed, rerank)).check()
    assert "'embedded' names 'others', but 'ranking' uses features" in str(refusal.value.got)
