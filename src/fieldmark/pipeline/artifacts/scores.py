"""Probabilities of labels for all photos: of each model of an ensemble and of their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fieldmark.data.collection import Collection
from fieldmark.data.scores import OutOfFold, Scores
from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

MEAN = "mean"
NEW = ".new.npy"
ABSENT, KNOWN_ABSENT = "absent.npy", "known_absent.npy"
"""Which new and which known photos the models know nothing of: no file, no text. Absent where they know all."""


@dataclass(frozen=True)
class MemberScores:
    """What one member of an ensemble, or their mean, says of some photos.

    Attributes:
        labels: The labels it predicts.
        by_fold: Their probabilities by the models of each fold alone; a single one where no fold has its own.
    """

    labels: tuple[str, ...]
    by_fold: Float32[np.ndarray, "fold photo label"]

    @cached_property
    def mean(self) -> Float32[np.ndarray, "photo label"]:
        """The mean over folds."""
        return np.asarray(self.by_fold.mean(axis=0))

    def of(self, tags: Sequence[str], k: int | None = None) -> Float32[np.ndarray, "photo label"]:
        """A column for each of ``tags``, 0 for labels it does not predict; ``k``: by the models of one fold alone."""
        return all_columns(self.mean if k is None else np.asarray(self.by_fold[k]), self.labels, tags)


@dataclass(frozen=True)
class ScoredPhotos:
    """What a stage with label scores says of some photos.

    Attributes:
        mean: Of all members.
        members: Each of them by name, in the order of their names; empty where there is but one.
        absent: Photos of which nothing is known: no file, no text.
    """

    mean: MemberScores
    absent: Bool[np.ndarray, " photo"]
    members: Mapping[str, MemberScores] = field(default_factory=dict)

    @property
    def members_or_mean(self) -> Mapping[str, MemberScores]:
        """The members by name; the mean where it is all."""
        return self.members or {MEAN: self.mean}


class LabelScores(Artifact):
    """Out-of-fold probabilities of the known photos, and those of the new ones by fold.

    An out-of-fold store for each member and for their ``mean``. What is trained again for fold k (pseudo-labels) may
    only use new photos' scores of fold k, as the other models have seen the photos that validate fold k.
    """

    of_photos = True
    each_fold = True

    def write(
        self,
        member: str,
        known: Collection,
        *,
        labels: Sequence[str],
        fold: Int64[np.ndarray, " photo"],
        proba: Float32[np.ndarray, "photo label"],
    ) -> None:
        """Write the out-of-fold probabilities of a member, or of the ``mean``.

        Args:
            member: Its name.
            known: The known photos.
            labels: Those it predicts, in the order of the columns.
            fold: Of each photo.
            proba: Each photo's by models that have not seen it.
        """
        images = np.array(known.images, dtype=object)
        with OutOfFold.create(self.folder / member, labels) as store:
            for k in range(int(fold.max()) + 1):
                own = fold == k
                store.add(list(images[own]), proba[own], fold=k, trained_on=list(images[~own]))

    def write_known_absent(self, absent: Bool[np.ndarray, " photo"]) -> None:
        """Note the known photos of which nothing is known."""
        if absent.any():
            np.save(self.folder / KNOWN_ABSENT, absent)

    @property
    def members(self) -> list[str]:
        """The names of the members, sorted; the mean where it is all."""
        found = sorted(path.parent.name for path in self.folder.glob("*/columns.json"))
        return [member for member in found if member != MEAN] or found

    def labels(self, member: str = MEAN) -> tuple[str, ...]:
        """The labels that a member predicts."""
        return Scores.open(self.folder / member).columns

    def known(self, photos: Collection, member: str = MEAN) -> Float32[np.ndarray, "photo label"]:
        """The out-of-fold probabilities of known photos; a column for each tag, 0 for labels that are not predicted."""
        scores = Scores.open(self.folder / member)
        return all_columns(scores.rows(photos.images), scores.columns, photos.vocabulary.tags)

    def known_absent(self, photos: Collection) -> Bool[np.ndarray, " photo"]:
        """The known photos of which nothing is known."""
        return _absent(self.folder / KNOWN_ABSENT, len(photos))

    def keep(self, value: ScoredPhotos, context: Context) -> str:
        """Write the probabilities of the new photos by fold, and of which nothing is known."""
        for name, member in {**value.members, MEAN: value.mean}.items():
            np.save(self._new(name), member.by_fold)
        if value.absent.any():
            np.save(self.folder / ABSENT, value.absent)
        return f"{context.n_new:,} new photos"

    def kept(self, context: Context) -> ScoredPhotos:
        """The probabilities of the new photos; arrays stay on disk until they are used."""
        names = self.members
        mean = self._member(MEAN)
        members = {} if names == [MEAN] else {name: self._member(name) for name in names}
        return ScoredPhotos(mean, _absent(self.folder / ABSENT, context.n_new), members)

    def _member(self, name: str) -> MemberScores:
        return MemberScores(self.labels(name), np.load(self._new(name), mmap_mode="r", allow_pickle=False))

    def _new(self, member: str) -> Path:
        return self.folder / f"{member}{NEW}"


def all_columns(
    rows: Float32[np.ndarray, "photo label"], labels: Sequence[str], tags: Sequence[str]
) -> Float32[np.ndarray, "photo tag"]:
    """Rows with a column for each of ``tags``: 0 for those that are not among ``labels``."""
    if tuple(labels) == tuple(tags):
        return np.asarray(rows)
    place = {name: column for column, name in enumerate(tags)}
    wide = np.zeros((len(rows), len(tags)), dtype=np.float32)
    wide[:, [place[name] for name in labels]] = rows
    return wide


def _absent(path: Path, n_photos: int) -> Bool[np.ndarray, " photo"]:
    return np.load(path, allow_pickle=False) if path.exists() else np.zeros(n_photos, dtype=np.bool_)
