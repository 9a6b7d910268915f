"""Trained networks, one per fold, with their preprocessing and labels."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldmark.core.files import read_json, write_json
from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.pipeline.networks import SavedNet

LABELS = "labels.json"
HISTORY = "history.json"


class Models(Artifact):
    """The networks of a train stage, one folder ``fold<k>`` each, with weights, settings and training history."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._nets: dict[str, list[SavedNet]] = {}

    def place(self, k: int) -> Path:
        """Return the folder of the network of fold ``k``."""
        return self.folder / f"fold{k}"

    def checkpoints(self, k: int) -> Path:
        """Return the folder of the checkpoints of an unfinished training. It is deleted when the stage is finished."""
        return self.folder / f".fold{k}-checkpoints"

    def trained(self, k: int) -> bool:
        """Return whether the training of fold ``k`` is finished."""
        return (self.place(k) / HISTORY).exists()

    def write_history(self, k: int, history: list[dict[str, Any]]) -> None:
        """Write the metrics of each epoch. This is the last file that is written for a fold."""
        write_json(self.place(k) / HISTORY, history)

    def write_labels(self, k: int, labels: list[str]) -> None:
        """Write the names of the labels that the network of fold ``k`` predicts, in the order of its logits."""
        write_json(self.place(k) / LABELS, labels)

    @cached_property
    def labels(self) -> list[str]:
        """The names of the labels that the networks predict, in the order of their logits."""
        return list(read_json(self.place(0) / LABELS))

    @property
    def predicts_labels(self) -> bool:
        """Whether the networks predict labels, not individuals."""
        return (self.place(0) / LABELS).exists()

    @property
    def n_folds(self) -> int:
        """The number of networks."""
        return len(list(self.folder.glob("fold*")))

    def histories(self) -> list[list[dict[str, Any]]]:
        """Return the training history of each fold: one dictionary of metrics per epoch."""
        return [read_json(self.place(k) / HISTORY) for k in range(self.n_folds)]

    def nets(self, device: str) -> list[SavedNet]:
        """Return the networks, one per fold, ready for prediction. They are loaded once per device."""
        from fieldmark.pipeline.networks import open_net

        if device not in self._nets:
            self._nets[device] = [open_net(self.place(k), device=device) for k in range(self.n_folds)]
        return self._nets[device]
