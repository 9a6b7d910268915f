"""The stage *split*: assigns photos to training and validation."""

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
    """Assign a fold to each photo: ``k >= 0`` validates network k, ``-1`` is training data for all networks.

    Photos marked in the column ``extra`` are training data only.

    Attributes:
        folds: Validation strategy: how photos are assigned to folds.
    """

    output = Folds
    kind: Literal["split"] = "split"
    name: str = "split"
    folds: FoldRule

    def fit(self, context: Context, folder: Path) -> str:
        """Write the fold of each photo. Return the numbers of folds, validation photos and extra photos."""
        all_photos = context.known
        known = all_photos.take(~all_photos.extra)
        truth = known.truth if known.vocabulary.tags and isinstance(self.folds, StratifiedFolds) else None
        fold = assign(
            self.folds, classes=known.classes, groups=known.groups, dates=known.dates, truth=truth, seed=context.seed
        )
        whole = np.full(len(all_photos), -1, np.int64)
        whole[~all_photos.extra] = fold
        Folds(folder).write(whole)
        validates = fold >= 0
        n_folds = int(fold.max()) + 1
        n_extra = len(all_photos) - len(known)
        extra = f", plus {n_extra} extra photos for training only" if n_extra else ""
        if not known.vocabulary.identities:
            return f"{n_folds} fold(s) of about {int(validates.sum()) // n_folds} photos, {len(known)} in all{extra}"
        n_unknown = sum(counts.unknowns for counts in describe(fold, known.classes))
        return (
            f"{n_folds} fold(s); {int(validates.sum())} of {len(known)} photos for validation "
            f"({int(validates.sum()) - n_unknown} of known individuals, {n_unknown} of unknown ones){extra}"
        )
