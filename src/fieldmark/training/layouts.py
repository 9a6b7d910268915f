"""Embeddings that keep the left-right order of a photo, for ``gallery.symmetry``. No training is needed."""

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
    """Return the feature map of each photo and of the mirrored photo, averaged within columns from left to right.

    A pooled embedding has no positions. A backbone that was pretrained with mirrored images hardly distinguishes a
    photo from its mirror image: their cosine is about 0.96. The averages per column do differ. Pass both results to
    ``gallery.symmetry.measure_symmetry``.

    Args:
        network: Network, of which only the backbone is used; pretrained weights are enough. It is not changed.
        source: Photos without augmentation, cropped to the animals as in training.
        items: Photos to use; None: all.
        columns: Number of columns of the map; 1 gives the pooled feature.
        device: Device; None: CPU.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.

    Returns:
        Unit-length vectors of ``columns`` times the backbone's width, column after column: of the photos, then of the
        mirrored photos.

    Raises:
        ShapeError: There are no photos or no columns, or the backbone has no feature map.

    Source:
        Ours.
    """
    items = np.arange(len(source)) if items is None else np.asarray(items, dtype=np.int64)
    if not len(items) or columns < 1:
        raise ShapeError(
            "layouts() needs at least one photo and one column.",
            got=f"{len(items)} photos, {columns} columns",
            fix="pass at least one photo, and columns = 4.",
        )
    at = torch.device("cpu") if device is None else device
    preprocess = source.preprocess
    copied = for_inference(network, device=at, height_px=preprocess.height_px, width_px=preprocess.width_px)
    # The last batch is filled up with the last photo, so that all forward passes have the same size.
    order = items[np.minimum(np.arange(-(-len(items) // BATCH) * BATCH), len(items) - 1)].reshape(-1, BATCH)
    pictures = source.batches(order, epoch=0, n_workers=n_workers)
    batches = []
    with torch.inference_mode():
        for batch in progress.track(pictures, total=len(order), what="compare with mirror images"):
            plain = normalise(batch.to(at), preprocess)
            batches.append(torch.stack([_columns(copied, view, columns) for view in (plain, plain.flip(-1))]))
    return torch.cat(batches, dim=1)[:, : len(items)].cpu().numpy()


def _columns(network: Network, pictures: Tensor, n_columns: int) -> Tensor:
    """Return the column averages of the feature maps, as unit-length vectors."""
    features = cast("Any", network.backbone).forward_features(pictures).float()
    if features.ndim != 4:
        raise ShapeError(
            f"The backbone {network.net.backbone.name!r} has no feature map, so it has no left and right.",
            got=f"features {tuple(features.shape)}",
            fix='use a convolutional backbone, such as the shipped "tf_efficientnet_lite0".',
        )
    rows = features.movedim(-1, 1) if network.pool.channels_last else features
    means = functional.adaptive_avg_pool2d(rows, (1, n_columns)).squeeze(2)
    return functional.normalize(means.transpose(1, 2).flatten(1), dim=1)
