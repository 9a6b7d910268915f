"""Stages that rank individuals, one after the other, on one toy run whose training is reused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import DataError, FieldmarkError, PlanError, RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import IdentityFolds
from fieldmark.decisions.specs import (
    ByVote,
    Fixed,
    MaxMap,
    PerGroup,
    Reciprocal,
    SumAbove,
    Swap,
    TargetShare,
    Transposed,
)
from fieldmark.decisions.submission_votes import average_submissions
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import NEW_SCORES, SCORES, Decision, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Stage
from fieldmark.plans.humpback import humpback_classify
from fieldmark.reporting.submissions import ranking_submission
from fieldmark.stacking.specs import IdentityStacking, Trees
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.ensemble_rankings import EnsembleRankings
from fieldmark.stages.identity.post_process import PostProcess
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.ranking import RankingStage
from fieldmark.stages.identity.rerank_trees import RerankTrees
from fieldmark.tasks.identification.run_ensembles import ensemble_runs
from fieldmark.tasks.reporting import write_report
from toys import fitted, without_judges

TOY = humpback_classify(size="toy")
SIMILAR = Rank(
    name="similar",
    reads_from="features",
    on="split",
    votes=(Vote(by=SumAbove(floor=0.5)), Vote(by=ByLogits(form="logit"), weight=0.5)),
    reciprocal=Reciprocal(k1=4, k2=2),
    per_group=PerGroup(column="side", least=2),
)
ENSEMBLE = EnsembleRankings(
    name="both", reads_from=("ranking", "similar"), on="split", by=ByVote(), unknown=Fixed(at=0.0)
)
AGAIN = PostProcess(name="again", reads_from="both", on="split", rules=(Swap(lead=5.0, used=1), Transposed(at=-9.0)))
TREES = RerankTrees(
    name="trees",
    reads_from="features",
    on="split",
    settings=IdentityStacking(n_parts=2, trees=Trees(n_rounds=5, min_data_in_leaf=2)),
)


def with_stages(*stages: object, reads: str) -> Plan:
    kept = [stage for stage in TOY.stages if not isinstance(stage, WriteSubmission)]
    return Plan(name="more", stages=(*kept, *stages, WriteSubmission(name="answers", reads_from=reads))).check()


@pytest.fixture(scope="module")
def ensemble(
    finished: RunFolder, known: Collection, new: Collection, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    folder = tmp_path_factory.mktemp("rankers") / "run"
    return execute(
        with_stages(SIMILAR, ENSEMBLE, AGAIN, reads="again"),
        known,
        folder,
        new=new,
        seed=1,
        n_workers=0,
        reuse=finished.path,
    )


def test_every_ranking_stage_writes_the_same_files(ensemble: RunFolder, known: Collection, new: Collection) -> None:
    for name in ("ranking", "similar", "both", "again"):
        place = ensemble.stage(name)
        n_validation = len(np.load(place / "validation.npy"))
        assert np.load(place / "new.npy").shape == (len(new), len(known.vocabulary.identities))
        table = pl.read_parquet(place / "ranking.parquet")
        assert table.columns == ["part", "image", "place", "identity", "score", "known_proba", "right_proba"]
        assert table.filter(pl.col("part") == "validation")["image"].n_unique() == n_validation
        assert Decision.read(place).threshold.k == 5
    table = pl.read_parquet(ensemble.stage("ranking") / "ranking.parquet").filter(pl.col("part") == "new")
    assert table["known_proba"].is_between(0, 1).all()
    assert (table["right_proba"] <= table["known_proba"]).all()


def test_the_vote_counts_the_rankings(ensemble: RunFolder) -> None:
    """The votes of both rankings, counted by hand for every new photo; the best of the ensemble has the most votes."""
    tables = {
        name: pl.read_parquet(ensemble.stage(name) / "ranking.parquet").filter(pl.col("part") == "new")
        for name in ("ranking", "similar", "both")
    }
    for image in tables["both"]["image"].unique():
        given: dict[str, float] = {}
        for name in ("ranking", "similar"):
            for place, identity in (
                tables[name].filter(pl.col("image") == image).select("place", "identity").iter_rows()
            ):
                given[identity] = given.get(identity, 0) + 1 / place
        best = max(given.values())
        first = tables["both"].filter((pl.col("image") == image) & (pl.col("place") == 1))["identity"].item()
        assert given.get(first, 0) == pytest.approx(best)


def test_the_submission_is_that_of_the_last_stage(ensemble: RunFolder, new: Collection) -> None:
    again = pl.read_parquet(ensemble.stage("again") / "ranking.parquet").filter(
        (pl.col("part") == "new") & (pl.col("place") == 1)
    )
    with (ensemble.stage("answers") / "submission.csv").open(encoding="utf-8") as file:
        rows = {row["Image"]: row["Id"].split()[0] for row in csv.DictReader(file)}
    assert rows == dict(again.select("image", "identity").iter_rows())
    assert len(write_report(Context.open(ensemble.path))) >= 6


def test_the_predictor_identifies_single_photos_by_the_ensemble(ensemble: RunFolder, new: Collection) -> None:
    """Post-processing needs a batch; a single photo gets the ranking before it."""
    both = pl.read_parquet(ensemble.stage("both") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(both.sort("place").group_by("image").agg("identity").iter_rows())
    for one in fieldmark.load(ensemble.path, device="cpu", n_workers=0)(new):
        assert [match.identity for match in one.matches] == wanted[one.image]


def test_the_predictor_returns_its_confidence(finished: RunFolder, new: Collection) -> None:
    table = pl.read_parquet(finished.stage("ranking") / "ranking.parquet").filter(
        (pl.col("part") == "new") & (pl.col("place") == 1)
    )
    proba = {
        image: (known, right) for image, known, right in table.select("image", "known_proba", "right_proba").iter_rows()
    }
    for one in fieldmark.load(finished.path, device="cpu", n_workers=0)(new):
        assert (one.known_proba, one.right_proba) == pytest.approx(proba[one.image], abs=1e-4)
        named = [match for match in one.matches if not match.is_new]
        assert named[0].proba == one.right_proba
        assert all(match.proba is None for match in named[1:])
        assert all(match.proba == pytest.approx(1 - one.known_proba) for match in one.matches if match.is_new)


def test_trees_rank_and_the_predictor_agrees(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan = with_stages(TREES, reads="trees")
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0, reuse=finished.path)
    scores = np.load(run.stage("trees") / "new.npy")
    assert ((scores[np.isfinite(scores)] > 0) & (scores[np.isfinite(scores)] < 1)).all()
    ranked = pl.read_parquet(run.stage("trees") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(ranked.sort("place").group_by("image").agg("identity").iter_rows())
    for one in fieldmark.load(run.path, device="cpu", n_workers=0)(new):
        assert [match.identity for match in one.matches] == wanted[one.image]


def test_rankings_by_fold_equal_rankings_without_validation_photos(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    stages = (SIMILAR, ENSEMBLE, TREES)
    run = execute(
        with_stages(*stages, reads="trees"), known, tmp_path / "all", new=new, seed=1, n_workers=0, reuse=finished.path
    )
    bare = without_judges(run, tmp_path / "bare")
    application = Context.open(run.path).of_new()
    for name in ("ranking", "similar", "both", "trees"):
        by_fold, expected = application.value(name, 0).scores, np.load(bare.stage(name) / NEW_SCORES)
        np.testing.assert_allclose(by_fold, expected, atol=1e-6)
        assert not np.array_equal(by_fold, np.load(run.stage(name) / NEW_SCORES))


def test_trees_trained_on_training_photos_are_refused(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of the source, planted here: a training photo is embedded by its own network, as if held out."""
    from fieldmark.stages.identity import rerank_trees

    whole = rerank_trees.candidates_of

    def leaking(settings, gallery, query, images, *, trained_on, proba):
        swapped = [trained_on[0], *images[1:]]
        return whole(settings, gallery, query, swapped, trained_on=trained_on, proba=proba)

    monkeypatch.setattr(rerank_trees, "candidates_of", leaking)
    with pytest.raises(DataError) as refusal:
        execute(
            with_stages(TREES, reads="trees"),
            known,
            tmp_path / "run",
            new=new,
            seed=1,
            n_workers=0,
            reuse=finished.path,
        )
    assert "the network was trained on it" in str(refusal.value.got)
    assert "holds them out" in refusal.value.fix


def test_finished_runs_are_averaged(finished: RunFolder, ensemble: RunFolder, new: Collection) -> None:
    table, decision = ensemble_runs([finished.path, ensemble.path], by=ByVote())
    assert table["image"].unique(maintain_order=True).to_list() == new.images
    assert decision.threshold.map_at_k is not None
    by_share, decision = ensemble_runs([finished.path, ensemble.path], unknown=TargetShare(share=1.0))
    assert set(by_share.filter(pl.col("place") == 1)["identity"]) <= {"new_whale", *by_share["identity"]}
    with pytest.raises(RunError) as refusal:
        ensemble_runs([finished.path])
    assert "two run folders" in refusal.value.fix


def test_submissions_are_averaged_by_votes(tmp_path: Path) -> None:
    for name, rows in {
        "a": ["p,w1 w2", "q,new_whale w3"],
        "b": ["q,w3 w1", "p,w2 w1"],
        "c": ["p,w2 w3", "q,w3 w2"],
    }.items():
        (tmp_path / f"{name}.csv").write_text("Image,Id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    ensemble_lines = average_submissions(paths, by=ByVote(worth=(1.0, 0.5)))
    assert ensemble_lines.rows() == [("p", "w2 w1"), ("q", "w3 new_whale")]
    assert average_submissions(paths, by=ByVote(worth=(1.0, 0.5)), weights=[9, 1, 1]).rows()[0] == ("p", "w1 w2")
    (tmp_path / "d.csv").write_text("Image,Id\np,w1\n", encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        average_submissions([*paths, tmp_path / "d.csv"])
    assert "same photos" in refusal.value.fix
    (tmp_path / "e.csv").write_text("photo,Id\np,w1\n", encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        average_submissions([tmp_path / "e.csv"])
    assert "columns Image,Id" in refusal.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        average_submissions(paths, weights=[1.0])
    assert "as many weights" in wrong.value.fix


def test_rankings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PlanError) as refusal:
        with_stages(SIMILAR, ENSEMBLE.model_copy(update={"weights": (1.0,)}), reads="both")
    assert "1 weights for 2 rankings" in str(refusal.value.got)
    with pytest.raises(PlanError) as refusal:
        with_stages(TREES.model_copy(update={"reads_from": "ranking"}), reads="trees")
    assert "'reads_from' must name a stage that writes embeddings; 'ranking' (rank) writes ranking" in str(
        refusal.value.got
    )


def ranked_by_hand(
    root: Path, names: list[str | None], fold: np.ndarray, scores: np.ndarray, *stages: Stage
) -> Context:
    """A run whose stage ``ranking`` has these scores of the validation photos."""
    known = Collection.of({"image": [f"{n}.png" for n in range(len(names))], "identity": names}, root=root)
    run = RunFolder.create(root / "run", key={"seed": 0})
    folds = Folds(run.work_directory("split"))
    folds.write(fold)
    truth = folds.classes(known)[fold >= 0]
    run.finish("split", receipt={"said": ""})
    place = run.work_directory("ranking")
    np.save(place / SCORES, scores.astype(np.float32))
    Decision(fit_unknown_threshold(Fixed(at=0.1), scores[truth >= -1], truth[truth >= -1])).write(place)
    run.finish("ranking", receipt={"said": ""})
    made = (Split(folds=IdentityFolds()), Rank(name="ranking", reads_from="features", on="split"))
    return Context(run=run, plan=Plan(name="by hand", stages=(*made, *stages)), known=known, new=None, seed=0)


def test_transposed_ranking_counts_only_compared_photos(tmp_path: Path) -> None:
    """Each validation photo's individual has one other photo. A photo that is similar to nearly all ranks before it."""
    n = 10
    names = [f"d{one}" for one in range(n) for _ in range(2)] + ["hub", "hub"]
    fold = np.array([-1, 0] * n + [-1, -1])
    scores = np.full((n, n + 1), 0.2)
    scores[np.arange(n), np.arange(n)], scores[:, n] = 0.6, 0.65 + 0.001 * np.arange(n)
    again = PostProcess(name="again", reads_from="ranking", on="split", rules=(Transposed(at=-9.0),))
    context = ranked_by_hand(tmp_path, names, fold, scores, again)
    fitted(context, again)
    after = context.artifact(Ranking, "again").scores
    assert (scores.argmax(axis=1) == n).all()
    assert (after.argmax(axis=1) == np.arange(n)).all()


def test_a_validation_photo_without_a_name_stops_no_ranking(tmp_path: Path) -> None:
    """A photo without a name is ranked like any other, but not used for metrics."""
    names = ["a", "a", "b", "b", "unknown", None]
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.06, 0.05], [0.7, 0.3]])
    again = PostProcess(name="again", reads_from="ranking", on="split", rules=(Swap(),))

    class Given(RankingStage):
        """A ranking whose scores of validation photos are given."""

        def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[np.ndarray, str]:
            del context, folder
            assert folds.rows.tolist() == [1, 3, 4, 5]
            return scores.astype(np.float32), ""

        def scores(self, ask: Ask) -> np.ndarray:
            """Not used: there are no other photos."""
            raise AssertionError(ask)

    more = Given(kind="given", name="more", on="split", unknown=MaxMap(), k=5, calibration=None)
    fold = np.array([-1, 0, -1, 0, 0, 0])
    context = ranked_by_hand(tmp_path, names, fold, scores, again)
    assert "validation MAP@5 1.0000 (1.0000 before)" in fitted(context, again)
    ranking = Ranking(context.run.work_directory("more"))
    more.fit(context, ranking.folder)
    assert ranking.decision.threshold.n_queries == 3
    ranked = ranking.table("validation").filter(pl.col("place") == 1)
    assert dict(ranked.select("image", "identity").iter_rows())["5.png"] == "a"


def test_a_photo_without_a_candidate_stops_no_report(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    """A photo whose nearest photos all show unknown individuals has no candidate: it is new at every threshold."""
    plan = with_stages(TREES, reads="trees")
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0, reuse=finished.path)
    scores = np.load(run.stage("trees") / SCORES)
    scores[0] = -np.inf
    receipt = run.receipt("trees")
    shutil.copytree(run.path / "trees", run.work_directory("trees"), dirs_exist_ok=True)
    shutil.rmtree(run.path / "trees")
    np.save(run.work_directory("trees", fresh=False) / SCORES, scores)
    run.finish("trees", receipt={name: value for name, value in receipt.items() if name != "files"})
    measures = {one.name: one.value for one in write_report(Context.open(run.path))}
    assert np.isfinite(measures["MAP@5"])
    assert (run.path / "report.html").exists()


def test_names_with_spaces_are_written_as_a_table(tmp_path: Path) -> None:
    """In the contest's format "a b" would be two names. A table is written instead, and the run does not fail."""
    context = ranked_by_hand(tmp_path, ["=a b", "c"], np.array([-1, 0]), np.array([[0.9, 0.1]]))
    context = context.fresh(new=Collection.of({"image": ["n.png"]}, root=tmp_path))
    ranking = {"part": "new", "image": "n.png", "place": [1, 2], "identity": ["=a b", "c"], "score": [0.9, 0.1]}
    pl.DataFrame(ranking).write_parquet(context.run.stage("ranking") / "ranking.parquet")
    folder = context.run.work_directory("answers")
    said = WriteSubmission(name="answers", reads_from="ranking").fit(context, folder)
    assert "answers.csv; no submission.csv, because some names have spaces" in said
    assert not (folder / "submission.csv").exists()
    rows = pl.read_csv(folder / "answers.csv")
    assert rows["identity"].to_list() == ["'=a b", "c"]
    with pytest.raises(DataError, match="blanks"):
        ranking_submission(pl.DataFrame(ranking), images=["n.png"])
