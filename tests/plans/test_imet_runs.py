"""The toy form of ``imet2019`` runs all it has, and goes on where it was interrupted."""

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
    """What the stages made, by file: SHA-256."""
    files = {path for pattern in WORK for path in run.glob(f"*/**/{pattern}")}
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def test_every_stage_of_all_five_steps_leaves_its_work(museum_run: Path) -> None:
    context = Context.open(museum_run)
    assert set(context.run.stages()) == {stage.name for stage in context.plan.stages}
    steps = {"zoo", "trusted", "zoo2", "enlarged", "zoo3", "special", "trees", "thresholds", "answers"}
    assert steps <= set(context.run.stages())
    tags = context.known.vocabulary.tags
    for name in ("zoo", "zoo2", "zoo3", "special", "trees"):
        known = context.artifact(LabelScores, name).known(context.known)
        assert known.shape == (50, len(tags))
        assert context.of_new().value(name).mean.of(tags).shape == (6, len(tags))
        assert ((known >= 0) & (known <= 1)).all()
        assert np.ptp(known) > 0
    dropped = pl.read_parquet(museum_run / "trusted/dropped.parquet")
    assert len(dropped) == 1  # 2 % of 50 photos
    labels = fieldmark.core.files.read_json(museum_run / "special-tiny32/fold0/labels.json")
    assert labels == [name for name in tags if name.startswith("tag::")]


def test_the_report_measures_what_the_thresholds_give(museum_run: Path) -> None:
    assert (museum_run / "report.html").stat().st_size > 10_000
    names = [one["name"] for one in fieldmark.core.files.read_json(museum_run / "metrics.json")]
    assert names[0] == "mean F2"


class Interrupting:
    """Progress that stops the run when it is told a text for the first time."""

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


def test_interrupted_in_several_stages_it_goes_on_there_to_the_same_bits(
    museum: Path, museum_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldmark.stages.common.train import Train
    from fieldmark.stages.labels.stack import Stack

    run = shutil.copytree(museum_run, tmp_path / "run")
    names = [stage.name for stage in Context.open(run).plan.stages]
    for name in names[names.index("trusted") :]:  # as if the run had just finished the first zoo
        shutil.rmtree(run / name)
    began: list[str] = []

    def train() -> None:
        fieldmark.train("imet2019", museum, run=run, size="toy", n_workers=0, progress=told)

    fold, judged = Train._fold, Stack.fit

    def second_fold_fails(stage: Train, *args: Any, k: int, **more: Any) -> str:
        began.append(f"{stage.name} {k}")
        if began.count("zoo3-tiny48 1") == 1 and began[-1] == "zoo3-tiny48 1":
            raise KeyboardInterrupt
        return fold(stage, *args, k=k, **more)

    def stack_fails_once(stage: Stack, *args: Any) -> str:
        began.append(stage.name)
        said = judged(stage, *args)
        if began.count(stage.name) == 1:
            raise KeyboardInterrupt
        return said

    monkeypatch.setattr(Train, "_fold", second_fold_fails)
    monkeypatch.setattr(Stack, "fit", stack_fails_once)
    told = Interrupting("trusted: drop")
    for stopped_in in ("trusted", "zoo3-tiny48", "trees"):
        with pytest.raises(KeyboardInterrupt):
            train()
        finished = {path.parent.name for path in run.glob("*/stage.json")}
        assert stopped_in not in finished
        assert (run / f".{stopped_in}.part").exists() or stopped_in == "trusted"
    told.lines.clear()
    train()
    assert [line.split(":")[0] for line in told.lines if line.endswith(" ...")] == ["trees", "thresholds", "answers"]
    assert len([one for one in began if one.startswith("zoo3-tiny48")]) == 4  # folds 0, 1 (stopped), 1, 2
    assert max(began.count(one) for one in began if one not in {"zoo3-tiny48 1", "trees"}) == 1
    assert digests(run) == digests(museum_run)
