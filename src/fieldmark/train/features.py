"""Features of a frozen lower part, computed once a photo and kept: invisible except in speed.

Where the first stages of a backbone do not learn and photos are not changed by chance, what those stages give for a
photo never changes. Their results then lie in one file that all epochs, folds and heads read. The file's name is a
hash of everything its content depends on (weights, preprocessing, photos, numbers' precision), so that it cannot be
stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from fieldmark.core.files import told_disk_faults
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.preprocess import normalise
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import stages
from fieldmark.models.network import Network, Outputs
from fieldmark.train.ranks import Ranks

BLOCK = 64
"""Photos in one forward pass; also the unit of what is kept, so that results do not depend on who asked first."""


class Source(Protocol):
    """Gives pictures by item number, as ``images.batches.PhotoSource`` does."""

    @property
    def preprocess(self) -> Preprocess:
        """How files become pictures."""

    @property
    def n_items(self) -> int:
        """How many items there are, mirrored ones included."""

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Batches in the order's order, read ahead by ``n_workers`` threads."""

    def fixed(self) -> str | None:
        """A hash of files and preprocessing if every item always gives the same picture, else None."""


def body(
    network: Network, source: Source, frozen: Sequence[str], *, folder: Path, group: Ranks, progress: Progress = QUIET
) -> tuple[Callable[[Tensor], Outputs], Source]:
    """How batches go through the network: from pictures, or from kept features of its frozen lower part.

    Args:
        network: With ``frozen`` already frozen.
        source: Of pictures.
        frozen: Names of frozen stages.
        folder: Where features are kept.
        group: This process; features are kept only where there is a single one.
        progress: Told while features are computed.

    Returns:
        The forward function and the source of what it takes.
    """
    n_lower = _n_lower(network, frozen)
    content = source.fixed()
    lower = network.lower(n_lower) if n_lower and content is not None and group.world == 1 else None
    if lower is None or content is None:
        return lambda pictures: network(normalise(pictures, source.preprocess)), source
    kept = KeptFeatures(lower, source, content, folder=folder, device=group.device, progress=progress)
    return lambda features: network.forward_from(features, after=n_lower), kept


def _n_lower(network: Network, frozen: Sequence[str]) -> int:
    """How many stages from the input on are frozen without a gap."""
    n = 0
    for name in stages(network.backbone):
        if name not in frozen:
            break
        n += 1
    return n


class KeptFeatures:
    """The source of a frozen part's results, one row an item, computed at first sight.

    Args:
        lower: The frozen part.
        source: Its pictures.
        content: The source's own hash.
        folder: Where the file lies.
        device: Where to compute.
        progress: Told while computing.
    """

    def __init__(
        self, lower: nn.Module, source: Source, content: str, *, folder: Path, device: torch.device, progress: Progress
    ) -> None:
        self.preprocess, self.n_items = source.preprocess, source.n_items
        digest = hashlib.sha256(f"{content} {device.type} {torch.__version__}".encode())
        for name, tensor in lower.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        path = folder / f"{digest.hexdigest()[:32]}.npy"
        if not path.exists():
            self._compute(lower, source, path, device, progress)
        self._rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)

    def _compute(
        self, lower: nn.Module, source: Source, path: Path, device: torch.device, progress: Progress
    ) -> None:
        """Fill a file aside, then rename it: what is there is whole."""
        order = np.minimum(np.arange(-(-self.n_items // BLOCK) * BLOCK), self.n_items - 1).reshape(-1, BLOCK)
        aside = path.with_suffix(".part")
        rows: np.ndarray | None = None
        lower.eval()
        with told_disk_faults(path), torch.no_grad():
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = source.batches(order, epoch=0, n_workers=2)
            for number, pictures in enumerate(
                progress.track(stream, total=len(order), what="features of the frozen part")
            ):
                features = lower(normalise(pictures.to(device), source.preprocess)).float().cpu().numpy()
                if rows is None:
                    shape = (self.n_items, *features.shape[1:])
                    rows = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
                first = number * BLOCK
                rows[first : first + BLOCK] = features[: self.n_items - first]
            if rows is not None:
                rows.flush()
            aside.replace(path)

    def fixed(self) -> str | None:
        """Nothing is kept of what is kept."""
        return None

    def batches(
        self, order: Int[np.ndarray, "n_batches batch"], *, epoch: int, n_workers: int, skip_batches: int = 0
    ) -> Iterator[Tensor]:
        """Rows of the file; ``epoch`` and ``n_workers`` change nothing."""
        del epoch, n_workers
        for items in order[skip_batches:]:
            rows = torch.from_numpy(np.ascontiguousarray(self._rows[items]))
            yield rows.contiguous(memory_format=torch.channels_last) if rows.ndim == 4 else rows
