"""Backbones: networks without classifier and pooling, their stages, and how to split them between two stages."""

from __future__ import annotations

import difflib
from typing import Any, Literal, NamedTuple, cast

import timm
import torch
from jaxtyping import Float
from timm.models import (
    ConvNeXt,
    DenseNet,
    EfficientNet,
    InceptionV3,
    MobileNetV3,
    ResNet,
    SENet,
    Xception,
    group_parameters,
)
from torch import Tensor, nn

from fieldmark.core.errors import PlanError, WeightsError
from fieldmark.models import weights
from fieldmark.models.packages import PACKAGES
from fieldmark.models.registered import BACKBONES, BuildNetwork
from fieldmark.models.specs import Backbone, HubWeights, PackageWeights
from fieldmark.models.weights import Origin

SEQUENTIAL = frozenset({ConvNeXt, DenseNet, EfficientNet, InceptionV3, MobileNetV3, ResNet, SENet, Xception})
"""Families whose ``forward_features`` applies their children one after the other; a test checks each family."""

PROBE_PX = 224
"""Side of the empty image that is used to find where feature maps become smaller."""

HEAD_BEGINS = ("global_pool", "head")
"""Names of the first child after the feature map in timm's networks."""

JOIN_PREVIOUS = 99999
"""timm's mark for layers that it adds to the previous group; here they are a separate stage."""


class DataConfig(NamedTuple):
    """Input that the pretrained weights of a backbone expect."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    input_size: tuple[int, int, int]


IMAGENET = DataConfig((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", (3, 224, 224))
"""Default for weights without a data configuration: the statistics of ImageNet, as in timm."""


class FeatureMap(nn.Module):
    """A network's ``forward_features`` as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Return the last feature map, not pooled."""
        return cast("Any", self.model).forward_features(pictures)


def build_backbone(spec: Backbone) -> tuple[nn.Module, Origin]:
    """Return a registered or timm network without classifier and pooling, with its weights.

    Args:
        spec: Name, weights and number of input channels.

    Returns:
        The network and the origin of its weights.

    Raises:
        PlanError: There is no network of that name, or it does not support this number of channels.
        WeightsError: The weights are missing, damaged or belong to another network.
    """
    own = BACKBONES.find(spec.name)
    if own is not None:
        return _registered(own, spec)
    _check_name(spec.name)
    try:
        model = timm.create_model(spec.name, pretrained=False, num_classes=0, global_pool="", in_chans=spec.in_channels)
    # timm's builders reject settings by different exceptions: TypeError, RuntimeError, AssertionError.
    except Exception as error:
        raise PlanError(
            f"timm cannot build the backbone {spec.name!r} for this use.",
            got=f"in_channels = {spec.in_channels}: {error}",
            fix="use in_channels = 3, or a convolutional backbone such as 'resnet50'.",
        ) from error
    _behead(model)
    return model, weights.load_weights(spec, model)


def _registered(build: BuildNetwork, spec: Backbone) -> tuple[nn.Module, Origin]:
    """Return a network that timm does not have. Its packaged weights are its own pretrained weights."""
    own_weights = isinstance(spec.weights, PackageWeights)
    try:
        model = build(in_channels=spec.in_channels, pretrained=own_weights)
        missing = [name for name in ("num_features", "forward_features") if not hasattr(model, name)]
    # Third-party code may raise any exception; each one means that the network cannot be built.
    except Exception as error:
        raise PlanError(
            f"The backbone {spec.name!r} cannot be built.",
            got=f"in_channels = {spec.in_channels}, pretrained = {own_weights}: {type(error).__name__}: {error}",
            fix="use other weights or channels, or contact the author of the backbone.",
        ) from error
    if missing:
        raise PlanError(
            f"The backbone {spec.name!r} lacks attributes that fieldmark needs.",
            got=f"a {type(model).__name__} without {' and '.join(missing)}",
            fix="add num_features (the channels of its last map) and forward_features(pictures).",
        )
    if own_weights:
        brought = BACKBONES.brought_by(spec.name) or "a script"
        return model, Origin("package", brought, weights.digest_of(model.state_dict()))
    if isinstance(spec.weights, HubWeights):
        raise WeightsError(
            f"The backbone {spec.name!r} has no weights on a hub.",
            got='weights = {kind = "hub"}',
            fix='use weights = {kind = "package"} for its own, or {kind = "file", path = "..."}.',
        )
    return model, weights.load_weights(spec, model)


def data_config(name: str) -> DataConfig:
    """Return the input that the pretrained weights of backbone ``name`` expect: mean, std, interpolation, size.

    Raises:
        PlanError: There is no network of that name.
    """
    if BACKBONES.find(name) is not None:
        return IMAGENET
    _check_name(name)
    if name in PACKAGES:
        package = PACKAGES[name]
        return DataConfig(package.mean, package.std, package.interpolation, package.input_size)
    settings = timm.get_pretrained_cfg(name)
    if settings is None:
        return IMAGENET
    return DataConfig(
        cast("tuple[float, float, float]", tuple(settings.mean)),
        cast("tuple[float, float, float]", tuple(settings.std)),
        "bilinear" if settings.interpolation == "bilinear" else "bicubic",
        cast("tuple[int, int, int]", tuple(settings.input_size)),
    )


def backbone_stages(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the stages of a network from input to output: stage name to names of parameters.

    Fine-tuning freezes the lower stages, which respond to edges and textures, and trains the upper ones. The first
    stage is called ``stem``; the others have timm's names: ``layer1`` ... ``layer4`` (ResNet, SENet), ``blocks.0`` ...
    ``blocks.6`` and ``conv_head`` (EfficientNet), ``features.denseblock1`` ... (DenseNet).

    In networks that do not define groups, each direct child is one stage.

    Args:
        model: A registered or timm network.

    Returns:
        Stage names to names of parameters, in order; every parameter belongs to exactly one stage.

    Source:
        The grouping is timm's (made for layer-wise learning rates), except that the last norms are separate stages.
    """
    if not hasattr(model, "group_matcher"):
        return _children(model)
    matcher = cast("Any", model).group_matcher(coarse=True)
    if isinstance(matcher, dict):
        matcher = {group: _separated(rules) for group, rules in matcher.items()}
    groups = cast("dict[int, list[str]]", group_parameters(model, matcher))
    named: dict[str, tuple[str, ...]] = {}
    for number, names in sorted(groups.items()):
        name = "stem" if number == 0 else _stage_name(names[0])
        named[name if name not in named else f"{name}.{number}"] = tuple(names)
    return named


def links(model: nn.Module) -> list[nn.Module]:
    """Return the modules that compute the feature map one after the other; one module if the network is no sequence."""
    return [link for _, link in _links(model)] if type(model) in SEQUENTIAL else [FeatureMap(model)]


def split(model: nn.Module, n_stages: int) -> tuple[nn.Module, nn.Module] | None:
    """Split a network after its first ``n_stages`` stages, so that ``upper(lower(x))`` is its feature map.

    The output of the lower part for a fixed image can be cached while only the upper part is trained. Both parts share
    the parameters of the network.

    Args:
        model: A timm network.
        n_stages: Number of stages in the lower part, from 0 to the number of all stages.

    Returns:
        Lower and upper part, or None for families that cannot be split (with branches from one stage to a later one).

    Raises:
        PlanError: The network has fewer stages.
    """
    named = backbone_stages(model)
    if not 0 <= n_stages <= len(named):
        raise PlanError(
            f"The backbone cannot be split after {n_stages} stages.",
            got=f"{len(named)} stages: {', '.join(named)}",
            fix=f"use a number from 0 to {len(named)}.",
        )
    if n_stages == 0:
        return nn.Identity(), FeatureMap(model)
    if n_stages == len(named):
        return FeatureMap(model), nn.Identity()
    if type(model) not in SEQUENTIAL:
        return None
    stage_of = {name: number for number, names in enumerate(named.values()) for name in names}
    links = _links(model)
    upper = [[stage_of[name] >= n_stages for name in stage_of if name.startswith(f"{path}.")] for path, _ in links]
    cut = next((position for position, link in enumerate(upper) if any(link)), len(links))
    if not all(all(link) for link in upper[cut:]):
        return None
    return nn.Sequential(*(link for _, link in links[:cut])), nn.Sequential(*(link for _, link in links[cut:]))


class TwoMaps(NamedTuple):
    """Position of the last reduction of the map size in a network.

    Attributes:
        at: Number of modules before the reduction.
        channels: Number of channels of the map before the reduction.
    """

    at: int
    channels: int


def last_shrinking(model: nn.Module) -> TwoMaps:
    """Return the position at which the second-to-last map size ends.

    Args:
        model: A timm network; it is not changed.

    Raises:
        PlanError: The network is not a sequence of stages, or never reduces the map size.
    """
    if type(model) in SEQUENTIAL:
        was_training, shapes = model.training, []
        first = next(iter(model.parameters()))
        features = torch.zeros(1, first.shape[1], PROBE_PX, PROBE_PX, device=first.device)
        model.eval()  # keeps the batch statistics unchanged
        with torch.no_grad():
            for _, link in _links(model):
                features = link(features)
                shapes.append(tuple(features.shape))
        model.train(was_training)
        larger = [number for number, shape in enumerate(shapes) if shape[-1] > shapes[-1][-1]]
        if larger:
            return TwoMaps(larger[-1] + 1, shapes[larger[-1]][1])
    raise PlanError(
        "maps = 2: the backbone does not have two feature maps that can be pooled.",
        got=type(model).__name__,
        fix="use maps = 1, or a family of plain stages such as 'resnet50' or 'tf_efficientnet_lite0'.",
    )


def through_two(model: nn.Module, n_stages: int, place: TwoMaps) -> tuple[nn.Module, nn.Module] | None:
    """Return the modules from stage ``n_stages`` to the first of two pooled maps, and from there to the second.

    Returns:
        None if the network cannot be split there, or the first map lies before the split.
    """
    links = [link for _, link in _links(model)]
    parts = split(model, n_stages)
    if parts is None or n_stages == len(backbone_stages(model)):
        return None
    cut = 0 if n_stages == 0 else len(cast("nn.Sequential", parts[0]))
    return (nn.Sequential(*links[cut : place.at]), nn.Sequential(*links[place.at :])) if cut <= place.at else None


def _children(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the direct children that have parameters as stages; the first is called ``stem``."""
    named: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        named.setdefault(name.partition(".")[0], []).append(name)
    return {"stem" if number == 0 else child: tuple(names) for number, (child, names) in enumerate(named.items())}


def _check_name(name: str) -> None:
    """Reject names unknown to timm, and prefixes that would load code or settings from other sources."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [*timm.list_models(), *BACKBONES.names()], 1, 0.5)
        raise PlanError(
            "There is no backbone of that name.",
            got=name,
            fix=f"did you mean '{close[0]}'?" if close else "`timm.list_models()` lists every name.",
        )


def _behead(model: nn.Module) -> None:
    """Remove the layers after the feature map (MobileNetV3's second convolution, ConvNeXt's last norm).

    These layers are never used. They would be unused weights in every checkpoint and a last stage without gradient.
    """
    if type(model) not in SEQUENTIAL:
        return
    names = [name for name, _ in model.named_children()]
    begins = next((position for position, name in enumerate(names) if name in HEAD_BEGINS), len(names))
    for name in names[begins:]:
        setattr(model, name, nn.Identity())


def _separated(rules: Any) -> Any:
    """Return the rules of one of timm's groups, with trailing layers as a separate group."""
    if isinstance(rules, str) or rules is None:
        return rules
    return [(pattern, (JOIN_PREVIOUS + 1,) if suffix == (JOIN_PREVIOUS,) else suffix) for pattern, suffix in rules]


def _stage_name(parameter: str) -> str:
    """Return the path of a parameter up to its first part with a digit: ``layer1`` for ``layer1.0.conv1.weight``."""
    path = parameter.split(".")[:-1]
    numbered = next((depth for depth, part in enumerate(path, start=1) if any(map(str.isdigit, part))), 1)
    return ".".join(path[:numbered])


def _links(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules of a sequential network up to its pooling, with their names."""
    links: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if name in HEAD_BEGINS:
            break
        inner = (
            [(f"{name}.{part}", link) for part, link in child.named_children()] if type(child) is nn.Sequential else []
        )
        links += inner or [(name, child)]
    return links
