"""Warm starts: initialise a network with the weights of a trained one, for all labels or for some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fieldmark.core.errors import WeightsError, several
from fieldmark.models import store
from fieldmark.models.network import Network

HEAD = "head."


def start_from(network: Network, saved: Network | Path, *, columns: Sequence[int] | None = None) -> None:
    """Copy backbone and neck of a trained network, and the rows of its head for some labels.

    Use it to train a network for a part of the labels (for example, the tags without the cultures). The head weights of
    label ``j`` are initialised with those of label ``columns[j]`` of the saved network.

    Args:
        network: Network to change in place; it is not changed if an error is raised.
        saved: A trained network, or its folder (see ``models.store``).
        columns: Label of the saved network for each label of this network. None keeps the initial weights of the head,
            for other labels or another kind of head.

    Raises:
        WeightsError: Backbone, neck or head differ, the columns do not fit, or the folder has no complete network.

    Source:
        iMet 2019 first place, stage 4.
    """
    trained = store.open(saved).network if isinstance(saved, Path) else saved
    mistakes, rows = _other_head(network, trained, columns), None
    if columns is not None and not mistakes:
        rows = {name: tensor[list(columns)] for name, tensor in trained.state_dict().items() if name.startswith(HEAD)}
    below = {name: tensor for name, tensor in trained.state_dict().items() if not name.startswith(HEAD)}
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(HEAD)}
    mistakes += _differing(own, below)
    if mistakes:
        raise WeightsError(
            "The network cannot start from the weights of the saved network.",
            got=several(mistakes),
            fix="use the same backbone, pooling, neck and head as the saved network, and one column per label.",
        )
    network.load_state_dict(below | (rows or {}), strict=False)


def _other_head(network: Network, trained: Network, columns: Sequence[int] | None) -> list[str]:
    """Return the reasons why rows of one head cannot be copied to the other."""
    if columns is None:
        return []
    mistakes = []
    if not _same_head(network.head, trained.head):
        mistakes.append(
            f"head {trained.net.head.kind} for {network.net.head.kind} (or of another scale or number of centres)"
        )
    outside = [column for column in columns if not 0 <= column < trained.n_classes]
    if outside:
        mistakes.append(f"{len(outside)} columns outside 0 to {trained.n_classes - 1}: {outside[:3]}")
    if len(columns) != network.n_classes:
        mistakes.append(f"{len(columns)} columns for {network.n_classes} labels")
    return mistakes


def _same_head(one: nn.Module | None, other: nn.Module | None) -> bool:
    """Return whether two heads compute their logits in the same way."""
    same_traits = all(
        getattr(one, trait, None) == getattr(other, trait, None) for trait in ("scale", "n_centres", "sigma")
    )
    return one is not None and type(one) is type(other) and same_traits


def _differing(own: dict[str, Tensor], saved: dict[str, Tensor]) -> list[str]:
    """Return messages about tensors that are missing, unexpected or of another shape; the first few of each."""
    both = own.keys() & saved.keys()
    found = {
        "missing": sorted(own.keys() - saved.keys()),
        "unexpected": sorted(saved.keys() - own.keys()),
        "wrongly shaped": sorted(name for name in both if own[name].shape != saved[name].shape),
    }
    return [
        f"{len(names)} {what} tensors: {', '.join(names[:2])}{', ...' if len(names) > 2 else ''}"
        for what, names in found.items()
        if names
    ]
