"""Embeddings and logits of photos: evaluation mode, fixed views, deterministic."""

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
"""Photos per CPU thread in one forward pass. Their feature maps then fit into the CPU cache (measured with the shipped
backbone on two cores: a third less time than in passes of 64)."""

TOGETHER = 64
"""Photos per pass of the head, independent of the backbone's batch: a head with ten thousand directions reads 50 MB
in each pass."""

VECTORS = 4096
"""Cached vectors per pass of the head."""


@dataclass(frozen=True)
class NetworkOutputs:
    """The outputs of a network for photos.

    Attributes:
        embedding: Unit-length embeddings.
        logits: Raw scores before the sigmoid; None if the head has none or they were not requested.
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
    """Return embeddings (and logits) of all or some photos of ``source``; see ``embed_each``."""
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
    """Return the outputs of several networks for the same photos. Each photo is read once.

    Stages with equal weights in all networks, such as frozen ones, are computed once. The results are bit-identical.

    Args:
        networks: Networks. They are not changed: copies do the work (``models.inference``).
        source: Photos without augmentation.
        device: Device.
        items: Photos to embed, 0 to ``len(source) - 1``, in any order; None: all.
        flip: Whether to add the mirrored photo as a second view.
        logits: Whether to return the head's logits too.
        batch: Largest number of photos in one forward pass. On a CPU, a smaller faster number is used.
        n_workers: Number of image-loading threads.
        half: Whether to compute in bfloat16 (the results are float32).
        features: Cache for the backbones' feature vectors. For backbones that several networks share and that are no
            longer trained.
        progress: Progress reporter.
        what: Title of the progress bar.

    Returns:
        Embeddings and logits of each network: one plain view, and one mirrored view if ``flip``.
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
        gathered = _Gathered(network, n=len(items), flip=flip, logits=logits)
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            for outputs in _from_cache(copied, vectors, views, device=device):
                gathered.add(outputs)
        found.append(gathered.whole())
    rest = [network for network, one in zip(networks, kept, strict=True) if one is None]
    computed = iter(
        _computed(
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
    return [next(computed) if one is None else one for one in found]


class _Gathered:
    """Collects the outputs of a network batch by batch."""

    def __init__(self, network: Network, *, n: int, flip: bool, logits: bool) -> None:
        self._network, self._n, self._logits = network, n, logits
        self._views = range(2 if flip else 1)
        self._vectors: list[list[Tensor]] = [[], []]
        self._view_logits: list[list[Tensor]] = [[], []]

    def add(self, outputs: Sequence[Outputs]) -> None:
        """Add the outputs of a batch, one per view."""
        for view, output in enumerate(outputs):
            self._vectors[view].append(output.embedding.float().cpu())
            if self._logits and output.logits is not None:
                self._view_logits[view].append(output.logits.float().cpu())

    def whole(self) -> NetworkOutputs:
        """Return the outputs for all photos."""
        embedding = [_rows(self._vectors[view], self._n, self._network.width) for view in self._views]
        logits = [_rows(self._view_logits[view], self._n, self._network.n_classes) for view in self._views]
        return NetworkOutputs(np.stack(embedding), np.stack(logits) if self._view_logits[0] else None)


def _kept(
    network: Network, source: PhotoSource, features: FeatureStore, *, device: torch.device
) -> tuple[Network, KeptFeatures] | None:
    """Return a copy of the network and the cache of its backbone's vectors; None if they cannot be cached."""
    copied = _copy(network, source, device=device, fold=False)
    kept = pooled(copied, source, features=features)
    return None if kept is None else (copied, kept)


def _copy(network: Network, source: PhotoSource, *, device: torch.device, fold: bool) -> Network:
    height_px, width_px = source.preprocess.height_px, source.preprocess.width_px
    return for_inference(network, device=device, height_px=height_px, width_px=width_px, fold=fold)


def _computed(  # noqa: PLR0913 - those of embed_each
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
    """Compute the outputs of networks without a cache. Shared stages are computed once."""
    batch = min(batch, max(1, len(items)), PER_THREAD * torch.get_num_threads() if device.type == "cpu" else batch)
    # The last batch is filled up with the last photo, so that all forward passes have the same size.
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


def _from_cache(
    network: Network, kept: KeptFeatures, views: Int[np.ndarray, "view image"], *, device: torch.device
) -> Iterator[tuple[Outputs, ...]]:
    """Yield the outputs of a network, computed from the cached vectors of its backbone."""
    upper = network.upper(len(backbone_stages(network.backbone)))
    for start in range(0, views.shape[1], VECTORS):
        block = views[:, start : start + VECTORS]
        yield tuple(upper(batch.to(device)) for batch in kept.batches(block, epoch=0, n_workers=0))


def _rows(parts: list[Tensor], n: int, width: int) -> np.ndarray:
    return torch.cat(parts)[:n].numpy() if parts else np.zeros((0, width), dtype=np.float32)
