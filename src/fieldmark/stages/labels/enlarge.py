"""The verb *enlarge*: new photos whose labels the networks are sure of join the training part."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fieldmark.core.spec import Spec
from fieldmark.quality.specs import Guesses
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job
from fieldmark.stages.scored import new_proba


class Enlarge(Spec):
    """Pseudo-labels: pick new photos by the confidence of a stage's scores, and take its answers for their truth.

    What network k learns from is picked by the networks of fold k alone: those of other folds have seen the photos
    that network k is judged by. Pseudo-labelled photos are never validated on and never in a gallery.

    Attributes:
        judge: A stage with scores of the new photos.
        on: Its split stage.
        rule: How sure it must be, how many are taken, and whether targets are answers or probabilities.
    """

    verb: Literal["enlarge"] = "enlarge"
    name: str
    judge: str
    on: str
    rule: Guesses = Guesses()

    def reads(self) -> tuple[str, ...]:
        """The stage that judges, and the split."""
        return (self.judge, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``picked<k>.npy`` (rows of the new photos) and ``targets<k>.npy`` for each fold."""
        from fieldmark.quality.labels.pseudo import pick

        n_folds = int(read_folds(job, self.on).max()) + 1
        counts = []
        for k in range(n_folds):
            rows, targets = np.zeros(0, dtype=np.int64), np.zeros((0, len(job.known.vocabulary.tags)), np.float32)
            if job.new is not None and len(job.new):
                rows, targets = pick(new_proba(job, self.judge, k=k), self.rule)
            np.save(folder / f"picked{k}.npy", rows)
            np.save(folder / f"targets{k}.npy", targets)
            counts.append(len(rows))
        n_new = len(job.new) if job.new is not None else 0
        return (
            f"{min(counts)} to {max(counts)} of {n_new} new photos joined" if n_new else "no new photos to learn from"
        )
