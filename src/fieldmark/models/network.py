"""Backbone, pooling, neck and head as one network; what of it learns, and how fast."""

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
"""In place of stage names: every stage of the backbone."""


class Outputs(NamedTuple):
    """What a network gives for a batch of pictures, all in float32.

    ``embedding`` has unit length; ``logits`` are None for an embedding head; ``feature`` is the pooled feature as it
    left the backbone; ``stripes`` are unit-length vectors of the picture's stripes, where the net has any.
    """

    embedding: Float[Tensor, "batch dim"]
    logits: Float[Tensor, "batch class"] | None
    feature: Float[Tensor, "batch width"]
    stripes: Float[Tensor, "batch stripe dim"] | None = None


class Network(nn.Module):
    """Backbone, pooling, dropout, neck and head. Built by ``build``.

    The embedding is ``unit(neck(dropout(pool(map))))``. All that stands above the backbone computes in float32,
    also under autocast: it costs nothing and keeps near distances apart.

    Args:
        net: The settings it was built from.
        n_classes: Number of labels, identities or classes.
        seed: What its first values are a function of.
    """

    def __init__(self, net: Net, *, n_classes: int, seed: int) -> None:
        super().__init__()
        self.net = net
        self.n_classes = n_classes
        self.frozen: tuple[str, ...] = ()
        """Names of the backbone's stages that do not learn; set by ``freeze``."""
        torch.default_generator.manual_seed(hash_seed(seed, "backbone"))
        self.backbone, self.origin = build_backbone(net.backbone)
        # The head starts similar whatever weights the backbone has, and however many draws it took.
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
        """Of the map before the last shrinking, where two are pooled."""
        if self.shrinking is not None:
            width += self.shrinking.channels
        self.dropout = Dropout(getattr(net.head, "dropout", 0.0))
        self.neck = BatchNormNeck(width) if net.neck == "bn" else nn.Identity()
        projected = net.head.dim if isinstance(net.head, EmbeddingHead | PairHead) else None
        self.projection = nn.Linear(width, projected, bias=False) if projected else nn.Identity()
        self.head = build_head(net.head, width=width, n_classes=n_classes)
        self.width = projected or width
        self.pair = Pair(self.width, hidden=net.head.hidden) if isinstance(net.head, PairHead) else None
        """Compares the embeddings of two photos; None where the head looks at one."""
        self.stripes = Stripes(last_width, net.stripes, channels_last=channels_last) if net.stripes else None
        self.chance = torch.Generator().manual_seed(hash_seed(seed, "dropout"))

    @property
    def chance(self) -> torch.Generator | None:
        """Where dropout draws from; a checkpoint keeps its state."""
        return self.dropout.chance

    @chance.setter
    def chance(self, generator: torch.Generator | None) -> None:
        self.dropout.chance = generator

    def forward(self, pictures: Float[Tensor, "batch channel height width"]) -> Outputs:
        """Embedding and logits of a batch of preprocessed pictures."""
        return self._of_map(*self._maps(pictures))

    def pooled(self, pictures: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch width"]:
        """The pooled feature alone; ``above`` goes on from there, best for many pictures at once."""
        return self._pooled(*self._maps(pictures)).float()

    def pooled_map(self, features: Tensor) -> Float[Tensor, "batch width"]:
        """The pooled feature of the backbone's last map, for networks that pool no other.

        Raises:
            TypeError: The network pools two maps.
        """
        if self.shrinking is not None:
            raise TypeError("a network that pools two maps needs both")
        return self._pooled(features, None).float()

    def upper(self, after: int) -> Callable[[Tensor], Outputs]:
        """The rest of the way for features that have been through ``lower(after)``.

        Args:
            after: How many stages of the backbone lie behind them; 0 takes pictures.

        Raises:
            PlanError: The backbone cannot be cut there.
        """
        if self.pools_below(after):
            return lambda features: self.above(features.float())
        parts = self._cut(after)
        if parts is None:
            raise PlanError(
                f"The backbone {self.net.backbone.name!r} cannot be cut inside.",
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
        """The way up from a cut, in two where a map on it is pooled; None where there can be no cut."""
        if self.shrinking is not None:
            return through_two(self.backbone, after, self.shrinking)
        parts = split(self.backbone, after)
        return None if parts is None else parts[1:]

    def above(self, feature: Float[Tensor, "batch width"], stripes: Tensor | None = None) -> Outputs:
        """Embedding and logits of pooled features."""
        with torch.autocast(feature.device.type, enabled=False):
            thinned = self.dropout(feature)
            necked = self.neck(thinned)
            embedding = unit(self.projection(necked))
            if self.head is None:
                return Outputs(embedding, None, feature, stripes)
            read = {"pooled": thinned, "neck": necked, "embedding": embedding}[self.head.reads]
            return Outputs(embedding, self.head(read), feature, stripes)

    def _maps(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last map, and the one before the last shrinking where both are pooled."""
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
        """The first ``n_stages`` stages as a module whose results can be kept while they are frozen.

        With all stages and a pooling that learns nothing, the pooling is part of it: a vector a picture is far less to
        keep than a map. (Stripes need the map, so a network with stripes keeps that.) None where the backbone cannot be
        cut there.
        """
        parts = split(self.backbone, n_stages)
        if parts is None or self._cut(n_stages) is None:
            return None
        return nn.Sequential(parts[0], self.pool) if self.pools_below(n_stages) else parts[0]

    def lower_settings(self, n_stages: int) -> dict[str, Any]:
        """The settings that decide, beside the weights, what ``lower(n_stages)`` computes, as JSON values.

        Use them in the key of whatever is kept of its results. Two networks with equal settings and equal weights
        below compute the same there. Left out is only what stands above every lower part (neck, head, stripes), and,
        where the pooling stands above too, the settings of the pooling.
        """
        above: dict[str, Any] = {"neck": True, "head": True, "stripes": True}
        if not self.pools_below(n_stages):
            above["backbone"] = {"pool", "maps"}
        return {"stages": n_stages, "net": self.net.model_dump(mode="json", exclude=above)}

    def pools_below(self, n_stages: int) -> bool:
        """Whether ``lower(n_stages)`` gives a vector a picture: with all stages, where the pooling is all that follows.

        It is not where the pooling learns, or stripes or a second map are looked at.
        """
        learns = any(True for _ in self.pool.parameters())
        alone = self.stripes is None and self.shrinking is None
        return n_stages == len(backbone_stages(self.backbone)) and not learns and alone

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        """Training mode for all that learns; frozen stages stay as at test time, batch statistics included."""
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
    """A network whose first values are a function of its settings and ``seed`` alone.

    Torch's global generator is left as it was.

    Args:
        net: Backbone, neck and head.
        n_classes: Number of labels, identities or classes, at least 1; an embedding head does not use it.
        seed: Any whole number.

    Raises:
        PlanError: No such backbone, or nothing to tell apart.
        WeightsError: The backbone's weights are missing, damaged or of another network.
    """
    if n_classes < 1 and not isinstance(net.head, EmbeddingHead | PairHead):
        raise PlanError(
            "A network needs at least one class.",
            got=f"n_classes = {n_classes}",
            fix='give labels, or use head = {kind = "embedding"}.',
        )
    with torch.random.fork_rng(devices=[]):
        return Network(net, n_classes=n_classes, seed=seed)


def freeze(network: Network, names: Iterable[str]) -> None:
    """Let these stages of the backbone learn no more; all the rest of the network learns.

    Their weights get no gradient, and their batch norms keep their statistics however often ``train()`` is called.

    Args:
        network: Changed in place.
        names: Stage names as ``backbone_stages(network.backbone)`` gives them; ``all`` for the whole backbone; none:
            everything learns.

    Raises:
        PlanError: The backbone has no stages of these names; nothing was changed.
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
    """What learns, in groups an optimizer takes: backbone and head, each with and without weight decay.

    Norms, biases and whatever the backbone itself names are not decayed: to pull a scale to zero is no simplification.

    Args:
        network: Frozen parameters are left out.
        lr_head_times: Learning rate of all above the backbone, as a multiple of the backbone's.
        weight_decay: For weights of at least two axes.

    Returns:
        Groups with ``name``, ``params``, ``weight_decay`` and ``lr_times``; the loop sets ``lr`` to its own learning
        rate times ``lr_times``. Empty groups are left out.
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
