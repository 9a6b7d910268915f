"""Where and by what means a training works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldmark.core.progress import QUIET, Progress
from fieldmark.training.features import FeatureStore
from fieldmark.training.ranks import Ranks


@dataclass(frozen=True)
class WorkDirectory:
    """Where and by what means a training works; nothing here changes what comes out of it.

    Attributes:
        folder: For checkpoints; belongs to this training alone.
        group: This process's place among those that train together.
        n_workers: Threads that read ahead.
        progress: Told each epoch.
        scalar: Told (name, value, update) for curves, e.g. ``SummaryWriter.add_scalar``.
        features: Where features of frozen lower parts may be kept; None: nowhere.
    """

    folder: Path
    group: Ranks
    n_workers: int = 2
    progress: Progress = QUIET
    scalar: Callable[[str, float, int], None] | None = None
    features: FeatureStore | None = None
