"""Features of frozen networks that two runs share: computed by the first alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.plan import Plan
from fieldmark.training.specs import Training


def frozen(plan: Plan) -> Plan:
    """The plan with a backbone that does not learn, and photos that are not varied."""

    def still(training: Training) -> Training:
        phases = tuple(phase.model_copy(update={"freeze": ("all",)}) for phase in training.phases)
        return training.model_copy(update={"phases": phases})

    trained = {one.name: one.model_copy(update={"training": still(one.training)}) for one in plan.leaving(Models)}
    return plan.model_copy(update={"stages": tuple(trained.get(one.name, one) for one in plan.stages)})


def test_a_second_run_computes_no_features_again(
    trained: Path, tiny: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, photos, kept = frozen(tiny()), trained / "whales", tmp_path / "features"  # type: ignore[operator]
    fieldmark.train(plan, photos, run=tmp_path / "a", features=kept, n_workers=0)
    files = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert files
    monkeypatch.setattr("fieldmark.training.features.KeptFeatures._through", refuse)
    fieldmark.train(plan, photos, run=tmp_path / "b", features=kept, n_workers=0)
    assert {path.name for path in kept.iterdir()} == set(files)
    weights = [next((tmp_path / one / "net").rglob("*.safetensors")).read_bytes() for one in "ab"]
    assert weights[0] == weights[1]


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("features are computed again")


def test_the_command_takes_the_folder(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    words = ["train", "humpback-nearest", str(trained / "whales"), "--size", "toy", "--run", str(tmp_path / "run")]
    assert main([*words, "--features", str(kept), "--workers", "0"]) == 0
    capsys.readouterr()
    assert not (tmp_path / "run" / ".features").exists()
