"""Embeddings that remember what was left and what was right: for ``gallery.flips``, before anything is trained."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor
from torch.nn import functional

from fieldmark.core.errors import ShapeError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.models.inference import for_inference
from fieldmark.models.network import Network

BATCH = 8


def layouts(
    network: Network,
    source: PhotoSource,
    *,
    items: Int[np.ndarray, " image"] | None = None,
    columns: int = 4,
    device: torch.device | None = None,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Float32[np.ndarray, "2 image dim"]:
    """The feature map of each photo, as it is and mirrored, averaged over columns from left to right.

    A pooled embedding does not know where in the photo it saw what, and a backbone that was pretrained with mirrored
    pictures hardly sees a difference (its cosine between a photo and its mirror image is about 0.96). Column by column
    the difference is there: give both results to ``gallery.flips.measure_symmetry``.

    Args:
        network: Its backbone alone is asked; pretrained weights will do. It is left as it is.
        source: Photos without augmentation, cropped to the animals as in training.
        items: Which photos; None: all.
        columns: Into how many the map is cut; 1 is the pooled feature.
        device: Where to compute; None: the processor.
        n_workers: Threads that read ahead.
        progress: Told as batches end.

    Returns:
        Unit-length vectors of ``columns`` times the backbone's width, one column after the other: of the photos, then
        of the mirrored ones.

    Raises:
        ShapeError: No photos, no columns, or a backbone that gives no map.

    Source:
        Ours.
    """
    items = np.arange(len(source)) if items is None else np.asarray(items, dtype=np.int64)
    if not len(items) or columns < 1:
        raise ShapeError(
            "layouts() needs photos and columns.",
            got=f"{len(items)} photos, {columns} columns",
            fix="pass at least one photo, and columns = 4.",
        )
    at = torch.device("cpu") if device is None else device
    preprocess = source.preprocess
    copied = for_inference(network, device=at, height_px=preprocess.height_px, width_px=preprocess.width_px)
    # A last batch that is filled up by the last photo keeps every forward pass of one size.
    order = items[np.minimum(np.arange(-(-len(items) // BATCH) * BATCH), len(items) - 1)].reshape(-1, BATCH)
    pictures = source.batches(order, epoch=0, n_workers=n_workers)
    seen = []
    with torch.inference_mode():
        for batch in progress.track(pictures, total=len(order), what="look for left and right"):
            plain = normalise(batch.to(at), preprocess)
            seen.append(torch.stack([_columns(copied, view, columns) for view in (plain, plain.flip(-1))]))
    return torch.cat(seen, dim=1)[:, : len(items)].cpu().numpy()


def _columns(network: Network, pictures: Tensor, n_columns: int) -> Tensor:
    features = cast("Any", network.backbone).forward_features(pictures).float()
    if features.ndim != 4:
        raise ShapeError(
            f"The backbone {network.net.backbone.name!r} gives no map, so nothing is left or right in it.",
            got=f"features {tuple(features.shape)}",
            fix='use a convolutional backbone, as the shipped "tf_efficientnet_lite0".',
        )
    rows = features.movedim(-1, 1) if network.pool.channels_last else features
    means = functional.adaptive_avg_pool2d(rows, (1, n_columns)).squeeze(2)
    return functional.normalize(means.transpose(1, 2).flatten(1), dim=1)
