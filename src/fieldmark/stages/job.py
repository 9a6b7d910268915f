"""What every stage is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection


@dataclass(frozen=True)
class Job:
    """A run in the making: where it lies, its photos, and how to compute.

    Attributes:
        run: The run folder; finished stages are read from it.
        known: The photos with identities, to learn from and to compare with.
        new: Photos to answer, or None.
        seed: Of everything random in the run.
        device: As the user typed it: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Where to tell how far it is.
        features: Where features of frozen stages may be kept; None: nowhere.
        stages: The plan's stages by name.
    """

    run: RunFolder
    known: Collection
    new: Collection | None
    seed: int
    device: str = "auto"
    n_workers: int = 2
    progress: Progress = field(default=QUIET)
    features: Path | None = None
    stages: Mapping[str, Any] = field(default_factory=dict)

    @property
    def visible(self) -> Collection | None:
        """The new photos that have a file."""
        return self.new if self.new is None or self.new.present.all() else self.new.take(self.new.present)

    @property
    def pace(self) -> dict[str, Any]:
        """The keywords ``n_workers`` and ``progress`` of functions that look at many photos."""
        return {"n_workers": self.n_workers, "progress": self.progress}
