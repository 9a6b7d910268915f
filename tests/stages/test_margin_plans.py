"""Margins, sub-centres and mirrored identities in a plan: read from TOML, checked, and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fieldmark.core.errors import PlanError
from fieldmark.data.collection import Collection
from fieldmark.losses.specs import Affinity, ArcFace, BatchHardTriplet, LocalTriplet, MarginByCount
from fieldmark.models.specs import AffinityHead, CosineHead, EmbeddingHead, SigmoidHead
from fieldmark.pipeline import networks as nets
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan, read_plan
from fieldmark.plans.humpback import humpback_classify

GOOD = humpback_classify(size="toy")

TOML = """
name = "margins"
[[stages]]
kind = "split"
folds = {kind = "identity", n_folds = 2}
[[stages]]
kind = "train"
name = "net"
on = "split"
preprocess = {height_px = 64, width_px = 128}
net = {head = {kind = "cosine", scale = 20.96, centres = 2}, stripes = 2}
flip_identity = true
losses = [
  {kind = "arcface", margin = {coef = 0.27126, power = -0.364399, floor = 0.05}, warmup = 0.5},
  {kind = "triplet", weight = 0.5},
  {kind = "local_triplet"},
]
training = {phases = [{epochs = 2, lr = 1e-3}], batch = 16}
"""


def planned(**settings: object) -> Plan:
    train = GOOD.stages[1]
    changed = train.model_copy(
        update={
            "net": train.net.model_copy(update=settings.pop("net", {})),  # type: ignore[union-attr]
            **settings,
        }
    )
    return Plan(name="x", stages=(GOOD.stages[0], changed, *GOOD.stages[2:]))


def test_a_plan_in_toml_has_all_settings(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(TOML, encoding="utf-8")
    train = read_plan(path).stages[1]
    assert train.losses[0] == ArcFace(margin=MarginByCount(), warmup=0.5)  # type: ignore[union-attr]
    assert train.net.head == CosineHead(scale=20.96, centres=2)  # type: ignore[union-attr]
    assert read_plan(path) == Plan.model_validate_json(read_plan(path).model_dump_json())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"losses": (ArcFace(),)},
            "net: arcface needs cosines, a one_vs_rest head has none: use",
        ),
        ({"losses": (ArcFace(),), "net": {"head": SigmoidHead()}}, "a sigmoid head has none"),
        ({"losses": (Affinity(),), "net": {"head": CosineHead()}}, 'use head = {kind = "affinity"}'),
        ({"losses": (LocalTriplet(),), "net": {"head": EmbeddingHead()}}, "set stripes = 8"),
        ({"losses": (ArcFace(), Affinity())}, "affinity needs centres"),
    ],
)
def test_losses_without_what_they_need_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        planned(**settings).check()
    assert message in refused.value.got
    assert "fieldmark plan" in refused.value.fix


def test_losses_of_single_phases_are_checked_too() -> None:
    train = GOOD.stages[1]
    phases = (*train.training.phases, train.training.phases[0].model_copy(update={"losses": (ArcFace(),)}))  # type: ignore[union-attr]
    with pytest.raises(PlanError) as refused:
        planned(training=train.training.model_copy(update={"phases": phases})).check()  # type: ignore[union-attr]
    assert "arcface needs cosines" in refused.value.got


def test_an_embedding_with_stripes_may_be_trained_by_triplets_alone() -> None:
    net = {"head": EmbeddingHead(), "stripes": 2}
    train = planned(net=net, losses=(BatchHardTriplet(), LocalTriplet())).stages[1]
    Plan(name="x", stages=(GOOD.stages[0], train)).check()


@pytest.mark.parametrize(
    ("head", "losses"),
    [
        (CosineHead(centres=2), (ArcFace(margin=MarginByCount(), warmup=0.5), BatchHardTriplet())),
        (AffinityHead(), (Affinity(),)),
    ],
    ids=["cosine", "affinity"],
)
def test_a_run_ends_with_probabilities_and_a_threshold(
    known: Collection, new: Collection, tmp_path: Path, head: CosineHead | AffinityHead, losses: tuple
) -> None:
    plan = planned(net={"head": head}, losses=losses).check()
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0)
    saved = Models(run.stage("net")).nets("cpu")[:1]
    n = len(known.vocabulary.identities)
    proba = nets.look(saved, known, flip=True, n_identities=n, n_workers=0)[0].proba
    assert proba is not None
    assert proba.shape == (len(known), n)
    assert (proba >= 0).all()
    assert (proba <= 1).all()
    if head.kind == "cosine":
        assert np.allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert (run.stage("submission") / "submission.csv").exists()


def test_confident_probabilities_of_a_cosine_head_stay_distinct() -> None:
    """The sigmoid of scaled cosines would be 1 in float32 for both, and their order would be random."""
    logits = np.array([[[26.0, 24.0, -5.0, 3.0]]])
    found = nets._probabilities(logits, 2, competing=True).astype(np.float32)[0, 0]
    assert found[0] > found[1] > 0
    assert found[:2].sum() == pytest.approx(1)  # mirrored identities have a softmax of their own
    assert found[2:].sum() == pytest.approx(1)
