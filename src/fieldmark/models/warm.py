"""A warm start: a network that begins where another one ended, for all labels or for some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fieldmark.core.errors import WeightsError, several
from fieldmark.models import store
from fieldmark.models.network import Network

HEAD = "head."


def start_from(network: Network, saved: Network | Path, *, columns: Sequence[int] | None = None) -> None:
    """Copy a trained network's backbone and neck, and of its head the rows of some labels.

    A network for a part of the labels (the tags without the cultures) need not learn again what they look like: label
    ``j`` starts with the saved network's question for its label ``columns[j]``.

    Args:
        network: Changed in place, all of it or (on refusal) nothing.
        saved: A network, or the folder of one (see ``models.store``).
        columns: Which label of the saved network each of this network's labels is; None leaves the head as it was
            built, for other labels or another kind of head.

    Raises:
        WeightsError: Another backbone, neck or head, or columns that do not fit; or the folder holds no whole network.

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
            "The network cannot start from the saved one.",
            got=several(mistakes),
            fix="use the same backbone, pooling, neck and head as the saved network, and as many columns as labels.",
        )
    network.load_state_dict(below | (rows or {}), strict=False)


def _other_head(network: Network, trained: Network, columns: Sequence[int] | None) -> list[str]:
    """Why rows of the one head cannot be rows of the other."""
    if columns is None:
        return []
    mistakes = []
    if not _similar(network.head, trained.head):
        mistakes.append(
            f"head {trained.net.head.kind} for {network.net.head.kind} (or of another scale or number of centres)"
        )
    outside = [column for column in columns if not 0 <= column < trained.n_classes]
    if outside:
        mistakes.append(f"{len(outside)} columns outside 0 to {trained.n_classes - 1}: {outside[:3]}")
    if len(columns) != network.n_classes:
        mistakes.append(f"{len(columns)} columns for {network.n_classes} labels")
    return mistakes


def _similar(one: nn.Module | None, other: nn.Module | None) -> bool:
    """Whether two heads ask their questions in the same way."""
    same_traits = all(
        getattr(one, trait, None) == getattr(other, trait, None) for trait in ("scale", "n_centres", "sigma")
    )
    return one is not None and type(one) is type(other) and same_traits


def _differing(own: dict[str, Tensor], saved: dict[str, Tensor]) -> list[str]:
    """What of the saved network has no place here, or another shape, or is lacking; the first few of each."""
    both = own.keys() & saved.keys()
    found = {
        "lacking": sorted(own.keys() - saved.keys()),
        "without place": sorted(saved.keys() - own.keys()),
        "of another shape": sorted(name for name in both if own[name].shape != saved[name].shape),
    }
    return [
        f"{len(names)} tensors {what}: {', '.join(names[:2])}{', ...' if len(names) > 2 else ''}"
        for what, names in found.items()
        if names
    ]
