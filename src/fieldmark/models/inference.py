"""Copies of networks for inference, with batch norms folded into convolutions: the same outputs in less time."""

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
"""Exact types that use their weights unchanged; derived types may change the weights first."""

NORMS = (nn.BatchNorm2d, BatchNormAct2d)

TOLERANCE = 1e-4
"""Largest accepted change of one value of a unit-length embedding; rounding changes it by about 1e-6."""


def for_inference(
    network: Network, *, device: torch.device, height_px: int, width_px: int, fold: bool = True
) -> Network:
    """Return a copy in evaluation mode, with batch norms folded into the preceding convolutions.

    In evaluation mode a batch norm scales and shifts each channel by fixed numbers. Folding multiplies the weights of
    the convolution by these numbers, so that the batch norm needs no computation.

    A forward pass on one random image determines which norm follows which convolution; names are not used. The folded
    copy must then give the same embedding of that image. If it does not, an unfolded copy is returned.

    Args:
        network: Network to copy. It is not changed, and later training does not affect the copy.
        device: Device of the copy.
        height_px: Height of the input images, in px.
        width_px: Width of the input images, in px.
        fold: Whether to fold. Do not fold for bfloat16, where rounding of folded weights costs accuracy.

    Returns:
        The copy, with convolutions in channels-last order and without gradients.

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
    return copied if torch.allclose(before, after, rtol=0, atol=TOLERANCE) else _still(network, device)


def _still(network: Network, device: torch.device) -> Network:
    copied = deepcopy(network, _no_hooks(network)).eval().requires_grad_(requires_grad=False)
    return copied.to(device).to(memory_format=torch.channels_last)


def _no_hooks(network: Network) -> dict[int, object]:
    """Return a memo for ``deepcopy`` with copies of all empty hook dictionaries, which take most of its time."""
    values = (value for module in network.modules() for value in vars(module).values())
    return {id(value): OrderedDict() for value in values if type(value) is OrderedDict and not value}


def _example(network: Network, *, height_px: int, width_px: int) -> Float[Tensor, "1 channel height width"]:
    """Return an image of random noise, so that every channel is active."""
    shape = (1, network.net.backbone.in_channels, height_px, width_px)
    noise = torch.from_numpy(generator(0, "inference example").uniform(-1, 1, shape)).float()
    return noise.contiguous(memory_format=torch.channels_last)


def _watched(
    network: Network, pictures: Float[Tensor, "1 channel height width"]
) -> tuple[list[tuple[str, str]], Float[Tensor, "1 dim"]]:
    """Return the paths of each convolution and of the norm applied to its output, and the embedding of the images.

    Modules that are called more than once are left out, because their weights are shared.
    """
    made: dict[int, tuple[str, Tensor, int]] = {}  # the tensors are kept, so that no id is reused
    pairs: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()

    def watch(path: str, module: nn.Module, args: tuple[Tensor, ...], result: Tensor) -> None:
        calls[path] += 1
        if type(module) in CONVOLUTIONS:
            made[id(result)] = (path, result, result._version)  # noqa: SLF001 - torch's count of changes in place
        elif id(args[0]) in made:
            maker, _, version = made[id(args[0])]
            if args[0]._version == version:  # noqa: SLF001 - else an in-place activation changed it
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
    """Fold a norm into a convolution. Only the activation of the norm, if it has one, remains."""
    first = cast("nn.Conv2d", network.get_submodule(convolution))
    second = cast("nn.BatchNorm2d", network.get_submodule(norm))
    if second.running_mean is None or second.running_var is None:  # a norm without running statistics
        return
    first.weight, first.bias = fuse_conv_bn_weights(
        first.weight, first.bias, second.running_mean, second.running_var, second.eps, second.weight, second.bias
    )
    network.set_submodule(norm, second.act if isinstance(second, BatchNormAct2d) else nn.Identity())
