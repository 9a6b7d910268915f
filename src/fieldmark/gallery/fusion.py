"""One probability that two photos show the same animal, from several kinds of evidence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.spec import Count, Spec
from fieldmark.decisions.logistic import rising, sigmoid

RIDGE = 1.0
"""Prior precision of a weight whose number has unit spread: so many issues that it matters at all."""


class Fusion(Spec):
    """How evidence adds up: log-odds are the intercept plus weight times number; no weight is below 0.

    A weighted sum and no richer rule, as more evidence must never make a pair less likely, and a few hundred pairs must
    be enough to learn it.

    Attributes:
        intercept: Log-odds where all numbers are 0.
        weights: Of each number.
        n_pairs: Pairs it was learnt from.
        n_same: How many of them show the same animal.
    """

    intercept: float
    weights: tuple[float, ...]
    n_pairs: Count
    n_same: Count

    def proba(self, numbers: Float[np.ndarray, "*pair number"]) -> Float64[np.ndarray, "*pair"]:
        """The probability that each pair shows the same animal; 0 where a number is -inf.

        Raises:
            ShapeError: There are not as many numbers as weights.
        """
        numbers = np.asarray(numbers, np.float64)
        if numbers.shape[-1:] != (len(self.weights),):
            raise ShapeError(
                "Every number needs its weight.",
                got=f"numbers {numbers.shape}, {len(self.weights)} weights",
                fix="pass the numbers that fit() was given, in the same order.",
            )
        # A weight of 0 leaves its number out, be it -inf.
        told = [weight * numbers[..., place] for place, weight in enumerate(self.weights) if weight]
        return sigmoid(np.sum([np.full(numbers.shape[:-1], self.intercept), *told], axis=0))


def fit_fusion(numbers: Float[np.ndarray, "pair number"], same: Bool[np.ndarray, " pair"]) -> Fusion:
    """The most likely weights for pairs of which the truth is known.

    Logistic regression with a weak pull towards 0, and no weight below it.

    Args:
        numbers: Any evidence, larger for likelier the same; of very different size is fine.
        same: Whether the pair shows the same animal.

    Raises:
        ShapeError: ``numbers`` and ``same`` do not fit.
        FieldmarkError: A number is not finite, or all pairs are of one kind.

    Source:
        Platt 1999 for one number; ours for several and for the sign.
    """
    numbers, same = np.asarray(numbers, np.float64), np.asarray(same)
    if numbers.ndim != 2 or same.shape != numbers.shape[:1] or same.dtype != np.bool_:
        raise ShapeError(
            "Evidence is learnt from numbers of pairs and whether each pair is the same animal.",
            got=f"numbers {numbers.shape}, same {same.shape} of type {same.dtype}",
            fix="pass (pair, number) and one True or False a pair.",
        )
    if not np.isfinite(numbers).all():
        raise FieldmarkError(
            "Some evidence is not a finite number.",
            got=f"{int((~np.isfinite(numbers)).sum())} of {numbers.size}",
            fix="leave out pairs without a score; no match at all is 0.",
        )
    if same.all() or not same.any():
        raise FieldmarkError(
            "Evidence is learnt from pairs of both kinds.",
            got=f"{int(same.sum())} of {len(same)} pairs show the same animal",
            fix="use more validation photos, with known individuals among them, or a longer shortlist.",
        )
    intercept, weights = rising(numbers, same, pull=RIDGE)
    return Fusion(
        intercept=intercept,
        weights=tuple(weights.tolist()),
        n_pairs=len(same),
        n_same=int(same.sum()),
    )


def fit_by_part(
    numbers: Float[np.ndarray, "pair number"], same: Bool[np.ndarray, " pair"], part: Int[np.ndarray, " pair"]
) -> dict[int, Fusion]:
    """For each part, the weights learnt from the pairs of all other parts: to judge that part by.

    Args:
        numbers: As for ``fit``.
        same: As for ``fit``.
        part: The part of each pair; pairs of one query, or of copies of a photo, must share theirs.

    Raises:
        ShapeError: The arrays do not fit.
        FieldmarkError: As for ``fit``; or there is one part only.
    """
    numbers, same, part = np.asarray(numbers), np.asarray(same), np.asarray(part)
    if part.shape != same.shape:
        raise ShapeError(
            "Every pair needs its part.", got=f"part {part.shape}, same {same.shape}", fix="pass one part a pair."
        )
    parts = np.unique(part).tolist()
    if len(parts) < 2:
        raise FieldmarkError(
            "What is judged must be learnt from other pairs.", got=f"{len(parts)} part(s)", fix="use two parts or more."
        )
    return {one: fit_fusion(numbers[part != one], same[part != one]) for one in parts}
