"""What backbones cost, from a table in the package (no torch)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fieldmark.core.spec import Count, Natural, Spec, read_spec

REFERENCE_PX = 224
"""Side of the square picture that the table is about."""
TABLE = Path(__file__).with_name("costs.json")
ALL = "all"
"""In place of stage names: every stage of the backbone."""


class StageCost(Spec):
    """One stage of a backbone, for one picture of the reference size.

    Attributes:
        name: As ``Phase.freeze`` names it.
        parameters: Number of weights.
        macs: Multiply-accumulate operations of convolutions and linear layers in one forward pass.
        written: Numbers that its layers write in one forward pass.
        kept_bytes: Bytes that training in float32 keeps for the backward pass.
    """

    name: str
    parameters: Natural
    macs: Natural
    written: Natural
    kept_bytes: Natural


class BackboneCost(Spec):
    """A backbone as the sum of its stages, from the first to the last.

    Attributes:
        width: Numbers of the pooled feature.
        source: Where timm fetches weights from: a repository on the Hugging Face hub, or an address; None: nowhere.
        stages: Every stage once.
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
        """Multiply-accumulate operations of a forward pass at the reference size."""
        return sum(stage.macs for stage in self.stages)

    def frozen_first(self, freeze: tuple[str, ...]) -> int:
        """How many stages from the input on are frozen without a gap: their results can be kept."""
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
    """The shipped table: the backbones of all recipes by name; ``benchmarks/backbone_costs.py`` writes it."""
    found: _Table = read_spec(_Table, TABLE)
    return found.backbones


def cost_of(name: str) -> BackboneCost | None:
    """The cost of a backbone from the shipped table, or None for one that no recipe uses."""
    return table().get(name)
