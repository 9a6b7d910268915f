"""Photos to embeddings and logits: evaluation mode, fixed views, no chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import stages
from fieldmark.models.inference import for_inference
from fieldmark.models.network import Network, Outputs
from fieldmark.training.features import KeptFeatures, pooled

PER_THREAD = 2
"""Photos in one forward pass for each thread of a processor: their feature maps then stay in its cache (measured with
the shipped backbone on two cores: a third less time than in passes of 64)."""

TOGETHER = 64
"""Photos whose features go through a head together, however few go through the backbone: a head of ten thousand
directions is fifty megabytes to read each time."""

VECTORS = 4096
"""The same for kept vectors."""


@dataclass(frozen=True)
class Embedded:
    """What a network says of photos.

    Attributes:
        embedding: Unit-length vectors.
        logits: Before the sigmoid; None if the head has none or they were not asked for.
    """

    embedding: Float32[np.ndarray, "view image dim"]
    logits: Float32[np.ndarray, "view image class"] | None


def embed(  # noqa: PLR0913 - options, all by keyword
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
    features: Path | None = None,
    progress: Progress = QUIET,
    what: str = "embed",
) -> Embedded:
    """Embeddings (and logits) of every photo of ``source``, in its order, or of some.

    Args:
        network: Left as it is. A copy made for this call does the work (``models.inference``).
        source: Photos without augmentation.
        device: Where to compute.
        items: Which photos, 0 to ``len(source) - 1``, in any order; None: all.
        flip: Add the mirrored view as a second one.
        logits: Also give the head's logits.
        batch: Most photos in one forward pass. A processor takes fewer where that is quicker.
        n_workers: Threads that read ahead.
        half: Compute in bfloat16 (the results are float32 again).
        features: Folder of kept features (``train.features``). Where a network with the very same backbone has left
            what it gives for this very source, or where this backbone is frozen as a whole, those vectors are read, and
            lacking ones added, instead of looking at the photos again. The results are the same but for rounding.
        progress: Told as batches end.
        what: What to call the job there.

    Returns:
        Embeddings and logits, one view plain and, with ``flip``, one mirrored.
    """
    items = np.arange(len(source)) if items is None else np.asarray(items, dtype=np.int64)
    found = None if features is None else _kept(network, source, features, device=device)
    if found is not None:
        copied, kept = found
        views = np.stack([items, items + len(source)][: 2 if flip else 1])
        kept.fill(views.ravel(), progress=progress, n_workers=n_workers)
        seen = _remembered(copied, kept, views, device=device)
    else:
        batch = min(batch, max(1, len(items)), PER_THREAD * torch.get_num_threads() if device.type == "cpu" else batch)
        # A last batch that is filled up by the last photo keeps every forward pass of one size.
        order = items[np.minimum(np.arange(-(-len(items) // batch) * batch), len(items) - 1)].reshape(-1, batch)
        copied = _copy(network, source, device=device, fold=not half)
        pictures = source.batches(order, epoch=0, n_workers=n_workers)
        seen = _looked(copied, progress.track(pictures, total=len(order), what=what), source.preprocess, flip=flip)
    vectors: list[list[Tensor]] = [[], []]
    answers: list[list[Tensor]] = [[], []]
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        for outputs in seen:
            for view, told in enumerate(outputs):
                vectors[view].append(told.embedding.float().cpu())
                if logits and told.logits is not None:
                    answers[view].append(told.logits.float().cpu())
    shown = range(2 if flip else 1)
    embedding = np.stack([_rows(vectors[view], len(items), network.width) for view in shown])
    told_logits = (
        np.stack([_rows(answers[view], len(items), network.n_classes) for view in shown]) if answers[0] else None
    )
    return Embedded(embedding=embedding, logits=told_logits)


def _kept(
    network: Network, source: PhotoSource, folder: Path, *, device: torch.device
) -> tuple[Network, KeptFeatures] | None:
    """A copy of the network and the vectors that are kept for its backbone, if any are or may be."""
    copied = _copy(network, source, device=device, fold=False)
    kept = pooled(copied, source, folder=folder)
    return None if kept is None else (copied, kept)


def _copy(network: Network, source: PhotoSource, *, device: torch.device, fold: bool) -> Network:
    height_px, width_px = source.preprocess.height_px, source.preprocess.width_px
    return for_inference(network, device=device, height_px=height_px, width_px=width_px, fold=fold)


def _looked(
    network: Network, batches: Iterable[Tensor], preprocess: Preprocess, *, flip: bool
) -> Iterator[tuple[Outputs, ...]]:
    """What the network says of some pictures after the other, one view after the other."""
    device = next(network.parameters()).device
    waiting: list[tuple[Tensor, ...]] = []
    for pictures in batches:
        plain = normalise(pictures.to(device), preprocess)
        waiting.append(tuple(network.pooled(view) for view in ((plain, plain.flip(-1)) if flip else (plain,))))
        if len(waiting) * len(plain) >= TOGETHER:
            yield _above(network, waiting)
            waiting = []
    if waiting:
        yield _above(network, waiting)


def _above(network: Network, features: list[tuple[Tensor, ...]]) -> tuple[Outputs, ...]:
    return tuple(network.above(torch.cat(view)) for view in zip(*features, strict=True))


def _remembered(
    network: Network, kept: KeptFeatures, views: Int[np.ndarray, "view image"], *, device: torch.device
) -> Iterator[tuple[Outputs, ...]]:
    """The same from what its backbone gave when somebody asked before."""
    above = network.upper(len(stages(network.backbone)))
    for start in range(0, views.shape[1], VECTORS):
        few = views[:, start : start + VECTORS]
        yield tuple(above(batch.to(device)) for batch in kept.batches(few, epoch=0, n_workers=0))


def _rows(parts: list[Tensor], n: int, width: int) -> np.ndarray:
    return torch.cat(parts)[:n].numpy() if parts else np.zeros((0, width), dtype=np.float32)
