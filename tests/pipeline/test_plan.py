from __future__ import annotations

import json
from pathlib import Path

import pytest

from fieldmark.core.errors import PlanError
from fieldmark.pipeline.plan import Plan, read_plan
from fieldmark.plans.humpback import humpback_classify
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.ensemble_rankings import EnsembleRankings
from fieldmark.stages.identity.post_process import PostProcess

GOOD = humpback_classify(size="toy")


def changed(stage: int, **settings: object) -> Plan:
    stages = list(GOOD.stages)
    stages[stage] = stages[stage].model_copy(update=settings)
    return Plan.model_construct(name="x", stages=tuple(stages))


def test_a_plan_survives_json() -> None:
    assert Plan.model_validate_json(GOOD.model_dump_json()) == GOOD


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (changed(1, on="nowhere"), "reads 'nowhere', which no earlier stage writes"),
        (changed(2, of="split"), "'of' must name a stage that writes models; 'split' (split) writes folds"),
        (
            changed(3, reads_from="net"),
            "'reads_from' must name a stage that writes embeddings; 'net' (train) writes models",
        ),
        (
            changed(4, reads_from="features"),
            "'reads_from' must name a stage that writes predictions; 'features' (embed) writes embeddings",
        ),
        (changed(2, name="net"), "stage name 'net' is used 2 times"),
        (changed(0, name="a/b"), "letters, digits"),
        (Plan.model_construct(name="x", stages=tuple(reversed(GOOD.stages))), "no earlier stage"),
    ],
)
def test_stages_that_do_not_fit_are_reported(plan: Plan, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan.check()
    assert said in str(caught.value.got)
    assert "fieldmark plan" in caught.value.fix


def test_impossible_training_settings_are_reported_together() -> None:
    train = GOOD.stages[1]
    bad = train.model_copy(
        update={
            "training": train.training.model_copy(update={"batch": 10}),  # type: ignore[union-attr]
            "net": train.net.model_copy(update={"head": {"kind": "embedding"}}),  # type: ignore[union-attr]
        }
    )
    bad = type(train).model_validate_json(bad.model_dump_json(warnings=False))
    with pytest.raises(PlanError) as caught:
        Plan.model_construct(name="x", stages=(GOOD.stages[0], bad, *GOOD.stages[2:])).check()
    message = str(caught.value.got)
    assert "multiple of 4" in message
    assert "use triplet, local_triplet or compactness" in message
    assert "'votes' uses logits" in message


def test_a_toml_file_is_read_into_the_same_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        """
name = "mine"
[[stages]]
kind = "split"
folds = {kind = "identity", n_folds = 3}
[[stages]]
kind = "train"
name = "net"
on = "split"
preprocess = {height_px = 64, width_px = 128}
losses = [{kind = "ohem_bce", hardest = 10}, {kind = "triplet", margin = 0.2}]
training = {phases = [{epochs = 2, lr = 1e-3}], batch = 16}
""",
        encoding="utf-8",
    )
    plan = read_plan(path)
    assert [stage.name for stage in plan.stages] == ["split", "net"]
    assert plan.stages[1].losses[1].margin == 0.2  # type: ignore[union-attr]


def test_mistakes_in_a_file_are_named_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    value = json.loads(GOOD.model_dump_json())
    value["stages"][1]["epohcs"] = 3
    value["stages"][1]["preprocess"]["height_px"] = 3
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert "stages.1.train.epohcs" in str(caught.value.got)
    assert "height_px" in str(caught.value.got)


def test_single_photos_skip_stages_that_need_batches() -> None:
    """The ranking that the stage reads replaces it, in any order of its references."""

    class Piled(EnsembleRankings):
        in_batches_only = True

    piled = Piled(name="piled", on="split", reads_from=("ranking", "ranking-2"))
    again = PostProcess(name="again", reads_from="piled", on="split")
    second = GOOD.stages[3].model_copy(update={"name": "ranking-2"})
    plan = Plan(
        name="x", stages=(*GOOD.stages[:4], second, piled, again, WriteSubmission(name="a", reads_from="again"))
    ).check()
    assert piled.reads() == ("split", "ranking", "ranking-2")
    assert plan.final() == again
    assert plan.answering() == GOOD.stages[3]
    assert plan.alone(second) is second
