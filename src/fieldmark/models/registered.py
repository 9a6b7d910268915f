"""Backbones that timm does not have: networks of other packages and of users' own scripts, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from fieldmark.core.registry import Registry

if TYPE_CHECKING:
    from torch import nn


class BuildNetwork(Protocol):
    """A function that makes the network of a backbone."""

    def __call__(self, *, in_channels: int, pretrained: bool) -> nn.Module:
        """A module with ``num_features``, and with ``forward_features`` from pictures to their last feature map.

        The map is (batch, channel, row, column). The network can be frozen child by child, or in the parts that its
        ``group_matcher`` names, if it has one as timm's networks do.

        Args:
            in_channels: 3, or 4 where a mask is the last channel.
            pretrained: Whether to give it its own weights; else random ones, which are then trained or read from a
                file.
        """


BACKBONES: Registry[BuildNetwork] = Registry("fieldmark.backbones", what="backbone")
"""Backbones beside timm's; those of other packages are listed under the entry-point group ``fieldmark.backbones``."""

BuildT = TypeVar("BuildT", bound=BuildNetwork)


def backbone(name: str) -> Callable[[BuildT], BuildT]:
    """Decorator that makes a network known by ``name``: plans in the same process can use it as a backbone.

    Raises:
        FieldmarkError: Another backbone has the name.
    """

    def register(build: BuildT) -> BuildT:
        BACKBONES.add(name, build)
        return build

    return register
