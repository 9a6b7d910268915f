"""Label probabilities of all photos: of each member of an ensemble, and of their mean."""

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
"""Files that mark the new and the known photos without input for the models (no image file, no text).

They are not written if every photo has an input."""


@dataclass(frozen=True)
class MemberScores:
    """The label probabilities of one member of an ensemble, or of the mean, for some photos.

    Attributes:
        labels: Labels that the member predicts.
        by_fold: Probabilities by the models of each fold; a single entry if there are none by fold.
    """

    labels: tuple[str, ...]
    by_fold: Float32[np.ndarray, "fold photo label"]

    @cached_property
    def mean(self) -> Float32[np.ndarray, "photo label"]:
        """The mean probabilities over the folds."""
        return np.asarray(self.by_fold.mean(axis=0))

    def of(self, tags: Sequence[str], k: int | None = None) -> Float32[np.ndarray, "photo label"]:
        """Return the probabilities with one column per tag; 0 for labels that the member does not predict.

        Args:
            tags: Labels of the columns.
            k: Use only the models of this fold; None: the mean over folds.
        """
        return all_columns(self.mean if k is None else np.asarray(self.by_fold[k]), self.labels, tags)


@dataclass(frozen=True)
class ScoredPhotos:
    """The label probabilities of a stage for some photos.

    Attributes:
        mean: Mean of all members.
        absent: Whether a photo has no input for the models (no image file, no text).
        members: Members by name, sorted by name; empty if the mean is the only one.
    """

    mean: MemberScores
    absent: Bool[np.ndarray, " photo"]
    members: Mapping[str, MemberScores] = field(default_factory=dict)

    @property
    def members_or_mean(self) -> Mapping[str, MemberScores]:
        """The members by name, or the mean if there are no members."""
        return self.members or {MEAN: self.mean}


class LabelScores(Artifact):
    """Out-of-fold probabilities of the known photos, and probabilities of the new photos by fold.

    Each member has an out-of-fold store, and so has the ``mean``. Pseudo-labels for the training of fold k use only the
    scores of fold k, because the models of other folds were trained on the validation photos of fold k.
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
            member: Name of the member.
            known: Known photos.
            labels: Labels that the member predicts, in the order of the columns.
            fold: Fold of each photo.
            proba: Out-of-fold probabilities of each photo.
        """
        images = np.array(known.images, dtype=object)
        with OutOfFold.create(self.folder / member, labels) as store:
            for k in range(int(fold.max()) + 1):
                own = fold == k
                store.add(list(images[own]), proba[own], fold=k, trained_on=list(images[~own]))

    def write_known_absent(self, absent: Bool[np.ndarray, " photo"]) -> None:
        """Write which known photos have no input for the models."""
        if absent.any():
            np.save(self.folder / KNOWN_ABSENT, absent)

    @property
    def members(self) -> list[str]:
        """The names of the members, sorted; the mean if there are no members."""
        found = sorted(path.parent.name for path in self.folder.glob("*/columns.json"))
        return [member for member in found if member != MEAN] or found

    def labels(self, member: str = MEAN) -> tuple[str, ...]:
        """Return the labels that a member predicts."""
        return Scores.open(self.folder / member).columns

    def known(self, photos: Collection, member: str = MEAN) -> Float32[np.ndarray, "photo label"]:
        """Return the out-of-fold probabilities of known photos, one column per tag; 0 for labels not predicted."""
        scores = Scores.open(self.folder / member)
        return all_columns(scores.rows(photos.images), scores.columns, photos.vocabulary.tags)

    def known_absent(self, photos: Collection) -> Bool[np.ndarray, " photo"]:
        """Return which known photos have no input for the models."""
        return _absent(self.folder / KNOWN_ABSENT, len(photos))

    def keep(self, value: ScoredPhotos, context: Context) -> str:
        """Write the probabilities of the new photos by fold, and which photos have no input."""
        for name, member in {**value.members, MEAN: value.mean}.items():
            np.save(self._new(name), member.by_fold)
        if value.absent.any():
            np.save(self.folder / ABSENT, value.absent)
        return f"{context.n_new:,} new photos"

    def kept(self, context: Context) -> ScoredPhotos:
        """Return the probabilities of the new photos as memory-mapped arrays."""
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
    """Return the rows with one column per tag; 0 for tags that are not among ``labels``."""
    if tuple(labels) == tuple(tags):
        return np.asarray(rows)
    place = {name: column for column, name in enumerate(tags)}
    wide = np.zeros((len(rows), len(tags)), dtype=np.float32)
    wide[:, [place[name] for name in labels]] = rows
    return wide


def _absent(path: Path, n_photos: int) -> Bool[np.ndarray, " photo"]:
    return np.load(path, allow_pickle=False) if path.exists() else np.zeros(n_photos, dtype=np.bool_)
