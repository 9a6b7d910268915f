"""Photos to embeddings and logits: evaluation mode, fixed views, no chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.models.inference import for_inference
from fieldmark.models.network import Network

PER_THREAD = 2
"""Photos in one forward pass for each thread of a processor: their feature maps then stay in its cache (measured with
the shipped backbone on two cores: a third less time than in passes of 64)."""


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
    flip: bool = False,
    logits: bool = False,
    batch: int = 64,
    n_workers: int = 2,
    half: bool = False,
    progress: Progress = QUIET,
    what: str = "embed",
) -> Embedded:
    """Embeddings (and logits) of every photo of ``source``, in its order.

    Args:
        network: Left as it is. A copy made for this call does the work (``models.inference``).
        source: Photos without augmentation.
        device: Where to compute.
        flip: Add the mirrored view as a second one.
        logits: Also give the head's logits.
        batch: Most photos in one forward pass. A processor takes fewer where that is quicker.
        n_workers: Threads that read ahead.
        half: Compute in bfloat16 (the results are float32 again).
        progress: Told as batches end.
        what: What to call the job there.

    Returns:
        Embeddings and logits, one view plain and, with ``flip``, one mirrored.
    """
    n = len(source)
    batch = min(batch, n, PER_THREAD * torch.get_num_threads() if device.type == "cpu" else batch)
    # A last batch that is filled up by the last photo keeps every forward pass of one size.
    order = np.minimum(np.arange(-(-n // batch) * batch), n - 1).reshape(-1, batch)
    vectors: list[list[Tensor]] = [[], []]
    answers: list[list[Tensor]] = [[], []]
    height_px, width_px = source.preprocess.height_px, source.preprocess.width_px
    copied = for_inference(network, device=device, height_px=height_px, width_px=width_px, fold=not half)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        stream = source.batches(order, epoch=0, n_workers=n_workers)
        for pictures in progress.track(stream, total=len(order), what=what):
            plain = normalise(pictures.to(device), source.preprocess)
            for view, seen in enumerate((plain, plain.flip(-1)) if flip else (plain,)):
                outputs = copied(seen)
                vectors[view].append(outputs.embedding.float().cpu())
                if logits and outputs.logits is not None:
                    answers[view].append(outputs.logits.float().cpu())
    views = 2 if flip else 1
    embedding = np.stack([_rows(vectors[view], n, network.width) for view in range(views)])
    told = np.stack([_rows(answers[view], n, network.n_classes) for view in range(views)]) if answers[0] else None
    return Embedded(embedding=embedding, logits=told)


def _rows(parts: list[Tensor], n: int, width: int) -> np.ndarray:
    return torch.cat(parts)[:n].numpy() if parts else np.zeros((0, width), dtype=np.float32)
