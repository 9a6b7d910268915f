"""Networks with the same first stages, which are then computed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.models.backbone import FeatureMap, links
from fieldmark.models.network import Network


class Shared:
    """Several networks in test mode, and how many links of their backbones are the same to the bit.

    Networks of several folds share what was frozen while they were trained: the whole backbone where only heads learnt.

    Args:
        networks: At least one; in test mode.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks
        alone = [one.shrinking is not None for one in networks]
        self._links = [[] if any(alone) or len(networks) == 1 else links(one.backbone) for one in networks]
        self.n_shared = _n_similar(self._links)
        """How many links are computed once."""

    def pooled(self, pictures: Float[Tensor, "batch channel height width"]) -> tuple[Float[Tensor, "batch width"], ...]:
        """The pooled feature of each network; ``Network.above`` goes on from there."""
        if not self.n_shared:
            return tuple(one.pooled(pictures) for one in self.networks)
        features = pictures
        for link in self._links[0][: self.n_shared]:
            features = link(features)
        found = []
        for network, own in zip(self.networks, self._links, strict=True):
            rest = features
            for link in own[self.n_shared :]:
                rest = link(rest)
            found.append(network.pooled_map(rest))
        return tuple(found)


def _n_similar(links_of: Sequence[Sequence[nn.Module]]) -> int:
    """How many links from the input on are the same in all networks."""
    n = 0
    for some in zip(*links_of, strict=False):
        if not all(_similar(some[0], other) for other in some[1:]):
            break
        n += 1
    return n


def _similar(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules are built similar and hold the same numbers."""
    if isinstance(one, FeatureMap) and isinstance(other, FeatureMap):
        return _similar(one.model, other.model)
    if repr(one) != repr(other):
        return False
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in mine.items())
