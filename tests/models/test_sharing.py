"""Networks with equal first stages: these are computed once, and the outputs do not change."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from fieldmark.models.backbone import links
from fieldmark.models.network import Network, build
from fieldmark.models.sharing import Shared
from fieldmark.models.specs import Backbone, Net, OneVsRestHead, RandomWeights

PICTURES = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
NAMES = ("test_efficientnet", "test_resnet", "legacy_seresnet18", "test_convnext", "repvgg_a0")


def fold(name: str = "test_efficientnet", *, seed: int = 0, **backbone: object) -> Network:
    """A network with a backbone of its own seed, in evaluation mode."""
    spec = Backbone(name=name, weights=RandomWeights()).model_copy(update=backbone)
    return build(Net(backbone=spec, head=OneVsRestHead()), n_classes=3, seed=seed).eval()


@cache
def built(name: str) -> Network:
    """A network to copy, because copying is faster than building."""
    return fold(name)


def folds(name: str, *, n_frozen: int) -> list[Network]:
    """Three networks trained with frozen first modules: only the later modules differ."""
    nets = [deepcopy(built(name)) for _ in range(3)]
    with torch.no_grad():
        for number, net in enumerate(nets):
            for link in links(net.backbone)[n_frozen:]:
                for parameter in link.parameters():
                    parameter.mul_(1 + 0.1 * number)
    return nets


def assert_each_as_alone(nets: list[Network], shared: Shared) -> None:
    with torch.inference_mode():
        for found, net in zip(shared.pooled(PICTURES), nets, strict=True):
            assert torch.equal(found, net.pooled(PICTURES))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_frozen", [0, 2, 99])
def test_each_network_has_exactly_its_own_outputs(name: str, n_frozen: int) -> None:
    nets = folds(name, n_frozen=n_frozen)
    with torch.inference_mode():
        alone = [net.pooled(PICTURES) for net in nets]
    own = [link for link in links(nets[0].backbone)[n_frozen:] if list(link.parameters())]
    assert torch.equal(alone[0], alone[1]) == (not own)
    assert_each_as_alone(nets, Shared(nets))


def counted(nets: list[Network]) -> Callable[[], list[int]]:
    """Number of calls of each network's modules."""
    n = [0] * len(nets)

    def note(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: tuple[Tensor, ...], _result: Tensor) -> None:
            n[number] += 1

        return hook

    for number, net in enumerate(nets):
        for link in links(net.backbone):
            link.register_forward_hook(note(number))
    return lambda: n


@pytest.mark.parametrize("n_frozen", [2, 99])
def test_shared_modules_are_computed_once(n_frozen: int) -> None:
    nets = folds("test_efficientnet", n_frozen=n_frozen)
    n_links, n_passes, shared = len(links(nets[0].backbone)), counted(nets), Shared(nets)
    assert shared.n_shared >= min(n_frozen, n_links)
    with torch.inference_mode():
        shared.pooled(PICTURES)
    assert n_passes() == [n_links, n_links - shared.n_shared, n_links - shared.n_shared]


def test_one_different_value_ends_the_shared_part() -> None:
    nets = folds("test_efficientnet", n_frozen=99)
    n_links = len(links(nets[0].backbone))
    assert Shared(nets).n_shared == n_links
    with torch.no_grad():
        next(nets[2].backbone.parameters()).view(-1)[0] += 1e-3  # of the first link
    assert Shared(nets).n_shared == 0
    assert_each_as_alone(nets, Shared(nets))
    nets = folds("test_efficientnet", n_frozen=99)
    statistics = [name for name, _ in nets[1].backbone.named_buffers() if name.endswith("running_mean")]
    with torch.no_grad():
        nets[1].backbone.get_buffer(statistics[-1]).add_(1)  # of a late norm: no weight differs
    assert 0 < Shared(nets).n_shared < n_links
    assert_each_as_alone(nets, Shared(nets))


def test_equal_numbers_in_different_modules_are_not_shared() -> None:
    one, other = fold(), fold()
    norm = next(module for module in other.backbone.modules() if isinstance(module, nn.BatchNorm2d))
    norm.eps = 0.5
    shared = Shared([one, other])
    assert shared.n_shared < len(links(one.backbone))
    assert_each_as_alone([one, other], shared)


@pytest.mark.parametrize("pools", [("avg", "max"), ("avg", "avg")])
def test_pooling_is_each_networks_own(pools: tuple[str, str]) -> None:
    nets = [fold(pool=pool) for pool in pools]
    shared = Shared(nets)
    assert shared.n_shared == len(links(nets[0].backbone))
    assert_each_as_alone(nets, shared)


def test_networks_that_pool_two_maps_share_nothing_nor_does_a_single_one() -> None:
    nets = [fold(maps=2), fold(maps=2)]
    assert Shared(nets).n_shared == 0
    assert_each_as_alone(nets, Shared(nets))
    with pytest.raises(TypeError, match="two maps"):
        nets[0].pooled_map(torch.zeros(1, 1, 1, 1))
    assert Shared([fold()]).n_shared == 0
    assert_each_as_alone(nets[:1], Shared(nets[:1]))
