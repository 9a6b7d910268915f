"""Networks of backbone, pooling, neck and head; freezing of stages and parameter groups for the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.core.errors import PlanError, nearest, several
from fieldmark.core.seeds import hash_seed
from fieldmark.models.backbone import backbone_stages, build_backbone, last_shrinking, split, through_two
from fieldmark.models.heads import BatchNormNeck, Dropout, Stripes, build_head, unit
from fieldmark.models.pair import Pair
from fieldmark.models.pooling import Pool
from fieldmark.models.specs import EmbeddingHead, Net, PairHead

ALL = "all"
"""Value in place of stage names that means every stage of the backbone."""


class Outputs(NamedTuple):
    """Outputs of a network for a batch of images, all in float32.

    ``embedding`` has unit length. ``logits`` is None for a head without logits. ``feature`` is the pooled feature of
    the backbone. ``stripes`` holds the unit-length embeddings of horizontal stripes, if the network computes them.
    """

    embedding: Float[Tensor, "batch dim"]
    logits: Float[Tensor, "batch class"] | None
    feature: Float[Tensor, "batch width"]
    stripes: Float[Tensor, "batch stripe dim"] | None = None


class Network(nn.Module):
    """A network of backbone, pooling, dropout, neck and head. ``build`` creates it.

    The embedding is ``unit(neck(dropout(pool(map))))``. All layers after the backbone compute in float32, also under
    autocast. This costs little time and keeps small distances exact.

    Args:
        net: Settings of the network.
        n_classes: Number of labels, identities or classes.
        seed: Random seed of the initial weights.
    """

    def __init__(self, net: Net, *, n_classes: int, seed: int) -> None:
        super().__init__()
        self.net = net
        self.n_classes = n_classes
        self.frozen: tuple[str, ...] = ()
        """Names of the frozen stages of the backbone; set by ``freeze``."""
        torch.default_generator.manual_seed(hash_seed(seed, "backbone"))
        self.backbone, self.origin = build_backbone(net.backbone)
        # The initial weights of the head do not depend on the backbone's weights or on its number of draws.
        torch.default_generator.manual_seed(hash_seed(seed, "head"))
        traits: Any = self.backbone
        width = last_width = int(traits.num_features)
        channels_last = getattr(traits, "output_fmt", "NCHW") == "NHWC"
        self.pool = Pool(
            net.backbone.pool,
            channels_last=channels_last,
            n_prefix_tokens=int(getattr(traits, "num_prefix_tokens", 0)),
        )
        self.shrinking = last_shrinking(self.backbone) if net.backbone.maps == 2 else None
        self.pool_before = Pool(net.backbone.pool, channels_last=channels_last) if self.shrinking else None
        """Pooling of the map before the last reduction of the map size, if two maps are pooled."""
        if self.shrinking is not None:
            width += self.shrinking.channels
        self.dropout = Dropout(getattr(net.head, "dropout", 0.0))
        self.neck = BatchNormNeck(width) if net.neck == "bn" else nn.Identity()
        projected = net.head.dim if isinstance(net.head, EmbeddingHead | PairHead) else None
        self.projection = nn.Linear(width, projected, bias=False) if projected else nn.Identity()
        self.head = build_head(net.head, width=width, n_classes=n_classes)
        self.width = projected or width
        self.pair = Pair(self.width, hidden=net.head.hidden) if isinstance(net.head, PairHead) else None
        """Module that compares the embeddings of two photos; None for other heads."""
        self.stripes = Stripes(last_width, net.stripes, channels_last=channels_last) if net.stripes else None
        self.chance = torch.Generator().manual_seed(hash_seed(seed, "dropout"))

    @property
    def chance(self) -> torch.Generator | None:
        """Random generator of the dropout, whose state is part of a checkpoint."""
        return self.dropout.chance

    @chance.setter
    def chance(self, generator: torch.Generator | None) -> None:
        self.dropout.chance = generator

    def forward(self, pictures: Float[Tensor, "batch channel height width"]) -> Outputs:
        """Return embedding and logits of a batch of preprocessed images."""
        return self._of_map(*self._maps(pictures))

    def pooled(self, pictures: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch width"]:
        """Return only the pooled feature. ``above`` computes the outputs from it, best for many images at once."""
        return self._pooled(*self._maps(pictures)).float()

    def pooled_map(self, features: Tensor) -> Float[Tensor, "batch width"]:
        """Return the pooled feature of the backbone's last map, for networks that pool one map.

        Raises:
            TypeError: The network pools two maps.
        """
        if self.shrinking is not None:
            raise TypeError("a network that pools two maps needs both maps")
        return self._pooled(features, None).float()

    def upper(self, after: int) -> Callable[[Tensor], Outputs]:
        """Return the rest of the network as a function of the output of ``lower(after)``.

        Args:
            after: Number of stages of the backbone in ``lower``; with 0 the function takes images.

        Raises:
            PlanError: The backbone cannot be split there.
        """
        if self.pools_below(after):
            return lambda features: self.above(features.float())
        parts = self._cut(after)
        if parts is None:
            raise PlanError(
                f"The backbone {self.net.backbone.name!r} cannot be split between its stages.",
                got=f"after = {after}",
                fix="use after = 0, or a family of plain stages such as 'resnet50' or 'tf_efficientnet_lite0'.",
            )
        *first, rest = parts
        if not first:
            return lambda features: self._of_map(rest(features))

        def through_both(features: Tensor) -> Outputs:
            before = first[0](features)
            return self._of_map(rest(before), before)

        return through_both

    def _cut(self, after: int) -> tuple[nn.Module, ...] | None:
        """Return the modules after a split, in two parts if two maps are pooled; None if there can be no split."""
        if self.shrinking is not None:
            return through_two(self.backbone, after, self.shrinking)
        parts = split(self.backbone, after)
        return None if parts is None else parts[1:]

    def above(self, feature: Float[Tensor, "batch width"], stripes: Tensor | None = None) -> Outputs:
        """Return embedding and logits of pooled features."""
        with torch.autocast(feature.device.type, enabled=False):
            thinned = self.dropout(feature)
            necked = self.neck(thinned)
            embedding = unit(self.projection(necked))
            if self.head is None:
                return Outputs(embedding, None, feature, stripes)
            read = {"pooled": thinned, "neck": necked, "embedding": embedding}[self.head.reads]
            return Outputs(embedding, self.head(read), feature, stripes)

    def _maps(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the last map, and the map before the last reduction of the map size if both are pooled."""
        if self.shrinking is None:
            return cast("Any", self.backbone).forward_features(pictures), None
        first, rest = cast("tuple[nn.Module, nn.Module]", through_two(self.backbone, 0, self.shrinking))
        before = first(pictures)
        return rest(before), before

    def _of_map(self, features: Tensor, before: Tensor | None = None) -> Outputs:
        with torch.autocast(features.device.type, enabled=False):
            stripes = None if self.stripes is None else self.stripes(features)
        return self.above(self._pooled(features, before), stripes)

    def _pooled(self, features: Tensor, before: Tensor | None) -> Tensor:
        feature = self.pool(features)
        if self.pool_before is None or before is None:
            return feature
        return torch.cat([self.pool_before(before), feature], dim=1)

    def lower(self, n_stages: int) -> nn.Module | None:
        """Return the first ``n_stages`` stages as a module, whose outputs can be cached while they are frozen.

        With all stages and a pooling without parameters, the module includes the pooling, because a vector per image is
        much smaller than a map. (A network with stripes needs the map.) The result is None if the backbone cannot be
        split there.
        """
        parts = split(self.backbone, n_stages)
        if parts is None or self._cut(n_stages) is None:
            return None
        return nn.Sequential(parts[0], self.pool) if self.pools_below(n_stages) else parts[0]

    def lower_settings(self, n_stages: int) -> dict[str, Any]:
        """Return the settings on which the output of ``lower(n_stages)`` depends, as JSON values.

        Use them in the key of a cache of its outputs, together with the weights. Settings of neck, head and stripes are
        left out. The settings of the pooling are left out, too, if ``lower`` does not include the pooling.
        """
        above: dict[str, Any] = {"neck": True, "head": True, "stripes": True}
        if not self.pools_below(n_stages):
            above["backbone"] = {"pool", "maps"}
        return {"stages": n_stages, "net": self.net.model_dump(mode="json", exclude=above)}

    def pools_below(self, n_stages: int) -> bool:
        """Return whether ``lower(n_stages)`` includes the pooling and returns one vector per image.

        This needs all stages, a pooling without parameters, no stripes and no second map.
        """
        learns = any(True for _ in self.pool.parameters())
        alone = self.stripes is None and self.shrinking is None
        return n_stages == len(backbone_stages(self.backbone)) and not learns and alone

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        """Set the training mode. Frozen stages stay in evaluation mode, with fixed batch statistics."""
        super().train(mode)
        if not (mode and self.frozen):
            return self
        named = backbone_stages(self.backbone)
        still = {name for stage in self.frozen for name in named[stage]}
        for path, module in self.backbone.named_modules():
            inside = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters()]
            if inside and still.issuperset(inside):
                module.eval()
        return self


def build(net: Net, *, n_classes: int, seed: int) -> Network:
    """Return a new network. Its initial weights depend only on its settings and ``seed``.

    The state of torch's global generator is not changed.

    Args:
        net: Backbone, neck and head.
        n_classes: Number of labels, identities or classes, at least 1; an embedding head does not use it.
        seed: Random seed, any integer.

    Raises:
        PlanError: The backbone does not exist, or ``n_classes`` is below 1.
        WeightsError: The backbone's weights are missing, damaged or belong to another network.
    """
    if n_classes < 1 and not isinstance(net.head, EmbeddingHead | PairHead):
        raise PlanError(
            "A network needs at least one class.",
            got=f"n_classes = {n_classes}",
            fix='provide labels, or use head = {kind = "embedding"}.',
        )
    with torch.random.fork_rng(devices=[]):
        return Network(net, n_classes=n_classes, seed=seed)


def freeze(network: Network, names: Iterable[str]) -> None:
    """Freeze these stages of the backbone and train the rest of the network.

    Frozen weights get no gradient, and frozen batch norms keep their statistics, also after ``train()``.

    Args:
        network: Network to change in place.
        names: Stage names as returned by ``backbone_stages(network.backbone)``; ``all`` means the whole backbone. With
            no names, everything is trained.

    Raises:
        PlanError: The backbone has no stages of these names; nothing is changed.
    """
    named = backbone_stages(network.backbone)
    chosen = set(names)
    if ALL in chosen:
        chosen = chosen - {ALL} | named.keys()
    unknown = sorted(chosen - named.keys())
    if unknown:
        raise PlanError(
            f"The backbone {network.net.backbone.name!r} has no stages of these names.",
            got=several(unknown),
            fix=nearest(unknown[0], [*named, ALL]),
        )
    still = {name for stage in chosen for name in named[stage]}
    network.requires_grad_(requires_grad=True)
    for name, parameter in network.backbone.named_parameters():
        parameter.requires_grad_(name not in still)
    network.frozen = tuple(name for name in named if name in chosen)
    network.train(network.training)


def parameter_groups(
    network: Network, *, lr_head_times: float = 1.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups for an optimiser: backbone and head, with and without weight decay.

    Weight decay is not applied to norms, biases and parameters that the backbone excludes, because a scale near zero
    is not a simpler model.

    Args:
        network: Network with its frozen stages; frozen parameters are left out.
        lr_head_times: Learning rate of the layers after the backbone, as a multiple of the backbone's rate.
        weight_decay: Weight decay of parameters with at least two axes.

    Returns:
        Groups with ``name``, ``params``, ``weight_decay`` and ``lr_times``. The training loop sets ``lr`` to its
        learning rate times ``lr_times``. Empty groups are left out.
    """
    exempt: set[str] = set(getattr(network.backbone, "no_weight_decay", set)())
    groups: dict[str, dict[str, Any]] = {}
    for path, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        part = path.split(".")[0]
        plain = parameter.ndim < 2 or (part == "backbone" and path.removeprefix("backbone.") in exempt)
        name = f"{part} without decay" if plain else part
        group = groups.setdefault(
            name,
            {
                "name": name,
                "params": [],
                "weight_decay": 0.0 if plain else weight_decay,
                "lr_times": 1.0 if part == "backbone" else lr_head_times,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())
