"""What a finished run's networks, trees and texts say of any photos: the probability of every label."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32

from fieldmark.core.files import read_json
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import Collection
from fieldmark.stages.engine import Opened
from fieldmark.stages.finding import with_found
from fieldmark.stages.lend import Lend, lent_to
from fieldmark.stages.merge import Merge
from fieldmark.stages.nets import SavedNet, label_source, saved_nets
from fieldmark.stages.plan import Stage
from fieldmark.stages.score import Score
from fieldmark.stages.stack import Stack, judge
from fieldmark.stages.texts import Texts
from fieldmark.stages.train import LABELS


class Voices:
    """The stages of a finished run that score labels.

    Args:
        opened: The run.
        device: Where to compute.
    """

    def __init__(self, opened: Opened, *, device: str = "auto") -> None:
        self.opened = opened
        self.stages = {stage.name: stage for stage in opened.plan.stages}
        self._device = device
        self._nets: dict[str, list[SavedNet]] = {}

    def proba(
        self, name: str, photos: Collection, *, n_workers: int = 2, progress: Progress = QUIET
    ) -> Float32[np.ndarray, "photo label"]:
        """The probability of every label of the vocabulary, as the stage ``name`` has it for new photos."""
        return self._proba(self.stages[name], photos, n_workers, progress)

    def absent(self, name: str, photos: Collection) -> Bool[np.ndarray, " photo"]:
        """Of which photos the stage ``name`` knows nothing: they have no file, or no text."""
        stage = self.stages[name]
        if isinstance(stage, Merge):
            return np.all([self.absent(each, photos) for each in stage.reads_from], axis=0)
        return stage.absent(photos) if isinstance(stage, Texts) else ~photos.present

    def _proba(
        self, stage: Stage, photos: Collection, n_workers: int, progress: Progress
    ) -> Float32[np.ndarray, "photo label"]:
        if isinstance(stage, Texts):
            return stage.proba(self.opened, photos)
        if isinstance(stage, Merge):
            parts = [self._proba(self.stages[name], photos, n_workers, progress) for name in stage.reads_from]
            return stage.merged(self.opened, parts, [self.absent(name, photos) for name in stage.reads_from])
        if isinstance(stage, Lend):
            proba = self._proba(self.stages[stage.reads_from], photos, n_workers, progress)
            return lent_to(
                self.opened, stage, photos, proba, device=self._device, n_workers=n_workers, progress=progress
            )
        if isinstance(stage, Stack):
            voices = {
                f"{name}/{voice}": proba
                for name in stage.reads_from
                for voice, proba in self._voices_of(self.stages[name], photos, n_workers, progress).items()
            }
            return judge(
                self.opened, stage, photos, voices, device=self._device, n_workers=n_workers, progress=progress
            )
        return self._mean(self._score(stage.name), photos, n_workers, progress)

    def _score(self, name: str) -> Score:
        stage = self.stages[name]
        if not isinstance(stage, Score):
            raise TypeError(f"{name} is no score stage")
        return stage

    def _voices_of(
        self, stage: Stage, photos: Collection, n_workers: int, progress: Progress
    ) -> dict[str, Float32[np.ndarray, "photo label"]]:
        """What each voice of a stage says; texts are one. The order is that of ``models``, as in training."""
        if isinstance(stage, Texts):
            return dict.fromkeys(stage.models, stage.proba(self.opened, photos))
        return self._voices(self._score(stage.name), photos, n_workers, progress)

    def _voices(
        self, stage: Score, photos: Collection, n_workers: int, progress: Progress
    ) -> dict[str, Float32[np.ndarray, "photo label"]]:
        """What each train stage's networks say, in the mean over folds; 0 for labels they do not answer."""
        tags = self.opened.known.vocabulary.tags
        column = {name: at for at, name in enumerate(tags)}
        voices = {}
        for name in stage.models:
            place = self.opened.run.stage(name)
            mine = [column[label] for label in read_json(place / "fold0" / LABELS)]
            if name not in self._nets:
                self._nets[name] = saved_nets(place, device=self._device)
            wide = np.zeros((len(photos), len(tags)), dtype=np.float32)
            finders = self._nets[name][0].preprocess.finders()
            photos = with_found(photos, finders, n_workers=n_workers, progress=progress)
            there = np.flatnonzero(photos.present)
            for net in self._nets[name] if len(there) else []:
                source = label_source((photos.take(there),), net.preprocess)
                wide[np.ix_(there, np.array(mine))] += net.label_proba(
                    source, items=np.arange(len(there)), flip=stage.flip, n_workers=n_workers, progress=progress
                ) / len(self._nets[name])
            voices[name] = wide
        return voices

    def _mean(
        self, stage: Score, photos: Collection, n_workers: int, progress: Progress
    ) -> Float32[np.ndarray, "photo label"]:
        """The mean over all networks that answer a label, those of ``also`` included."""
        tags = self.opened.known.vocabulary.tags
        column = {name: at for at, name in enumerate(tags)}
        total, n_voices = np.zeros((len(photos), len(tags)), dtype=np.float32), np.zeros(len(tags), dtype=np.float32)
        for part in (stage, *(self._score(name) for name in stage.also)):
            for name, proba in self._voices(part, photos, n_workers, progress).items():
                mine = [column[label] for label in read_json(self.opened.run.stage(name) / "fold0" / LABELS)]
                total += proba
                n_voices[mine] += 1
        return total / np.maximum(n_voices, 1)
