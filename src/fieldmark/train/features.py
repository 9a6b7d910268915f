"""Features of a frozen lower part, computed once a photo and kept: invisible except in speed.

Where the first stages of a backbone do not learn and photos are not changed by chance, what those stages give for a
photo never changes. Their results then lie in one file that all epochs, folds and heads read. The file's name is a
hash of everything its content depends on (weights, preprocessing, photos, numbers' precision), so that it cannot be
stale.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from fieldmark.core.files import told_disk_faults
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.batches import PhotoSource, stream
from fieldmark.images.preprocess import normalise
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import stages
from fieldmark.models.network import Network, Outputs

BLOCK = 64
"""Photos in one forward pass; also the unit of what is kept, so that results do not depend on who asked first."""


class Source(Protocol):
    """Gives pictures by item number, as ``images.batches.PhotoSource`` does."""

    @property
    def preprocess(self) -> Preprocess:
        """How files become pictures."""

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Batches in the order's order, read ahead by ``n_workers`` threads."""


def body(
    network: Network,
    source: Source,
    frozen: Sequence[str],
    *,
    items: Int[np.ndarray, " item"],
    folder: Path | None,
    progress: Progress = QUIET,
    n_workers: int = 2,
) -> tuple[Callable[[Tensor], Outputs], Source]:
    """How batches go through the network: from pictures, or from kept features of its frozen lower part.

    Args:
        network: With ``frozen`` already frozen.
        source: Of pictures.
        frozen: Names of frozen stages.
        items: Those that may be asked for.
        folder: Where features are kept; None: nowhere.
        progress: Told while features are computed.
        n_workers: Threads that read ahead.

    Returns:
        The forward function and the source of what it takes.
    """
    n_lower = _n_lower(network, frozen)
    if n_lower and folder is not None and isinstance(source, PhotoSource) and source.n_rows is not None:
        lower = network.lower(n_lower)
        if lower is not None:
            kept = KeptFeatures(lower, source, folder=folder)
            if kept.has_room():
                kept.fill(items, progress=progress, n_workers=n_workers)
                return lambda features: network.forward_from(features, after=n_lower), kept
    return lambda pictures: network(normalise(pictures, source.preprocess)), source


def _n_lower(network: Network, frozen: Sequence[str]) -> int:
    """How many stages from the input on are frozen without a gap."""
    n = 0
    for name in stages(network.backbone):
        if name not in frozen:
            break
        n += 1
    return n


class KeptFeatures:
    """The source of a frozen part's results: one row a picture, in blocks that are computed when first needed.

    A block is always computed whole, in one forward pass: what is kept does not depend on who asked first, so several
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
        shape = self._features(np.zeros(1, np.int64)).shape[1:]
        self._shape = (self._n_rows, *shape)

    def has_room(self, *, share: float = 0.5) -> bool:
        """Whether all rows take at most ``share`` of the free disk (or lie there already)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        needed = 4 * int(np.prod(self._shape))
        return self._path.exists() or needed <= share * shutil.disk_usage(self._path.parent).free

    def fill(self, items: Int[np.ndarray, " item"], *, progress: Progress, n_workers: int) -> None:
        """Compute the blocks that hold a row of ``items`` and are not there yet."""
        n_blocks = -(-self._n_rows // BLOCK)
        done_path = self._path.with_suffix(".done.npy")
        with told_disk_faults(self._path):
            if not self._path.exists() or not done_path.exists():
                np.lib.format.open_memmap(self._path, mode="w+", dtype=np.float32, shape=self._shape).flush()
                np.lib.format.open_memmap(done_path, mode="w+", dtype=np.bool_, shape=(n_blocks,)).flush()
            rows = np.load(self._path, mmap_mode="r+", allow_pickle=False)
            done = np.load(done_path, mmap_mode="r+", allow_pickle=False)
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
        self._rows: np.ndarray = np.load(self._path, mmap_mode="r", allow_pickle=False)

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Rows of the file, those that ``PhotoSource.batches`` would show."""

        def batch(number: int) -> Tensor:
            start = int(sum(len(items) for items in order[:number]))
            rows = self._source.rows(order[number], epoch=epoch, start=start)
            features = torch.from_numpy(self._rows[rows])
            return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features

        yield from stream(range(skip_batches, len(order)), batch, n_workers=n_workers)

    def _pictures(self, block: int) -> Tensor:
        return self._source.load_rows(np.minimum(np.arange(block * BLOCK, (block + 1) * BLOCK), self._n_rows - 1))

    def _features(self, rows: np.ndarray) -> np.ndarray:
        return self._through(self._source.load_rows(rows))

    def _through(self, pictures: Tensor) -> np.ndarray:
        at = next(iter(self._lower.state_dict().values())).device
        with torch.no_grad():
            features = self._lower(normalise(pictures.to(at), self.preprocess))
            return features.float().cpu().contiguous().numpy()
