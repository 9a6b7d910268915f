"""Joint inference of networks with identical first stages, which are computed only once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.models.backbone import FeatureMap, links
from fieldmark.models.network import Network


class Shared:
    """Several networks in evaluation mode, with the number of backbone modules that are exactly equal.

    Networks of several folds share the stages that were frozen in training: the whole backbone if only heads were
    trained.

    Args:
        networks: At least one network, in evaluation mode.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks
        unshared = [one.shrinking is not None for one in networks]
        self._links = [[] if any(unshared) or len(networks) == 1 else links(one.backbone) for one in networks]
        self.n_shared = _n_equal(self._links)
        """Number of modules that are computed once."""

    def pooled(self, pictures: Float[Tensor, "batch channel height width"]) -> tuple[Float[Tensor, "batch width"], ...]:
        """Return the pooled feature of each network; ``Network.above`` computes the outputs from it."""
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


def _n_equal(links_of: Sequence[Sequence[nn.Module]]) -> int:
    """Return the number of modules from the input on that are equal in all networks."""
    n = 0
    for some in zip(*links_of, strict=False):
        if not all(_equal(some[0], other) for other in some[1:]):
            break
        n += 1
    return n


def _equal(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules have the same structure and the same values."""
    if isinstance(one, FeatureMap) and isinstance(other, FeatureMap):
        return _equal(one.model, other.model)
    if repr(one) != repr(other):
        return False
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in mine.items())
