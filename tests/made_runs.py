"""A run of ``tags-plain`` with scores made by hand, for what is done with scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.plans.imet import tags_plain

N_FOLDS = 3


def made_run(folder: Path, truth: np.ndarray, proba: np.ndarray, labels: tuple[str, ...]) -> Context:
    """A run whose photos have the labels ``truth`` and the out-of-fold probabilities ``proba``.

    Photo k is called ``00k.jpg`` and is of fold ``k % 3``.
    """
    images, fold = [f"{number:03d}.jpg" for number in range(len(truth))], np.arange(len(truth)) % N_FOLDS
    names = [[name for name, has in zip(labels, row, strict=True) if has] for row in truth]
    known = Collection.of({"image": images, "labels": names}, root=folder)
    run = RunFolder.create(folder / "run", key={"seed": 0})
    Folds(run.work_directory("split")).write(fold.astype(np.int64))
    run.finish("split", receipt={"said": ""})
    LabelScores(run.work_directory("zoo")).write(MEAN, known, labels=labels, fold=fold, proba=proba.astype(np.float32))
    run.finish("zoo", receipt={"said": ""})
    return Context(run=run, plan=tags_plain(size="toy"), known=known, new=None, seed=0)
