"""Artifacts: stored results of new photos are read back unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fieldmark.core.errors import RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.marks import Marks
from fieldmark.data.specs import IdentityFolds
from fieldmark.decisions.specs import Fixed
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.pipeline.artifacts.base import Artifact
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.features import Features, PhotoFeatures
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import Decision, RankedPhotos, Ranking
from fieldmark.pipeline.artifacts.regions import FoundRegions, Regions
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.artifacts.selection import DroppedPhotos, IdentityPseudoLabels, LabelPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.stages.common.split import Split
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank

CHANCE = np.random.default_rng(4)
NAMES = ("a", "a", "b", "b", "unknown", "c")
FOLD = np.array([0, 1, 0, 1, -1, 0])


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Six known photos and three new ones without files, in a run without finished stages."""
    known = Collection.of({"image": [f"k{n}" for n in range(6)], "identity": NAMES}, root=tmp_path)
    new = Collection.of({"image": ["n0", "n1", "n2"]}, root=tmp_path, vocabulary=known.vocabulary)
    stages = (
        Split(folds=IdentityFolds(n_folds=2)),
        Embed(name="features", of="net", on="split"),
        Rank(name="ranking", reads_from="features", on="split"),
    )
    return Context(RunFolder.create(tmp_path / "run", key={"seed": 0}), Plan(name="p", stages=stages), known, new, 0)


def drawn(*shape: int) -> np.ndarray:
    return CHANCE.random(shape).astype(np.float32)


def gallery(left: Embeddings, k: int, known: Collection, *, made_by: str = "") -> None:
    rows = CHANCE.normal(size=(2, len(known), 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    left.write_gallery(k, rows, images=known.images, classes=known.classes, made_by=made_by)


def test_embeddings_are_stored_per_network(context: Context, tmp_path: Path) -> None:
    left = Embeddings(tmp_path)
    result = Embedded([drawn(2, 3, 5), drawn(2, 3, 5)], [drawn(3, 3), drawn(3, 3)])
    for k in range(2):
        gallery(left, k, context.known)
    with left.new_store(context.known.vocabulary.identities) as store:
        store.add(["k0"], drawn(1, 3), fold=0, trained_on=["k1"])
    assert left.keep(result, context) == "3 new photos"
    again = Embeddings.open(tmp_path).kept(context)
    assert all(map(np.array_equal, again.embedding, result.embedding))
    assert all(map(np.array_equal, again.proba, result.proba))
    assert np.array_equal(again.proba_by(1), result.proba[1])
    assert Embeddings.open(tmp_path).n_folds == 2


def test_embeddings_of_a_head_without_logits_have_no_probabilities(context: Context, tmp_path: Path) -> None:
    left = Embeddings(tmp_path)
    gallery(left, 0, context.known, made_by="net")
    left.keep(Embedded([drawn(1, 3, 5)], None), context)
    assert left.kept(context).proba is None
    assert left.kept(context).proba_by(0) is None
    assert left.proba(["k0"]) is None
    with pytest.raises(RunError):
        Embeddings(tmp_path).gallery(0, made_by="another net")


def test_a_gallery_by_fold_lacks_the_validation_photos(context: Context, tmp_path: Path) -> None:
    left, folds = Embeddings(tmp_path), Folds(tmp_path)
    folds.write(FOLD)
    gallery(left, 1, context.known)
    assert folds.n_folds == 2
    assert folds.rows.tolist() == [0, 1, 2, 3, 5]
    assert folds.validation(context.known, k=1) == ["k1", "k3"]
    assert folds.training(context.known, k=1) == ["k0", "k2", "k4", "k5"]
    assert left.gallery_apart(1, folds, context.known).images == ("k0", "k2", "k4", "k5")
    assert left.gallery(1) is left.gallery(1)
    assert folds.classes(context.known).tolist() == [0, 0, 1, 1, -1, -1]  # the only photo of c is a validation photo


def test_label_scores_are_stored_by_fold_and_member(context: Context, tmp_path: Path) -> None:
    left, fold = LabelScores(tmp_path), np.arange(6) % 2
    labels = Collection.of({"image": context.known.images, "labels": [["x", "y", "z"]] * 6}, root=tmp_path)
    proba = {name: drawn(6, 3) for name in ("net", "b-net", MEAN)}
    for name, rows in proba.items():
        left.write(name, labels, labels=("x", "y", "z"), fold=fold, proba=rows)
    few = MemberScores(("z", "x"), drawn(2, 3, 2))
    result = ScoredPhotos(MemberScores(("x", "y", "z"), drawn(2, 3, 3)), np.array([False, True, False]), {"net": few})
    assert left.keep(result, context) == "3 new photos"
    assert left.members == ["b-net", "net"]
    assert np.array_equal(left.known(labels, "net"), proba["net"])
    assert np.array_equal(left.known(labels), proba[MEAN])
    assert not left.known_absent(labels).any()
    left.keep(ScoredPhotos(result.mean, result.absent, {"net": result.mean, "b-net": result.mean}), context)
    again = LabelScores.open(tmp_path).kept(context)
    assert list(again.members_or_mean) == ["b-net", "net"]
    assert np.array_equal(again.mean.by_fold, result.mean.by_fold)
    assert again.absent.tolist() == [False, True, False]
    wide = few.of(("x", "y", "z"), 1)
    assert np.array_equal(wide, np.stack([few.by_fold[1][:, 1], np.zeros(3), few.by_fold[1][:, 0]], axis=1))
    assert np.allclose(few.of(("z", "x")), few.by_fold.mean(axis=0))
    assert ScoredPhotos(result.mean, result.absent).members_or_mean == {MEAN: result.mean}


def test_image_features_are_stored(context: Context, tmp_path: Path) -> None:
    left, known = Features(tmp_path), PhotoFeatures(drawn(6, 4), drawn(6, 9), drawn(6, 5))
    new = PhotoFeatures(drawn(3, 4), drawn(3, 9), np.zeros((3, 5), np.float32))
    left.write(known)
    left.keep(new, context)
    for result, again in ((known, left.known()), (new, left.kept(context))):
        assert all(
            np.array_equal(getattr(result, name), getattr(again, name))
            for name in ("statistics", "classes", "features")
        )
    assert np.allclose(np.linalg.norm(left.known().unit, axis=1), 1)
    assert not left.kept(context).unit.any()  # zero vectors stay zero


def test_regions_are_stored_under_the_name_of_their_finder(context: Context, tmp_path: Path) -> None:
    def found(photos: Collection, note: str) -> FoundRegions:
        n = len(photos)
        boxes = {"box_x": [1.0] * n, "box_y": [2.0] * n, "box_w": [3.0] * (n - 1) + [None], "box_h": [4.0] * n}
        boxes["box_x"][-1] = boxes["box_y"][-1] = boxes["box_h"][-1] = None
        table = pl.DataFrame(
            {"image": photos.images, **boxes, "mask": [None] * n}, schema_overrides={"mask": pl.String}
        )
        return FoundRegions(Marks(table, (), "mine"), "mine", ("",) * (n - 1) + (note,))

    left = Regions(tmp_path)
    left.write(found(context.known, "too dark: 3"))
    assert left.keep(found(context.new, ""), context) == (
        "new photos: 2 of 3 photos have a box; full frame: 1 without a box"
    )
    assert found(context.known, "too dark: 3").said() == "5 of 6 photos have a box; full frame: 1 too dark"
    marked = left.marked(context.new, part="new")
    assert marked.table["box.mine"].to_list() == left.kept(context).marked(context.new).table["box.mine"].to_list()
    assert marked.table["box.mine"].is_null().to_list() == [False, False, True]
    assert FoundRegions(None, "mine").marked(context.new) is context.new


def test_a_ranking_stores_scores_threshold_and_candidates(context: Context, tmp_path: Path) -> None:
    left, scores = Ranking(tmp_path), drawn(2, 3)
    decision = Decision(fit_unknown_threshold(Fixed(at=0.5), scores, np.array([0, 1]), k=2))
    left.write(context.known.take([0, 1]), scores=scores, decision=decision, k=2)
    result = RankedPhotos(drawn(3, 3), k=2)
    left.keep(result, context)
    again = Ranking.open(tmp_path)
    assert np.array_equal(again.kept(context).scores, result.scores)
    assert again.kept(context).k == 2
    assert np.array_equal(again.scores, scores)
    assert again.decision == decision
    assert set(again.table("validation")["image"]) == {"k0", "k1"}
    first = again.table("new").filter(pl.col("place") == 1).sort("image")
    names = np.array([*context.known.vocabulary.identities, "unknown"])
    best = np.where(result.scores.max(axis=1) > 0.5, result.scores.argmax(axis=1), 3)
    assert first["identity"].to_list() == names[best].tolist()
    (tmp_path / "new.npy").unlink()
    with pytest.raises(RunError, match="an older version of fieldmark made it"):
        again.kept(context)


def test_pseudo_labels_and_dropped_photos(context: Context, tmp_path: Path) -> None:
    labels, names = LabelPseudoLabels(tmp_path), IdentityPseudoLabels(tmp_path)
    labels.write(0, np.array([2]), drawn(1, 3))
    assert labels.rows(0).tolist() == [2]
    assert labels.targets(0).shape == (1, 3)
    names.write(0, np.array([2, 0]), np.array([1, 0]))
    names.write(1, np.array([2]), np.array([1]))
    assert names.classes(0).tolist() == [1, 0]
    assert names.any_fold().tolist() == [0, 2]
    dropped = DroppedPhotos(tmp_path)
    dropped.write(["k3", "k1"], np.array([2.0, 1.0], np.float32))
    assert dropped.stays(context.known).tolist() == [True, False, True, False, True, True]


def test_a_context_opens_an_artifact_once_and_checks_its_kind(context: Context) -> None:
    Folds(context.run.work_directory("split")).write(FOLD)
    with pytest.raises(RunError, match="no finished stage 'split'"):
        context.artifact(Folds, "split")
    context.run.finish("split", receipt={"said": "2 folds"})
    assert context.artifact(Folds, "split") is context.artifact(Folds, "split")
    assert context.fresh().artifact(Folds, "split") is not context.artifact(Folds, "split")
    assert context.folds(context.stages["ranking"]) is context.artifact(Folds, "split")
    assert context.said("split") == "2 folds"
    with pytest.raises(TypeError, match="'split' writes Folds, not Ranking"):
        context.artifact(Ranking, "split")


def test_an_artifact_without_results_per_photo_refuses_them(context: Context, tmp_path: Path) -> None:
    for call in (lambda one: one.keep("x", context), lambda one: one.kept(context)):
        with pytest.raises(TypeError, match="Artifact has no results per photo"):
            call(Artifact(tmp_path))
