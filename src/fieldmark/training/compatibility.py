"""Compatibility of losses and networks, checked before training (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from fieldmark.losses.specs import Loss
from fieldmark.models.specs import Net


def incompatible_losses(net: Net, losses: Iterable[Loss]) -> list[str]:
    """Return a mistake, with its fix, for each loss that needs an output that this network does not have.

    Args:
        net: Settings of the network.
        losses: Losses of all training phases; duplicates are reported once.
    """
    return [mistake for loss in dict.fromkeys(losses) if (mistake := loss.mistake(net)) is not None]
