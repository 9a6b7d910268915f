"""A run of ``tags-plain`` with scores made by hand, for what is done with scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.scores import OutOfFold
from fieldmark.plans.imet import tags_plain
from fieldmark.stages.common.split import FOLDS
from fieldmark.stages.engine import Opened

N_FOLDS = 3


def made_run(folder: Path, truth: np.ndarray, proba: np.ndarray, labels: tuple[str, ...]) -> Opened:
    """A run whose photos have the labels ``truth`` and the out-of-fold probabilities ``proba``.

    Photo k is called ``00k.jpg`` and is of fold ``k % 3``.
    """
    images, fold = [f"{number:03d}.jpg" for number in range(len(truth))], np.arange(len(truth)) % N_FOLDS
    names = [[name for name, has in zip(labels, row, strict=True) if has] for row in truth]
    known = Collection.of({"image": images, "labels": names}, root=folder)
    run = RunFolder.create(folder / "run", key={"seed": 0})
    np.save(run.workshop("split") / FOLDS, fold.astype(np.int64))
    run.finish("split", receipt={"said": ""})
    with OutOfFold.create(run.workshop("zoo") / "mean", labels) as store:
        for k in range(N_FOLDS):
            mine, others = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
            seen = [images[row] for row in others]
            store.add([images[row] for row in mine], proba[mine].astype(np.float32), fold=k, trained_on=seen)
    run.finish("zoo", receipt={"said": ""})
    return Opened(run=run, plan=tags_plain(size="toy"), known=known, new=None, seed=0)
