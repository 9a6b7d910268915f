"""The function ``embed``: embeddings of photos by a pretrained network, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from jaxtyping import Float32

from fieldmark.api.guards import need_torch
from fieldmark.api.inputs import Photo, as_list, files_of, photos_of
from fieldmark.api.photos import Reading, gather
from fieldmark.core.errors import WeightsError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldmark.data.collection import Collection
    from fieldmark.models.specs import FileWeights, PackageWeights


def embed(
    data: Collection | Photo | Sequence[Photo],
    *,
    backbone: str = "tf_efficientnet_lite0",
    weights: Path | str | None = None,
    size_px: int | tuple[int, int] | None = None,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> Float32[np.ndarray, "photo dim"]:
    """Return unit-length embeddings of photos by a pretrained network; the product of two rows is their cosine.

    Nothing is downloaded. The weights come from an installed package or from a file.

    Args:
        data: A path, bytes of an image file, a PIL image, an array (height, width, 3) of uint8, a list or a column of
            these, a folder, a table, or a collection.
        backbone: Name of a timm network.
        weights: File with the weights of the backbone (``.safetensors`` or state dict); None: those of an installed
            package.
        size_px: Input size in px, one number or (height, width); None: the size in pretraining.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read a table or folder; see ``fieldmark.api.photos.Reading``.

    Returns:
        One row per photo, in their order; 1,280 columns for the default backbone.

    Raises:
        DataError: A photo does not exist or cannot be read.
        ImageError: A file of a list cannot be read; the error names the file.
        WeightsError: The weights are missing, damaged, or belong to another network.
        PlanError: timm has no network of that name.
        FieldmarkError: A photo is of a type that cannot be read, or torch is not installed.

    Example:
        ``similarity = fieldmark.embed(["a.jpg", "b.jpg"]) @ fieldmark.embed("c.jpg").T``
    """
    need_torch()
    shown = shown_by(progress)
    data = as_list(data)
    if isinstance(data, list):
        with files_of(data) as paths:
            return _embedded(paths, backbone, weights, size_px, device, n_workers, progress=shown)
    with photos_of(data) as given:
        photos = gather(given, labelled=False, reading=reading, n_workers=n_workers, progress=shown).collection
        return _embedded(photos.paths, backbone, weights, size_px, device, n_workers, progress=shown)


def _embedded(
    paths: Sequence[Path],
    backbone: str,
    weights: Path | str | None,
    size_px: int | tuple[int, int] | None,
    device: str,
    n_workers: int,
    *,
    progress: Progress,
) -> Float32[np.ndarray, "photo dim"]:
    from fieldmark.images.batches import PhotoSource
    from fieldmark.images.specs import Preprocess
    from fieldmark.models.backbone import data_config
    from fieldmark.models.network import build
    from fieldmark.models.specs import Backbone, EmbeddingHead, Net
    from fieldmark.training.embed import embed_photos as embedded
    from fieldmark.training.ranks import ranks

    pretraining = data_config(backbone)
    height, width = (
        pretraining.input_size[1:] if size_px is None else (size_px, size_px) if isinstance(size_px, int) else size_px
    )
    preprocess = Preprocess(
        height_px=height,
        width_px=width,
        mean=pretraining.mean,
        std=pretraining.std,
        interpolation=pretraining.interpolation,
    )
    net = Net(backbone=Backbone(name=backbone, weights=_weights(backbone, weights)), neck="none", head=EmbeddingHead())
    network = build(net, n_classes=1, seed=0)
    if not paths:
        return np.zeros((0, network.width), np.float32)
    source = PhotoSource(paths, preprocess)
    return embedded(network, source, device=ranks(device).device, n_workers=n_workers, progress=progress).embedding[0]


def _weights(backbone: str, weights: Path | str | None) -> FileWeights | PackageWeights:
    """Return the weights that are on this machine.

    Raises:
        WeightsError: No installed package has weights for this backbone, and no file is given.
    """
    from fieldmark.models.packages import PACKAGES
    from fieldmark.models.specs import FileWeights, PackageWeights

    if weights is not None:
        return FileWeights(path=str(weights))
    if backbone not in PACKAGES:
        raise WeightsError(
            "No installed package has weights for this backbone.",
            got=backbone,
            fix=f"pass a file, weights='{backbone}.safetensors', or use backbone='{next(iter(PACKAGES))}'.",
        )
    return PackageWeights()
