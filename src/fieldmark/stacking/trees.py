"""Boosted trees on cells: sample negatives, train, and correct the probabilities for the sampling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.stacking.specs import Negatives, Trees

if TYPE_CHECKING:
    import lightgbm

ROW_BLOCK = 2**18


def sample_negatives(
    truth: Bool[np.ndarray, " cell"], by: Negatives, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " kept"], float]:
    """Select the cells to train on: all positive ones, and each negative one with the same probability.

    Without any positive cell, all cells are kept.

    Args:
        truth: Whether each cell is positive.
        by: Number of negatives per positive.
        rng: Random generator; one draw per negative cell.

    Returns:
        The selected cells in order, and the sampling rate of the negatives: above 0, at most 1.
    """
    n_right = int(np.count_nonzero(truth))
    n_wrong = len(truth) - n_right
    if by.per_positive is None or not n_right or n_wrong <= by.per_positive * n_right:
        return np.arange(len(truth)), 1.0
    rate = by.per_positive * n_right / n_wrong
    keep = truth.copy()
    keep[~truth] = rng.random(n_wrong) < rate
    return np.flatnonzero(keep), rate


def corrected(proba: Float32[np.ndarray, " cell"], rate: float) -> Float32[np.ndarray, " cell"]:
    """Correct probabilities for the sampling of negatives.

    If only the share ``rate`` of the negative cells is used for training, the odds are ``1 / rate`` times too high.

    Args:
        proba: Predictions of trees that were trained on sampled cells.
        rate: Share of the negative cells that were kept.

    Source:
        Elkan 2001, "The foundations of cost-sensitive learning", theorem 2; T38 with negative cells as one class.
    """
    odds = np.asarray(proba, np.float64)
    return (odds * rate / (odds * rate + (1 - odds))).astype(np.float32)


def train_trees(
    table: Float32[np.ndarray, "cell column"],
    truth: Bool[np.ndarray, " cell"],
    *,
    by: Trees,
    categorical: list[int],
    seed: int,
    n_threads: int,
) -> str:
    """Train trees and return LightGBM's model text; the result does not depend on the number of threads.

    Args:
        table: One row per cell.
        truth: Whether each cell is positive.
        by: Settings of the trees.
        categorical: Columns with category numbers.
        seed: Random seed of the shares of cells and columns used per tree.
        n_threads: Number of threads.
    """
    import lightgbm  # pyrefly: ignore [missing-import]

    settings = {
        "objective": "binary",
        "learning_rate": by.learning_rate,
        "num_leaves": by.num_leaves,
        "min_data_in_leaf": by.min_data_in_leaf,
        "feature_fraction": by.feature_fraction,
        "bagging_fraction": by.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": by.lambda_l2,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": n_threads,
        "seed": seed % 2**31,
        "verbosity": -1,
    }
    # Our column names may contain blanks and characters that LightGBM would change or refuse.
    names = [f"column_{column}" for column in range(table.shape[1])]
    cells = lightgbm.Dataset(
        table,
        label=truth.astype(np.float32),
        feature_name=names,
        categorical_feature=categorical,
        params=settings,
        free_raw_data=True,
    )
    booster = lightgbm.train(settings, cells, num_boost_round=by.n_rounds)
    # The text ends with all settings; the number of threads is removed, as it does not affect the trees.
    return re.sub(r"\[num_threads: -?\d+\]\n", "", booster.model_to_string())


def load_booster(text: str) -> lightgbm.Booster:
    """Return the LightGBM booster of a model text."""
    import lightgbm  # pyrefly: ignore [missing-import]

    return lightgbm.Booster(model_str=text)


def predict_cells(
    booster: lightgbm.Booster, table: Float32[np.ndarray, "cell column"], *, n_threads: int
) -> Float32[np.ndarray, " cell"]:
    """Return the booster's probability for each cell, before the correction."""
    proba = np.empty(len(table), np.float32)
    for start in range(0, len(table), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        proba[rows] = np.asarray(booster.predict(np.ascontiguousarray(table[rows]), num_threads=n_threads))
    return proba
