"""The kind *split*: which photos a network may learn from, and which validate it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fieldmark.data.folds import assign, describe
from fieldmark.data.specs import Folds as FoldRule
from fieldmark.data.specs import StratifiedFolds
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage, stage


@stage
class Split(Stage):
    """Give each photo its fold: ``k >= 0`` is validation of network k, ``-1`` is training for all.

    Photos marked in the column ``extra`` are for training alone.
    """

    output = Folds
    kind: Literal["split"] = "split"
    name: str = "split"
    folds: FoldRule

    def fit(self, context: Context, folder: Path) -> str:
        """Write the fold of each photo; say how many validate and how many teach."""
        everybody = context.known
        known = everybody.take(~everybody.extra)
        truth = known.truth if known.vocabulary.tags and isinstance(self.folds, StratifiedFolds) else None
        fold = assign(
            self.folds, classes=known.classes, groups=known.groups, dates=known.dates, truth=truth, seed=context.seed
        )
        whole = np.full(len(everybody), -1, np.int64)
        whole[~everybody.extra] = fold
        Folds(folder).write(whole)
        validates = fold >= 0
        n_folds = int(fold.max()) + 1
        n_extra = len(everybody) - len(known)
        beside = f", and {n_extra} extra ones that only teach" if n_extra else ""
        if not known.vocabulary.identities:
            return f"{n_folds} fold(s) of {int(validates.sum()) // n_folds} photos or so, of {len(known)}{beside}"
        n_unknown = sum(counts.unknowns for counts in describe(fold, known.classes))
        return (
            f"{n_folds} fold(s); validation {int(validates.sum())} photos "
            f"({int(validates.sum()) - n_unknown} of known identities, {n_unknown} unknown) of {len(known)}{beside}"
        )
