"""The kind *score*: the probability of every label for every photo, by networks that have not seen it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.lessons import visible
from fieldmark.stages.common.train import Train


@stage
class Score(Stage):
    """Show every photo to the networks of some train stages, the members of an ensemble.

    Known photos are answered by the networks of the fold that held them back, new photos by all. A label's
    probability is the mean over the networks that answer it (a network for one group of labels answers only those).

    Attributes:
        of: The train stages.
        on: Their split stage.
        also: Stages with label scores whose members count in the mean too.
        flip: Look at each photo mirrored too (test-time augmentation).
    """

    output = LabelScores
    kind: Literal["score"] = "score"
    of: Annotated[tuple[str, ...], Ref(Models), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    also: Annotated[tuple[str, ...], Ref(LabelScores, by_fold=True)] = ()
    flip: bool = True

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Networks of individuals."""
        sources = [one for name in self.of if isinstance(one := earlier.get(name), Train)]
        return [
            f"{self.name}: '{one.name}' learns individuals; score needs networks with a sigmoid head"
            for one in sources
            if not one.learns_labels
        ]

    def fit(self, context: Context, folder: Path) -> str:
        """Write an out-of-fold store for each train stage, and for the ``mean`` of all."""
        known, fold, left = context.known, context.artifact(Folds, self.on).fold, LabelScores(folder)
        tags = known.vocabulary.tags
        total = _Total(tags, shape=(len(known), len(tags)))
        for name in self.of:
            labels = context.artifact(Models, name).labels
            proba = self._known(context, name, fold=fold, n_labels=len(labels))
            left.write(name, known, labels=labels, fold=fold, proba=proba)
            total.add(labels, proba)
        for name in self.also:
            scores = context.artifact(LabelScores, name)
            for member in scores.members:
                labels = list(scores.labels(member))
                total.add(labels, scores.known(known, member)[:, total.columns(labels)])
        left.write(MEAN, known, labels=tags, fold=fold, proba=total.mean())
        silent = int((total.n_members == 0).sum())
        return f"{len(self.of)} network(s) a fold, {len(fold)} known photos" + (
            f"; {silent} labels answered by none" if silent else ""
        )

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Probabilities of any photos by the networks of each fold; 0 for photos without a file."""
        tags = ask.context.known.vocabulary.tags
        total: _Total | None = None
        members: dict[str, MemberScores] = {}
        for name in self.of:
            labels = ask.artifact(Models, name).labels
            by_fold = self._each_fold(ask, name, n_labels=len(labels))
            members[name] = MemberScores(tuple(labels), by_fold)
            total = total or _Total(tags, shape=(*by_fold.shape[:2], len(tags)))
            total.add(labels, by_fold)
        for name in self.also:
            for member in ask.value(ScoredPhotos, name).members_or_mean.values():
                if total is not None:
                    total.add(list(member.labels), member.by_fold)
        if total is None:
            raise TypeError("a score stage has at least one train stage")
        mean = MemberScores(tuple(tags), total.mean())
        return ScoredPhotos(mean, ~ask.photos.present, {name: members[name] for name in sorted(members)})

    def _known(
        self, context: Context, name: str, *, fold: np.ndarray, n_labels: int
    ) -> Float32[np.ndarray, "photo label"]:
        """What the networks of one train stage say of the known photos, each the one that has not seen it."""
        from fieldmark.pipeline.networks import label_proba, share_backbone
        from fieldmark.quality.regions.sources import label_source
        from fieldmark.training.features import FeatureStore

        nets = context.artifact(Models, name).nets(context.device)
        # The photos that training asked for, in its order, so that kept features serve both.
        source = label_source((context.known, visible(context.new)), nets[0].preprocess)
        features = FeatureStore(context.features) if context.features is not None and share_backbone(nets) else None
        proba = np.zeros((len(context.known), n_labels), dtype=np.float32)
        for k, net in enumerate(nets):
            own = np.flatnonzero(fold == k)
            what = f"{name}, network {k + 1}"
            (proba[own],) = label_proba(
                [net], source, items=own, flip=self.flip, features=features, what=what, **context.pace
            )
        return proba

    def _each_fold(self, ask: Ask, name: str, *, n_labels: int) -> Float32[np.ndarray, "fold photo label"]:
        """What the networks of one train stage say of any photos."""
        from fieldmark.pipeline.networks import label_proba, share_backbone
        from fieldmark.quality.regions.sources import label_source

        nets = ask.artifact(Models, name).nets(ask.context.device)
        there = np.flatnonzero(ask.photos.present)
        by_fold = np.zeros((len(nets), len(ask.photos), n_labels), dtype=np.float32)
        if len(there):
            # Of the run's own photos features may be kept since training, where they follow the known ones.
            parts = (ask.context.known, ask.photos.take(there)) if ask.application.own else (ask.photos.take(there),)
            source = label_source(parts, nets[0].preprocess)
            found = label_proba(
                nets,
                source,
                items=len(source) - len(there) + np.arange(len(there)),
                flip=self.flip,
                features=ask.application.features if share_backbone(nets) else None,
                what=name,
                **ask.context.pace,
            )
            by_fold[:, there] = np.stack(found)
        return by_fold


class _Total:
    """A sum over members that need not answer all labels."""

    def __init__(self, tags: tuple[str, ...], *, shape: tuple[int, ...]) -> None:
        self._column = {name: at for at, name in enumerate(tags)}
        self._sum = np.zeros(shape, dtype=np.float32)
        self.n_members = np.zeros(len(tags), dtype=np.float32)

    def columns(self, labels: list[str]) -> list[int]:
        """Where labels stand."""
        return [self._column[label] for label in labels]

    def add(self, labels: list[str], proba: np.ndarray) -> None:
        """One more member, which answers ``labels``."""
        columns = self.columns(labels)
        self._sum[..., columns] += proba
        self.n_members[columns] += 1

    def mean(self) -> np.ndarray:
        """The mean over the members of each label; 0 where there is none."""
        return self._sum / np.maximum(self.n_members, 1)
