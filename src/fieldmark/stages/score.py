"""The verb *score*: the probability of every label for every photo, by networks that have not seen it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.files import read_json
from fieldmark.core.spec import Spec
from fieldmark.stages.job import Job
from fieldmark.stages.scored import MEAN, known_proba, labels_of, new_proba, write_absent, write_scored
from fieldmark.stages.split import read_folds
from fieldmark.stages.train import LABELS


class Score(Spec):
    """Show every photo to the networks of some train stages, the zoo.

    Known photos are answered by the networks of the fold that held them back, new photos by all. A label's
    probability is the mean over the networks that answer it (a network for one group of labels answers only those).

    Attributes:
        of: The train stages.
        on: Their split stage.
        also: Score stages whose networks have a say in the mean too.
        flip: Look at each photo mirrored too (test-time augmentation).
    """

    verb: Literal["score"] = "score"
    name: str
    of: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    also: tuple[str, ...] = ()
    flip: bool = True

    def reads(self) -> tuple[str, ...]:
        """The train stages, their split, and the score stages."""
        return (*self.of, self.on, *self.also)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of its models, in the order in which later stages read their scores.

        Training and answering both take the order from here. It is sorted, so it does not depend on the order in which
        the plan lists the networks.
        """
        return tuple(sorted(set(self.of)))

    def run(self, job: Job, folder: Path) -> str:
        """Write an out-of-fold store for each train stage, and for the ``mean`` of all."""
        fold = read_folds(job, self.on)
        total = _Total(job, n_folds=int(fold.max()) + 1)
        for name in self.models:
            labels: list[str] = read_json(job.run.stage(name) / "fold0" / LABELS)
            proba, new = self._voice(job, name, fold=fold, n_labels=len(labels))
            write_scored(folder, name, job, columns=labels, fold=fold, proba=proba, new=new)
            total.add(labels, proba, new)
        for stage in self.also:
            for voice in job.stages[stage].models:
                labels = list(labels_of(job, stage, voice=voice))
                columns = [total.column[label] for label in labels]
                of_new = None
                if total.new is not None:
                    folds = range(len(total.new))
                    of_new = np.stack([new_proba(job, stage, voice=voice, k=k)[:, columns] for k in folds])
                total.add(labels, known_proba(job, stage, voice=voice)[:, columns], of_new)
        proba, new = total.mean()
        write_absent(folder, job)
        tags = job.known.vocabulary.tags
        write_scored(folder, MEAN, job, columns=tags, fold=fold, proba=proba, new=new)
        silent = int((total.n_voices == 0).sum())
        return f"{len(self.of)} network(s) a fold, {len(fold)} known and {total.n_new} new photos" + (
            f"; {silent} labels answered by none" if silent else ""
        )

    def _voice(
        self, job: Job, name: str, *, fold: np.ndarray, n_labels: int
    ) -> tuple[Float32[np.ndarray, "image label"], Float32[np.ndarray, "fold photo label"] | None]:
        """What the networks of one train stage say of the known photos, out of fold, and of the new ones."""
        from fieldmark.stages.nets import label_source, saved_nets

        n, n_new, n_seen = len(job.known), *(len(one) if one is not None else 0 for one in (job.new, job.visible))
        nets = saved_nets(job.run.stage(name), device=job.device)
        source = label_source((job.known, job.visible), nets[0].preprocess)
        proba = np.zeros((n, n_labels), dtype=np.float32)
        there = np.flatnonzero(job.new.present) if job.new is not None else np.zeros(0, np.int64)
        new = np.zeros((len(nets), n_new, n_labels), dtype=np.float32)
        for k, net in enumerate(nets):
            judged = np.flatnonzero(fold == k)
            looked = net.label_proba(
                source,
                items=np.concatenate([judged, n + np.arange(n_seen)]),
                flip=self.flip,
                features=job.features,
                what=f"{name}, network {k + 1}",
                **job.pace,
            )
            proba[judged], new[k][there] = looked[: len(judged)], looked[len(judged) :]
        return proba, new if n_new else None


class _Total:
    """A sum over voices that need not answer all labels."""

    def __init__(self, job: Job, *, n_folds: int) -> None:
        tags = job.known.vocabulary.tags
        self.column = {name: at for at, name in enumerate(tags)}
        self.n_new = len(job.new) if job.new is not None else 0
        self.known = np.zeros((len(job.known), len(tags)), dtype=np.float32)
        self.new = np.zeros((n_folds, self.n_new, len(tags)), dtype=np.float32) if self.n_new else None
        self.n_voices = np.zeros(len(tags), dtype=np.float32)

    def add(self, labels: list[str], proba: np.ndarray, new: np.ndarray | None) -> None:
        """One more voice, which answers ``labels``."""
        columns = [self.column[label] for label in labels]
        self.known[:, columns] += proba
        if self.new is not None and new is not None:
            self.new[:, :, columns] += new
        self.n_voices[columns] += 1

    def mean(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The mean over the voices of each label; 0 where there is none."""
        n = np.maximum(self.n_voices, 1)
        return self.known / n, None if self.new is None else self.new / n
