"""Features of frozen networks that two runs share: only the first run computes them."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.plan import Plan
from fieldmark.training.specs import Training


def frozen(plan: Plan) -> Plan:
    """Return the plan with a frozen backbone."""

    def freeze_all(training: Training) -> Training:
        phases = tuple(phase.model_copy(update={"freeze": ("all",)}) for phase in training.phases)
        return training.model_copy(update={"phases": phases})

    trained = {one.name: one.model_copy(update={"training": freeze_all(one.training)}) for one in plan.leaving(Models)}
    return plan.model_copy(update={"stages": tuple(trained.get(one.name, one) for one in plan.stages)})


def test_a_second_run_reads_the_stored_features(
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


def test_the_command_accepts_the_folder(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    words = ["train", "humpback-nearest", str(trained / "whales"), "--size", "toy", "--run", str(tmp_path / "run")]
    assert main([*words, "--features", str(kept), "--workers", "0"]) == 0
    capsys.readouterr()
    assert not (tmp_path / "run" / ".features").exists()
