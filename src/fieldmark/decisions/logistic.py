"""Logistic regression with non-negative weights: a larger feature never lowers the probability."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

MOST_STEPS = 100
FLAT = 1e-12
"""A feature whose standard deviation is at most this is constant and gets weight 0."""


def rising(
    numbers: Float[np.ndarray, "query number"], target: Float[np.ndarray, " query"], *, pull: float
) -> tuple[float, Float64[np.ndarray, " number"]]:
    """Fit a logistic regression with non-negative weights; return its bias and weights.

    The log-odds are the bias plus the sum of weight times feature. A few hundred queries are enough for so few
    parameters. The curve also extrapolates to queries unlike those it was fitted on.

    Args:
        numbers: Features, larger means more likely; their scales may differ.
        target: Outcome of each query, 0 to 1; not all 0 and not all 1.
        pull: Ridge penalty of the weight of a feature of unit standard deviation; a larger value moves weights towards
            0.

    Source:
        Ridge-penalised maximum likelihood by Newton's method, projected (Bertsekas 1982), so that it is exact.
    """
    numbers = np.asarray(numbers, np.float64)
    middle, spread = numbers.mean(axis=0), numbers.std(axis=0)
    varies = spread > FLAT
    spread = np.where(varies, spread, 1.0)
    design = np.column_stack([np.ones(len(numbers)), np.where(varies, (numbers - middle) / spread, 0.0)])
    ridge = np.append(1e-9, np.full(numbers.shape[1], pull))
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = np.log(target.mean() / (1 - target.mean()))
    loss = _loss(design, target, ridge, coefficients)
    for _ in range(MOST_STEPS):
        proba = sigmoid(design @ coefficients)
        slope = design.T @ (proba - target) + ridge * coefficients
        free = (coefficients > 0) | (slope <= 0)
        free[0] = True
        bend = (design[:, free].T * (proba * (1 - proba))) @ design[:, free] + np.diag(ridge[free])
        step = np.zeros_like(coefficients)
        step[free] = np.linalg.solve(bend, slope[free])
        while (after := _loss(design, target, ridge, tried := _non_negative(coefficients - step))) > loss:
            step /= 2
            if np.abs(step).max() < 1e-12:
                break
        if after > loss:
            break
        coefficients, gained, loss = tried, loss - after, after
        if gained < 1e-12 * max(1.0, loss):
            break
    weights = np.where(varies, coefficients[1:] / spread, 0.0)
    return float(coefficients[0] - weights @ middle), weights


def sigmoid(logit: Float[np.ndarray, "*some"]) -> Float64[np.ndarray, "*some"]:
    """Return the probability of each log-odds; finite for any input."""
    return 0.5 * (1 + np.tanh(np.asarray(logit, np.float64) / 2))


def _non_negative(coefficients: np.ndarray) -> np.ndarray:
    return np.concatenate([coefficients[:1], np.maximum(coefficients[1:], 0)])


def _loss(design: np.ndarray, target: np.ndarray, ridge: np.ndarray, coefficients: np.ndarray) -> float:
    logit = design @ coefficients
    return float(np.logaddexp(0, logit).sum() - logit @ target + (ridge * coefficients**2).sum() / 2)
