"""Inference copies: equal outputs, folded norms, and an unchanged original."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from fieldmark.models.inference import NORMS, for_inference
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net, OneVsRestHead, RandomWeights

CPU = torch.device("cpu")
NORMS_LEFT = {
    "test_efficientnet": 0,
    "test_resnet": 0,
    "mobilenetv3_small_050": 0,
    "legacy_seresnet18": 0,
    "test_convnext": 0,
    "repvgg_a0": 17,  # the norms of the shortcuts do not follow a convolution
}
SLOW_NORMS_LEFT = {"densenet121": 62, "inception_v3": 0, "legacy_xception": 0, "resnetv2_50": 17}


def lived_in(name: str) -> Network:
    """A network whose norms have non-default statistics, weights and biases, so that a missing one has an effect."""
    net = build(
        Net(backbone=Backbone(name=name, weights=RandomWeights()), head=OneVsRestHead()), n_classes=3, seed=0
    ).train()
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if type(module) in NORMS:
                assert isinstance(module, nn.BatchNorm2d)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.2, generator=chance)
                module.running_var.uniform_(0.5, 2, generator=chance)
                module.weight.uniform_(0.5, 1.5, generator=chance)
                module.bias.normal_(0, 0.2, generator=chance)
    return net


def pictures(size_px: int = 64) -> Tensor:
    return torch.randn((2, 3, size_px, size_px), generator=torch.Generator().manual_seed(1))


def norms_in(net: nn.Module) -> int:
    return sum(type(module) in NORMS for module in net.modules())


def check_same_answers(name: str, left: int, size_px: int) -> None:
    net = lived_in(name)
    quick = for_inference(net, device=CPU, height_px=size_px, width_px=size_px)
    with torch.no_grad():
        slow, folded = net.eval()(pictures(size_px)), quick(pictures(size_px))
    assert norms_in(quick) == left
    torch.testing.assert_close(folded.embedding, slow.embedding, atol=2e-6, rtol=0)
    torch.testing.assert_close(folded.logits, slow.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "left"), NORMS_LEFT.items())
def test_the_copy_has_equal_outputs_with_folded_norms(name: str, left: int) -> None:
    check_same_answers(name, left, 64)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "left"), SLOW_NORMS_LEFT.items())
def test_larger_families_have_equal_outputs_too(name: str, left: int) -> None:
    check_same_answers(name, left, 96)


def test_the_original_is_not_changed() -> None:
    net = lived_in("test_resnet")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    quick = for_inference(net, device=CPU, height_px=64, width_px=64)
    with torch.no_grad():
        for value in quick.state_dict().values():
            value.zero_()
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in (*net.modules(), *quick.modules()))
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(parameter.requires_grad for parameter in quick.parameters())


def test_without_folding_it_is_a_plain_copy_that_does_not_train() -> None:
    net = lived_in("test_resnet")
    quick = for_inference(net, device=CPU, height_px=64, width_px=64, fold=False)
    assert norms_in(quick) == norms_in(net)
    assert net.training
    assert not quick.training


class Trap(nn.Module):
    """A backbone in which folding by names, or by order of registration, would fail."""

    num_features = 4

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = BatchNormAct2d(3 if kind == "norm before" else 4)
        self.other = BatchNormAct2d(4)

    def forward_features(self, images: Tensor) -> Tensor:
        match self.kind:
            case "norm before":
                return self.conv(self.norm(images))
            case "activation between":
                return self.norm(nn.functional.relu_(self.conv(images)))
            case "used twice":
                return self.norm(self.conv(images)) + self.other(self.conv(images.flip(2)))
            case _:  # result used beside the norm
                made = self.conv(images)
                return self.norm(made) + made


@pytest.mark.parametrize("kind", ["norm before", "activation between", "used twice", "result used beside"])
def test_what_cannot_be_folded_stays(kind: str) -> None:
    net = build(
        Net(backbone=Backbone(name="test_resnet", weights=RandomWeights()), neck="none", head=EmbeddingHead()),
        n_classes=1,
        seed=0,
    )
    net.backbone = Trap(kind)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.fill_(0.3)
            module.running_var.fill_(2.0)
    quick = for_inference(net, device=CPU, height_px=16, width_px=16)
    with torch.no_grad():
        torch.testing.assert_close(quick(pictures(16)).embedding, net.eval()(pictures(16)).embedding, atol=1e-6, rtol=0)
    assert norms_in(quick) == 2


def test_the_copy_shares_no_hooks_with_the_network() -> None:
    net, calls = lived_in("test_resnet"), []
    quick = for_inference(net, device=CPU, height_px=64, width_px=64, fold=False)
    for module in quick.modules():
        module.register_forward_hook(lambda *_: calls.append("copy"))
    with torch.no_grad():
        net.eval()(pictures(64))
        assert not calls
        quick(pictures(64))
    assert calls
    hooks = [id(module._forward_hooks) for one in (net, quick) for module in one.modules()]
    assert len(set(hooks)) == len(hooks)
