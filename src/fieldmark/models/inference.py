"""A copy of a network that is only asked, never trained: the same answers for less work."""

from __future__ import annotations

from collections import Counter, OrderedDict
from copy import deepcopy
from typing import cast

import torch
from jaxtyping import Float
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fieldmark.core.seeds import generator
from fieldmark.models.network import Network

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
"""Exactly these use their weights as they are; kinds derived from them may change them first."""

NORMS = (nn.BatchNorm2d, BatchNormAct2d)

APART = 1e-4
"""Most that one number of a unit-length embedding may move; rounding moves it by about 1e-6."""


def for_inference(
    network: Network, *, device: torch.device, height_px: int, width_px: int, fold: bool = True
) -> Network:
    """A copy in evaluation mode, with batch norms folded into the convolutions before them.

    At test time a batch norm multiplies and shifts each channel by fixed numbers. A convolution can do that itself,
    with weights multiplied beforehand: what was a walk through memory costs nothing.

    Which norm follows which convolution is seen by watching one drawn picture go through, not guessed from names. The
    folded copy must then say the same of that picture; where it does not, an unfolded copy is given.

    Args:
        network: Left as it is; its weights are copied, so that later training does not reach the copy.
        device: Where the copy will live.
        height_px: Of the pictures it will be asked about.
        width_px: Likewise.
        fold: Whether to fold. Not under bfloat16: folded weights lose more by its rounding than they save.

    Returns:
        Convolutions lie in channels-last order; nothing in it learns.

    Source:
        Ours; the folding is that of torch.nn.utils.fusion.
    """
    copied = _still(network, device)
    if not fold or not any(type(module) in NORMS for module in copied.modules()):
        return copied
    example = _example(network, height_px=height_px, width_px=width_px).to(device)
    with torch.no_grad():
        pairs, before = _watched(copied, example)
        for convolution, norm in pairs:
            _fold(copied, convolution, norm)
        after = copied(example).embedding
    return copied if torch.allclose(before, after, rtol=0, atol=APART) else _still(network, device)


def _still(network: Network, device: torch.device) -> Network:
    copied = deepcopy(network, _no_hooks(network)).eval().requires_grad_(requires_grad=False)
    return copied.to(device).to(memory_format=torch.channels_last)


def _no_hooks(network: Network) -> dict[int, object]:
    """A memo for ``deepcopy`` with the copies of all empty dictionaries of hooks, which are most of its work."""
    values = (value for module in network.modules() for value in vars(module).values())
    return {id(value): OrderedDict() for value in values if type(value) is OrderedDict and not value}


def _example(network: Network, *, height_px: int, width_px: int) -> Float[Tensor, "1 channel height width"]:
    """A drawn picture: noise, so that no channel stays silent."""
    shape = (1, network.net.backbone.in_channels, height_px, width_px)
    noise = torch.from_numpy(generator(0, "inference example").uniform(-1, 1, shape)).float()
    return noise.contiguous(memory_format=torch.channels_last)


def _watched(
    network: Network, pictures: Float[Tensor, "1 channel height width"]
) -> tuple[list[tuple[str, str]], Float[Tensor, "1 dim"]]:
    """Paths of each convolution and of the norm that took its result; and the embedding of the pictures.

    Parts that are used more than once are left out: their weights serve several masters.
    """
    made: dict[int, tuple[str, Tensor, int]] = {}  # the tensors are kept, so that no id comes twice
    pairs: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()

    def watch(path: str, module: nn.Module, args: tuple[Tensor, ...], result: Tensor) -> None:
        calls[path] += 1
        if type(module) in CONVOLUTIONS:
            made[id(result)] = (path, result, result._version)  # noqa: SLF001 - torch's count of changes in place
        elif id(args[0]) in made:
            maker, _, version = made[id(args[0])]
            if args[0]._version == version:  # noqa: SLF001 - else an activation has changed it in between
                pairs.append((maker, path))

    hooks = [
        module.register_forward_hook(lambda module, args, result, path=path: watch(path, module, args, result))
        for path, module in network.named_modules()
        if type(module) in CONVOLUTIONS + NORMS
    ]
    embedding = network(pictures).embedding
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if all(calls[path] == 1 for path in pair)], embedding


def _fold(network: Network, convolution: str, norm: str) -> None:
    """Let a convolution do its norm's work; what is left of the norm is its activation, if it has one."""
    first = cast("nn.Conv2d", network.get_submodule(convolution))
    second = cast("nn.BatchNorm2d", network.get_submodule(norm))
    if second.running_mean is None or second.running_var is None:  # a norm that measures each batch anew
        return
    first.weight, first.bias = fuse_conv_bn_weights(
        first.weight, first.bias, second.running_mean, second.running_var, second.eps, second.weight, second.bias
    )
    network.set_submodule(norm, second.act if isinstance(second, BatchNormAct2d) else nn.Identity())
