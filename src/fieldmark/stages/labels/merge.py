"""The verb *merge*: what pictures and texts say of an answer, weighed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field

from fieldmark.core.files import read_json, write_json
from fieldmark.core.spec import Fraction, Spec
from fieldmark.decisions.specs import GeometricMean, MergeRule
from fieldmark.stages.common.questions import prior_of, told_truth
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job
from fieldmark.stages.scored import MEAN, absent_of, known_proba, new_proba, speaks_by_fold, write_absent, write_scored

if TYPE_CHECKING:
    from fieldmark.stages.engine import Opened

WEIGHTS = "weights.json"


class Merge(Spec):
    """Merge the scores of several stages; where one knows nothing of a photo the others speak, at last the prior.

    Attributes:
        reads_from: Stages with scores, of one split.
        on: The split stage.
        by: How values become one.
        weights: Of each stage; empty: those of least error on out-of-fold scores.
    """

    verb: Literal["merge"] = "merge"
    name: str
    reads_from: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    by: MergeRule = GeometricMean()
    weights: tuple[Fraction, ...] = ()

    def reads(self) -> tuple[str, ...]:
        """The stages with scores and their split."""
        return (*self.reads_from, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write merged scores as a score stage does, and ``weights.json``."""
        from fieldmark.decisions.merging import find_weights

        vocabulary, fold = job.known.vocabulary, read_folds(job, self.on)
        truth = told_truth(job.known)
        parts = [known_proba(job, name) for name in self.reads_from]
        silent = [absent_of(job, name, known=True) for name in self.reads_from]
        prior = prior_of(job.known)
        told: dict[str, object] = {"of": list(self.reads_from), "by": self.by.kind, "prior": prior.tolist()}
        weights = np.tile(np.array(self.weights)[:, None], (1, len(vocabulary.questions))) if self.weights else None
        if weights is None:
            found = find_weights(parts, truth, vocabulary.question_of, by=self.by, fold=fold, absent=silent)
            weights = found.weights
            told |= {"error": found.error, "crossed_error": found.crossed, "alone": found.alone.tolist()}
        told["weights"] = weights.tolist()
        write_json(folder / WEIGHTS, told)
        proba = self._merged(parts, silent, question_of=vocabulary.question_of, weights=weights, prior=prior)
        new = None
        if job.new is not None and len(job.new):
            absent = [absent_of(job, name) for name in self.reads_from]
            by_fold = all(speaks_by_fold(job, name) for name in self.reads_from)
            folds: list[int | None] = list(range(int(fold.max()) + 1)) if by_fold else [None]
            new = np.stack(
                [
                    self._merged(
                        [new_proba(job, name, k=k) for name in self.reads_from],
                        absent,
                        question_of=vocabulary.question_of,
                        weights=weights,
                        prior=prior,
                    )
                    for k in folds
                ]
            )
            write_absent(folder, job, np.all(absent, axis=0))
        write_scored(folder, MEAN, job, columns=vocabulary.tags, fold=fold, proba=proba, new=new)
        means = weights.mean(axis=1) / weights.mean(axis=1).sum()
        return ", ".join(f"{name} {weight:.2f}" for name, weight in zip(self.reads_from, means, strict=True))

    def merged(
        self,
        opened: Opened,
        parts: Sequence[Float32[np.ndarray, "photo answer"]],
        absent: Sequence[Bool[np.ndarray, " photo"]],
    ) -> Float32[np.ndarray, "photo answer"]:
        """What a finished stage makes of its parts' scores of other photos."""
        told = read_json(opened.run.stage(self.name) / WEIGHTS)
        return self._merged(
            parts,
            absent,
            question_of=opened.known.vocabulary.question_of,
            weights=np.array(told["weights"]),
            prior=np.array(told["prior"]),
        )

    def _merged(
        self,
        parts: Sequence[np.ndarray],
        absent: Sequence[np.ndarray],
        *,
        question_of: np.ndarray,
        weights: np.ndarray,
        prior: np.ndarray,
    ) -> np.ndarray:
        from fieldmark.decisions.merging import merge

        return merge(parts, question_of, by=self.by, weights=weights, absent=absent, prior=prior)
