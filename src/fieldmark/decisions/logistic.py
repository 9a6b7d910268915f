"""Logistic curves that only rise: more evidence never makes a thing less likely."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

MOST_STEPS = 100
FLAT = 1e-12
"""A number that varies less than this tells nothing, and has no weight."""


def rising(
    numbers: Float[np.ndarray, "query number"], target: Float[np.ndarray, " query"], *, pull: float
) -> tuple[float, Float64[np.ndarray, " number"]]:
    """The likeliest logistic curve none of whose weights is negative: its bias, and each number's weight.

    The log-odds are the bias plus weight times number. A few hundred queries are enough to learn so simple a rule, and
    it is a rule that holds for queries unlike any of them.

    Args:
        numbers: Any evidence, larger for likelier; of very different size is fine.
        target: What is so, 0 to 1, of each query; not all 0 and not all 1.
        pull: Towards 0, of the weight of a number of unit spread: counts like so many queries of no evidence.

    Source:
        Ridge-penalised maximum likelihood by Newton's method, projected (Bertsekas 1982), so that it is exact.
    """
    numbers = np.asarray(numbers, np.float64)
    middle, spread = numbers.mean(axis=0), numbers.std(axis=0)
    telling = spread > FLAT
    spread = np.where(telling, spread, 1.0)
    design = np.column_stack([np.ones(len(numbers)), np.where(telling, (numbers - middle) / spread, 0.0)])
    ridge = np.append(1e-9, np.full(numbers.shape[1], pull))
    solved = np.zeros(design.shape[1])
    solved[0] = np.log(target.mean() / (1 - target.mean()))
    loss = _loss(design, target, ridge, solved)
    for _ in range(MOST_STEPS):
        proba = sigmoid(design @ solved)
        slope = design.T @ (proba - target) + ridge * solved
        free = (solved > 0) | (slope <= 0)
        free[0] = True
        bend = (design[:, free].T * (proba * (1 - proba))) @ design[:, free] + np.diag(ridge[free])
        step = np.zeros_like(solved)
        step[free] = np.linalg.solve(bend, slope[free])
        while (after := _loss(design, target, ridge, tried := _held(solved - step))) > loss:
            step /= 2
            if np.abs(step).max() < 1e-12:
                break
        if after > loss:
            break
        solved, gained, loss = tried, loss - after, after
        if gained < 1e-12 * max(1.0, loss):
            break
    weights = np.where(telling, solved[1:] / spread, 0.0)
    return float(solved[0] - weights @ middle), weights


def sigmoid(logit: Float[np.ndarray, "*some"]) -> Float64[np.ndarray, "*some"]:
    """The probability of each log-odds; finite at any."""
    return 0.5 * (1 + np.tanh(np.asarray(logit, np.float64) / 2))


def _held(solved: np.ndarray) -> np.ndarray:
    return np.concatenate([solved[:1], np.maximum(solved[1:], 0)])


def _loss(design: np.ndarray, target: np.ndarray, ridge: np.ndarray, solved: np.ndarray) -> float:
    logit = design @ solved
    return float(np.logaddexp(0, logit).sum() - logit @ target + (ridge * solved**2).sum() / 2)
