"""Backbones: names, data configuration, stages, and splits between stages."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import timm
import torch
from torch import nn

from fieldmark.core.errors import PlanError
from fieldmark.models.backbone import SEQUENTIAL, backbone_stages, build_backbone, data_config, split
from fieldmark.models.specs import Backbone, RandomWeights

SMALLEST = {
    "test_convnext": 64,
    "test_efficientnet": 64,
    "test_resnet": 64,
    "mobilenetv3_small_050": 64,
    "legacy_seresnet18": 64,
}
SLOW = {"densenet121": 64, "inception_v3": 96, "legacy_xception": 64}
CONTEST_NETS = [
    "legacy_senet154",
    "pnasnet5large",
    "legacy_seresnext101_32x4d",
    "inception_v3",
    "legacy_xception",
    "resnet50",
    "densenet121",
]


def bare(name: str, *, device: str = "cpu") -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        return build_backbone(Backbone(name=name, weights=RandomWeights()))[0]


@cache
def shape(name: str) -> nn.Module:
    """A network on the meta device, built once; tests must not change it."""
    return bare(name, device="meta")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("tf_eficientnet_lite0", "did you mean 'tf_efficientnet_lite0'?"),
        ("zzz", "`timm.list_models()` lists every name."),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, fix: str) -> None:
    for ask in (lambda: bare(name), lambda: data_config(name)):
        with pytest.raises(PlanError) as refused:
            ask()
        assert refused.value.fix == fix


@pytest.mark.parametrize("name", ["hf-hub:somebody/net", "local-dir:/tmp/net"])
def test_names_that_would_load_from_the_hub_are_refused(name: str) -> None:
    with pytest.raises(PlanError):
        bare(name)


@pytest.mark.parametrize("name", CONTEST_NETS)
def test_the_nets_of_the_contests_exist(name: str) -> None:
    assert timm.is_model(name)
    config = data_config(name)
    assert len(config.mean) == len(config.std) == len(config.input_size) == 3
    assert config.interpolation in {"bicubic", "bilinear"}


def test_the_packaged_backbone_uses_mean_and_std_of_a_half() -> None:
    """ImageNet's mean and std reduce its accuracy by 11 points."""
    half = (0.5, 0.5, 0.5)
    assert data_config("tf_efficientnet_lite0") == (half, half, "bicubic", (3, 224, 224))
    assert data_config("resnet50").mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("legacy_senet154", ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("resnet50", ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("densenet121", ["stem", *(f"features.denseblock{k}" for k in (1, 2, 3, 4)), "features.norm5"]),
        ("tf_efficientnet_lite0", ["stem", *(f"blocks.{k}" for k in range(7)), "conv_head"]),
        ("pnasnet5large", ["stem", *(f"cell_{k}" for k in range(12))]),
        ("convnext_tiny", ["stem", *(f"stages.{k}" for k in range(4))]),
    ],
)
def test_stages_by_name_from_stem_to_last(name: str, expected: list[str]) -> None:
    assert list(backbone_stages(shape(name))) == expected


@pytest.mark.parametrize("name", [*timm.list_models("test_*"), "inception_v3", "legacy_xception"])
def test_every_parameter_belongs_to_exactly_one_stage(name: str) -> None:
    model = shape(name)
    named = backbone_stages(model)
    assert sorted(p for names in named.values() for p in names) == sorted(p for p, _ in model.named_parameters())
    assert next(iter(named)) == "stem"
    assert len(named) > 2


def test_the_stem_and_the_last_stage_hold_what_they_should() -> None:
    named = backbone_stages(shape("tf_efficientnet_lite0"))
    assert named["stem"] == ("conv_stem.weight", "bn1.weight", "bn1.bias")
    assert named["conv_head"] == ("conv_head.weight", "bn2.weight", "bn2.bias")
    assert all(name.startswith("blocks.3.") for name in named["blocks.3"])


def check_every_cut(name: str, size_px: int) -> None:
    model = bare(name)
    # Batch statistics drawn by hand: initial ones would hide a missing norm.
    with torch.no_grad():
        for number, (_, buffer) in enumerate(model.named_buffers()):
            if buffer.is_floating_point():
                buffer.add_(0.01 * (number % 7))
    model.eval()
    pictures = torch.rand(1, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole: Any = model.forward_features(pictures)  # type: ignore[operator]
        for n_stages in range(len(backbone_stages(model)) + 1):
            parts = split(model, n_stages)
            assert parts is not None
            assert torch.equal(parts[1](parts[0](pictures)), whole), n_stages


@pytest.mark.parametrize(("name", "size_px"), SMALLEST.items())
def test_upper_of_lower_is_the_feature_map_at_every_split(name: str, size_px: int) -> None:
    check_every_cut(name, size_px)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size_px"), SLOW.items())
def test_upper_of_lower_is_the_feature_map_at_every_split_of_larger_nets(name: str, size_px: int) -> None:
    check_every_cut(name, size_px)


def test_every_sequential_family_has_a_test() -> None:
    assert {type(shape(name)) for name in SMALLEST | SLOW} == SEQUENTIAL


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet50", "legacy_senet154"])
def test_a_split_assigns_parameters_as_the_stages_do(name: str) -> None:
    model = shape(name)
    named = backbone_stages(model)
    path_of = {id(parameter): path for path, parameter in model.named_parameters()}
    for n_stages in range(1, len(named)):
        parts = split(model, n_stages)
        assert parts is not None
        lower = {path_of[id(parameter)] for parameter in parts[0].parameters()}
        assert lower == {path for names in list(named.values())[:n_stages] for path in names}


def test_nets_with_branches_are_split_only_at_their_ends() -> None:
    model = shape("pnasnet5large")
    assert split(model, 3) is None
    assert split(model, 0) is not None
    assert split(model, len(backbone_stages(model))) is not None


@pytest.mark.parametrize("n_stages", [-1, 6])
def test_a_split_beyond_the_stages_is_refused(n_stages: int) -> None:
    with pytest.raises(PlanError) as refused:
        split(shape("test_resnet"), n_stages)
    assert refused.value.fix == "use a number from 0 to 5."


def test_no_layer_follows_the_feature_map() -> None:
    """MobileNetV3's second convolution follows the pooling: it would get no gradient."""
    model = bare("mobilenetv3_small_050")
    model.forward_features(torch.rand(2, 3, 64, 64)).sum().backward()  # type: ignore[operator]
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_unsupported_channels_are_refused() -> None:
    with pytest.raises(PlanError) as refused:
        build_backbone(Backbone(name="inception_next_tiny", weights=RandomWeights(), in_channels=10**9))
    assert "in_channels = 3" in refused.value.fix
