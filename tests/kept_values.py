"""What fitted stages say of a run's new photos when they are asked anew, held against what the run kept of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Artifact, Predictions
from fieldmark.pipeline.artifacts.predictions import AnswerTable
from fieldmark.pipeline.artifacts.regions import FoundRegions
from fieldmark.pipeline.artifacts.submission import Submission
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.common.write_submission import WriteSubmission

NOT_KEPT = {"learnt", "keypoints", "notes"}
"""What ``apply`` says of photos and ``kept`` does not: it stands in tables, or holds of a run's own photos alone."""


def opened(run: Path) -> Context:
    return Context.open(run).with_regions().computing(device="cpu", n_workers=0)


def anew(context: Context) -> Application:
    """The run's stages applied to its new photos as if it had not seen them."""
    new = Context.open(context.run.path).new  # without regions, which are to be found again
    assert new is not None
    return Application(context, new, together=True)


def assert_same(asked: Any, kept: Any, *, where: str) -> None:
    """Fail unless two values that a stage gave are the same to the bit."""
    if is_dataclass(kept):
        for name in [field.name for field in fields(kept) if field.name not in NOT_KEPT]:
            assert_same(getattr(asked, name), getattr(kept, name), where=f"{where}.{name}")
    elif isinstance(kept, np.ndarray):
        assert (asked.dtype, asked.shape) == (kept.dtype, kept.shape), where
        assert asked.tobytes() == kept.tobytes(), where
    elif isinstance(kept, pl.DataFrame):
        assert kept.equals(asked.select(kept.columns)), where
    elif isinstance(kept, Mapping):
        assert list(asked) == list(kept), where
        for name, value in kept.items():
            assert_same(asked[name], value, where=f"{where}[{name}]")
    elif isinstance(kept, Sequence) and not isinstance(kept, str):
        assert len(asked) == len(kept), where
        for place, value in enumerate(kept):
            assert_same(asked[place], value, where=f"{where}[{place}]")
    else:
        assert asked == kept, where


def kept_anew(context: Context, stage: Stage, value: Any, folder: Path) -> Artifact:
    """What the stage left, with ``value`` in the place of what it said of the new photos, in a folder of its own."""
    shutil.copytree(context.folder(stage.name), folder)
    for path in folder.glob("*.parquet"):
        table = pl.read_parquet(path)
        if "part" in table.columns:
            table.filter(pl.col("part") != "new").write_parquet(path)
    left = stage.output.open(folder)
    left.keep(value, context)
    return left


def assert_applied_as_kept(context: Context, scratch: Path) -> None:
    """Fail unless each stage says of the run's new photos what it kept of them, and they are answered as they were."""
    asked, said = anew(context), [stage for stage in context.plan.stages if stage.output.of_photos]
    assert len(said) >= 2
    for stage in said:
        value = asked.value(stage.name)
        if isinstance(value, FoundRegions):  # found when the photos were first looked at
            assert context.new is not None
            assert_same(asked.photos.table, context.new.table, where=stage.name)
            continue
        if stage.output.reads_back:
            assert_same(value, context.artifact(stage.output, stage.name).kept(context), where=stage.name)
            continue
        mine = kept_anew(context, stage, value, scratch / stage.name)
        theirs = context.artifact(stage.output, stage.name)
        assert isinstance(mine, AnswerTable)
        assert isinstance(theirs, AnswerTable)
        assert_same(mine.table("new"), theirs.table("new"), where=stage.name)
    answer = context.plan.only(WriteSubmission)
    final = kept_anew(context, context.stages[answer.reads_from], asked.value(answer.reads_from), scratch / "final")
    assert isinstance(final, Predictions)
    out = scratch / "written"
    out.mkdir()
    final.write_submission(out, context)
    own = context.artifact(Submission, answer.name).file
    assert own is not None
    assert (out / own.name).read_bytes() == own.read_bytes()
