"""Comparison of stored results for the new photos of a run with results of its stages applied again."""

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
"""Fields that ``apply`` returns and ``kept`` does not: they are in tables, or only for photos of the run."""


def opened(run: Path) -> Context:
    return Context.open(run).with_regions().computing(device="cpu", n_workers=0)


def anew(context: Context) -> Application:
    """The stages of the run, applied to its new photos as to any other photos."""
    new = Context.open(context.run.path).new  # without regions, because these are computed again
    assert new is not None
    return Application(context, new, together=True)


def assert_same(computed: Any, kept: Any, *, where: str) -> None:
    """Fail unless two values of a stage are equal bit by bit."""
    if is_dataclass(kept):
        for name in [field.name for field in fields(kept) if field.name not in NOT_KEPT]:
            assert_same(getattr(computed, name), getattr(kept, name), where=f"{where}.{name}")
    elif isinstance(kept, np.ndarray):
        assert (computed.dtype, computed.shape) == (kept.dtype, kept.shape), where
        assert computed.tobytes() == kept.tobytes(), where
    elif isinstance(kept, pl.DataFrame):
        assert kept.equals(computed.select(kept.columns)), where
    elif isinstance(kept, Mapping):
        assert list(computed) == list(kept), where
        for name, value in kept.items():
            assert_same(computed[name], value, where=f"{where}[{name}]")
    elif isinstance(kept, Sequence) and not isinstance(kept, str):
        assert len(computed) == len(kept), where
        for place, value in enumerate(kept):
            assert_same(computed[place], value, where=f"{where}[{place}]")
    else:
        assert computed == kept, where


def stored_again(context: Context, stage: Stage, value: Any, folder: Path) -> Artifact:
    """The artifact of a stage in a new folder, with ``value`` as its result for the new photos."""
    shutil.copytree(context.folder(stage.name), folder)
    for path in folder.glob("*.parquet"):
        table = pl.read_parquet(path)
        if "part" in table.columns:
            table.filter(pl.col("part") != "new").write_parquet(path)
    artifact = stage.output.open(folder)
    artifact.keep(value, context)
    return artifact


def assert_applied_as_kept(context: Context, scratch: Path) -> None:
    """Fail unless the stages give the stored results again for the new photos, and the same answers."""
    application, stages = anew(context), [stage for stage in context.plan.stages if stage.output.of_photos]
    assert len(stages) >= 2
    for stage in stages:
        value = application.value(stage.name)
        if isinstance(value, FoundRegions):  # computed when the photos were opened
            assert context.new is not None
            assert_same(application.photos.table, context.new.table, where=stage.name)
            continue
        if stage.output.reads_back:
            assert_same(value, context.artifact(stage.output, stage.name).kept(context), where=stage.name)
            continue
        mine = stored_again(context, stage, value, scratch / stage.name)
        theirs = context.artifact(stage.output, stage.name)
        assert isinstance(mine, AnswerTable)
        assert isinstance(theirs, AnswerTable)
        assert_same(mine.table("new"), theirs.table("new"), where=stage.name)
    answer = context.plan.only(WriteSubmission)
    final = stored_again(
        context, context.stages[answer.reads_from], application.value(answer.reads_from), scratch / "final"
    )
    assert isinstance(final, Predictions)
    out = scratch / "written"
    out.mkdir()
    final.write_submission(out, context)
    own = context.artifact(Submission, answer.name).file
    assert own is not None
    assert (out / own.name).read_bytes() == own.read_bytes()
