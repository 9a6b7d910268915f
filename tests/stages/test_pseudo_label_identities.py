"""Pseudo-labels for individuals never come from validation photos."""

from __future__ import annotations

import shutil
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
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import NEW_SCORES, RANKING
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.humpback import humpback_classify
from fieldmark.plans.reidentify import reidentify
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.pseudo_label_identities import PseudoLabelIdentities
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.ranking import learnt
from toys import fitted, ranked

NAMES = ["A", "A", "B", "B", "X", "unknown"]
FOLD = np.array([-1, 0, -1, 0, 0, 0])
RANK = Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=Best()),))
PSEUDO_LABEL = PseudoLabelIdentities(name="pseudo_labels", judges=("ranking",), on="split")


def picture(number: int) -> Image.Image:
    tiles = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(tiles).resize((64, 64), Image.Resampling.NEAREST)


def image_features(
    root: Path, like: list[int], *, pictures: list[int] | None = None, group: list[str | None]
) -> Context:
    """Six dissimilar known photos. Each new photo has the embedding of one of them, but other pixels."""
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
    Folds(run.work_directory("split")).write(FOLD)
    run.finish("split", receipt={"said": ""})
    place, each = run.work_directory("features"), np.eye(len(NAMES), dtype=np.float32)[None]
    GalleryStore.write(place / "gallery0", each, images=known.images, classes=np.maximum(known.classes, -1))
    np.save(place / "validation0.npy", each[:, FOLD == 0])
    np.save(place / "new0.npy", each[:, like])
    run.finish("features", receipt={"said": ""})
    stages = (Split(folds=IdentityFolds()), Embed(name="features", of="net", on="split"), RANK, PSEUDO_LABEL)
    context = Context(run=run, plan=Plan(name="by hand", stages=stages), known=known, new=new, seed=0)
    fitted(context, RANK)
    return context


def picked(context: Context) -> dict[str, str]:
    fitted(context, PSEUDO_LABEL)
    left = context.artifact(IdentityPseudoLabels, "pseudo_labels")
    names = context.known.vocabulary.identities
    return {context.new.images[row]: names[one] for row, one in zip(left.rows(0), left.classes(0), strict=True)}


def test_a_name_from_a_validation_photo_is_no_pseudo_label(tmp_path: Path) -> None:
    """The new photos are similar to validation photos of A, B and X, and to a training photo of A."""
    context = image_features(tmp_path, [1, 3, 4, 0], group=[None] * 4)
    confidence = np.load(context.run.stage("ranking") / NEW_SCORES).max(axis=1)
    assert (confidence > 0.99).all()  # compared with all known photos
    assert picked(context) == {"n3.png": "A"}


def test_a_photo_of_a_validation_photos_group_or_picture_is_not_picked(tmp_path: Path) -> None:
    context = image_features(tmp_path, [0, 0, 2, 2], pictures=[60, 61, 3, 62], group=["roll 7", "roll 8", None, None])
    assert picked(context) == {"n1.png": "A", "n3.png": "B"}


def second_round(plan: Plan) -> str:
    """The name of the stage that picks pseudo-labels."""
    return next(one.name for one in plan.stages if isinstance(one, PseudoLabelIdentities))


def test_each_fold_uses_its_own_network(known: Collection, new: Collection, tmp_path: Path) -> None:
    """Two folds ranked by their heads alone: the scores of network 0 differ from the mean of both."""
    plan = humpback_classify(size="toy", effort=0.3)
    ranking = Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=ByLogits(form="logit")),))
    stages = [
        one.model_copy(update={"folds": IdentityFolds(n_folds=2)}) if isinstance(one, Split) else one
        for one in plan.stages
        if not isinstance(one, Rank | WriteSubmission)
    ]
    stages += [ranking, WriteSubmission(name="answers", reads_from="ranking")]
    run = execute(Plan(name="two", stages=tuple(stages)), known, tmp_path / "run", new=new, seed=1, n_workers=0)
    context = Context.open(run.path)
    application = context.of_new()  # one application holds the separate results of both folds
    first, second = (application.value("ranking", k).scores for k in (0, 1))
    assert not np.allclose(first, second, atol=1e-3)
    whole = np.load(run.stage("ranking") / NEW_SCORES)
    np.testing.assert_allclose(whole, (first + second) / 2, atol=1e-5)
    np.testing.assert_allclose(ranked(run.path, new), whole, atol=1e-4)
    heads = context.of_new().value("features").proba
    assert not np.allclose(heads[0], heads[1], atol=1e-3)


def test_pseudo_labelled_photos_have_no_confidence(known: Collection, new: Collection, tmp_path: Path) -> None:
    plan = reidentify(size="toy", pseudo_label_rounds=1, pseudo_label_min_score=0.0, effort=0.3)
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0)
    context = Context.open(run.path)
    rows = context.artifact(IdentityPseudoLabels, second_round(plan)).rows(0)
    assert len(rows) > 0

    def trained_on(name: str) -> np.ndarray:
        return learnt(Ask(context.of_new(), context.stages[name], None))

    assert trained_on("ranking2").nonzero()[0].tolist() == sorted(rows.tolist())
    assert not trained_on("ranking").any()
    pseudo_labelled = {new.images[row] for row in rows}
    for name, without in (("ranking", set()), ("ranking2", pseudo_labelled)):
        table = pl.read_parquet(run.stage(name) / RANKING).filter(pl.col("part") == "new")
        for column in ("known_proba", "right_proba"):
            assert set(table.filter(pl.col(column).is_null())["image"]) == without
    shutil.rmtree(run.path)


def test_post_processed_rankings_give_no_pseudo_labels() -> None:
    plan = reidentify(size="toy", pseudo_label_rounds=1)
    from fieldmark.stages.identity.post_process import PostProcess

    again = PostProcess(name="again", reads_from="ranking", on="split")
    stages = []
    for one in plan.stages:
        stages += [again] if one.name == second_round(plan) else []
        stages.append(one.model_copy(update={"judges": ("again",)}) if one.name == second_round(plan) else one)
    with pytest.raises(PlanError) as refusal:
        Plan(name="again", stages=tuple(stages)).check()
    message = "'judges' needs separate scores by the models of each fold, which 'again' (post_process) does not have"
    assert message in str(refusal.value.got)


def test_individuals_without_a_training_photo_get_no_pseudo_label(tmp_path: Path) -> None:
    """A head may score X, of which the network has no training photo, but X is no pseudo-label."""
    context = image_features(tmp_path, [4], group=[None])
    place = context.run.stage("features")
    shutil.copytree(place, context.run.work_directory("features"), dirs_exist_ok=True)
    shutil.rmtree(place)
    confident_of_x = np.array([[0.0, 0.0, 1.0]], np.float32)
    left = Embeddings(context.run.work_directory("features", fresh=False))
    with left.new_store(context.known.vocabulary.identities) as store:
        proba, folds = np.zeros((4, 3), np.float32), context.artifact(Folds, "split")
        training = folds.training(context.known, k=0)
        store.add(folds.validation(context.known, k=0), proba, fold=0, trained_on=training)
    np.save(left.folder / "new_proba0.npy", confident_of_x)
    context.run.finish("features", receipt={"said": ""})
    by_head = RANK.model_copy(update={"votes": (Vote(by=ByLogits()),)})
    stages = tuple(by_head if one == RANK else one for one in context.plan.stages)
    context = context.fresh(plan=context.plan.model_copy(update={"stages": stages}))
    scores = context.of_new().value("ranking", 0).scores
    assert scores.argmax() == context.known.vocabulary.identities.index("X")
    assert context.artifact(Folds, "split").fold.tolist() == FOLD.tolist()
    assert picked(context) == {}


def test_a_run_of_an_older_version_is_refused_with_a_fix(finished: RunFolder, tmp_path: Path) -> None:
    context = Context.open(finished.path)
    shutil.copytree(finished.stage("features"), tmp_path / "features")
    (tmp_path / "features" / "new_proba0.npy").unlink()
    with pytest.raises(RunError, match="an older version of fieldmark made it") as caught:
        Embeddings(tmp_path / "features").kept(context)
    assert "delete the folder" in caught.value.fix
