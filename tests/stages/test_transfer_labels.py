"""Similar photos lend their labels: out of fold to known photos, by all known ones to new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.data.specs import PlainSampler, StratifiedFolds
from fieldmark.images.specs import Preprocess
from fieldmark.losses.specs import Bce
from fieldmark.models.specs import Backbone, Net, RandomWeights, SigmoidHead
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.imet import imet2019
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.describe_images import DescribeImages
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.threshold import Threshold
from fieldmark.stages.labels.transfer_labels import Chosen, TransferLabels
from fieldmark.training.specs import Phase, Training
from toys import applied


def plan() -> Plan:
    seen = Preprocess(height_px=64, width_px=64)
    return Plan(
        name="lending",
        stages=(
            Split(folds=StratifiedFolds(n_folds=3)),
            Train(
                name="net",
                on="split",
                net=Net(
                    backbone=Backbone(name="test_efficientnet", weights=RandomWeights()),
                    neck="none",
                    head=SigmoidHead(),
                ),
                preprocess=Preprocess(height_px=32, width_px=32),
                losses=(Bce(),),
                sampler=PlainSampler(),
                training=Training(phases=(Phase(epochs=1, lr=1e-3),), batch=16),
            ),
            Score(name="zoo", of=("net",), on="split"),
            DescribeImages(name="image_features", preprocess=seen),
            TransferLabels(name="lent", reads_from="zoo", on="split", image_features="image_features"),
            Threshold(name="thresholds", reads_from="lent"),
        ),
    ).check()


def test_known_photos_get_labels_of_other_folds_and_new_photos_of_all(museum: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fieldmark.train(plan(), museum, run=run, n_workers=0)
    opened = Context.open(run)
    chosen = fieldmark.core.spec.read_spec(Chosen, run / "lent" / "chosen.json")
    zoo, lent = (opened.artifact(LabelScores, name).known(opened.known) for name in ("zoo", "lent"))
    assert chosen.weight > 0  # one epoch of a tiny network knows less than an ImageNet backbone
    said = (lent - (1 - chosen.weight) * zoo) / chosen.weight  # what the neighbours say, 0-1
    assert said.min() > -0.01
    assert said.max() < 1.01
    seen = np.load(run / "looks/known/features.npy")
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    fold, truth = np.load(run / "split/fold.npy"), opened.known.truth
    for row in range(3):
        others = np.flatnonzero(fold != fold[row])
        cosine = seen[others] @ seen[row]
        near = np.argsort(-cosine)[: chosen.relevance.k]
        voice = np.exp(chosen.relevance.sharpness * (cosine[near] - cosine[near[0]]))
        wanted = 0.001 + 0.998 * (voice @ truth[others[near]]) / voice.sum()
        assert said[row] == pytest.approx(wanted, abs=1e-3)
    # Asked again as photos that nobody knows, the new ones get the same answer.
    again = applied(run, opened.new).value("thresholds").proba
    assert again == pytest.approx(opened.of_new().value("lent").mean.mean, abs=1e-4)


def test_the_recipe_transfers_labels_last_and_needs_image_features() -> None:
    stages = imet2019(knn_label_transfer=True).stages
    (lend,) = [stage for stage in stages if isinstance(stage, TransferLabels)]
    assert lend.reads_from == "trees"
    assert stages[-2].reads_from == "transferred"
    plain = imet2019(knn_label_transfer=True, trees=False)
    (alone,) = [stage for stage in plain.stages if isinstance(stage, TransferLabels)]
    assert alone.reads_from == "special"
    with pytest.raises(PlanError) as caught:
        imet2019(size="toy", knn_label_transfer=True)
    assert "--size small" in caught.value.fix
