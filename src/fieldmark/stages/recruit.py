"""The verb *recruit*: new photos whose individual is sure join the training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import Field

from fieldmark.clean.recruits import recruit
from fieldmark.clean.specs import Recruits
from fieldmark.core.errors import RunError
from fieldmark.core.spec import Spec
from fieldmark.data.twins import among
from fieldmark.stages.job import Job
from fieldmark.stages.ranked import NEW_BY_FOLD, NEW_SCORES
from fieldmark.stages.split import read_folds


class Recruit(Spec):
    """Pseudo-labels for individuals: take the first name of new photos for the truth where it is sure enough.

    What network k learns from is picked by the networks of fold k alone: those of other folds have seen the photos
    that network k is judged by. A new photo that is, byte for byte, one of those photos is never picked. Recruits are
    never validated on and never in a gallery, where they did harm in the contests.

    Attributes:
        judges: Ranking stages; their mean score counts, and for ``agreement`` whom each of them names.
        on: Their split stage.
        rule: When a name is believed, and how many photos an individual may get.
    """

    verb: Literal["recruit"] = "recruit"
    name: str
    judges: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    rule: Recruits = Recruits()

    def reads(self) -> tuple[str, ...]:
        """The ranking stages and the split."""
        return (*self.judges, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``picked<k>.npy`` (rows of the new photos) and ``classes<k>.npy`` for each fold."""
        known, fold = job.known, read_folds(job, self.on)
        counts = np.bincount(known.classes[known.classes >= 0], minlength=len(known.vocabulary.identities))
        n_folds, n_picked, n_named = int(fold.max()) + 1, [], []
        for k in range(n_folds):
            rows, classes = np.zeros(0, np.int64), np.zeros(0, np.int64)
            if job.new is not None and len(job.new):
                rankings = [self._scores(job, judge, k=k, n_folds=n_folds) for judge in self.judges]
                rows, classes = recruit(rankings, counts, self.rule)
                judged = [path for path, own in zip(known.paths, fold == k, strict=True) if own]
                free = ~among([job.new.paths[row] for row in rows], judged)
                rows, classes = rows[free], classes[free]
            np.save(folder / f"picked{k}.npy", rows)
            np.save(folder / f"classes{k}.npy", classes)
            n_picked.append(len(rows))
            n_named.append(len(np.unique(classes)))
        if job.new is None or not len(job.new):
            return "no new photos to learn from"
        return f"{min(n_picked)} to {max(n_picked)} of {len(job.new)} new photos joined, as {max(n_named)} individuals"

    def _scores(self, job: Job, judge: str, *, k: int, n_folds: int) -> Float32[np.ndarray, "photo identity"]:
        """What the networks of fold ``k`` say of the new photos."""
        place = job.run.stage(judge)
        if (place / NEW_BY_FOLD).exists():
            return np.asarray(np.load(place / NEW_BY_FOLD, mmap_mode="r", allow_pickle=False)[k])
        if n_folds == 1 and (place / NEW_SCORES).exists():
            return np.load(place / NEW_SCORES, allow_pickle=False)
        raise RunError(
            f"'{judge}' did not keep what the networks of each fold say of the new photos.",
            got=f"{n_folds} folds",
            fix="recruit by a rank stage, or use a split with one fold, such as humpback_holdout.",
        )


def recruits_of(job: Job, name: str, *, k: int) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
    """Rows of the new photos that a recruit stage picked for network ``k``, and the individual of each."""
    place = job.run.stage(name)
    return np.load(place / f"picked{k}.npy", allow_pickle=False), np.load(place / f"classes{k}.npy", allow_pickle=False)
