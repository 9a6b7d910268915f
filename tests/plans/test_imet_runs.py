"""Tests that ``imet2019`` at size ``toy`` runs all its stages and resumes after an interruption."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.progress import QUIET
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context

WORK = ("*.npy", "*.safetensors", "*.parquet", "thresholds.json", "*.csv")


def digests(run: Path) -> dict[str, str]:
    """Return the SHA-256 of each output file of the stages."""
    files = {path for pattern in WORK for path in run.glob(f"*/**/{pattern}")}
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def test_every_stage_of_all_five_steps_writes_its_output(museum_run: Path) -> None:
    context = Context.open(museum_run)
    assert set(context.run.stages()) == {stage.name for stage in context.plan.stages}
    steps = {"zoo", "filtered", "zoo2", "pseudo_labels", "zoo3", "special", "trees", "thresholds", "submission"}
    assert steps <= set(context.run.stages())
    tags = context.known.vocabulary.tags
    for name in ("zoo", "zoo2", "zoo3", "special", "trees"):
        known = context.artifact(LabelScores, name).known(context.known)
        assert known.shape == (50, len(tags))
        assert context.of_new().value(name).mean.of(tags).shape == (6, len(tags))
        assert ((known >= 0) & (known <= 1)).all()
        assert np.ptp(known) > 0
    dropped = pl.read_parquet(museum_run / "filtered/dropped.parquet")
    assert len(dropped) == 1  # 2 % of 50 photos
    labels = fieldmark.core.files.read_json(museum_run / "special-tiny32/fold0/labels.json")
    assert labels == [name for name in tags if name.startswith("tag::")]


def test_the_report_measures_the_labels_of_the_thresholds(museum_run: Path) -> None:
    assert (museum_run / "report.html").stat().st_size > 10_000
    names = [one["name"] for one in fieldmark.core.files.read_json(museum_run / "metrics.json")]
    assert names[0] == "mean F2"


class Interrupting:
    """Progress that interrupts the run when it receives one of the given texts for the first time."""

    def __init__(self, *at: str) -> None:
        self.at = list(at)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)
        if self.at and self.at[0] in text:
            self.at.pop(0)
            raise KeyboardInterrupt

    def track(self, items: Any, *, total: int, what: str) -> Any:
        return QUIET.track(items, total=total, what=what)


def test_interrupted_in_several_stages_it_resumes_and_writes_the_same_bits(
    museum: Path, museum_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldmark.stages.common.train import Train
    from fieldmark.stages.labels.stack import Stack

    run = shutil.copytree(museum_run, tmp_path / "run")
    names = [stage.name for stage in Context.open(run).plan.stages]
    for name in names[names.index("filtered") :]:  # as if the run had just finished the first ensemble
        shutil.rmtree(run / name)
    began: list[str] = []

    def train() -> None:
        fieldmark.train("imet2019", museum, run=run, size="toy", n_workers=0, progress=progress)

    fold, fit = Train._fold, Stack.fit

    def second_fold_fails(stage: Train, *args: Any, k: int, **more: Any) -> str:
        began.append(f"{stage.name} {k}")
        if began.count("zoo3-tiny48 1") == 1 and began[-1] == "zoo3-tiny48 1":
            raise KeyboardInterrupt
        return fold(stage, *args, k=k, **more)

    def stack_fails_once(stage: Stack, *args: Any) -> str:
        began.append(stage.name)
        summary = fit(stage, *args)
        if began.count(stage.name) == 1:
            raise KeyboardInterrupt
        return summary

    monkeypatch.setattr(Train, "_fold", second_fold_fails)
    monkeypatch.setattr(Stack, "fit", stack_fails_once)
    progress = Interrupting("filtered: drop")
    for stopped_in in ("filtered", "zoo3-tiny48", "trees"):
        with pytest.raises(KeyboardInterrupt):
            train()
        finished = {path.parent.name for path in run.glob("*/stage.json")}
        assert stopped_in not in finished
        assert (run / f".{stopped_in}.part").exists() or stopped_in == "filtered"
    progress.lines.clear()
    train()
    started = [line.split(":")[0] for line in progress.lines if line.endswith(" ...")]
    assert started == ["trees", "thresholds", "submission"]
    assert len([one for one in began if one.startswith("zoo3-tiny48")]) == 4  # folds 0, 1 (stopped), 1, 2
    assert max(began.count(one) for one in began if one not in {"zoo3-tiny48 1", "trees"}) == 1
    assert digests(run) == digests(museum_run)
