"""Features of a frozen lower part, computed once a photo and kept: invisible except in speed.

Where the first stages of a backbone do not learn and photos are not changed by chance, what those stages give for a
photo never changes. Their results then lie in one file that all epochs, folds and heads read. The file's name is a
hash of everything its content depends on (weights and settings of that part, preprocessing, photos, versions of the
libraries), so that it cannot be stale.
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
"""Photos computed together: the unit of what is kept, so that results do not depend on who asked first."""

ON_CPU = 4
"""Photos in one forward pass on a processor, whose cache then holds their feature maps (measured with the shipped
backbone: nearly half the time of passes of 64). A constant, as rounding may depend on it."""


IN_MEMORY = 2**31
"""Most bytes of features of one source that are kept in memory, where there is no folder for them."""


class FeatureStore:
    """Where features of frozen parts are kept: a folder, which processes and runs may share, or memory.

    Args:
        folder: Made when something is kept; None: memory, as long as the store lives.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def has(self, name: str) -> bool:
        """Whether somebody has begun to keep features of that name."""
        if self.folder is None:
            return name in self._held
        return all(path.exists() for path in self._paths(name))

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of the features of that name; None where nobody has begun to keep them."""
        if not self.has(name):
            return None
        kept = self._held[name][0] if self.folder is None else np.load(self._paths(name)[0], mmap_mode="r")
        return tuple(kept.shape)

    def has_room(self, name: str, shape: tuple[int, ...], *, share: float = 0.5) -> bool:
        """Whether features of that shape take at most ``share`` of the free disk (or are there already)."""
        if self.has(name):
            return True
        n_bytes = 4 * int(np.prod(shape))
        if self.folder is None:
            return n_bytes <= IN_MEMORY
        self.folder.mkdir(parents=True, exist_ok=True)
        return n_bytes <= share * shutil.disk_usage(self.folder).free

    def opened(self, name: str, shape: tuple[int, ...], *, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """The features and which blocks of them are filled, to be written into; ``closed`` keeps what was written.

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
        """What was written, to be read; on disk it outlives the process."""
        if self.folder is None:
            return rows
        for one in (rows, done):
            if isinstance(one, np.memmap):
                one.flush()
        # As a plain array: each index into a memmap object would cost more than the copy it makes.
        return np.asarray(np.load(self._paths(name)[0], mmap_mode="r", allow_pickle=False))

    def _paths(self, name: str) -> tuple[Path, Path]:
        if self.folder is None:
            raise TypeError("features in memory have no files")
        path = self.folder / f"{name}.npy"
        return path, path.with_suffix(".done.npy")


class Source(Protocol):
    """Gives pictures by item number, as ``images.batches.PhotoSource`` does."""

    @property
    def preprocess(self) -> Preprocess:
        """How files become pictures."""

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Batches in the order's order, read ahead by ``n_workers`` threads."""


class Body(NamedTuple):
    """How batches go through a network: what does not learn, then what does.

    ``below`` takes a batch of ``source`` to where learning begins, ``above`` from there to the outputs.
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
    """How batches go through the network: from pictures, or from kept features of its frozen lower part.

    Args:
        network: With what is frozen already frozen.
        source: Of pictures.
        items: Those that may be asked for.
        features: Where features are kept; None: nowhere.
        progress: Told while features are computed.
        n_workers: Threads that read ahead.

    Raises:
        RunError: The disk is full or fails.
    """
    preprocess, n_lower = source.preprocess, _n_lower(network)
    lower = network.lower(n_lower) if n_lower else None
    if lower is None:
        return Body(source, lambda pictures: normalise(pictures, preprocess), network)
    if features is not None and isinstance(source, PhotoSource) and source.n_rows is not None:
        kept = KeptFeatures(lower, source, settings=network.lower_settings(n_lower), store=features)
        if kept.has_room():
            kept.fill(items, progress=progress, n_workers=n_workers)
            return Body(kept, lambda features: features, network.upper(n_lower))

    def below(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return lower(normalise(pictures, preprocess))

    return Body(source, below, network.upper(n_lower))


def pooled(network: Network, source: PhotoSource, *, features: FeatureStore) -> KeptFeatures | None:
    """The vectors that a network's whole backbone gives for photos, kept or to be kept; None where they cannot be.

    They cannot where pooling learns or needs a map that is not the last one, or where there is no room.
    """
    n_all = len(backbone_stages(network.backbone))
    lower = network.lower(n_all) if network.pools_below(n_all) else None
    if lower is None or source.n_rows is None:
        return None
    kept = KeptFeatures(lower, source, settings=network.lower_settings(n_all), store=features)
    return kept if kept.has_room() else None


def _n_lower(network: Network) -> int:
    """How many stages from the input on are frozen without a gap."""
    n = 0
    for name in backbone_stages(network.backbone):
        if name not in network.frozen:
            break
        n += 1
    return n


def features_key(lower: nn.Module, source: PhotoSource, *, settings: Mapping[str, Any]) -> str:
    """The key of what a frozen part computes for all pictures of a source: 32 hex digits.

    Equal keys mean equal features (on one kind of device). Weights alone do not tell what is computed: average and
    maximum pooling have none.

    Args:
        lower: The frozen part, with its weights.
        source: The pictures, with their preprocessing, boxes, landmarks, masks and augmentation.
        settings: What decides, beside the weights, what the part computes: ``Network.lower_settings``.
    """
    told = {"settings": settings, "source": source.fingerprint(), "versions": _versions()}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in lower.state_dict().items():
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@cache
def _versions() -> list[tuple[str, str]]:
    """Versions of the libraries that compute features; torch's own word for its version also tells its build."""
    return sorted({**versions(), "torch": torch.__version__}.items())


class KeptFeatures:
    """The source of a frozen part's results: one row a picture, in blocks that are computed when first needed.

    A block is always computed whole and in the same passes: what is kept does not depend on who asked first, so several
    folds can share the file and an interrupted filling goes on to the same bits.

    Args:
        lower: The frozen part.
        source: A finite number of pictures.
        settings: What decides, beside the weights, what the part computes: ``Network.lower_settings``.
        store: Where they are kept, under the ``features_key``.
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

    def has_room(self) -> bool:
        """Whether there is room for all rows, or they lie there already."""
        return self._store.has(self.name) or self._store.has_room(self.name, self._shape)

    def fill(self, items: Int[np.ndarray, " item"], *, progress: Progress, n_workers: int) -> None:
        """Compute the blocks that hold a row of ``items`` and are not there yet."""
        with disk_errors(self._store.folder or Path()):
            rows, done = self._store.opened(self.name, self._shape, n_blocks=-(-self._n_rows // BLOCK))
            n_items = 2 * len(self._source)
            wanted = (items[:, None] + n_items * np.arange(self._n_rows // n_items)).reshape(-1)
            blocks = [block for block in np.unique(wanted // BLOCK).tolist() if not done[block]]
            pictures = stream(blocks, self._pictures, n_workers=n_workers)
            for block, batch in zip(
                blocks, progress.track(pictures, total=len(blocks), what="features of the frozen part"), strict=True
            ):
                features = self._through(batch)
                rows[block * BLOCK : (block + 1) * BLOCK] = features[: self._n_rows - block * BLOCK]
                done[block] = True
            self._rows = self._store.closed(self.name, rows, done)

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Rows of the file, those that ``PhotoSource.batches`` would show."""
        starts = np.cumsum([0, *(len(items) for items in order)])

        def batch(number: int) -> Tensor:
            rows = self._source.rows(order[number], epoch=epoch, start=int(starts[number]))
            features = torch.from_numpy(self._rows[rows])
            return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features

        yield from stream(range(skip_batches, len(order)), batch, n_workers=n_workers)

    def _pictures(self, block: int) -> Tensor:
        """The pictures of a block; the last one is filled up to whole passes by its last picture."""
        first, last = block * BLOCK, min((block + 1) * BLOCK, self._n_rows)
        whole = -(-(last - first) // self._few) * self._few
        return self._source.load_rows(np.minimum(np.arange(first, first + whole), self._n_rows - 1))

    @property
    def _few(self) -> int:
        """Photos in one pass."""
        return ON_CPU if next(iter(self._lower.state_dict().values())).device.type == "cpu" else BLOCK

    def _through(self, pictures: Tensor) -> np.ndarray:
        at = next(iter(self._lower.state_dict().values())).device
        with torch.no_grad():
            features = [
                self._lower(normalise(part.to(at), self.preprocess)).float() for part in pictures.split(self._few)
            ]
            return torch.cat(features).cpu().contiguous().numpy()
