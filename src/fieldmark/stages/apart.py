"""Whom network k takes new photos for, asked apart from the photos that judge it: what recruiting goes by.

A name that a new photo gets because it is like a judging photo is that photo's own name: a network that learnt it would
have seen what it is judged by. So recruits are ranked anew, against the photos that network k learns from alone, and by
its own head.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32

from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job

PICKED, CLASSES = "picked", "classes"
"""Files ``picked<k>.npy`` and ``classes<k>.npy`` of a recruit stage: rows of the new photos, the individual of each."""


class TellsApart(Protocol):
    """A stage that ranks individuals and can do so apart."""

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by network ``k``, against photos that do not judge it."""
        ...


def apart(job: Job, name: str, *, k: int) -> Float32[np.ndarray, "photo identity"]:
    """What the ranking stage ``name`` says of the new photos for network ``k``, apart from the photos that judge it."""
    stage: TellsApart = job.stages[name]
    return stage.apart(job, k=k)


def gallery_apart(job: Job, embedded: str, split: str, *, k: int) -> GalleryStore:
    """The gallery of network ``k`` without the photos that judge it."""
    fold = read_folds(job, split)
    judged = [job.known.images[row] for row in np.flatnonzero(fold == k)]
    return GalleryStore.open(job.run.stage(embedded) / f"gallery{k}").without(judged)


def learnt_from(job: Job, name: str) -> Bool[np.ndarray, " photo"]:
    """Which new photos some network behind the stage ``name`` has learnt from, their names guessed before."""
    learnt = np.zeros(0 if job.new is None else len(job.new), np.bool_)
    behind = list(job.stages[name].reads()) if name in job.stages else []
    for one in behind:
        behind += [other for other in job.stages[one].reads() if other not in behind]
        if job.stages[one].verb == "recruit":
            for path in job.run.stage(one).glob(f"{PICKED}*.npy"):
                learnt[np.load(path, allow_pickle=False)] = True
    return learnt
