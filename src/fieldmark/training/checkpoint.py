"""Checkpoints of a training, written atomically and verified by their SHA-256 when read."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fieldmark.core.errors import RunError
from fieldmark.core.files import disk_errors, publish, read_json, sha256, write_json

STATE = "state.json"
TENSORS = "tensors.safetensors"


@dataclass
class State:
    """The state of a training. A resumed training gives the same result as an uninterrupted one.

    Attributes:
        numbers: JSON values: position, history, running sums and best epoch so far.
        tensors: Tensors by name: network, optimiser, moving average and state of the dropout generator.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(state: State, folder: Path, *, number: int, keep: int = 2) -> None:
    """Write a checkpoint next to the older ones, then delete all but the newest ``keep``."""
    place = folder / f"{number:09d}"
    aside = folder / f".{number:09d}.part"
    for old in (aside, place):
        if old.exists():
            shutil.rmtree(old)
    with disk_errors(place):
        aside.mkdir(parents=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
        try:
            save_file(tensors, aside / TENSORS)
        except SafetensorError as error:  # the disk is full or fails
            raise OSError(errno.ENOSPC, str(error)) from error
    write_json(aside / STATE, {"sha256": sha256(aside / TENSORS), "numbers": state.numbers})
    publish(aside, place)
    for old in sorted(folder.glob("[0-9]*"))[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path) -> State | None:
    """Return the newest complete checkpoint in ``folder``, or None. Damaged checkpoints are skipped."""
    for place in sorted(folder.glob("[0-9]*"), reverse=True):
        try:
            noted = read_json(place / STATE)
            if sha256(place / TENSORS) == noted["sha256"]:
                return State(numbers=noted["numbers"], tensors=load_file(place / TENSORS))
        except (RunError, OSError, KeyError, TypeError):
            continue
    return None


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    """Return the optimiser's state by parameter name: ``optimiser/exp_avg/<name>``. Numbers become 0-d tensors."""
    found = {}
    for parameter, memory in optimiser.state.items():
        for key, value in memory.items():
            if value is not None:
                found[f"optimiser/{key}/{names[id(parameter)]}"] = torch.as_tensor(value)
    return found


def restore_optimiser(
    optimiser: torch.optim.Optimizer, named: dict[str, torch.nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """Restore the optimiser's state from the result of ``optimiser_tensors``."""
    for full, value in tensors.items():
        if not full.startswith("optimiser/"):
            continue
        _, key, name = full.split("/", 2)
        parameter = named[name]
        # Adam counts its steps in a CPU tensor; all other tensors have the device and layout of their parameter.
        optimiser.state[parameter][key] = value if key == "step" else torch.empty_like(parameter).copy_(value)
