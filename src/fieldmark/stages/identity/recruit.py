"""The verb *recruit*: new photos whose individual is sure join the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.images.hashes import hashes
from fieldmark.quality.recruits import recruit
from fieldmark.quality.specs import Recruits
from fieldmark.stages.apart import CLASSES, PICKED, apart
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.identity.ranking import names_of
from fieldmark.stages.job import Job

COPY_BITS = 6
"""Two photos whose hashes of 64 bits differ in no more are taken for copies of one picture."""


class Recruit(Spec):
    """Pseudo-labels for individuals: take the first name of new photos for the truth where it is sure enough.

    What network k learns from is picked by the networks of fold k alone, as those of other folds have seen the photos
    that network k is judged by; and by comparison with the photos it learnt from alone: a name that comes from a
    judging photo is never taken. Nor is a new photo picked that shows the same picture as a judging one, or is of its
    group, nor as an individual of whom network k has no photo to learn from. Recruits are never validated on and never
    in a gallery, where they did harm in the contests.

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
        known, new, fold = job.known, job.new, read_folds(job, self.on)
        n_folds, n_picked, n_named = int(fold.max()) + 1, [], []
        for k in range(n_folds):
            rows, classes = np.zeros(0, np.int64), np.zeros(0, np.int64)
            if new is not None and len(new):
                rows, classes = self._picked(job, new, known.take(fold == k), taught=(fold != k) & ~known.extra, k=k)
            np.save(folder / f"{PICKED}{k}.npy", rows)
            np.save(folder / f"{CLASSES}{k}.npy", classes)
            n_picked.append(len(rows))
            n_named.append(len(np.unique(classes)))
        if job.new is None or not len(job.new):
            return "no new photos to learn from"
        return f"{min(n_picked)} to {max(n_picked)} of {len(job.new)} new photos joined, as {max(n_named)} individuals"

    def _picked(
        self, job: Job, new: Collection, judges: Collection, *, taught: Bool[np.ndarray, " photo"], k: int
    ) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
        """Rows of the new photos that network ``k`` may learn from, and the individual of each."""
        classes = job.known.classes
        counts = np.bincount(classes[taught & (classes >= 0)], minlength=len(job.known.vocabulary.identities))
        rankings = [np.where(counts > 0, apart(job, judge, k=k), -np.inf).astype(np.float32) for judge in self.judges]
        rows, names = recruit(rankings, counts, self.rule)
        free = ~shares_group(new, judges)[rows]
        free[free] = ~shares_picture([new.paths[row] for row in rows[free]], judges.paths)
        return rows[free], names[free]


def shares_group(photos: Collection, others: Collection) -> Bool[np.ndarray, " photo"]:
    """Which photos are of a group (copies, an encounter) that some of the others are of, too."""
    theirs = {name for name in names_of(others, "group") if name}
    return np.array([name in theirs for name in names_of(photos, "group")], dtype=np.bool_)


def shares_picture(paths: Sequence[Path], others: Sequence[Path]) -> Bool[np.ndarray, " photo"]:
    """Which files show, by their hashes, the same picture as some of the others; a few that only look so as well."""
    if not len(paths):
        return np.zeros(0, np.bool_)
    theirs = np.unique(hashes(others).phash)
    return np.array([(np.bitwise_count(theirs ^ one) <= COPY_BITS).any() for one in hashes(paths).phash], np.bool_)


def recruits_of(job: Job, name: str, *, k: int) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
    """Rows of the new photos that a recruit stage picked for network ``k``, and the individual of each."""
    place = job.run.stage(name)
    rows, classes = (np.load(place / f"{kind}{k}.npy", allow_pickle=False) for kind in (PICKED, CLASSES))
    return rows, classes
