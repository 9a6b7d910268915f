"""The verb *split*: which photos a network may learn from, and which judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.data.folds import assign, describe
from fieldmark.data.specs import Folds, StratifiedFolds
from fieldmark.data.twins import among
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.stages.job import Job

FOLDS = "fold.npy"


class Split(Spec):
    """Give each photo its fold: ``k >= 0`` is validation of network k, ``-1`` is training for all.

    Photos marked in the column ``extra`` are for training alone.
    """

    verb: Literal["split"] = "split"
    name: str = "split"
    folds: Folds

    def reads(self) -> tuple[str, ...]:
        """Nothing but the collection."""
        return ()

    def run(self, job: Job, folder: Path) -> str:
        """Write the fold of each photo; say how many judge and how many teach."""
        known = job.known.take(~job.known.extra)
        truth = known.truth if known.vocabulary.tags and isinstance(self.folds, StratifiedFolds) else None
        fold = assign(
            self.folds, classes=known.classes, groups=known.groups, dates=known.dates, truth=truth, seed=job.seed
        )
        whole = np.full(len(job.known), -1, np.int64)
        whole[~job.known.extra] = fold
        np.save(folder / FOLDS, whole)
        judges = fold >= 0
        n_folds = int(fold.max()) + 1
        n_extra = len(job.known) - len(known)
        beside = f", and {n_extra} extra ones that only teach" if n_extra else ""
        if not known.vocabulary.identities:
            return f"{n_folds} fold(s) of {int(judges.sum()) // n_folds} photos or so, of {len(known)}{beside}"
        strangers = sum(counts.strangers for counts in describe(fold, known.classes))
        return (
            f"{n_folds} fold(s); validation {int(judges.sum())} photos "
            f"({int(judges.sum()) - strangers} of known identities, {strangers} unknown) of {len(known)}{beside}"
        )


def judged_classes(job: Job, name: str) -> np.ndarray:
    """The class of each known photo as its judge has it: an individual without a photo in training is a stranger."""
    return classes_by(job.known, read_folds(job, name))


def classes_by(known: Collection, fold: Int64[np.ndarray, " photo"]) -> Int64[np.ndarray, " photo"]:
    """The same for any folds."""
    classes = known.classes.copy()
    for k in range(int(fold.max()) + 1):
        own = (fold == k) & (classes >= 0)
        classes[own & ~np.isin(classes, classes[(fold != k) & ~known.extra])] = UNKNOWN
    return classes


def teaches(job: Job, fold: Int64[np.ndarray, " photo"], *, k: int) -> Bool[np.ndarray, " photo"]:
    """Which known photos network ``k`` may learn from: no judging one, and no extra one that would give it away.

    That is an extra photo of a judging one's group, of its file, or of an individual that judges as a stranger.
    """
    known, own = job.known, fold == k
    spoilt = np.zeros(len(known), np.bool_)
    if (extra := known.extra).any():
        hidden = known.classes[own & (known.classes >= 0) & (classes_by(known, fold) == UNKNOWN)]
        spoilt = extra & (np.isin(known.groups, known.groups[own]) | np.isin(known.classes, hidden))
        rows = np.flatnonzero(extra & ~spoilt)
        judged = [path for path, judges in zip(known.paths, own, strict=True) if judges]
        spoilt[rows] = among([known.paths[row] for row in rows], judged)
    return ~own & ~spoilt


def read_folds(job: Job, name: str) -> np.ndarray:
    """The fold of each known photo that the split stage ``name`` wrote."""
    return np.load(job.run.stage(name) / FOLDS, allow_pickle=False)
