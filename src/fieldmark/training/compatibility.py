"""Which losses cannot work on which network: told before anything is trained (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from fieldmark.losses.specs import Loss
from fieldmark.models.specs import Net


def incompatible_losses(net: Net, losses: Iterable[Loss]) -> list[str]:
    """Losses that read what this network does not give; each with what would mend it.

    Args:
        net: Settings of the network.
        losses: Of all phases of its training; those named twice are told once.
    """
    return [mistake for loss in dict.fromkeys(losses) if (mistake := loss.mistake(net)) is not None]
