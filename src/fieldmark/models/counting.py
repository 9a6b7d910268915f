"""Measure the cost of a backbone without running it: parameters, multiply-accumulate operations and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from fieldmark.models.backbone import backbone_stages, build_backbone
from fieldmark.models.costs import REFERENCE_PX, BackboneCost, StageCost
from fieldmark.models.specs import Backbone, RandomWeights


def count(name: str, *, in_channels: int = 3) -> BackboneCost:
    """Return the cost of one backbone by stage, for one image of 224 x 224 pixels.

    The network is built on torch's ``meta`` device: no weights are read and no values are computed.

    Args:
        name: Name of the network in timm, or its registered name.
        in_channels: Number of input channels: 3, or 4 with a mask.

    Raises:
        PlanError: There is no network of that name.
    """
    with torch.device("meta"):
        model, _ = build_backbone(Backbone(name=name, weights=RandomWeights(), in_channels=in_channels))
        tally = _Tally(model)
        tally.forward(torch.zeros(2, in_channels, REFERENCE_PX, REFERENCE_PX))
    settings = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return BackboneCost(
        width=int(cast("Any", model).num_features),
        source=None if settings is None else str(settings.hf_hub_id or settings.url or "") or None,
        stages=tuple(
            StageCost(
                name=stage,
                parameters=tally.parameters[stage],
                macs=tally.macs[stage] // 2,
                written=tally.written[stage] // 2,
                kept_bytes=tally.kept[stage] // 2,
            )
            for stage in backbone_stages(model)
        ),
    )


class _Tally:
    """Sums over the modules of a backbone, by stage, for a batch of two images (batch norms reject a batch of one)."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.train()
        named = backbone_stages(model)
        self._stage_of = {parameter: stage for stage, names in named.items() for parameter in names}
        self._at = next(iter(named))
        self._counted = {id(parameter.untyped_storage()) for parameter in model.parameters()}
        self.parameters = dict.fromkeys(named, 0)
        for parameter, tensor in model.named_parameters():
            self.parameters[self._stage_of[parameter]] += tensor.numel()
        self.macs, self.written, self.kept = (dict.fromkeys(named, 0) for _ in range(3))

    def forward(self, pictures: Tensor) -> None:
        """Run a forward pass and record the cost of each stage."""
        hooks = []
        for path, module in self.model.named_modules():
            own = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
            if own:
                hooks.append(module.register_forward_pre_hook(self._enter(self._stage_of[own[0]])))
            if own or not any(True for _ in module.children()):
                hooks.append(module.register_forward_hook(self._leave))
        with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
            cast("Any", self.model).forward_features(pictures)
        for hook in hooks:
            hook.remove()

    def _enter(self, stage: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            self._at = stage

        return note

    def _leave(self, module: nn.Module, _: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        self.written[self._at] += output.numel()
        if isinstance(module, nn.Conv2d):
            self.macs[self._at] += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            self.macs[self._at] += output.numel() * module.in_features

    def _keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd keeps for the backward pass: each storage once, and no parameters."""
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage._cdata not in self._counted:  # noqa: SLF001 - no public name
            self._counted.add(storage._cdata)  # noqa: SLF001
            self.kept[self._at] += storage.nbytes()
        return tensor
