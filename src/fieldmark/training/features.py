"""Features of a frozen lower part, computed once a photo and kept: invisible except in speed.

Where the first stages of a backbone do not learn and photos are not changed by chance, what those stages give for a
photo never changes. Their results then lie in one file that all epochs, folds and heads read. The file's name is a
hash of everything its content depends on (weights, preprocessing, photos, numbers' precision), so that it cannot be
stale.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from fieldmark.core.files import told_disk_faults
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource
from fieldmark.images.prefetch import stream
from fieldmark.images.preprocess import normalise
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import stages
from fieldmark.models.network import Network, Outputs

BLOCK = 64
"""Photos computed together: the unit of what is kept, so that results do not depend on who asked first."""

ON_CPU = 4
"""Photos in one forward pass on a processor, whose cache then holds their feature maps (measured with the shipped
backbone: nearly half the time of passes of 64). A constant, as rounding may depend on it."""


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
    folder: Path | None,
    progress: Progress = QUIET,
    n_workers: int = 2,
) -> Body:
    """How batches go through the network: from pictures, or from kept features of its frozen lower part.

    Args:
        network: With what is frozen already frozen.
        source: Of pictures.
        items: Those that may be asked for.
        folder: Where features are kept; None: nowhere.
        progress: Told while features are computed.
        n_workers: Threads that read ahead.

    Raises:
        RunError: The disk is full or fails.
    """
    preprocess, n_lower = source.preprocess, _n_lower(network)
    lower = network.lower(n_lower) if n_lower else None
    if lower is None:
        return Body(source, lambda pictures: normalise(pictures, preprocess), network)
    if folder is not None and isinstance(source, PhotoSource) and source.n_rows is not None:
        kept = KeptFeatures(lower, source, folder=folder)
        if kept.has_room():
            kept.fill(items, progress=progress, n_workers=n_workers)
            return Body(kept, lambda features: features, network.upper(n_lower))

    def below(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return lower(normalise(pictures, preprocess))

    return Body(source, below, network.upper(n_lower))


def pooled(network: Network, source: PhotoSource, *, folder: Path) -> KeptFeatures | None:
    """The vectors that a network's backbone gives for photos, if they are kept or may be: of a backbone that is frozen.

    Of a backbone that learns nothing is written, as nobody would ask for it again. A file that another network with
    the very same backbone has left is read whether or not this one is frozen.
    """
    n_all = len(stages(network.backbone))
    lower = network.lower(n_all) if network.pools_below(n_all) else None
    if lower is None or source.n_rows is None:
        return None
    kept = KeptFeatures(lower, source, folder=folder)
    return kept if kept.exists() or (_n_lower(network) == n_all and kept.has_room()) else None


def _n_lower(network: Network) -> int:
    """How many stages from the input on are frozen without a gap."""
    n = 0
    for name in stages(network.backbone):
        if name not in network.frozen:
            break
        n += 1
    return n


class KeptFeatures:
    """The source of a frozen part's results: one row a picture, in blocks that are computed when first needed.

    A block is always computed whole and in the same passes: what is kept does not depend on who asked first, so several
    folds can share the file and an interrupted filling goes on to the same bits.

    Args:
        lower: The frozen part.
        source: A finite number of pictures.
        folder: Where the file lies; its name is a hash of weights, pictures and torch's version.
    """

    def __init__(self, lower: nn.Module, source: PhotoSource, *, folder: Path) -> None:
        self.preprocess, self._lower, self._source = source.preprocess, lower.eval(), source
        self._n_rows = source.n_rows or 0
        digest = hashlib.sha256(f"{source.fingerprint()} {torch.__version__}".encode())
        for name, tensor in lower.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        device = next(iter(lower.state_dict().values())).device
        self._path = folder / f"{device.type}-{digest.hexdigest()[:32]}.npy"
        self._done_path = self._path.with_suffix(".done.npy")

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return (self._n_rows, *self._through(self._source.load_rows(np.zeros(1, np.int64))).shape[1:])

    def exists(self) -> bool:
        """Whether somebody has begun to fill the file."""
        return self._path.exists() and self._done_path.exists()

    def has_room(self, *, share: float = 0.5) -> bool:
        """Whether all rows take at most ``share`` of the free disk (or lie there already)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self.exists():
            return True
        return 4 * int(np.prod(self._shape)) <= share * shutil.disk_usage(self._path.parent).free

    def fill(self, items: Int[np.ndarray, " item"], *, progress: Progress, n_workers: int) -> None:
        """Compute the blocks that hold a row of ``items`` and are not there yet."""
        n_blocks = -(-self._n_rows // BLOCK)
        with told_disk_faults(self._path):
            if not self.exists():
                np.lib.format.open_memmap(self._path, mode="w+", dtype=np.float32, shape=self._shape).flush()
                np.lib.format.open_memmap(self._done_path, mode="w+", dtype=np.bool_, shape=(n_blocks,)).flush()
            rows = np.load(self._path, mmap_mode="r+", allow_pickle=False)
            done = np.load(self._done_path, mmap_mode="r+", allow_pickle=False)
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
            rows.flush()
            done.flush()
        # As a plain array: each index into a memmap object would cost more than the copy it makes.
        self._rows: np.ndarray = np.asarray(np.load(self._path, mmap_mode="r", allow_pickle=False))

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
        return self._source.load_rows(np.minimum(np.arange(block * BLOCK, (block + 1) * BLOCK), self._n_rows - 1))

    def _through(self, pictures: Tensor) -> np.ndarray:
        at = next(iter(self._lower.state_dict().values())).device
        few = ON_CPU if at.type == "cpu" else BLOCK
        with torch.no_grad():
            features = [self._lower(normalise(part.to(at), self.preprocess)).float() for part in pictures.split(few)]
            return torch.cat(features).cpu().contiguous().numpy()
