"""Margins by the number of training photos of a class (no torch)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fieldmark.core.spec import Positive, Spec


class MarginByCount(Spec):
    """A margin per class by its number of photos: ``coef * photos ** power + floor``; larger for rare classes.

    The defaults are those of the first place of Happywhale 2022 for individuals; for species it used 0.226253,
    -0.720133 and 0.05. Its search covered coef 0.2 to 1 and power -0.8 to -0.05.
    """

    coef: Positive = 0.27126
    power: Annotated[float, Field(ge=-2, le=0)] = -0.364399
    floor: Annotated[float, Field(ge=0, le=1)] = 0.05
