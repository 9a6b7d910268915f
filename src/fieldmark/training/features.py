"""A cache for the features of frozen lower stages. It changes the speed only, not the results.

If the first stages of a backbone are frozen and photos are not augmented at random, the output of those stages for a
photo never changes. It is then computed once and stored in one file that all epochs, folds and heads read. The file
name is a hash of everything the content depends on: weights and settings of the frozen stages, preprocessing, photos
and library versions. The cache therefore cannot be out of date.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from fieldmark.core.files import disk_errors
from fieldmark.core.manifest import versions
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.prefetch import stream
from fieldmark.images.preprocess import normalise
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.network import Network, Outputs

BLOCK = 64
"""Photos per cached block. Blocks are computed as a whole, so that results do not depend on which photos come first."""

ON_CPU = 4
"""Photos in one forward pass on a CPU. Their feature maps then fit into the CPU cache (measured with the shipped
backbone: nearly half the time of passes of 64). A constant, because rounding may depend on it."""


IN_MEMORY = 2**31
"""Largest size in bytes of the features of one source in memory, if the cache has no folder."""


class FeatureStore:
    """Storage for features of frozen stages: in memory, or in a folder that processes and runs can share.

    Args:
        folder: Folder, created when needed; None: memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def has(self, name: str) -> bool:
        """Return whether there are features of this name, complete or not."""
        if self.folder is None:
            return name in self._held
        return all(path.exists() for path in self._paths(name))

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of the features of this name; None if there are none."""
        if not self.has(name):
            return None
        kept = self._held[name][0] if self.folder is None else np.load(self._paths(name)[0], mmap_mode="r")
        return tuple(kept.shape)

    def has_space(self, name: str, shape: tuple[int, ...], *, share: float = 0.5) -> bool:
        """Return whether features of this shape take at most ``share`` of the free disk space, or already exist."""
        if self.has(name):
            return True
        n_bytes = 4 * int(np.prod(shape))
        if self.folder is None:
            return n_bytes <= IN_MEMORY
        self.folder.mkdir(parents=True, exist_ok=True)
        return n_bytes <= share * shutil.disk_usage(self.folder).free

    def opened(self, name: str, shape: tuple[int, ...], *, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """Open the features for writing, and the flags of finished blocks. Call ``closed`` after writing.

        Raises:
            RunError: The disk is full or fails.
        """
        if self.folder is None:
            if name not in self._held:
                self._held[name] = np.zeros(shape, np.float32), np.zeros(n_blocks, np.bool_)
            return self._held[name]
        path, done_path = self._paths(name)
        if not self.has(name):
            self.folder.mkdir(parents=True, exist_ok=True)
            np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).flush()
            np.lib.format.open_memmap(done_path, mode="w+", dtype=np.bool_, shape=(n_blocks,)).flush()
        return tuple(np.load(one, mmap_mode="r+", allow_pickle=False) for one in (path, done_path))

    def closed(self, name: str, rows: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Flush the written features to disk, and return them for reading."""
        if self.folder is None:
            return rows
        for one in (rows, done):
            if isinstance(one, np.memmap):
                one.flush()
        # A plain array: indexing a memmap object takes longer than copying the rows.
        return np.asarray(np.load(self._paths(name)[0], mmap_mode="r", allow_pickle=False))

    def _paths(self, name: str) -> tuple[Path, Path]:
        if self.folder is None:
            raise TypeError("features in memory have no files")
        path = self.folder / f"{name}.npy"
        return path, path.with_suffix(".done.npy")


class Source(Protocol):
    """Protocol of a source of images by item number, such as ``images.batches.PhotoSource``."""

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of image files."""

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Yield the batches of ``order``, loaded by ``n_workers`` threads."""


class Body(NamedTuple):
    """The split of a network into its frozen lower stages and its trained upper stages.

    Attributes:
        source: Source of the batches.
        below: Function from a batch of ``source`` to the input of the first trained stage.
        above: Function from that input to the outputs of the network.
    """

    source: Source
    below: Callable[[Tensor], Tensor]
    above: Callable[[Tensor], Outputs]


def body(
    network: Network,
    source: Source,
    *,
    items: Int[np.ndarray, " item"],
    features: FeatureStore | None,
    progress: Progress = QUIET,
    n_workers: int = 2,
) -> Body:
    """Return the split of a network whose batches are images, or cached features of its frozen lower stages.

    Args:
        network: Network, with its frozen stages already frozen.
        source: Source of images.
        items: Items that may be requested.
        features: Cache; None: no cache.
        progress: Progress reporter.
        n_workers: Number of image-loading threads.

    Raises:
        RunError: The disk is full or fails.
    """
    preprocess, n_lower = source.preprocess, _n_lower(network)
    lower = network.lower(n_lower) if n_lower else None
    if lower is None:
        return Body(source, lambda pictures: normalise(pictures, preprocess), network)
    if features is not None and isinstance(source, PhotoSource) and source.n_rows is not None:
        kept = KeptFeatures(lower, source, settings=network.lower_settings(n_lower), store=features)
        if kept.has_space():
            kept.fill(items, progress=progress, n_workers=n_workers)
            return Body(kept, lambda features: features, network.upper(n_lower))

    def below(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return lower(normalise(pictures, preprocess))

    return Body(source, below, network.upper(n_lower))


def pooled(network: Network, source: PhotoSource, *, features: FeatureStore) -> KeptFeatures | None:
    """Return the cache of the pooled vectors of a network's whole backbone; None if they cannot be cached.

    They cannot be cached if the pooling has weights or needs a map other than the last one, or if the disk is too full.
    """
    n_all = len(backbone_stages(network.backbone))
    lower = network.lower(n_all) if network.pools_below(n_all) else None
    if lower is None or source.n_rows is None:
        return None
    kept = KeptFeatures(lower, source, settings=network.lower_settings(n_all), store=features)
    return kept if kept.has_space() else None


def _n_lower(network: Network) -> int:
    """Return the number of consecutive frozen stages, counted from the input."""
    n = 0
    for name in backbone_stages(network.backbone):
        if name not in network.frozen:
            break
        n += 1
    return n


def features_key(lower: nn.Module, source: PhotoSource, *, settings: Mapping[str, Any]) -> str:
    """Return the cache key of the frozen stages' features for all images of a source: 32 hex digits.

    Equal keys mean equal features (on one kind of device). Weights alone are not enough: average and maximum pooling
    have no weights.

    Args:
        lower: Frozen stages, with their weights.
        source: Images, with their preprocessing, boxes, landmarks, masks and augmentation.
        settings: Other settings that the features depend on: ``Network.lower_settings``.
    """
    content = {"settings": settings, "source": source.fingerprint(), "versions": _versions()}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in lower.state_dict().items():
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@cache
def _versions() -> list[tuple[str, str]]:
    """Return the versions of the libraries that compute features; torch's version includes its build."""
    return sorted({**versions(), "torch": torch.__version__}.items())


class KeptFeatures:
    """A source of cached features of frozen stages: one row per image, in blocks that are computed when needed.

    A block is always computed as a whole and in the same passes, so its content does not depend on the order of
    requests. Several folds can share the file, and an interrupted computation resumes with bit-identical results.

    Args:
        lower: Frozen stages.
        source: Finite source of images.
        settings: Other settings that the features depend on: ``Network.lower_settings``.
        store: Storage; the name of the features is their ``features_key``.
    """

    def __init__(
        self, lower: nn.Module, source: PhotoSource, *, settings: Mapping[str, Any], store: FeatureStore
    ) -> None:
        self.preprocess, self._lower, self._source, self._store = source.preprocess, lower.eval(), source, store
        self._n_rows = source.n_rows or 0
        device = next(iter(lower.state_dict().values())).device
        self.name = f"{device.type}-{features_key(lower, source, settings=settings)}"

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        kept = self._store.shape_of(self.name)
        if kept is not None:
            return kept
        return (self._n_rows, *self._through(self._source.load_rows(np.zeros(1, np.int64))).shape[1:])

    def has_space(self) -> bool:
        """Return whether there is enough space for all rows, or they already exist."""
        return self._store.has(self.name) or self._store.has_space(self.name, self._shape)

    def fill(self, items: Int[np.ndarray, " item"], *, progress: Progress, n_workers: int) -> None:
        """Compute the missing blocks that contain a row of ``items``."""
        with disk_errors(self._store.folder or Path()):
            rows, done = self._store.opened(self.name, self._shape, n_blocks=-(-self._n_rows // BLOCK))
            n_items = 2 * len(self._source)
            wanted = (items[:, None] + n_items * np.arange(self._n_rows // n_items)).reshape(-1)
            blocks = [block for block in np.unique(wanted // BLOCK).tolist() if not done[block]]
            pictures = stream(blocks, self._pictures, n_workers=n_workers)
            for block, batch in zip(
                blocks, progress.track(pictures, total=len(blocks), what="features of frozen stages"), strict=True
            ):
                features = self._through(batch)
                rows[block * BLOCK : (block + 1) * BLOCK] = features[: self._n_rows - block * BLOCK]
                done[block] = True
            self._rows = self._store.closed(self.name, rows, done)

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Yield the cached features of the images that ``PhotoSource.batches`` would yield."""
        starts = np.cumsum([0, *(len(items) for items in order)])

        def batch(number: int) -> Tensor:
            rows = self._source.rows(order[number], epoch=epoch, start=int(starts[number]))
            features = torch.from_numpy(self._rows[rows])
            return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features

        yield from stream(range(skip_batches, len(order)), batch, n_workers=n_workers)

    def _pictures(self, block: int) -> Tensor:
        """Load the images of a block. The last block is filled up to complete passes with its last image."""
        first, last = block * BLOCK, min((block + 1) * BLOCK, self._n_rows)
        whole = -(-(last - first) // self._per_pass) * self._per_pass
        return self._source.load_rows(np.minimum(np.arange(first, first + whole), self._n_rows - 1))

    @property
    def _per_pass(self) -> int:
        """The number of images per forward pass."""
        return ON_CPU if next(iter(self._lower.state_dict().values())).device.type == "cpu" else BLOCK

    def _through(self, pictures: Tensor) -> np.ndarray:
        at = next(iter(self._lower.state_dict().values())).device
        with torch.no_grad():
            features = [
                self._lower(normalise(part.to(at), self.preprocess)).float() for part in pictures.split(self._per_pass)
            ]
            return torch.cat(features).cpu().contiguous().numpy()
