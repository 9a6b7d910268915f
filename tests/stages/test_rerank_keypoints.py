"""Keypoint re-ranking of a random ranking: on hand-made folders, then in whole runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from drawn_photos import seen_from, textured, turned
from fieldmark.core.errors import FieldmarkError, PlanError, WeightsError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import IdentityFolds
from fieldmark.decisions.specs import Fixed
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery import keypoints
from fieldmark.gallery.fusion import Fusion
from fieldmark.gallery.specs import KeypointMatching, KeypointMethod, Sift, Xfeat
from fieldmark.gallery.store import GalleryStore
from fieldmark.images.reading import read_pixels
from fieldmark.images.specs import FeatureNorm, Finder, GrabCut, TableBoxes
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.keypoints import FUSION, MATCHES, ShortlistMatches
from fieldmark.pipeline.artifacts.ranking import DECISION, NEW_SCORES, RANKING, SCORES, Decision, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.humpback import humpback_classify, humpback_nearest
from fieldmark.plans.sizes import Size
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.split import Split
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.keypoints import KEPT, KeypointComparer, fused
from fieldmark.stages.identity.rank import Rank
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from toys import fitted, ranked, without_judges

pytest.importorskip("cv2", reason="keypoints need OpenCV")
N_IDENTITIES, N_UNKNOWNS, DIM = 5, 3, 6
STAGE = RerankKeypoints(
    name="again",
    reads_from="ranking",
    embedded="features",
    on="split",
    matching=KeypointMatching(points=Sift(size_px=160, most=150, clahe=False), within_px=4, least=8),
    shortlist=4,
)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.normal(size=(1, n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=2, keepdims=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The first photo of each animal is a training photo, the others validate. Embeddings and ranking are random."""
    root, rng = tmp_path_factory.mktemp("marks"), np.random.default_rng(0)
    shown = [(f"a{one}", one, view) for one in range(N_IDENTITIES) for view in range(3)]
    shown += [("unknown", 50 + one, 0) for one in range(N_UNKNOWNS)]
    rows = []
    for number, (name, animal, view) in enumerate(shown):
        pixels = textured(animal) if view == 0 else seen_from(textured(animal), turned(degrees=9 * (-1) ** view))
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
        rows.append((f"{number:02d}.png", name))
    Image.fromarray(seen_from(textured(2), turned(degrees=5))).save(root / "new.png")
    known = Collection.of(pl.DataFrame(rows, schema=["image", "identity"], orient="row"), root=root)
    new = Collection.of({"image": ["new.png"]}, root=root)
    fold = np.array([-1 if view == 0 and name != "unknown" else 0 for name, _, view in shown])
    run = RunFolder.create(root / "run", key={"seed": 0})
    Folds(run.work_directory("split")).write(fold)
    run.finish("split", receipt={"said": ""})
    place, judges = run.work_directory("features"), np.flatnonzero(fold == 0)
    embedding = unit(rng, len(known))
    GalleryStore.write(place / "gallery0", embedding, images=known.images, classes=known.classes)
    np.save(place / "validation0.npy", embedding[:, judges])
    np.save(place / "new0.npy", unit(rng, 1))
    run.finish("features", receipt={"said": ""})
    place = run.work_directory("ranking")
    scores = rng.random((len(judges), N_IDENTITIES)).astype(np.float32)
    np.save(place / SCORES, scores)
    Decision(fit_unknown_threshold(Fixed(at=0.0), scores, known.classes[judges])).write(place)
    np.save(place / NEW_SCORES, rng.random((1, N_IDENTITIES)).astype(np.float32))
    run.finish("ranking", receipt={"said": ""})
    stages = (
        Split(folds=IdentityFolds()),
        Embed(name="features", of="net", on="split"),
        Rank(name="ranking", reads_from="features", on="split"),
        STAGE,
    )
    return Context(run=run, plan=Plan(name="by hand", stages=stages), known=known, new=new, seed=0)


@pytest.fixture(scope="module")
def done(context: Context) -> Path:
    fitted(context, STAGE)
    return context.run.stage("again")


def test_keypoints_improve_a_random_ranking(context: Context, done: Path) -> None:
    before = context.artifact(Ranking, "ranking").scores
    scores, truth = np.load(done / SCORES), context.known.classes[context.artifact(Folds, "split").fold == 0]
    known = truth >= 0
    listed = (np.argsort(-before, axis=1)[:, :4] == truth[:, None]).any(axis=1)
    assert (scores.argmax(axis=1) == truth)[known & listed].all()
    assert (before.argmax(axis=1) == truth)[known & listed].mean() < 0.7
    assert scores[known & listed].max(axis=1).min() > scores[~known].max(axis=1).max()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_it_writes_what_a_rank_stage_writes(context: Context, done: Path) -> None:
    ranking = pl.read_parquet(done / RANKING)
    assert {"part", "image", "place", "identity", "score"} <= set(ranking.columns)
    assert set(ranking["part"]) == {"validation", "new"}
    assert "at" in json.loads((done / DECISION).read_text())
    assert np.load(done / NEW_SCORES).shape == (1, N_IDENTITIES)
    assert "pairs of photos compared" in context.said("again")


def test_every_compared_pair_is_written(context: Context, done: Path) -> None:
    table = pl.read_parquet(done / MATCHES)
    judged = table.filter(pl.col("part") == "validation")
    assert judged.height == 4 * (2 * N_IDENTITIES + N_UNKNOWNS)
    names = dict(zip(context.known.images, context.known.table["identity"], strict=True))
    assert all(names[photo] == name for photo, name in table.select("photo", "identity").iter_rows())
    same = pl.Series([names[image] == name for image, name in judged.select("image", "identity").iter_rows()])
    assert judged.filter(same)["inliers"].min() > judged.filter(~same)["inliers"].max()


def test_no_photo_is_compared_with_validation_photos(context: Context, done: Path) -> None:
    fold = context.artifact(Folds, "split").fold
    judges = {context.known.images[row] for row in np.flatnonzero(fold == 0)}
    table = pl.read_parquet(done / MATCHES).filter(pl.col("part") == "validation")
    assert not judges & set(table["photo"])


def test_a_photo_is_scored_by_weights_fitted_without_it(context: Context, done: Path) -> None:
    """Weights fitted on all photos would give other probabilities."""
    fusion = Fusion.model_validate_json((done / FUSION).read_text())
    scores = context.artifact(Ranking, "ranking").scores
    found = STAGE._of_validation(context, scores, context.artifact(Folds, "split"))
    assert not np.allclose(fused(scores, found, fusion), np.load(done / SCORES))


def test_keypoints_are_cached_and_reused(context: Context, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list((context.run.path / KEPT).iterdir())
    assert len(kept) == len(context.known) + 1
    from fieldmark.gallery import keypoint_store

    monkeypatch.setattr(keypoint_store, "find_keypoints", lambda *_, **__: pytest.fail("found anew"))
    assert len(KeypointComparer(STAGE.matching, context.run.path / KEPT).points(context.known, 0)) > 10


def test_too_few_known_individuals_are_refused(context: Context) -> None:
    was = context.known
    unknowns = was.table.with_columns(identity=pl.Series(["unknown"] * len(was)))
    known = Collection(unknowns, root=was.root, vocabulary=was.vocabulary)
    with pytest.raises(FieldmarkError, match="pairs of the same animal and pairs of different animals") as caught:
        STAGE.fit(context.fresh(known=known, new=None), context.run.work_directory("third"))
    assert "longer shortlist" in caught.value.fix


def test_no_individual_off_the_shortlist_overtakes() -> None:
    scores = np.array([[0.9, 0.8, 0.1, -np.inf]], np.float32)
    numbers = np.array([[[0.9, 0, 0, 0], [0.8, 3, 2, 0.5]]], float)
    counts = np.zeros((1, 2), int)
    found = ShortlistMatches(np.array([[0, 1]]), numbers, counts, counts, counts)
    fusion = Fusion(intercept=-1, weights=(2.0, 0.5, 0.5, 1.0), n_pairs=9, n_same=3)
    proba = fused(scores, found, fusion)[0]
    assert proba[1] > proba[0] > proba[2] > proba[3] == -np.inf


def test_keypoints_are_within_the_mask_or_the_box_of_the_finder(context: Context) -> None:
    """Left half: the table's box. Right half: its mask. Upper half: the box of another finder."""
    image = context.known.images[0]
    height, width = read_pixels(context.known.paths[0]).shape[:2]
    marks = {
        "image": [image],
        "box_x": [0.0],
        "box_y": [0.0],
        "box_w": [width / 2],
        "box_h": [float(height)],
        "mask": ["1 2 1 1"],
        "box.grabcut": [f"0, 0, {width}, {height / 2}"],
    }
    whole = Collection.of(marks, root=context.known.root)
    boxed = Collection(whole.table.with_columns(pl.lit(None, pl.String).alias("mask")), whole.root, whole.vocabulary)
    bare = Collection.of({"image": [image]}, root=context.known.root)

    def reach(photos: Collection, within: Finder) -> tuple[float, float, float]:
        """The smallest and the largest x, and the largest y of the keypoints."""
        points = KeypointComparer(STAGE.matching, None, within=within).points(photos, 0)
        assert len(points) > 10
        across, down = (points.xy / np.array(points.size)[::-1]).T
        return float(across.min()), float(across.max()), float(down.max())

    assert reach(whole, TableBoxes())[0] > 0.48
    assert reach(boxed, TableBoxes())[1] < 0.52
    assert reach(whole, TableBoxes(source="grabcut"))[2] < 0.52
    least, greatest, lowest = reach(bare, TableBoxes())
    assert least < 0.4
    assert min(greatest, lowest) > 0.6


def test_boxes_that_no_stage_finds_are_refused() -> None:
    from fieldmark.plans.reidentify import reidentify

    plan = reidentify(size="toy", boxes="grabcut", keypoints="xfeat")
    reranking = plan.only(RerankKeypoints)
    assert reranking.within == plan.only(Boxes).finder
    other = [one.model_copy(update={"within": FeatureNorm()}) if one is reranking else one for one in plan.stages]
    with pytest.raises(PlanError) as caught:
        plan.model_copy(update={"stages": tuple(other)}).check()
    assert "no earlier stage finds its boxes (feature_norm)" in str(caught.value)


@pytest.mark.parametrize("size", ["toy", "small", "full"])
def test_keypoints_are_a_setting_of_humpback_nearest(size: Size) -> None:
    plan = humpback_classify(size=size, keypoints="xfeat")
    assert plan.stages[:-2] == humpback_classify(size=size).stages[:-1]
    reranking = plan.only(RerankKeypoints)
    assert (reranking.reads_from, plan.stages[-1].reads()) == ("ranking", (reranking.name,))


@pytest.mark.parametrize("kind", [Xfeat(), Xfeat(matcher="lighterglue"), Sift()], ids=str)
def test_a_missing_opencv_is_reported_before_training(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch, kind: KeypointMethod
) -> None:
    """The error comes before hours of training."""
    plan = humpback_classify(size="toy", keypoints="xfeat")
    reranking = plan.only(RerankKeypoints).model_copy(update={"matching": KeypointMatching(points=kind)})
    reranking.ready(context.known, None)
    stages = tuple(reranking if isinstance(one, RerankKeypoints) else one for one in plan.stages)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FieldmarkError, match="OpenCV"):
        execute(plan.model_copy(update={"stages": stages}), context.known, tmp_path / "run", n_workers=0)
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_reported_before_training(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise WeightsError("The weights are not there.", got="nothing", fix="install them.")

    monkeypatch.setattr("fieldmark.models.keypoint_nets.XfeatNet.load", none)
    keypoints._xfeat.cache_clear()
    with pytest.raises(WeightsError):
        execute(humpback_classify(size="toy", keypoints="xfeat"), context.known, tmp_path / "run", n_workers=0)
    assert not (tmp_path / "run").exists()


def test_matches_by_fold_equal_matches_without_validation_photos(tmp_path: Path, context: Context) -> None:
    """The backbone is frozen at toy size, so that only the gallery differs."""
    for animal in range(N_IDENTITIES):
        Image.fromarray(seen_from(textured(animal), turned(degrees=10))).save(tmp_path / f"new{animal}.png")
    new = Collection.of({"image": [f"new{animal}.png" for animal in range(N_IDENTITIES)]}, root=tmp_path)
    plan = humpback_nearest(size="toy")
    again = STAGE.model_copy(update={"shortlist": 5, "photos": 9})
    plan = Plan(name="again", stages=(*plan.stages[:-1], again, plan.stages[-1])).check()
    run = execute(plan, context.known, tmp_path / "run", new=new, n_workers=0)
    bare = without_judges(run, tmp_path / "bare")
    by_fold = Context.open(run.path).of_new().value("again", 0).scores
    np.testing.assert_allclose(by_fold, np.load(bare.stage("again") / NEW_SCORES), atol=1e-6)
    assert not np.allclose(by_fold, np.load(run.stage("again") / NEW_SCORES), atol=1e-3)


@pytest.mark.parametrize("within", [TableBoxes(), GrabCut(side_px=64, iterations=1)], ids=["table", "grabcut"])
def test_a_whole_run_reranks_and_its_predictor_and_report_agree(
    tmp_path: Path, context: Context, within: Finder
) -> None:
    """A frozen backbone at toy size with keypoints. Predictor and report use the scores of the re-ranking."""
    pytest.importorskip("timm")
    import fieldmark
    from fieldmark.tasks.reporting import REPORT, write_report

    plan = humpback_nearest(size="toy")
    again = STAGE.model_copy(update={"shortlist": 5, "within": within})
    boxes = () if isinstance(within, TableBoxes) else (Boxes(name="boxes", finder=within),)
    stages = tuple(
        one.model_copy(update={"reads_from": "again"}) if one.kind == "write_submission" else one for one in plan.stages
    )
    plan = Plan(name="again", stages=(*boxes, *stages[:-1], again, stages[-1])).check()
    execute(plan, context.known, tmp_path / "run", new=context.new, n_workers=0)
    opened = Context.open(tmp_path / "run")
    assert opened.plan.answering() == again
    scores = ranked(tmp_path / "run", context.new)
    assert np.allclose(scores, np.load(opened.run.stage("again") / NEW_SCORES), atol=1e-5)
    predictor = fieldmark.load(tmp_path / "run", device="cpu", n_workers=0)
    assert predictor(context.new)[0].matches[0].identity == "a2"
    write_report(opened)
    assert 'class="lines"' in (tmp_path / "run" / REPORT).read_text()
