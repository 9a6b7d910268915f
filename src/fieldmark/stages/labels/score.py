"""The stage *score*: out-of-fold probability of every label for every photo."""

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
    """Predict label probabilities with the networks of one or more train stages, and average them.

    The networks of fold k predict the validation photos of fold k. All networks predict the new photos. The probability
    of a label is the mean over the networks that predict the label: a network for one label group predicts only the
    labels of that group.

    Attributes:
        of: Train stages.
        on: Split stage of the train stages.
        also: Stages with label scores whose members are added to the mean.
        flip: Whether to predict each photo mirrored too (test-time augmentation).
    """

    output = LabelScores
    kind: Literal["score"] = "score"
    of: Annotated[tuple[str, ...], Ref(Models), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    also: Annotated[tuple[str, ...], Ref(LabelScores, by_fold=True)] = ()
    flip: bool = True

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return mistakes: networks that predict individuals."""
        sources = [one for name in self.of if isinstance(one := earlier.get(name), Train)]
        return [
            f"{self.name}: '{one.name}' is trained on individuals, but score needs networks with a sigmoid head"
            for one in sources
            if not one.learns_labels
        ]

    def fit(self, context: Context, folder: Path) -> str:
        """Write an out-of-fold store for each train stage, and one for their ``mean``."""
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
        n_missing = int((total.n_members == 0).sum())
        return f"{len(self.of)} network(s) per fold, {len(fold)} known photos" + (
            f"; {n_missing} labels that no network predicts" if n_missing else ""
        )

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Return the probabilities of any photos by the networks of each fold; 0 for photos without a file."""
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
        """Return the out-of-fold probabilities of the known photos, from the networks of one train stage."""
        from fieldmark.pipeline.networks import label_proba, share_backbone
        from fieldmark.quality.regions.sources import label_source
        from fieldmark.training.features import FeatureStore

        nets = context.artifact(Models, name).nets(context.device)
        # The same photos in the same order as in training, so that its cached features are used.
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
        """Return the probabilities of any photos, from each network of one train stage."""
        from fieldmark.pipeline.networks import label_proba, share_backbone
        from fieldmark.quality.regions.sources import label_source

        nets = ask.artifact(Models, name).nets(ask.context.device)
        there = np.flatnonzero(ask.photos.present)
        by_fold = np.zeros((len(nets), len(ask.photos), n_labels), dtype=np.float32)
        if len(there):
            # Training may have cached the features of the run's own new photos, which follow the known ones.
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
    """A sum over members that may predict only some of the labels."""

    def __init__(self, tags: tuple[str, ...], *, shape: tuple[int, ...]) -> None:
        self._column = {name: at for at, name in enumerate(tags)}
        self._sum = np.zeros(shape, dtype=np.float32)
        self.n_members = np.zeros(len(tags), dtype=np.float32)

    def columns(self, labels: list[str]) -> list[int]:
        """Return the columns of some labels."""
        return [self._column[label] for label in labels]

    def add(self, labels: list[str], proba: np.ndarray) -> None:
        """Add the probabilities of one member, which predicts ``labels``."""
        columns = self.columns(labels)
        self._sum[..., columns] += proba
        self.n_members[columns] += 1

    def mean(self) -> np.ndarray:
        """Return the mean over the members that predict each label; 0 for labels without a member."""
        return self._sum / np.maximum(self.n_members, 1)
