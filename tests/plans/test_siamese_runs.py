"""Tests of ``humpback-siamese`` at size ``toy``: stages, predictions of a finished run, and valid switches."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.gallery.specs import KeypointMatching, Sift
from fieldmark.gallery.store import GalleryStore
from fieldmark.losses.specs import OhemBce
from fieldmark.models.specs import EmbeddingHead, OneVsRestHead
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.ranking import Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.siamese import humpback_siamese
from fieldmark.stages.identity.rank import ByLogits, Vote
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.stages.identity.rerank_pairs import RERANKING, mix_scores, pair_scores
from fieldmark.training.specs import Training
from toys import without_judges

N_IDENTITIES = 10


def picture(number: int, rng: np.random.Generator) -> Image.Image:
    tiles = np.random.default_rng(number).integers(0, 255, (4, 8, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(tiles).resize((64, 32), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((pixels + rng.normal(0, 15, pixels.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Collection]:
    """Ten individuals with two to five photos, six unknown ones, and six new photos (four of known individuals)."""
    folder, rng = tmp_path_factory.mktemp("whales"), np.random.default_rng(0)
    shown = [(f"w_{i}", i) for i in range(N_IDENTITIES) for _ in range(2 + i % 4)]
    shown += [("new_whale", 100 + i) for i in range(6)]
    for number, (_, individual) in enumerate(shown):
        picture(individual, rng).save(folder / f"{number:03d}.png")
    lines = [f"{number:03d}.png,{name}" for number, (name, _) in enumerate(shown)]
    (folder / "train.csv").write_text("\n".join(["Image,Id", *lines]), encoding="utf-8")
    (folder / "test").mkdir()
    for number in range(6):
        picture(number if number < 4 else 200 + number, rng).save(folder / "test" / f"t{number}.png")
    table = pl.DataFrame({"image": [f"t{n}" for n in range(6)], "file": [f"t{n}.png" for n in range(6)]})
    return read(folder / "train.csv"), Collection.of(table, root=folder / "test", name="new")


@pytest.fixture(scope="module")
def finished(photos: tuple[Collection, Collection], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    known, new = photos
    folder = tmp_path_factory.mktemp("runs") / "siamese"
    return execute(humpback_siamese(size="toy"), known, folder, new=new, seed=1, n_workers=0)


def new_scores(run: RunFolder, name: str, *, fold: int | None = None) -> np.ndarray:
    """Return the scores of a stage for the new photos of a run, by all models or by those of one fold."""
    return Context.open(run.path).computing(n_workers=0).of_new().value(name, fold).scores


def predicted(run: RunFolder, photos: Collection) -> np.ndarray:
    """Return the scores of a finished run for other photos."""
    context = Context.open(run.path).computing(device="cpu", n_workers=0)
    return Application(context, photos).value(context.plan.answering().name).scores


def test_the_toy_runs_all_its_stages(finished: RunFolder, photos: tuple[Collection, Collection]) -> None:
    history = read_json(finished.stage("net") / "fold0" / "history.json")
    assert [row["phase"] for row in history] == [1, 1, 1, 2]
    assert all(np.isfinite(row["pair_bce"]) for row in history)
    answers = pl.read_csv(finished.stage("submission") / "submission.csv")
    assert answers["Image"].to_list() == photos[1].images
    assert all(1 <= len(names.split()) <= 5 for names in answers["Id"])


def test_pair_reranking_writes_the_same_artifact_as_ranking(finished: RunFolder) -> None:
    context = Context.open(finished.path)
    reranked = context.artifact(Ranking, "pairs")
    before, after = context.artifact(Ranking, "ranking").scores, reranked.scores
    assert before.shape == after.shape
    weight = read_json(finished.stage("pairs") / RERANKING)["weight"]
    assert 0 <= weight <= 1
    assert np.array_equal(before == -np.inf, after == -np.inf)
    record = read_json(finished.stage("pairs") / RERANKING)
    assert reranked.decision.threshold.map_at_k >= record["map_before"]  # the weight 0 is one of the candidates
    assert set(reranked.table("validation")["image"]) <= set(context.known.images)
    assert set(reranked.table("new")["image"]) == set(context.new.images)


def test_a_finished_run_repeats_its_scores_for_new_photos(
    finished: RunFolder, photos: tuple[Collection, Collection]
) -> None:
    assert np.allclose(predicted(finished, photos[1]), new_scores(finished, "pairs"), atol=1e-4)


def test_pair_scores_of_one_fold_do_not_use_validation_photos(finished: RunFolder, tmp_path: Path) -> None:
    bare = without_judges(finished, tmp_path / "bare")
    of_fold, weight = new_scores(finished, "pairs", fold=0), read_json(finished.stage("pairs") / RERANKING)["weight"]
    assert weight == read_json(bare.stage("pairs") / RERANKING)["weight"]
    np.testing.assert_allclose(of_fold, new_scores(bare, "pairs"), atol=1e-6)
    assert not np.allclose(of_fold, new_scores(finished, "pairs"), atol=1e-3)


def test_pair_head_only_scores_all_individuals(photos: tuple[Collection, Collection], finished: RunFolder) -> None:
    """The earlier stages are copied from the finished run."""
    folder = finished.path.with_name("pair_head_only")
    plan = humpback_siamese(size="toy", pair_head_only=True)
    run = execute(plan, *photos[:1], folder, new=photos[1], seed=1, n_workers=0, reuse=finished.path)
    assert read_json(run.stage("pairs") / RERANKING)["weight"] == 1
    context = Context.open(run.path)
    scores = context.artifact(Ranking, "pairs").scores
    candidate = scores > -np.inf
    assert candidate.any()
    assert ((scores[candidate] >= 0) & (scores[candidate] <= 1)).all()
    assert np.array_equal(candidate, context.artifact(Ranking, "ranking").scores > -np.inf)


def test_points_are_matched_for_the_shortlist_of_the_pair_head(
    photos: tuple[Collection, Collection], finished: RunFolder
) -> None:
    pytest.importorskip("cv2")
    folder = finished.path.with_name("points")
    plan = humpback_siamese(size="toy", keypoints="xfeat")
    matching = plan.only(RerankKeypoints)
    assert matching.reads_from == "pairs"
    assert plan.stages[-1].reads() == ("matching",)
    quick = matching.model_copy(update={"matching": KeypointMatching(points=Sift(size_px=96, most=100), least=4)})
    plan = plan.model_copy(update={"stages": tuple(quick if one is matching else one for one in plan.stages)})
    run = execute(plan, photos[0], folder, new=photos[1], seed=1, n_workers=0, reuse=finished.path)
    scores = predicted(run, photos[1])
    assert np.allclose(scores, new_scores(run, "matching"), atol=1e-4)
    assert not np.allclose(scores, new_scores(run, "pairs"), atol=1e-4)


def test_individuals_outside_the_shortlist_stay_below_it_after_mixing() -> None:
    scores = np.array([[0.9, 0.8, 0.7, -np.inf]], np.float32)
    by_pairs = np.array([[0.1, 0.6, 0.0, 0.0]], np.float32)
    assert mix_scores(scores, by_pairs, weight=0).tolist() == scores.tolist()
    assert np.allclose(mix_scores(scores, by_pairs, weight=0.5), [[0.5, 0.7, 0.35, -np.inf]])
    assert mix_scores(scores, by_pairs, weight=1).tolist() == [[*by_pairs[0, :3].tolist(), -np.inf]]


def test_pair_scores_are_the_best_photo_of_each_on_the_shortlist(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 9, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    classes, images = np.array([0, 0, 2, 2, 2, 1, -1, 4, 2]), [f"i{n}" for n in range(9)]
    gallery = GalleryStore.write(tmp_path / "gallery", rows, images=images, classes=classes)
    query, query_images = rows[:, [2, 5]], ["i2", "elsewhere"]
    compared = [gallery.without(["i2"]), gallery]
    scores = np.array([[0.5, 0.1, 0.9, -np.inf, 0.2], [0.1, 0.2, 0.3, -np.inf, 0.4]], np.float32)

    def pair_head(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(a * b).sum(axis=1) - np.abs(a - b).sum(axis=1)))

    for shortlist, listed in ((2, [{0, 2}, {2, 4}]), (None, [{0, 1, 2, 4}] * 2)):
        for row, names in enumerate(listed):
            own, one = query[:, [row]], scores[[row]]
            (found,) = pair_scores(own, one, gallery=compared[row], by=pair_head, shortlist=shortlist)
            for name in range(5):
                others = [at for at in range(9) if classes[at] == name and images[at] != query_images[row]]
                best = max(
                    (np.mean([pair_head(query[v, [row]], rows[v, [at]]) for v in range(2)]) for at in others), default=0
                )
                assert found[name] == pytest.approx(best if name in names else 0, abs=1e-6)


SWITCHES: list[dict[str, Any]] = [
    {"mining": "batch"},
    {"mining_noise": False},
    {"pair_loss": "triplet"},
    {"pair_loss": "triplet", "mining": "batch", "triplet": False},
    {"triplet": False},
    {"compactness": True},
    {"flip_identity": False},
    {"tta": False},
    {"pair_reranking": False},
    {"pair_head_only": True},
    {"keypoints": "xfeat"},
    {"effort": 0.5},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_results_in_another_valid_plan(switch: dict[str, Any]) -> None:
    for size in ("toy", "small", "full"):
        plan = humpback_siamese(size=size, **switch)
        assert plan.check() is plan
        assert plan != humpback_siamese(size=size)


def test_invalid_settings_are_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"size": "tiny"}, "use one of: full, small, toy."),
        ({"mining": "nearer"}, "use mining=exact, nearest or batch."),
        ({"pair_loss": "triplets"}, "use pair_loss=bce or triplet."),
        (
            {"pair_head_only": True, "pair_reranking": False},
            "add --set pair_reranking=true, or leave out pair_head_only.",
        ),
    ]
    for settings, fix in wrong:
        with pytest.raises(PlanError) as caught:
            humpback_siamese(**settings)
        assert caught.value.fix == fix


def changed(name: str, **settings: Any) -> Plan:
    plan = humpback_siamese(size="toy")
    stages = tuple(one.model_copy(update=settings) if one.name == name else one for one in plan.stages)
    return plan.model_copy(update={"stages": stages})


def test_an_invalid_plan_with_pairs_is_refused_before_it_runs() -> None:
    train = humpback_siamese(size="toy").stages[1]
    wrong = [
        (changed("net", losses=(OhemBce(),)), "net: a pair head has no logits per photo"),
        (changed("net", net=train.net.model_copy(update={"head": OneVsRestHead()})), "pair_bce needs pairs of photos"),
        (changed("net", training=Training(batch=6)), "net: batch 6 is not a multiple of 4, as assignment mining needs"),
        (changed("net", net=train.net.model_copy(update={"head": EmbeddingHead()})), "pairs: 'net' has no pair head"),
        (
            changed("pairs", embedded="ranking"),
            "'embedded' must name a stage that writes embeddings; 'ranking' (rank) writes",
        ),
        (changed("ranking", votes=(Vote(by=ByLogits()),)), "the head of 'net' has none"),
    ]
    for plan, mistake in wrong:
        with pytest.raises(PlanError) as caught:
            plan.check()
        assert mistake in str(caught.value.got)
