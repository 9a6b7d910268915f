"""Trained networks, one a fold, with everything they need to look at a photo."""

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
    """The networks of a train stage: a folder ``fold<k>`` each, with weights, settings and what each epoch brought."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._nets: dict[str, list[SavedNet]] = {}

    def place(self, k: int) -> Path:
        """The folder of the network of fold ``k``."""
        return self.folder / f"fold{k}"

    def checkpoints(self, k: int) -> Path:
        """Where a training that goes on keeps its checkpoints; gone when the stage is finished."""
        return self.folder / f".fold{k}-checkpoints"

    def trained(self, k: int) -> bool:
        """Whether the training of fold ``k`` has ended."""
        return (self.place(k) / HISTORY).exists()

    def write_history(self, k: int, history: list[dict[str, Any]]) -> None:
        """Note what each epoch brought; the last file of a fold to be written."""
        write_json(self.place(k) / HISTORY, history)

    def write_labels(self, k: int, labels: list[str]) -> None:
        """Note the names of the labels that the network of fold ``k`` predicts, in the order of its logits."""
        write_json(self.place(k) / LABELS, labels)

    @cached_property
    def labels(self) -> list[str]:
        """The names of the labels that the networks predict, in the order of their logits."""
        return list(read_json(self.place(0) / LABELS))

    @property
    def predicts_labels(self) -> bool:
        """Whether the networks predict labels, rather than individuals."""
        return (self.place(0) / LABELS).exists()

    @property
    def n_folds(self) -> int:
        """How many networks there are."""
        return len(list(self.folder.glob("fold*")))

    def histories(self) -> list[list[dict[str, Any]]]:
        """What each epoch brought, fold by fold."""
        return [read_json(self.place(k) / HISTORY) for k in range(self.n_folds)]

    def nets(self, device: str) -> list[SavedNet]:
        """The networks, one a fold, ready to look at photos; loaded once for a device."""
        from fieldmark.pipeline.networks import open_net

        if device not in self._nets:
            self._nets[device] = [open_net(self.place(k), device=device) for k in range(self.n_folds)]
        return self._nets[device]
