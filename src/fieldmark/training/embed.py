"""Photos to embeddings and logits: evaluation mode, fixed views, no chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.inference import for_inference
from fieldmark.models.network import Network, Outputs
from fieldmark.models.sharing import Shared
from fieldmark.training.features import FeatureStore, KeptFeatures, pooled

PER_THREAD = 2
"""Photos in one forward pass for each thread of a processor: their feature maps then stay in its cache (measured with
the shipped backbone on two cores: a third less time than in passes of 64)."""

TOGETHER = 64
"""Photos whose features go through a head together, however few go through the backbone: a head of ten thousand
directions is fifty megabytes to read each time."""

VECTORS = 4096
"""The same for kept vectors."""


@dataclass(frozen=True)
class NetworkOutputs:
    """What a network says of photos.

    Attributes:
        embedding: Unit-length vectors.
        logits: Before the sigmoid; None if the head has none or they were not asked for.
    """

    embedding: Float32[np.ndarray, "view image dim"]
    logits: Float32[np.ndarray, "view image class"] | None


def embed_photos(  # noqa: PLR0913 - options, all by keyword
    network: Network,
    source: PhotoSource,
    *,
    device: torch.device,
    items: Int[np.ndarray, " image"] | None = None,
    flip: bool = False,
    logits: bool = False,
    batch: int = 64,
    n_workers: int = 2,
    half: bool = False,
    features: FeatureStore | None = None,
    progress: Progress = QUIET,
    what: str = "embed",
) -> NetworkOutputs:
    """Embeddings (and logits) of every photo of ``source``, in its order, or of some; see ``embed_each``."""
    (found,) = embed_each(
        [network],
        source,
        device=device,
        items=items,
        flip=flip,
        logits=logits,
        batch=batch,
        n_workers=n_workers,
        half=half,
        features=features,
        progress=progress,
        what=what,
    )
    return found


def embed_each(  # noqa: PLR0913 - options, all by keyword
    networks: Sequence[Network],
    source: PhotoSource,
    *,
    device: torch.device,
    items: Int[np.ndarray, " image"] | None = None,
    flip: bool = False,
    logits: bool = False,
    batch: int = 64,
    n_workers: int = 2,
    half: bool = False,
    features: FeatureStore | None = None,
    progress: Progress = QUIET,
    what: str = "embed",
) -> list[NetworkOutputs]:
    """What each of several networks gives for the same photos. Each photo is read once.

    Where the first stages of the networks are the same, as where they were frozen while the folds were trained, those
    are computed once for all of them, with the same results to the bit.

    Args:
        networks: Left as they are. Copies made for this call do the work (``models.inference``).
        source: Photos without augmentation.
        device: Where to compute.
        items: Which photos, 0 to ``len(source) - 1``, in any order; None: all.
        flip: Add the mirrored view as a second one.
        logits: Also give the head's logits.
        batch: Most photos in one forward pass. A processor takes fewer where that is quicker.
        n_workers: Number of image-loading threads.
        half: Compute in bfloat16 (the results are float32 again).
        features: Where to keep the vectors that the backbones give for the photos, and where to read those that
            somebody has kept. For backbones that several networks share and that do not change any more.
        progress: Told as batches end.
        what: What to call the job there.

    Returns:
        For each network embeddings and logits, one view plain and, with ``flip``, one mirrored.
    """
    items = np.arange(len(source)) if items is None else np.asarray(items, dtype=np.int64)
    kept = [None if features is None else _kept(one, source, features, device=device) for one in networks]
    found: list[NetworkOutputs | None] = []
    for network, one in zip(networks, kept, strict=True):
        if one is None:
            found.append(None)
            continue
        copied, vectors = one
        views = np.stack([items, items + len(source)][: 2 if flip else 1])
        vectors.fill(views.ravel(), progress=progress, n_workers=n_workers)
        seen = _remembered(copied, vectors, views, device=device)
        gathered = _Gathered(network, n=len(items), flip=flip, logits=logits)
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            for outputs in seen:
                gathered.add(outputs)
        found.append(gathered.whole())
    rest = [network for network, one in zip(networks, kept, strict=True) if one is None]
    looked = iter(
        _looked(
            rest,
            source,
            items,
            device=device,
            flip=flip,
            logits=logits,
            batch=batch,
            n_workers=n_workers,
            half=half,
            progress=progress,
            what=what,
        )
        if rest
        else []
    )
    return [next(looked) if one is None else one for one in found]


class _Gathered:
    """Collects what a network gives batch by batch."""

    def __init__(self, network: Network, *, n: int, flip: bool, logits: bool) -> None:
        self._network, self._n, self._logits = network, n, logits
        self._views = range(2 if flip else 1)
        self._vectors: list[list[Tensor]] = [[], []]
        self._answers: list[list[Tensor]] = [[], []]

    def add(self, outputs: Sequence[Outputs]) -> None:
        """Note the outputs of a batch, one a view."""
        for view, told in enumerate(outputs):
            self._vectors[view].append(told.embedding.float().cpu())
            if self._logits and told.logits is not None:
                self._answers[view].append(told.logits.float().cpu())

    def whole(self) -> NetworkOutputs:
        """All of them."""
        embedding = [_rows(self._vectors[view], self._n, self._network.width) for view in self._views]
        answers = [_rows(self._answers[view], self._n, self._network.n_classes) for view in self._views]
        return NetworkOutputs(np.stack(embedding), np.stack(answers) if self._answers[0] else None)


def _kept(
    network: Network, source: PhotoSource, features: FeatureStore, *, device: torch.device
) -> tuple[Network, KeptFeatures] | None:
    """A copy of the network and the vectors of its backbone, if they can be kept."""
    copied = _copy(network, source, device=device, fold=False)
    kept = pooled(copied, source, features=features)
    return None if kept is None else (copied, kept)


def _copy(network: Network, source: PhotoSource, *, device: torch.device, fold: bool) -> Network:
    height_px, width_px = source.preprocess.height_px, source.preprocess.width_px
    return for_inference(network, device=device, height_px=height_px, width_px=width_px, fold=fold)


def _looked(  # noqa: PLR0913 - those of embed_each
    networks: Sequence[Network],
    source: PhotoSource,
    items: Int[np.ndarray, " image"],
    *,
    device: torch.device,
    flip: bool,
    logits: bool,
    batch: int,
    n_workers: int,
    half: bool,
    progress: Progress,
    what: str,
) -> list[NetworkOutputs]:
    """What networks give for photos that are looked at now, what they share computed once."""
    batch = min(batch, max(1, len(items)), PER_THREAD * torch.get_num_threads() if device.type == "cpu" else batch)
    # A last batch that is filled up by the last photo keeps every forward pass of one size.
    order = items[np.minimum(np.arange(-(-len(items) // batch) * batch), len(items) - 1)].reshape(-1, batch)
    copies = [_copy(network, source, device=device, fold=not half) for network in networks]
    shared = Shared(copies)
    gathered = [_Gathered(network, n=len(items), flip=flip, logits=logits) for network in networks]
    waiting: list[list[tuple[Tensor, ...]]] = []  # for each batch, for each view, the pooled features of each network
    pictures = source.batches(order, epoch=0, n_workers=n_workers)

    def end() -> None:
        for at, (network, one) in enumerate(zip(copies, gathered, strict=True)):
            views = zip(*([features[at] for features in views] for views in waiting), strict=True)
            one.add([network.above(torch.cat(view)) for view in views])
        waiting.clear()

    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        for some in progress.track(pictures, total=len(order), what=what):
            plain = normalise(some.to(device), source.preprocess)
            waiting.append([shared.pooled(view) for view in ((plain, plain.flip(-1)) if flip else (plain,))])
            if len(waiting) * len(plain) >= TOGETHER:
                end()
        if waiting:
            end()
    return [one.whole() for one in gathered]


def _remembered(
    network: Network, kept: KeptFeatures, views: Int[np.ndarray, "view image"], *, device: torch.device
) -> Iterator[tuple[Outputs, ...]]:
    """The same from what its backbone gave when somebody asked before."""
    above = network.upper(len(backbone_stages(network.backbone)))
    for start in range(0, views.shape[1], VECTORS):
        few = views[:, start : start + VECTORS]
        yield tuple(above(batch.to(device)) for batch in kept.batches(few, epoch=0, n_workers=0))


def _rows(parts: list[Tensor], n: int, width: int) -> np.ndarray:
    return torch.cat(parts)[:n].numpy() if parts else np.zeros((0, width), dtype=np.float32)
