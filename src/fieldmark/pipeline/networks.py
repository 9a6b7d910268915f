"""Trained networks with everything they need to look at a photo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.spec import parse
from fieldmark.data.collection import Collection
from fieldmark.decisions.answering import compete, conditional
from fieldmark.decisions.questions import Questions
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.images.subjects import ANYWHERE
from fieldmark.images.views import merge_flip_scores
from fieldmark.models.network import Network
from fieldmark.models.specs import Head, QuestionsHead
from fieldmark.models.store import open as open_network
from fieldmark.quality.regions.finding import subjects_of, with_found
from fieldmark.training.embed import embed
from fieldmark.training.ranks import ranks


@dataclass(frozen=True)
class Looked:
    """What one network says of photos: an embedding a view, and each identity's probability."""

    embedding: Float32[np.ndarray, "view image dim"]
    proba: Float32[np.ndarray, "image identity"] | None


@dataclass(frozen=True)
class SavedNet:
    """A network, its preprocessing, the SHA-256 of its weights, and where it computes."""

    network: Network
    preprocess: Preprocess
    sha256: str
    device: torch.device

    @property
    def judges(self) -> bool:
        """Whether its head gives identities a probability."""
        return self.network.head is not None

    def look(
        self,
        photos: Collection,
        *,
        flip: bool,
        n_identities: int | None = None,
        n_workers: int = 2,
        progress: Progress = QUIET,
        what: str = "",
    ) -> Looked:
        """Embeddings of each view, and probabilities over all of them.

        A head with twice as many answers as there are identities took mirrored photos for other identities:
        identity k then has the mean of answer k to the photo and answer k + N to the mirrored photo. Where the
        preprocessing has several ways in use (boxes of several sources, aligned and not), each gives its own views.

        Args:
            photos: Any.
            flip: Also look at the mirrored photo.
            n_identities: Also give the probabilities of so many identities, if the head has any.
            n_workers: Threads that read ahead.
            progress: Told as batches end.
            what: What to call the job there.
        """
        photos = with_found(photos, self.preprocess.finders(), n_workers=n_workers, progress=progress)
        embeddings, probas = [], []
        for preprocess in self.preprocess.in_use():
            seen = embed(
                self.network,
                photo_source(photos, preprocess),
                device=self.device,
                flip=flip,
                logits=n_identities is not None and self.judges,
                n_workers=n_workers,
                progress=progress,
                what=what,
            )
            embeddings.append(seen.embedding)
            if seen.logits is None or n_identities is None:
                continue
            competing = self.network.net.head.kind == "cosine"
            proba = _probabilities(seen.logits.astype(np.float64), n_identities, competing=competing)
            probas.append(merge_flip_scores(proba[0], proba[1], n_identities) if flip else proba[0][:, :n_identities])
        embedding = embeddings[0] if len(embeddings) == 1 else np.concatenate(embeddings)
        return Looked(embedding, np.mean(probas, axis=0).astype(np.float32) if probas else None)

    def competing(
        self, photos: Collection, *, flip: bool, n_workers: int = 2
    ) -> Float32[np.ndarray, "view photo class"]:
        """How all classes of the head compete for each photo, mirror images as classes of their own: they sum to 1.

        Args:
            photos: Any.
            flip: Also look at the mirrored photo, a view of its own.
            n_workers: Threads that read ahead.
        """
        photos = with_found(photos, self.preprocess.finders(), n_workers=n_workers)
        said = []
        for preprocess in self.preprocess.in_use():
            source = photo_source(photos, preprocess)
            seen = embed(self.network, source, device=self.device, flip=flip, logits=True, n_workers=n_workers)
            if seen.logits is None:
                raise TypeError("a network that judges individuals has logits")
            competing = self.network.net.head.kind == "cosine"
            odds = _probabilities(seen.logits.astype(np.float64), seen.logits.shape[2], competing=competing)
            said.append(odds / odds.sum(axis=2, keepdims=True))
        return np.mean(said, axis=0).astype(np.float32)

    def label_proba(
        self,
        source: PhotoSource,
        *,
        items: Int64[np.ndarray, " photo"],
        flip: bool,
        features: Path | None = None,
        n_workers: int = 2,
        progress: Progress = QUIET,
        what: str = "",
    ) -> Float32[np.ndarray, "photo label"]:
        """The probability of each label for some photos of ``source``: the mean over views.

        Of a head for questions: of each answer, those to one question adding up to 1.

        Args:
            source: Photos without augmentation.
            items: Which of them.
            flip: Also look at the mirrored photo.
            features: Where features of a frozen backbone may lie; they are then not computed again.
            n_workers: Threads that read ahead.
            progress: Told as batches end.
            what: What to call the job there.
        """
        seen = embed(
            self.network,
            source,
            items=items,
            features=features,
            device=self.device,
            flip=flip,
            logits=True,
            n_workers=n_workers,
            progress=progress,
            what=what,
        )
        if seen.logits is None:
            raise TypeError("a network that answers labels has logits")
        head = self.network.net.head
        return np.mean([_label_proba(view, head) for view in seen.logits], axis=0).astype(np.float32)


def _label_proba(
    logits: Float32[np.ndarray, "image label"], head: Head
) -> Float32[np.ndarray, "image label"] | Float64[np.ndarray, "image label"]:
    """One view's probabilities, by what the head was trained to say."""
    if not isinstance(head, QuestionsHead) or head.layout is None:
        return 1 / (1 + np.exp(-logits))
    question_of = np.array(head.layout.question_of)
    if head.form == "each":
        return Questions.of(question_of).shared_out(1 / (1 + np.exp(-logits.astype(np.float64))))
    if head.form == "conditional":
        return conditional(logits, question_of, head.layout.below)
    return compete(logits, question_of)


def _probabilities(
    logits: Float64[np.ndarray, "view image label"], n_identities: int, *, competing: bool
) -> Float64[np.ndarray, "view image label"]:
    """A probability for each answer: each a question of its own, or all identities competing for one place.

    Of a cosine head the latter: its scaled cosines would nearly all be rounded to a sure yes or a sure no. Identities
    and their mirror images compete each among themselves, as neither is ever asked about the other.
    """
    if not competing:
        return 1 / (1 + np.exp(-logits))
    blocks = logits.reshape(*logits.shape[:2], -1, n_identities)
    odds = np.exp(blocks - blocks.max(axis=-1, keepdims=True))
    odds /= odds.sum(axis=-1, keepdims=True)
    return odds.reshape(logits.shape)


def photo_source(
    photos: Collection,
    preprocess: Preprocess,
    *,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    versions: int | None = None,
    seed: int = 0,
) -> PhotoSource:
    """The photos of a collection, with their boxes, as the networks' input."""
    subjects = subjects_of(photos, preprocess)
    return PhotoSource(photos.paths, preprocess, subjects=subjects, augment=augment, versions=versions, seed=seed)


def label_source(
    parts: Sequence[Collection | None],
    preprocess: Preprocess,
    *,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    versions: int | None = None,
    seed: int = 0,
) -> PhotoSource:
    """The photos of several collections, one after the other, as the networks' input.

    Training and scoring ask for the same photos in the same order, so that kept features serve both.
    """
    photos = [part for part in parts if part is not None and len(part)]
    told = [subjects_of(part, preprocess) or [ANYWHERE] * len(part) for part in photos]
    subjects = [subject for part in told for subject in part]
    return PhotoSource(
        [path for part in photos for path in part.paths],
        preprocess,
        subjects=subjects if any(subject != ANYWHERE for subject in subjects) else None,
        augment=augment,
        versions=versions,
        seed=seed,
    )


def saved_nets(folder: Path, *, device: str) -> list[SavedNet]:
    """The networks of a finished train stage, one a fold."""
    at = ranks(device).device
    nets = []
    for place in sorted(folder.glob("fold*"), key=lambda path: int(path.name.removeprefix("fold"))):
        stored = open_network(place)
        network = stored.network.to(at).to(memory_format=torch.channels_last)
        nets.append(
            SavedNet(network, parse(Preprocess, json.dumps(stored.preprocess), name=str(place)), stored.sha256, at)
        )
    return nets
