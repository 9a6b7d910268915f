"""Label transfer from similar photos: known photos get labels of other folds, new photos of all known photos."""

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
    preprocess = Preprocess(height_px=64, width_px=64)
    return Plan(
        name="transfer",
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
            DescribeImages(name="image_features", preprocess=preprocess),
            TransferLabels(name="transferred", reads_from="zoo", on="split", image_features="image_features"),
            Threshold(name="thresholds", reads_from="transferred"),
        ),
    ).check()


def test_known_photos_get_labels_of_other_folds_and_new_photos_of_all(museum: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fieldmark.train(plan(), museum, run=run, n_workers=0)
    opened = Context.open(run)
    chosen = fieldmark.core.spec.read_spec(Chosen, run / "transferred" / "chosen.json")
    zoo, transferred = (opened.artifact(LabelScores, name).known(opened.known) for name in ("zoo", "transferred"))
    assert chosen.weight > 0  # a tiny network after one epoch is worse than an ImageNet backbone
    neighbour_labels = (transferred - (1 - chosen.weight) * zoo) / chosen.weight  # 0 to 1
    assert neighbour_labels.min() > -0.01
    assert neighbour_labels.max() < 1.01
    features = np.load(run / "image_features/known/features.npy")
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    fold, truth = np.load(run / "split/fold.npy"), opened.known.truth
    for row in range(3):
        others = np.flatnonzero(fold != fold[row])
        cosine = features[others] @ features[row]
        near = np.argsort(-cosine)[: chosen.relevance.k]
        weight = np.exp(chosen.relevance.sharpness * (cosine[near] - cosine[near[0]]))
        wanted = 0.001 + 0.998 * (weight @ truth[others[near]]) / weight.sum()
        assert neighbour_labels[row] == pytest.approx(wanted, abs=1e-3)
    # The new photos get the same labels when they are predicted as photos from outside the run.
    again = applied(run, opened.new).value("thresholds").proba
    assert again == pytest.approx(opened.of_new().value("transferred").mean.mean, abs=1e-4)


def test_the_recipe_transfers_labels_last_and_needs_image_features() -> None:
    stages = imet2019(knn_label_transfer=True).stages
    (transfer,) = [stage for stage in stages if isinstance(stage, TransferLabels)]
    assert transfer.reads_from == "trees"
    assert stages[-2].reads_from == transfer.name
    (alone,) = [
        stage for stage in imet2019(knn_label_transfer=True, trees=False).stages if isinstance(stage, TransferLabels)
    ]
    assert alone.reads_from == "special"
    with pytest.raises(PlanError) as caught:
        imet2019(size="toy", knn_label_transfer=True)
    assert "--size small" in caught.value.fix
