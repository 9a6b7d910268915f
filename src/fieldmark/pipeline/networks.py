"""Trained networks with their preprocessing, and predictions of several networks at once."""

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
    """The outputs of one network for photos.

    Attributes:
        embedding: Embedding of each photo, one array per view.
        proba: Probability of each identity; None if the head has none or they were not requested.
    """

    embedding: Float32[np.ndarray, "view image dim"]
    proba: Float32[np.ndarray, "image identity"] | None


@dataclass(frozen=True)
class SavedNet:
    """A trained network that is ready for prediction.

    Attributes:
        network: Network.
        preprocess: Preprocessing of image files.
        sha256: SHA-256 of the weights file.
        device: Device of the network.
    """

    network: Network
    preprocess: Preprocess
    sha256: str
    device: torch.device

    @property
    def judges(self) -> bool:
        """Whether its head predicts a probability for each identity."""
        return self.network.head is not None

    @cached_property
    def backbone_digest(self) -> str:
        """A hash of the backbone's weights. Networks with the same hash have the same backbone."""
        digest = hashlib.sha256(self.network.net.backbone.name.encode())
        for name, tensor in self.network.backbone.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def competing(
        self, photos: Collection, *, flip: bool, n_workers: int = 2
    ) -> Float32[np.ndarray, "view photo class"]:
        """Return probabilities that sum to 1 over all classes of the head, classes of mirrored photos included.

        Args:
            photos: Photos.
            flip: Whether to add the mirrored photo as a second view.
            n_workers: Number of image-loading threads.
        """
        photos = with_found(photos, self.preprocess.finders(), n_workers=n_workers)
        found = []
        for preprocess in self.preprocess.in_use():
            source = photo_source(photos, preprocess)
            outputs = embed_photos(
                self.network, source, device=self.device, flip=flip, logits=True, n_workers=n_workers
            )
            if outputs.logits is None:
                raise TypeError("the network's head has no logits")
            competing = self.network.net.head.kind == "cosine"
            odds = _probabilities(outputs.logits.astype(np.float64), outputs.logits.shape[2], competing=competing)
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
    """Return the embeddings of each view, and the mean probabilities over all views, of each network of a stage.

    A head with 2N outputs for N identities was trained with mirrored photos as separate identities. The probability of
    identity k is then the mean of output k for the photo and output k + N for the mirrored photo. If the preprocessing
    has several variants (boxes from several sources, aligned and not aligned), each variant adds its own views.

    Args:
        nets: Networks of one train stage, with the same preprocessing.
        photos: Photos.
        flip: Whether to add the mirrored photo as a view.
        n_identities: Number of identities, to return probabilities too; None: embeddings only.
        features: Cache for features of a backbone that all networks share; None: no cache.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.
        what: Title of the progress bar.
    """
    preprocess = nets[0].preprocess
    photos = with_found(photos, preprocess.finders(), n_workers=n_workers, progress=progress)
    embeddings: list[list[np.ndarray]] = [[] for _ in nets]
    probas: list[list[np.ndarray]] = [[] for _ in nets]
    for variant in preprocess.in_use():
        outputs = embed_each(
            [net.network for net in nets],
            photo_source(photos, variant),
            device=nets[0].device,
            flip=flip,
            logits=n_identities is not None and nets[0].judges,
            features=features if share_backbone(nets) else None,
            n_workers=n_workers,
            progress=progress,
            what=what,
        )
        for at, (net, one) in enumerate(zip(nets, outputs, strict=True)):
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
            np.mean(proba, axis=0).astype(np.float32) if proba else None,
        )
        for views, proba in zip(embeddings, probas, strict=True)
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
    """Return the label probabilities of some photos of ``source`` by each of several networks, averaged over views.

    For a head for questions, the labels are answers, and the probabilities of the answers to one question sum to 1.

    Args:
        nets: Networks with the preprocessing of ``source``.
        source: Photos without augmentation.
        items: Items of ``source`` to predict.
        flip: Whether to add the mirrored photo as a view.
        features: Cache for features of frozen backbones; None: no cache.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.
        what: Title of the progress bar.
    """
    outputs = embed_each(
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
    for net, one in zip(nets, outputs, strict=True):
        if one.logits is None:
            raise TypeError("the network's head has no logits")
        views = [_label_proba(view, net.network.net.head) for view in one.logits]
        found.append(np.mean(views, axis=0).astype(np.float32))
    return found


def share_backbone(nets: Sequence[SavedNet]) -> bool:
    """Return whether all networks have the same backbone weights, because the backbone was frozen in training."""
    return len(nets) > 1 and len({net.backbone_digest for net in nets}) == 1


def _label_proba(
    logits: Float32[np.ndarray, "image label"], head: Head
) -> Float32[np.ndarray, "image label"] | Float64[np.ndarray, "image label"]:
    """Return the probabilities of one view, as the kind of head defines them."""
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
    """Return a probability for each output: by a sigmoid, or by a softmax over all identities if ``competing``.

    A cosine head needs the softmax: a sigmoid would round nearly all of its scaled cosines to 0 or 1. Identities and
    mirrored identities have separate softmaxes, because each view is only compared with its own kind.
    """
    if not competing:
        return 1 / (1 + np.exp(-logits))
    blocks = logits.reshape(*logits.shape[:2], -1, n_identities)
    odds = np.exp(blocks - blocks.max(axis=-1, keepdims=True))
    odds /= odds.sum(axis=-1, keepdims=True)
    return odds.reshape(logits.shape)


def open_net(place: Path, *, device: str) -> SavedNet:
    """Load a trained network from a folder, ready for prediction.

    Raises:
        WeightsError: Files are missing, damaged, or of another network.
    """
    stored, at = open_network(place), ranks(device).device
    network = stored.network.to(at).to(memory_format=torch.channels_last)
    preprocess = parse(Preprocess, json.dumps(stored.preprocess), name=str(place))
    return SavedNet(network, preprocess, stored.sha256, at)
