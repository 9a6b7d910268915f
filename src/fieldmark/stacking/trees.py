"""Boosted trees over cells: wrong cells thinned out, trained, and the probabilities put right again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.stacking.specs import Negatives, Trees

if TYPE_CHECKING:
    import lightgbm

ROW_BLOCK = 2**18


def thin(
    truth: Bool[np.ndarray, " cell"], by: Negatives, chance: np.random.Generator
) -> tuple[Int[np.ndarray, " kept"], float]:
    """Which cells to learn from: all right ones, and each wrong one with the same probability.

    Without any right one there is nothing to measure by, and all are kept.

    Args:
        truth: Whether each cell is right.
        by: Wrong cells wanted for each right one.
        chance: Draws once for each wrong cell.

    Returns:
        The kept cells in their order, and the share of the wrong ones that were to be kept: above 0, at most 1.
    """
    n_right = int(np.count_nonzero(truth))
    n_wrong = len(truth) - n_right
    if by.per_positive is None or not n_right or n_wrong <= by.per_positive * n_right:
        return np.arange(len(truth)), 1.0
    rate = by.per_positive * n_right / n_wrong
    keep = truth.copy()
    keep[~truth] = chance.random(n_wrong) < rate
    return np.flatnonzero(keep), rate


def put_right(proba: Float32[np.ndarray, " cell"], rate: float) -> Float32[np.ndarray, " cell"]:
    """Probabilities as they would be had no wrong cell been left out.

    With only the share ``rate`` of the wrong cells the odds come out ``1 / rate`` times too high.

    Args:
        proba: Learnt on thinned cells.
        rate: Share of the wrong cells that were kept.

    Source:
        Elkan 2001, "The foundations of cost-sensitive learning", theorem 2; T38 with wrong cells as one class.
    """
    odds = np.asarray(proba, np.float64)
    return (odds * rate / (odds * rate + (1 - odds))).astype(np.float32)


def grow(
    table: Float32[np.ndarray, "cell column"],
    truth: Bool[np.ndarray, " cell"],
    *,
    by: Trees,
    categorical: list[int],
    seed: int,
    n_threads: int,
) -> str:
    """Train trees, as LightGBM's text; the same table, settings and seed give the same for any number of threads.

    Args:
        table: One row a cell.
        truth: Whether each cell is right.
        by: How many trees of which kind.
        categorical: Columns whose numbers are names.
        seed: Of the shares of cells and columns that each tree sees.
        n_threads: Threads.
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
    # Names of ours may hold blanks and signs that LightGBM would change or refuse.
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
    # The text ends with all settings; this one says nothing about the trees.
    return re.sub(r"\[num_threads: -?\d+\]\n", "", booster.model_to_string())


def planted(text: str) -> lightgbm.Booster:
    """The booster of LightGBM's text."""
    import lightgbm  # pyrefly: ignore [missing-import]

    return lightgbm.Booster(model_str=text)


def answers(
    booster: lightgbm.Booster, table: Float32[np.ndarray, "cell column"], *, n_threads: int
) -> Float32[np.ndarray, " cell"]:
    """The booster's probability for each cell, not yet put right."""
    proba = np.empty(len(table), np.float32)
    for start in range(0, len(table), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        proba[rows] = np.asarray(booster.predict(np.ascontiguousarray(table[rows]), num_threads=n_threads))
    return proba
