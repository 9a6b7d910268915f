"""Embeddings of photos, and probabilities of individuals from the heads of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from fieldmark.core.errors import RunError
from fieldmark.data.collection import Collection
from fieldmark.data.scores import OutOfFold, Scores
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.artifacts.base import Artifact
from fieldmark.pipeline.artifacts.folds import Folds

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

PROBA = "scores"


@dataclass(frozen=True)
class Embedded:
    """The outputs of each fold's network for some photos.

    Attributes:
        embedding: Unit-length embeddings of shape (view, photo, dim), one array per fold.
        proba: The head's probability of each individual, one array per fold; None if the heads have none.
    """

    embedding: Sequence[Float32[np.ndarray, "view photo dim"]]
    proba: Sequence[Float32[np.ndarray, "photo identity"]] | None

    def proba_by(self, k: int) -> Float32[np.ndarray, "photo identity"] | None:
        """Return the probabilities of the network of fold ``k``."""
        return None if self.proba is None else self.proba[k]


class Embeddings(Artifact):
    """For each fold, a gallery of all known photos, and the embeddings of its validation photos and of the new photos.

    The probabilities of the validation photos are in an out-of-fold store.
    """

    of_photos = True
    each_fold = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._galleries: dict[int, GalleryStore] = {}

    @property
    def n_folds(self) -> int:
        """The number of networks."""
        return len(list(self.folder.glob("gallery*")))

    def write_gallery(
        self,
        k: int,
        embedding: Float32[np.ndarray, "view photo dim"],
        *,
        images: Sequence[str],
        classes: np.ndarray,
        made_by: str,
    ) -> None:
        """Write the gallery of network ``k``. ``made_by`` is the SHA-256 of its weights."""
        GalleryStore.write(self._gallery(k), embedding, images=images, classes=classes, made_by=made_by)

    def gallery(self, k: int, *, made_by: str | None = None) -> GalleryStore:
        """Return the gallery of network ``k``: its embeddings of the known photos.

        Raises:
            RunError: The gallery is damaged, or it was made by another network than ``made_by``.
        """
        if k not in self._galleries:
            self._galleries[k] = GalleryStore.open(self._gallery(k), made_by=made_by)
        return self._galleries[k]

    def gallery_apart(self, k: int, folds: Folds, known: Collection) -> GalleryStore:
        """Return the gallery of network ``k`` without its validation photos."""
        return self.gallery(k).without(folds.validation(known, k=k))

    def write_validation(self, k: int, embedding: Float32[np.ndarray, "view photo dim"]) -> None:
        """Write the embeddings of the validation photos of network ``k``, in row order."""
        np.save(self.folder / f"validation{k}.npy", embedding)

    def validation(self, k: int, *, mapped: bool = False) -> Float32[np.ndarray, "view photo dim"]:
        """Return the embeddings of the validation photos of network ``k``. ``mapped``: memory-map the file."""
        return np.load(self.folder / f"validation{k}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)

    def new_store(self, identities: Sequence[str]) -> OutOfFold:
        """Create a store for the probabilities of validation photos, to be filled fold by fold."""
        return OutOfFold.create(self.folder / PROBA, identities)

    @property
    def has_proba(self) -> bool:
        """Whether the heads predict a probability for each individual."""
        return (self.folder / PROBA).exists()

    def proba(self, images: Sequence[str]) -> Float32[np.ndarray, "photo identity"] | None:
        """Return the out-of-fold probabilities of validation photos; None if the heads have none."""
        return Scores.open(self.folder / PROBA).rows(list(images)) if self.has_proba else None

    def keep(self, value: Embedded, context: Context) -> str:
        """Write the outputs of each network for the new photos."""
        for k, embedding in enumerate(value.embedding):
            np.save(self._new(k), embedding)
        for k, proba in enumerate(value.proba or ()):
            np.save(self._new_proba(k), proba)
        return f"{context.n_new} new photos"

    def kept(self, context: Context) -> Embedded:
        """Return the outputs of each network for the new photos.

        Raises:
            RunError: An older version made the run and did not store the probabilities.
        """
        del context
        folds = range(self.n_folds)
        if self.has_proba and not self._new_proba(0).exists():
            raise RunError(
                "The run lacks the heads' probabilities for the new photos: an older version of fieldmark made it.",
                got=self.folder,
                fix=f"delete the folder {self.folder} and run the same `fieldmark train` command again.",
            )
        proba = [np.load(self._new_proba(k), allow_pickle=False) for k in folds] if self.has_proba else None
        return Embedded([np.load(self._new(k), allow_pickle=False) for k in folds], proba)

    def _gallery(self, k: int) -> Path:
        return self.folder / f"gallery{k}"

    def _new(self, k: int) -> Path:
        return self.folder / f"new{k}.npy"

    def _new_proba(self, k: int) -> Path:
        return self.folder / f"new_proba{k}.npy"
