"""Stages that rank individuals, one after the other, on one toy run whose training is reused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fieldmark.core.errors import DataError, FieldmarkError, PlanError, RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.decide.specs import ByVote, Fixed, PerGroup, Reciprocal, SumAbove, Swap, TargetShare, Transposed
from fieldmark.recipes.humpback import humpback_classify
from fieldmark.stack.specs import IdentityStacking, Trees
from fieldmark.stages.answer import Answer
from fieldmark.stages.blend import Blend, blend_runs, blend_submissions
from fieldmark.stages.engine import execute, open_run
from fieldmark.stages.expert import Expert
from fieldmark.stages.plan import Plan
from fieldmark.stages.rank import ByLogits, Rank, Vote
from fieldmark.stages.ranked import Decision
from fieldmark.stages.reporting import report
from fieldmark.stages.stack_identities import StackIdentities
from fieldmark.stages.think_again import ThinkAgain

TOY = humpback_classify(size="toy")
ALIKE = Rank(
    name="alike",
    reads_from="features",
    on="split",
    votes=(Vote(by=SumAbove(floor=0.5)), Vote(by=ByLogits(form="logit"), weight=0.5)),
    reciprocal=Reciprocal(k1=4, k2=2),
    per_group=PerGroup(column="side", least=2),
)
BLEND = Blend(name="both", reads_from=("ranking", "alike"), on="split", by=ByVote(), unknown=Fixed(at=0.0))
AGAIN = ThinkAgain(name="again", reads_from="both", on="split", rules=(Swap(lead=5.0, used=1), Transposed(at=-9.0)))
TREES = StackIdentities(
    name="trees",
    reads_from="features",
    on="split",
    settings=IdentityStacking(n_parts=2, trees=Trees(n_rounds=5, min_data_in_leaf=2)),
)


def with_stages(*stages: object, reads: str) -> Plan:
    kept = [stage for stage in TOY.stages if not isinstance(stage, Answer)]
    return Plan(name="more", stages=(*kept, *stages, Answer(name="answers", reads_from=reads))).check()


@pytest.fixture(scope="module")
def ensemble(
    finished: RunFolder, known: Collection, new: Collection, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    folder = tmp_path_factory.mktemp("rankers") / "run"
    return execute(
        with_stages(ALIKE, BLEND, AGAIN, reads="again"),
        known,
        folder,
        new=new,
        seed=1,
        n_workers=0,
        reuse=finished.path,
    )


def test_every_ranking_stage_leaves_the_same_things(ensemble: RunFolder, known: Collection, new: Collection) -> None:
    for name in ("ranking", "alike", "both", "again"):
        place = ensemble.stage(name)
        n_validation = len(np.load(place / "validation.npy"))
        assert np.load(place / "new.npy").shape == (len(new), len(known.vocabulary.identities))
        table = pl.read_parquet(place / "ranking.parquet")
        assert table.columns == ["part", "image", "place", "identity", "score", "known_proba", "right_proba"]
        assert table.filter(pl.col("part") == "validation")["image"].n_unique() == n_validation
        assert Decision.read(place).threshold.k == 5
    told = pl.read_parquet(ensemble.stage("ranking") / "ranking.parquet").filter(pl.col("part") == "new")
    assert told["known_proba"].is_between(0, 1).all()
    assert (told["right_proba"] <= told["known_proba"]).all()


def test_the_vote_is_what_the_rankings_say(ensemble: RunFolder) -> None:
    """Both rankings' ballots counted by hand for every new photo; where nobody ties, the blend agrees."""
    tables = {
        name: pl.read_parquet(ensemble.stage(name) / "ranking.parquet").filter(pl.col("part") == "new")
        for name in ("ranking", "alike", "both")
    }
    for image in tables["both"]["image"].unique():
        given: dict[str, float] = {}
        for name in ("ranking", "alike"):
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
    assert len(report(open_run(ensemble.path))) >= 6


def test_the_expert_answers_single_photos_by_the_blend(ensemble: RunFolder, new: Collection) -> None:
    """Second thoughts look at a pile; a photo alone gets the answer of the stage before."""
    both = pl.read_parquet(ensemble.stage("both") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(both.sort("place").group_by("image").agg("identity").iter_rows())
    for one in Expert.open(ensemble.path, device="cpu").identify(new, n_workers=0):
        assert [match.identity for match in one.matches] == wanted[one.image]


def test_the_expert_tells_how_sure_it_is(finished: RunFolder, new: Collection) -> None:
    told = pl.read_parquet(finished.stage("ranking") / "ranking.parquet").filter(
        (pl.col("part") == "new") & (pl.col("place") == 1)
    )
    proba = {
        image: (known, right) for image, known, right in told.select("image", "known_proba", "right_proba").iter_rows()
    }
    for one in Expert.open(finished.path, device="cpu").identify(new, n_workers=0):
        assert (one.known_proba, one.right_proba) == pytest.approx(proba[one.image], abs=1e-4)
        named = [match for match in one.matches if not match.is_new]
        assert named[0].proba == one.right_proba
        assert all(match.proba is None for match in named[1:])
        assert all(match.proba == pytest.approx(1 - one.known_proba) for match in one.matches if match.is_new)


def test_trees_judge_and_the_expert_agrees(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan = with_stages(TREES, reads="trees")
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0, reuse=finished.path)
    scores = np.load(run.stage("trees") / "new.npy")
    assert ((scores[np.isfinite(scores)] > 0) & (scores[np.isfinite(scores)] < 1)).all()
    ranked = pl.read_parquet(run.stage("trees") / "ranking.parquet").filter(pl.col("part") == "new")
    wanted = dict(ranked.sort("place").group_by("image").agg("identity").iter_rows())
    for one in Expert.open(run.path, device="cpu").identify(new, n_workers=0):
        assert [match.identity for match in one.matches] == wanted[one.image]


def test_trees_fed_with_training_photos_are_refused(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source text's mistake, planted: the embedding of a training photo by its own network, as if held back."""
    from fieldmark.stages import stack_identities

    whole = stack_identities.rivals_of

    def leaking(settings, gallery, query, images, *, trained_on, proba):
        swapped = [trained_on[0], *images[1:]]
        return whole(settings, gallery, query, swapped, trained_on=trained_on, proba=proba)

    monkeypatch.setattr(stack_identities, "rivals_of", leaking)
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
    assert "holds them back" in refusal.value.fix


def test_finished_runs_are_blended(finished: RunFolder, ensemble: RunFolder, new: Collection) -> None:
    table, decision = blend_runs([finished.path, ensemble.path], by=ByVote())
    assert table["image"].unique(maintain_order=True).to_list() == new.images
    assert decision.threshold.map_at_k is not None
    by_share, decision = blend_runs([finished.path, ensemble.path], unknown=TargetShare(share=1.0))
    assert set(by_share.filter(pl.col("place") == 1)["identity"]) <= {"new_whale", *by_share["identity"]}
    with pytest.raises(RunError) as refusal:
        blend_runs([finished.path])
    assert "two run folders" in refusal.value.fix


def test_submissions_are_blended_by_votes(tmp_path: Path) -> None:
    for name, rows in {
        "a": ["p,w1 w2", "q,new_whale w3"],
        "b": ["q,w3 w1", "p,w2 w1"],
        "c": ["p,w2 w3", "q,w3 w2"],
    }.items():
        (tmp_path / f"{name}.csv").write_text("Image,Id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    blended = blend_submissions(paths, by=ByVote(worth=(1.0, 0.5)))
    assert blended.rows() == [("p", "w2 w1"), ("q", "w3 new_whale")]
    assert blend_submissions(paths, by=ByVote(worth=(1.0, 0.5)), weights=[9, 1, 1]).rows()[0] == ("p", "w1 w2")
    (tmp_path / "d.csv").write_text("Image,Id\np,w1\n", encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        blend_submissions([*paths, tmp_path / "d.csv"])
    assert "same photos" in refusal.value.fix
    (tmp_path / "e.csv").write_text("photo,Id\np,w1\n", encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        blend_submissions([tmp_path / "e.csv"])
    assert "columns Image,Id" in refusal.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        blend_submissions(paths, weights=[1.0])
    assert "as many weights" in wrong.value.fix


def test_rankings_that_do_not_fit_are_told() -> None:
    with pytest.raises(PlanError) as refusal:
        with_stages(ALIKE, BLEND.model_copy(update={"weights": (1.0,)}), reads="both")
    assert "1 weights for 2 rankings" in str(refusal.value.got)
    with pytest.raises(PlanError) as refusal:
        with_stages(TREES.model_copy(update={"reads_from": "ranking"}), reads="trees")
    assert "must name an embed stage" in str(refusal.value.got)
