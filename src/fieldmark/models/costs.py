"""Computational cost of backbones, from a table in the package (no torch)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fieldmark.core.spec import Count, Natural, Spec, read_spec

REFERENCE_PX = 224
"""Side of the square input image of the table."""
TABLE = Path(__file__).with_name("costs.json")
ALL = "all"
"""Value in place of stage names that means every stage of the backbone."""


class StageCost(Spec):
    """Cost of one stage of a backbone, for one image of the reference size.

    Attributes:
        name: Stage name, as in ``Phase.freeze``.
        parameters: Number of weights.
        macs: Multiply-accumulate operations of convolutions and linear layers in one forward pass.
        written: Number of output values of its layers in one forward pass.
        kept_bytes: Bytes that training in float32 keeps for the backward pass.
    """

    name: str
    parameters: Natural
    macs: Natural
    written: Natural
    kept_bytes: Natural


class BackboneCost(Spec):
    """Cost of a backbone as the costs of its stages, from the first to the last.

    Attributes:
        width: Length of the pooled feature.
        source: Source of timm's weights: a repository on the Hugging Face hub or a URL; None if there are none.
        stages: Cost of each stage.
    """

    width: Count
    source: str | None
    stages: Annotated[tuple[StageCost, ...], Field(min_length=1)]

    @property
    def parameters(self) -> int:
        """Number of weights, without neck and head."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        """Number of multiply-accumulate operations of a forward pass at the reference size."""
        return sum(stage.macs for stage in self.stages)

    def frozen_first(self, freeze: tuple[str, ...]) -> int:
        """Return the number of consecutive frozen stages from the input on, whose outputs can be cached."""
        n = 0
        for stage in self.stages:
            if stage.name not in freeze and ALL not in freeze:
                break
            n += 1
        return n


class _Table(Spec):
    backbones: dict[str, BackboneCost]


@cache
def table() -> dict[str, BackboneCost]:
    """Return the cost of the backbones of all recipes, by name. ``benchmarks/backbone_costs.py`` writes the table."""
    found: _Table = read_spec(_Table, TABLE)
    return found.backbones


def cost_of(name: str) -> BackboneCost | None:
    """Return the cost of a backbone from the table in the package, or None if no recipe uses the backbone."""
    return table().get(name)
