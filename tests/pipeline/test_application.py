"""Fitted stages that are applied again to a run's own new photos return the stored results, bit by bit.

Every recipe is trained at toy size with at least two folds, so that a sum instead of a mean over folds is detected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldmark
from fieldmark.data.specs import IdentityFolds, StratifiedFolds
from fieldmark.decisions.specs import Swap
from fieldmark.images.specs import GrabCut
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.predictions import LabelledPhotos
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.artifacts.scores import ScoredPhotos
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.networks import label_proba
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Stage
from fieldmark.plans.recipe import RECIPES
from fieldmark.quality.regions.sources import label_source
from fieldmark.specimens.collections import draw_flukes
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.post_process import PostProcess
from fieldmark.stages.identity.rank import Rank, identity_scores
from fieldmark.stages.identity.rerank_pairs import RerankPairs, mix_scores, pair_scorer, pair_scores
from kept_values import anew, assert_applied_as_kept, assert_same, opened

SHELF = dict(RECIPES.items())

SETTINGS: dict[str, dict[str, Any]] = {
    "humpback-siamese": {"boxes": "grabcut"},
    "imaterialist2017": {"trees": True},
    "reidentify": {"pseudo_label_rounds": 1, "pseudo_label_min_score": -1.0},
}
"""Settings that add stages: regions, trees, pseudo-labels."""


def toy(recipe: str) -> Plan:
    """The recipe at toy size, with at least two folds."""
    plan = SHELF[recipe](size="toy", **SETTINGS.get(recipe, {}))
    plan = plan.model_copy(update={"stages": tuple(in_two_folds(stage) for stage in plan.stages)})
    text = plan.model_dump_json()
    if "grabcut" in text:  # a faster finder in each stage that names it
        quick = text.replace(GrabCut().model_dump_json(), GrabCut(side_px=64, iterations=1).model_dump_json())
        assert quick != text
        plan = Plan.model_validate_json(quick)
    return plan.check()


def in_two_folds(stage: Stage) -> Stage:
    """The stage with two folds, one update per phase, and a fixed weight."""
    if isinstance(stage, Split) and not isinstance(stage.folds, StratifiedFolds):
        return stage.model_copy(update={"folds": IdentityFolds(n_folds=2)})
    if isinstance(stage, Train):  # one update is enough for this test
        phases = tuple(phase.model_copy(update={"epochs": 1}) for phase in stage.training.phases)
        training = stage.training.model_copy(update={"phases": phases, "epoch_batches": 1})
        return stage.model_copy(update={"training": training})
    if isinstance(stage, RerankPairs):
        return stage.model_copy(update={"weight": 0.5})  # both scores have a weight
    return stage


@pytest.fixture(scope="module")
def flukes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flukes")
    few = {
        "n_identities": 12,
        "photos_per_identity": 3,
        "n_unknown": 4,
        "n_test": 6,
        "n_near_duplicates": 0,
        "n_broken": 0,
    }
    draw_flukes(folder, **few, size_px=(120, 60), seed=5)
    return folder


@pytest.fixture(scope="module")
def run_of(
    flukes: Path, museum: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function that returns the folder of a recipe's finished run, trained on first use."""
    runs: dict[str, Path] = {}

    def trained(recipe: str) -> Path:
        if recipe == "imet2019":
            return request.getfixturevalue("museum_run")
        if recipe == "imaterialist2017":
            return request.getfixturevalue("shop_run")
        if recipe not in runs:
            folder = tmp_path_factory.mktemp("application") / recipe
            known = museum if recipe == "tags-plain" else flukes
            fieldmark.train(toy(recipe), known, run=folder, n_workers=0, device="cpu")
            runs[recipe] = folder
        return runs[recipe]

    return trained


class TestOwnNewPhotos:
    @pytest.mark.parametrize("recipe", sorted(SHELF))
    def test_apply_equals_the_stored_results_and_the_submission(
        self, recipe: str, run_of: Callable[[str], Path], tmp_path: Path
    ) -> None:
        context = opened(run_of(recipe))
        assert context.artifact(Folds, "split").n_folds >= 2
        assert_applied_as_kept(context, tmp_path)

    def test_a_post_processed_batch_is_applied_as_a_whole(
        self, run_of: Callable[[str], Path], flukes: Path, tmp_path: Path
    ) -> None:
        plan, before = toy("humpback-nearest"), run_of("humpback-nearest")
        again = PostProcess(name="again", reads_from="ranking", on="split", rules=(Swap(),))
        changed = plan.model_copy(
            update={"stages": (*plan.stages[:-1], again, WriteSubmission(name="answers", reads_from="again"))}
        )
        fieldmark.train(changed, flukes, run=tmp_path / "run", reuse=before, n_workers=0, device="cpu")
        context = opened(tmp_path / "run")
        assert_applied_as_kept(context, tmp_path)
        assert context.new is not None
        alone, together = (Application(context, context.new, together=one) for one in (False, True))
        assert_same(alone.value("again"), context.artifact(Ranking, "ranking").kept(context), where="alone")
        assert together.value("again") is not together.value("ranking")

    def test_answers_with_estimated_shares_depend_on_the_batch(
        self, run_of: Callable[[str], Path], shop: Path, tmp_path: Path
    ) -> None:
        settings = {"trees": True, "label_shift": True}
        before, new = run_of("imaterialist2017"), shop / "new.csv"
        fieldmark.train(
            "imaterialist2017",
            shop,
            new=new,
            run=tmp_path / "run",
            size="toy",
            settings=settings,
            reuse=before,
            n_workers=0,
            device="cpu",
        )
        context = opened(tmp_path / "run")
        assert_applied_as_kept(context, tmp_path)
        assert context.new is not None
        name = context.plan.final().name
        alone, together = (Application(context, context.new, together=one).value(name) for one in (False, True))
        assert not np.array_equal(alone.proba, together.proba)


class TestFolds:
    """Compares the stages with slow loops over folds."""

    def test_a_ranking_is_the_mean_over_networks_each_compared_with_its_gallery(
        self, run_of: Callable[[str], Path]
    ) -> None:
        context = opened(run_of("humpback-nearest"))
        applied, folds = anew(context), context.artifact(Folds, "split")
        galleries, embedded = context.artifact(Embeddings, "features"), applied.value("features")
        assert isinstance(embedded, Embedded)
        classes, n_classes = context.known.classes, len(context.known.vocabulary.identities)

        def best(k: int, *, spared: bool) -> np.ndarray:
            gallery = galleries.gallery(k)
            rows = [gallery.images.index(image) for image in context.known.images]
            cosine = gallery.compare(embedded.embedding[k], None)[:, rows]
            scores = np.full((len(cosine), n_classes), -np.inf, np.float32)
            for row, name in enumerate(classes.tolist()):
                if name >= 0 and not (spared and folds.fold[row] == k):
                    scores[:, name] = np.maximum(scores[:, name], cosine[:, row])
            return scores

        whole: RankedPhotos = applied.value("ranking")
        np.testing.assert_allclose(whole.scores, np.mean([best(k, spared=False) for k in range(2)], axis=0), atol=1e-6)
        for k in range(2):
            one: RankedPhotos = applied.value("ranking", k)
            np.testing.assert_allclose(one.scores, best(k, spared=True), atol=1e-6)
        assert not np.allclose(applied.value("ranking", 0).scores, whole.scores, atol=1e-3)

    def test_a_ranking_averages_the_heads_of_all_networks(self, run_of: Callable[[str], Path]) -> None:
        context = opened(run_of("reidentify"))
        applied, stage = anew(context), context.stages["ranking"]
        assert isinstance(stage, Rank)
        galleries, embedded = context.artifact(Embeddings, "features"), applied.value("features")
        n_classes = len(context.known.vocabulary.identities)
        assert embedded.proba is not None
        assert not np.allclose(embedded.proba[0], embedded.proba[1], atol=1e-3)
        alone = [
            identity_scores(stage.votes, query=query, proba=proba, gallery=galleries.gallery(k), n_classes=n_classes)
            for k, (query, proba) in enumerate(zip(embedded.embedding, embedded.proba, strict=True))
        ]
        np.testing.assert_allclose(applied.value("ranking").scores, np.mean(alone, axis=0), atol=1e-6)

    def test_pair_heads_score_their_own_embeddings_and_are_averaged(self, run_of: Callable[[str], Path]) -> None:
        context = opened(run_of("humpback-siamese"))
        applied, stage = anew(context), context.stages["pairs"]
        assert isinstance(stage, RerankPairs)
        galleries, embedded = context.artifact(Embeddings, stage.embedded), applied.value(stage.embedded)
        nets = context.artifact(Models, stage.of).nets("cpu")
        assert len(nets) == 2
        before = applied.value(stage.reads_from).scores
        paired = [
            pair_scores(
                embedded.embedding[k],
                before,
                gallery=galleries.gallery(k),
                by=pair_scorer(net),
                shortlist=stage.shortlist,
            )
            for k, net in enumerate(nets)
        ]
        wanted = mix_scores(before, np.mean(paired, axis=0), weight=0.5)
        np.testing.assert_allclose(applied.value(stage.name).scores, wanted, atol=1e-6)
        for k in range(2):
            others = applied.value(stage.reads_from, k).scores
            spared = galleries.gallery_apart(k, context.artifact(Folds, "split"), context.known)
            one = pair_scores(
                embedded.embedding[k], others, gallery=spared, by=pair_scorer(nets[k]), shortlist=stage.shortlist
            )
            np.testing.assert_allclose(
                applied.value(stage.name, k).scores, mix_scores(others, one, weight=0.5), atol=1e-6
            )

    def test_labels_are_the_mean_over_the_networks_of_all_folds(self, run_of: Callable[[str], Path]) -> None:
        context = opened(run_of("tags-plain"))
        train, applied, final = context.plan.only(Train), anew(context), context.plan.final()
        nets = context.artifact(Models, train.name).nets("cpu")
        assert len(nets) == context.artifact(Folds, "split").n_folds >= 2
        source, items = label_source((applied.photos,), train.preprocess), np.arange(len(applied.photos))
        alone = [label_proba([net], source, items=items, flip=True, n_workers=0)[0] for net in nets]
        assert not np.allclose(alone[0], alone[1], atol=1e-3)
        labelled: LabelledPhotos = applied.value(final.name)
        np.testing.assert_allclose(labelled.proba, np.mean(alone, axis=0), atol=1e-5)
        scored: ScoredPhotos = applied.value(final.reads()[0])
        tags = context.known.vocabulary.tags
        for k, proba in enumerate(alone):
            np.testing.assert_allclose(scored.mean.of(tags, k), proba, atol=1e-5)

    def test_pseudo_labels_of_a_fold_come_from_its_networks_alone(self, run_of: Callable[[str], Path]) -> None:
        """The pseudo-labels of fold k are the predictions of the networks of fold k."""
        context = opened(run_of("reidentify"))
        pick_identity_pseudo_labels = next(
            stage for stage in context.plan.stages if stage.kind == "pseudo_label_identities"
        )
        kept = context.artifact(IdentityPseudoLabels, pick_identity_pseudo_labels.name)
        applied = anew(context)
        for k in range(2):
            scores = applied.value(pick_identity_pseudo_labels.reads()[0], k).scores
            assert len(kept.rows(k))
            there = np.isfinite(scores[kept.rows(k)])
            assert there[np.arange(len(there)), kept.classes(k)].all()
            assert np.array_equal(scores[kept.rows(k)].argmax(axis=1), kept.classes(k))


class TestReading:
    def test_stored_results_are_read_and_not_computed(
        self, run_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = opened(run_of("humpback-nearest"))
        calls: list[str] = []
        apply = Rank.apply

        def counted(stage: Rank, ask: Any) -> RankedPhotos:
            calls.append(stage.name)
            return apply(stage, ask)

        monkeypatch.setattr(Rank, "apply", counted)
        own = context.of_new()
        assert own.value("ranking") is own.value("ranking")
        assert calls == []
        own.value("ranking", 1)  # results of a single fold are not stored
        assert calls == ["ranking"]
        applied = anew(context)
        assert applied.value("ranking") is applied.value("ranking")
        assert calls == ["ranking"] * 2
        assert applied.value("features") is applied.value("features", 1)  # they contain the results of every fold

    def test_a_result_or_artifact_of_another_kind_is_refused(self, run_of: Callable[[str], Path]) -> None:
        from fieldmark.pipeline.application import Ask

        context = opened(run_of("humpback-nearest"))
        ask = Ask(anew(context), context.stages["ranking"], None)
        assert isinstance(ask.value(Embedded, "features"), Embedded)
        with pytest.raises(TypeError, match="The result of 'features' is Embedded, not RankedPhotos"):
            ask.value(RankedPhotos, "features")
        assert list(ask.folds(3)) == [0, 1, 2]
        assert list(Ask(anew(context), context.stages["ranking"], 1).folds(3)) == [1]
        with pytest.raises(TypeError, match="'features' writes Embeddings, not Ranking"):
            context.artifact(Ranking, "features")
