"""The verb *split*: which photos a network may learn from, and which judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fieldmark.core.spec import Spec
from fieldmark.data.folds import assign, describe
from fieldmark.data.specs import Folds, StratifiedFolds
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.stages.job import Job

FOLDS = "fold.npy"


class Split(Spec):
    """Give each photo its fold: ``k >= 0`` is validation of network k, ``-1`` is training for all."""

    verb: Literal["split"] = "split"
    name: str = "split"
    folds: Folds

    def reads(self) -> tuple[str, ...]:
        """Nothing but the collection."""
        return ()

    def run(self, job: Job, folder: Path) -> str:
        """Write the fold of each photo; say how many judge and how many teach."""
        known = job.known
        truth = known.truth if known.vocabulary.tags and isinstance(self.folds, StratifiedFolds) else None
        fold = assign(
            self.folds, classes=known.classes, groups=known.groups, dates=known.dates, truth=truth, seed=job.seed
        )
        np.save(folder / FOLDS, fold.astype(np.int64))
        judges = fold >= 0
        n_folds = int(fold.max()) + 1
        if not known.vocabulary.identities:
            return f"{n_folds} fold(s) of {int(judges.sum()) // n_folds} photos or so, of {len(known)}"
        strangers = sum(counts.strangers for counts in describe(fold, known.classes))
        return (
            f"{n_folds} fold(s); validation {int(judges.sum())} photos "
            f"({int(judges.sum()) - strangers} of known identities, {strangers} unknown) of {len(known)}"
        )


def judged_classes(job: Job, name: str) -> np.ndarray:
    """The class of each known photo as its judge has it: an individual without a photo in training is a stranger."""
    classes, fold = job.known.classes.copy(), read_folds(job, name)
    for k in range(int(fold.max()) + 1):
        own = (fold == k) & (classes >= 0)
        classes[own & ~np.isin(classes, classes[fold != k])] = UNKNOWN
    return classes


def read_folds(job: Job, name: str) -> np.ndarray:
    """The fold of each known photo that the split stage ``name`` wrote."""
    return np.load(job.run.stage(name) / FOLDS, allow_pickle=False)
