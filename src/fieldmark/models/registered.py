"""Registry of backbones that timm does not have: networks of other packages and of users' scripts, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from fieldmark.core.registry import Registry

if TYPE_CHECKING:
    from torch import nn


class BuildNetwork(Protocol):
    """A function that builds the network of a backbone."""

    def __call__(self, *, in_channels: int, pretrained: bool) -> nn.Module:
        """Return a module with ``num_features`` and a method ``forward_features`` from images to the last feature map.

        The map has the axes (batch, channel, row, column). Each direct child can be frozen separately. If the network
        has a ``group_matcher`` like timm's networks, its groups are used instead.

        Args:
            in_channels: Number of input channels: 3, or 4 if a mask is the last channel.
            pretrained: Whether to load its own pretrained weights; otherwise random weights, which are then trained or
                replaced from a file.
        """


BACKBONES: Registry[BuildNetwork] = Registry("fieldmark.backbones", what="backbone")
"""Backbones in addition to timm's. Other packages register theirs in the entry-point group ``fieldmark.backbones``."""

BuildT = TypeVar("BuildT", bound=BuildNetwork)


def backbone(name: str) -> Callable[[BuildT], BuildT]:
    """Register a network under ``name``, as a decorator. Plans in the same process can use it as a backbone.

    Raises:
        FieldmarkError: Another backbone has the same name.
    """

    def register(build: BuildT) -> BuildT:
        BACKBONES.add(name, build)
        return build

    return register
