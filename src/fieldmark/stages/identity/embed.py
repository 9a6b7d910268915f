"""The verb *embed*: what each network says of the photos it has not seen, and a gallery of the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.errors import RunError
from fieldmark.core.spec import Spec
from fieldmark.data.scores import OutOfFold, Scores
from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job

if TYPE_CHECKING:
    from fieldmark.pipeline.networks import SavedNet


PROBA = "scores"
NEW_PROBA = "new_proba"


class Embed(Spec):
    """Show every photo to the networks of ``of``.

    Validation photos are answered by the network that has not learnt from them, and the head's probabilities for them
    go to the out-of-fold store; new photos are answered by each network. Embeddings of known photos go to one gallery a
    network.

    Attributes:
        of: The train stage.
        on: Its split stage.
        flip: Look at each photo mirrored too (test-time augmentation).
    """

    verb: Literal["embed"] = "embed"
    name: str
    of: str
    on: str
    flip: bool = True

    def reads(self) -> tuple[str, ...]:
        """The train stage and its split."""
        return (self.of, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``gallery<k>``, ``validation<k>.npy``, ``new<k>.npy``, ``new_proba<k>.npy``, ``scores``."""
        from fieldmark.pipeline.networks import saved_nets

        known, new = job.known, job.new
        fold = read_folds(job, self.on)
        nets = saved_nets(job.run.stage(self.of), device=job.device)
        names = list(known.vocabulary.identities)
        store = OutOfFold.create(folder / PROBA, names) if nets[0].judges else None
        for k, net in enumerate(nets):
            proba = self._known(job, folder, net, k=k, fold=fold)
            if store is not None and proba is not None:
                images = np.array(known.images, dtype=object)
                store.add(list(images[fold == k]), proba, fold=k, trained_on=list(images[fold != k]))
            if new is not None and len(new):
                looked = net.look(
                    new, flip=self.flip, n_identities=len(names), what=f"new photos, network {k + 1}", **job.pace
                )
                np.save(folder / f"new{k}.npy", looked.embedding)
                if looked.proba is not None:
                    np.save(folder / f"{NEW_PROBA}{k}.npy", looked.proba)
        if store is not None:
            store.close()
        return f"{len(nets)} network(s), {len(known)} known photos" + (f", {len(new)} new photos" if new else "")

    def _known(self, job: Job, folder: Path, net: SavedNet, *, k: int, fold: np.ndarray) -> np.ndarray | None:
        """Write the gallery of network k and its validation photos' embeddings; give its probabilities for them."""
        known = job.known
        judged, taught = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        of_taught = net.look(known.take(taught), flip=self.flip, what=f"training photos, network {k + 1}", **job.pace)
        of_judged = net.look(
            known.take(judged),
            flip=self.flip,
            n_identities=len(known.vocabulary.identities),
            what=f"validation photos, network {k + 1}",
            **job.pace,
        )
        views, _, dim = of_taught.embedding.shape
        embedding = np.zeros((views, len(known), dim), dtype=np.float32)
        embedding[:, taught], embedding[:, judged] = of_taught.embedding, of_judged.embedding
        # Unlabelled photos (class -2) and extra ones are nobody to compare with, as strangers are.
        classes = np.where(known.extra, -1, np.maximum(known.classes, -1))
        GalleryStore.write(folder / f"gallery{k}", embedding, images=known.images, classes=classes, made_by=net.sha256)
        np.save(folder / f"validation{k}.npy", of_judged.embedding)
        return of_judged.proba


def head_proba(place: Path, images: Sequence[str]) -> Float32[np.ndarray, "photo identity"] | None:
    """What the heads say of validation photos, each the one that has not learnt from it; None if they say nothing."""
    return Scores.open(place / PROBA).rows(list(images)) if (place / PROBA).exists() else None


def new_head_proba(place: Path, *, k: int) -> Float32[np.ndarray, "photo identity"] | None:
    """What the head of network ``k`` says of all new photos; None if it says nothing.

    Raises:
        RunError: The stage was run by an older version, which did not keep it.
    """
    path = place / f"{NEW_PROBA}{k}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    if (place / PROBA).exists():
        raise RunError(
            "What the heads say of the new photos was not kept by the version that asked them.",
            got=place,
            fix=f"delete the folder {place} and run the same `fieldmark train` command again.",
        )
    return None
