"""Combine several similarity scores into one probability that two photos show the same animal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.spec import Count, Spec
from fieldmark.decisions.logistic import rising, sigmoid

RIDGE = 1.0
"""Ridge penalty of the weight of a number with unit standard deviation."""


class Fusion(Spec):
    """Fitted logistic regression of several numbers, with non-negative weights.

    The log-odds are the intercept plus the sum of weight times number. The model is this simple for two reasons. A
    larger number must never make a pair less likely, and a few hundred pairs must be enough to fit it.

    Attributes:
        intercept: Log-odds where all numbers are 0.
        weights: One weight per number.
        n_pairs: Number of pairs it was fitted on.
        n_same: Number of those that show the same animal.
    """

    intercept: float
    weights: tuple[float, ...]
    n_pairs: Count
    n_same: Count

    def proba(self, numbers: Float[np.ndarray, "*pair number"]) -> Float64[np.ndarray, "*pair"]:
        """Return the probability that each pair shows the same animal; 0 where a number is -inf.

        Raises:
            ShapeError: The number of columns differs from the number of weights.
        """
        numbers = np.asarray(numbers, np.float64)
        if numbers.shape[-1:] != (len(self.weights),):
            raise ShapeError(
                "numbers must have one column per weight.",
                got=f"numbers {numbers.shape}, {len(self.weights)} weights",
                fix="pass the same columns as to fit_fusion(), in the same order.",
            )
        # A number with weight 0 is skipped, even if it is -inf.
        weighted = [weight * numbers[..., place] for place, weight in enumerate(self.weights) if weight]
        return sigmoid(np.sum([np.full(numbers.shape[:-1], self.intercept), *weighted], axis=0))


def fit_fusion(numbers: Float[np.ndarray, "pair number"], same: Bool[np.ndarray, " pair"]) -> Fusion:
    """Fit the weights on pairs of photos with a known truth.

    This is logistic regression with a weak ridge penalty and non-negative weights.

    Args:
        numbers: Similarity scores, larger means more likely the same animal; their scales may differ.
        same: Whether the pair shows the same animal.

    Raises:
        ShapeError: ``numbers`` and ``same`` do not match.
        FieldmarkError: A number is not finite, or all pairs are of one kind.

    Source:
        Platt 1999 for one number; ours for several and for the sign.
    """
    numbers, same = np.asarray(numbers, np.float64), np.asarray(same)
    if numbers.ndim != 2 or same.shape != numbers.shape[:1] or same.dtype != np.bool_:
        raise ShapeError(
            "fit_fusion() needs a (pair, number) matrix and one True or False per pair.",
            got=f"numbers {numbers.shape}, same {same.shape} of type {same.dtype}",
            fix="pass arrays of shape (pair, number) and (pair,), the second of type bool.",
        )
    if not np.isfinite(numbers).all():
        raise FieldmarkError(
            "numbers contains values that are not finite.",
            got=f"{int((~np.isfinite(numbers)).sum())} of {numbers.size}",
            fix="leave out pairs without a score; use 0 for a pair without any match.",
        )
    if same.all() or not same.any():
        raise FieldmarkError(
            "fit_fusion() needs pairs of the same animal and pairs of different animals.",
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
    """For each part, fit the weights on the pairs of all other parts, to score that part with them.

    Args:
        numbers: As for ``fit_fusion``.
        same: As for ``fit_fusion``.
        part: The part of each pair; pairs of one query, or of copies of a photo, must be in the same part.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: As for ``fit_fusion``; or there is only one part.
    """
    numbers, same, part = np.asarray(numbers), np.asarray(same), np.asarray(part)
    if part.shape != same.shape:
        raise ShapeError(
            "part must hold one number per pair.",
            got=f"part {part.shape}, same {same.shape}",
            fix="pass one whole number per pair.",
        )
    parts = np.unique(part).tolist()
    if len(parts) < 2:
        raise FieldmarkError(
            "part must hold at least two different parts.",
            got=f"{len(parts)} part(s)",
            fix="split the pairs into two parts or more.",
        )
    return {one: fit_fusion(numbers[part != one], same[part != one]) for one in parts}
