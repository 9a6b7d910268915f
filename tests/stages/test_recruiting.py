"""Whom recruiting takes: nobody whose name comes from a photo that judges, in whatever way it might."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.core.errors import PlanError, RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import IdentityFolds
from fieldmark.decisions.specs import Best
from fieldmark.gallery.store import GalleryStore
from fieldmark.plans.humpback import humpback_classify
from fieldmark.plans.reidentify import reidentify
from fieldmark.stages.answer import Answer
from fieldmark.stages.apart import apart, learnt_from
from fieldmark.stages.embed import new_head_proba
from fieldmark.stages.engine import execute, open_run
from fieldmark.stages.expert import Expert
from fieldmark.stages.job import Job
from fieldmark.stages.plan import Plan
from fieldmark.stages.rank import ByLogits, Rank, Vote
from fieldmark.stages.ranked import NEW_SCORES, RANKING
from fieldmark.stages.recruit import Recruit, recruits_of
from fieldmark.stages.split import FOLDS, Split, read_folds

NAMES = ["A", "A", "B", "B", "X", "unknown"]
FOLD = np.array([-1, 0, -1, 0, 0, 0])
RANK = Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=Best()),))


def picture(number: int) -> Image.Image:
    tiles = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(tiles).resize((64, 64), Image.Resampling.NEAREST)


def looks(root: Path, like: list[int], *, pictures: list[int] | None = None, group: list[str | None]) -> Job:
    """Six known photos, none like another; each new photo is just like one of them in embedding, if not in pixels."""
    for number in range(len(NAMES)):
        picture(number).save(root / f"k{number}.png")
    for number, shown in enumerate(pictures or range(50, 50 + len(like))):
        picture(shown).resize((48, 48)).save(root / f"n{number}.png")
    roll = [None, "roll 7", None, None, None, None]
    known = Collection.of(
        {"image": [f"k{n}.png" for n in range(len(NAMES))], "identity": NAMES, "group": roll}, root=root
    )
    new = Collection.of({"image": [f"n{n}.png" for n in range(len(like))], "group": group}, root=root)
    run = RunFolder.create(root / "run", key={"seed": 0})
    np.save(run.workshop("split") / FOLDS, FOLD)
    run.finish("split", receipt={"said": ""})
    place, each = run.workshop("features"), np.eye(len(NAMES), dtype=np.float32)[None]
    GalleryStore.write(place / "gallery0", each, images=known.images, classes=np.maximum(known.classes, -1))
    np.save(place / "validation0.npy", each[:, FOLD == 0])
    np.save(place / "new0.npy", each[:, like])
    run.finish("features", receipt={"said": ""})
    job = Job(run=run, known=known, new=new, seed=0)
    RANK.run(job, run.workshop("ranking"))
    run.finish("ranking", receipt={"said": ""})
    return replace(job, stages={"ranking": RANK})


def picked(job: Job) -> dict[str, str]:
    Recruit(name="recruits", judges=("ranking",), on="split").run(job, job.run.workshop("recruits"))
    job.run.finish("recruits", receipt={"said": ""})
    rows, classes = recruits_of(job, "recruits", k=0)
    return {job.new.images[row]: job.known.vocabulary.identities[one] for row, one in zip(rows, classes, strict=True)}


def test_a_name_that_comes_from_a_judging_photo_is_not_learnt(tmp_path: Path) -> None:
    """Photos like two judging ones, of A and B, and one of X whom the network does not learn; and one of A it knows."""
    job = looks(tmp_path, [1, 3, 4, 0], group=[None] * 4)
    sure = np.load(job.run.stage("ranking") / NEW_SCORES).max(axis=1)
    assert (sure > 0.99).all()  # with all known photos each is sure
    assert picked(job) == {"n3.png": "A"}


def test_a_photo_of_a_judging_ones_group_or_picture_is_not_learnt(tmp_path: Path) -> None:
    job = looks(tmp_path, [0, 0, 2, 2], pictures=[60, 61, 3, 62], group=["roll 7", "roll 8", None, None])
    assert picked(job) == {"n1.png": "A", "n3.png": "B"}


def test_each_network_speaks_for_itself(known: Collection, new: Collection, tmp_path: Path) -> None:
    """Two folds ranked by their heads alone: what network 0 says is not what both say in the mean."""
    plan = humpback_classify(size="toy", effort=0.3)
    ranking = Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=ByLogits(form="logit")),))
    stages = [
        one.model_copy(update={"folds": IdentityFolds(n_folds=2)}) if isinstance(one, Split) else one
        for one in plan.stages
        if not isinstance(one, Rank | Answer)
    ]
    stages += [ranking, Answer(name="answers", reads_from="ranking")]
    run = execute(Plan(name="two", stages=tuple(stages)), known, tmp_path / "run", new=new, seed=1, n_workers=0)
    job = open_run(run.path).job()
    first, second = (apart(job, "ranking", k=k) for k in (0, 1))
    assert not np.allclose(first, second, atol=1e-3)
    whole = np.load(run.stage("ranking") / NEW_SCORES)
    np.testing.assert_allclose(whole, (first + second) / 2, atol=1e-5)
    asked, _ = Expert.open(run.path, device="cpu").scores(new, n_workers=0)
    np.testing.assert_allclose(asked, whole, atol=1e-4)
    heads = [new_head_proba(run.stage("features"), k=k) for k in (0, 1)]
    assert not np.allclose(heads[0], heads[1], atol=1e-3)


def test_of_photos_that_taught_it_is_not_said_how_sure_an_answer_is(
    known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan = reidentify(size="toy", rounds=1, pseudo_label_at=0.0, effort=0.3)
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0)
    job = open_run(run.path).job()
    rows = recruits_of(job, "recruits2", k=0)[0]
    assert len(rows) > 0
    assert learnt_from(job, "ranking2").nonzero()[0].tolist() == sorted(rows.tolist())
    assert not learnt_from(job, "ranking").any()
    taught = {new.images[row] for row in rows}
    for name, silent in (("ranking", set()), ("ranking2", taught)):
        table = pl.read_parquet(run.stage(name) / RANKING).filter(pl.col("part") == "new")
        for column in ("known_proba", "right_proba"):
            assert set(table.filter(pl.col(column).is_null())["image"]) == silent
    shutil.rmtree(run.path)


def test_second_thoughts_cannot_recruit() -> None:
    plan = reidentify(size="toy", rounds=1)
    from fieldmark.stages.think_again import ThinkAgain

    again = ThinkAgain(name="again", reads_from="ranking", on="split")
    stages = []
    for one in plan.stages:
        stages += [again] if one.name == "recruits2" else []
        stages.append(one.model_copy(update={"judges": ("again",)}) if one.name == "recruits2" else one)
    with pytest.raises(PlanError, match="recruits2: 'judges' must name a rank or rescore"):
        Plan(name="again", stages=tuple(stages)).check()


def test_individuals_without_a_photo_to_learn_from_have_no_score(tmp_path: Path) -> None:
    """Where a head names X, whom the network has never been shown, recruiting does not."""
    job = looks(tmp_path, [4], group=[None])
    place = job.run.stage("features")
    shutil.copytree(place, job.run.workshop("features"), dirs_exist_ok=True)
    shutil.rmtree(place)
    sure_of_x = np.array([[0.0, 0.0, 1.0]], np.float32)
    np.save(job.run.workshop("features", fresh=False) / "new_proba0.npy", sure_of_x)
    job.run.finish("features", receipt={"said": ""})
    by_head = RANK.model_copy(update={"votes": (Vote(by=ByLogits()),)})
    job = replace(job, stages={"ranking": by_head})
    assert apart(job, "ranking", k=0).argmax() == job.known.vocabulary.identities.index("X")
    assert read_folds(job, "split").tolist() == FOLD.tolist()
    assert picked(job) == {}


def test_a_run_of_a_version_that_kept_less_says_what_to_do(finished: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.stage("features"), tmp_path / "features")
    (tmp_path / "features" / "new_proba0.npy").unlink()
    with pytest.raises(RunError, match="not kept by the version") as told:
        new_head_proba(tmp_path / "features", k=0)
    assert "delete the folder" in told.value.fix
