"""The work directory of a training, and how it computes and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldmark.core.progress import QUIET, Progress
from fieldmark.training.features import FeatureStore
from fieldmark.training.ranks import Ranks


@dataclass(frozen=True)
class WorkDirectory:
    """Work directory, process group and reporters of a training. They do not change its result.

    Attributes:
        folder: Folder of the checkpoints of this training.
        group: Rank of this process.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.
        scalar: Function that receives (name, value, update) for training curves, e.g. ``SummaryWriter.add_scalar``.
        features: Cache for features of frozen lower stages; None: no cache.
    """

    folder: Path
    group: Ranks
    n_workers: int = 2
    progress: Progress = QUIET
    scalar: Callable[[str, float, int], None] | None = None
    features: FeatureStore | None = None
