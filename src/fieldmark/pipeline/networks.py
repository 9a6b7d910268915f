"""Trained networks with everything they need to look at a photo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
from fieldmark.images.specs import Preprocess
from fieldmark.images.views import combine_flip_scores
from fieldmark.models.network import Network
from fieldmark.models.specs import Head, QuestionsHead
from fieldmark.models.store import open as open_network
from fieldmark.quality.regions.finding import with_found
from fieldmark.quality.regions.sources import photo_source
from fieldmark.training.embed import embed_each, embed_photos
from fieldmark.training.features import FeatureStore
from fieldmark.training.ranks import ranks


@dataclass(frozen=True)
class PhotoEmbeddings:
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

    @cached_property
    def backbone_digest(self) -> str:
        """A hash of the backbone's weights; networks with the same one see similar."""
        digest = hashlib.sha256(self.network.net.backbone.name.encode())
        for name, tensor in self.network.backbone.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def competing(
        self, photos: Collection, *, flip: bool, n_workers: int = 2
    ) -> Float32[np.ndarray, "view photo class"]:
        """How all classes of the head compete for each photo, mirror images as classes of their own: they sum to 1.

        Args:
            photos: Any.
            flip: Also look at the mirrored photo, a view of its own.
            n_workers: Number of image-loading threads.
        """
        photos = with_found(photos, self.preprocess.finders(), n_workers=n_workers)
        found = []
        for preprocess in self.preprocess.in_use():
            source = photo_source(photos, preprocess)
            seen = embed_photos(self.network, source, device=self.device, flip=flip, logits=True, n_workers=n_workers)
            if seen.logits is None:
                raise TypeError("a network that judges individuals has logits")
            competing = self.network.net.head.kind == "cosine"
            odds = _probabilities(seen.logits.astype(np.float64), seen.logits.shape[2], competing=competing)
            found.append(odds / odds.sum(axis=2, keepdims=True))
        return np.mean(found, axis=0).astype(np.float32)


def look(
    nets: Sequence[SavedNet],
    photos: Collection,
    *,
    flip: bool,
    n_identities: int | None = None,
    features: FeatureStore | None = None,
    n_workers: int = 2,
    progress: Progress = QUIET,
    what: str = "",
) -> list[PhotoEmbeddings]:
    """Embeddings of each view, and probabilities over all of them, by each of a stage's networks.

    A head with twice as many answers as there are identities took mirrored photos for other identities: identity k
    then has the mean of answer k to the photo and answer k + N to the mirrored photo. Where the preprocessing has
    several ways in use (boxes of several sources, aligned and not), each gives its own views.

    Args:
        nets: Of one train stage, with one preprocessing.
        photos: Any.
        flip: Also look at the mirrored photo.
        n_identities: Also give the probabilities of so many identities, if the heads have any.
        features: Where features of a backbone that all networks share are kept; None: nowhere.
        n_workers: Number of image-loading threads.
        progress: Told as batches end.
        what: What to call the job there.
    """
    preprocess = nets[0].preprocess
    photos = with_found(photos, preprocess.finders(), n_workers=n_workers, progress=progress)
    embeddings: list[list[np.ndarray]] = [[] for _ in nets]
    probas: list[list[np.ndarray]] = [[] for _ in nets]
    for way in preprocess.in_use():
        seen = embed_each(
            [net.network for net in nets],
            photo_source(photos, way),
            device=nets[0].device,
            flip=flip,
            logits=n_identities is not None and nets[0].judges,
            features=features if share_backbone(nets) else None,
            n_workers=n_workers,
            progress=progress,
            what=what,
        )
        for at, (net, one) in enumerate(zip(nets, seen, strict=True)):
            embeddings[at].append(one.embedding)
            if one.logits is None or n_identities is None:
                continue
            competing = net.network.net.head.kind == "cosine"
            proba = _probabilities(one.logits.astype(np.float64), n_identities, competing=competing)
            probas[at].append(
                combine_flip_scores(proba[0], proba[1], n_identities) if flip else proba[0][:, :n_identities]
            )
    return [
        PhotoEmbeddings(
            views[0] if len(views) == 1 else np.concatenate(views),
            np.mean(told, axis=0).astype(np.float32) if told else None,
        )
        for views, told in zip(embeddings, probas, strict=True)
    ]


def label_proba(
    nets: Sequence[SavedNet],
    source: PhotoSource,
    *,
    items: Int64[np.ndarray, " photo"],
    flip: bool,
    features: FeatureStore | None = None,
    n_workers: int = 2,
    progress: Progress = QUIET,
    what: str = "",
) -> list[Float32[np.ndarray, "photo label"]]:
    """The probability of each label for some photos of ``source``, the mean over views, by each of several networks.

    Of a head for questions: of each answer, those to one question adding up to 1.

    Args:
        nets: Any networks with the preprocessing of ``source``.
        source: Photos without augmentation.
        items: Which of them.
        flip: Also look at the mirrored photo.
        features: Where features of frozen backbones are kept, which are then not computed again; None: nowhere.
        n_workers: Number of image-loading threads.
        progress: Told as batches end.
        what: What to call the job there.
    """
    seen = embed_each(
        [net.network for net in nets],
        source,
        items=items,
        features=features,
        device=nets[0].device,
        flip=flip,
        logits=True,
        n_workers=n_workers,
        progress=progress,
        what=what,
    )
    found = []
    for net, one in zip(nets, seen, strict=True):
        if one.logits is None:
            raise TypeError("a network that answers labels has logits")
        views = [_label_proba(view, net.network.net.head) for view in one.logits]
        found.append(np.mean(views, axis=0).astype(np.float32))
    return found


def share_backbone(nets: Sequence[SavedNet]) -> bool:
    """Whether several networks share their whole backbone: it was frozen while each fold's head was trained."""
    return len(nets) > 1 and len({net.backbone_digest for net in nets}) == 1


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


def open_net(place: Path, *, device: str) -> SavedNet:
    """The network that a training left in a folder, ready to look at photos.

    Raises:
        WeightsError: Files are missing, changed by even one bit, or of another network.
    """
    stored, at = open_network(place), ranks(device).device
    network = stored.network.to(at).to(memory_format=torch.channels_last)
    preprocess = parse(Preprocess, json.dumps(stored.preprocess), name=str(place))
    return SavedNet(network, preprocess, stored.sha256, at)
