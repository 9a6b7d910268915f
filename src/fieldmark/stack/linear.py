"""Linear answers: a weight for each clue and answer, the answers of a question competing among themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.core.seeds import generator
from fieldmark.decide.priors import shares
from fieldmark.decide.questions import Questions
from fieldmark.stack.ngrams import Sparse
from fieldmark.stack.specs import Linear

ROW_BLOCK = 2048
DOUBT = 1e-3
"""Share of the prior in every answer: what was always so in training may be otherwise once in a thousand."""
START = 1e-6
"""Squared gradients met before the first one; keeps a step of nothing from being divided by nothing."""


def weighted(
    table: Sparse | Float32[np.ndarray, "image clue"],
    truth: Float[np.ndarray, "image answer"],
    questions: Questions,
    *,
    by: Linear,
    seed: int,
) -> tuple[Float32[np.ndarray, "clue answer"], Float32[np.ndarray, " answer"]]:
    """Weights, and the prior that answers where there is no clue.

    Softmax within each question, by stochastic gradient descent over all questions at once. Several right answers
    share the target. Questions that are not told of a photo teach nothing. The offset of each answer is the logarithm
    of its share and is not learnt, so that a photo without clues is answered by the shares.

    Args:
        table: Clues of each photo, sparse or dense.
        truth: Above 0: right; 0: not; NaN: the question is not told of that photo.
        questions: The columns of ``truth``.
        by: How long, how fast, how tame.
        seed: Of the order in which photos are read.

    Source:
        Duchi, Hazan and Singer 2011 (Adagrad, diagonal); the pull only on clues that are met is that of Vowpal
        Wabbit and others. With dense clues its optimum is that of multinomial logistic regression with an L2 penalty.
    """
    prior = shares(truth, questions.question_of, smooth=1.0)
    offset = np.log(prior).astype(np.float32)
    weights = np.zeros((table.shape[1], truth.shape[1]), np.float32)
    met = np.full(weights.shape, START, np.float32)
    n_rows = truth.shape[0]
    n_steps, step = by.epochs * -(-n_rows // by.batch_size), 0
    for epoch in range(by.epochs):
        order = generator(seed, "linear", epoch).permutation(n_rows)
        for start in range(0, n_rows, by.batch_size):
            rows = order[start : start + by.batch_size]
            clues, part = _met(table, rows)
            own = weights[clues]
            slope = _softmax(part @ own + offset, questions) - _target(truth[rows], questions)
            slope *= _told(truth[rows], questions)
            # A clue of few texts is met once a batch at most: against the slope of its one text stands the whole pull.
            gradient = part.T @ slope / len(rows) + by.pull / by.batch_size * own
            squares = met[clues] + gradient * gradient
            met[clues] = squares
            weights[clues] = own - by.learning_rate * (1 - step / n_steps) * gradient / np.sqrt(squares)
            step += 1
    return weights, prior.astype(np.float32)


def answered(
    table: Sparse | Float32[np.ndarray, "image clue"],
    weights: Float32[np.ndarray, "clue answer"],
    prior: Float32[np.ndarray, " answer"],
    questions: Questions,
) -> Float32[np.ndarray, "image answer"]:
    """Probabilities: they sum to 1 within each question, and are the prior where there is no clue."""
    offset = np.log(prior)
    proba = np.empty((table.shape[0], len(prior)), np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        proba[rows] = (1 - DOUBT) * _softmax(table[rows] @ weights + offset, questions) + DOUBT * prior
    return proba


def _met(table: Sparse | np.ndarray, rows: np.ndarray) -> tuple[np.ndarray | slice, Sparse | np.ndarray]:
    """The clues that these photos have, and their part of the table."""
    if isinstance(table, np.ndarray):
        return slice(None), table[rows]
    from scipy.sparse import csr_matrix

    part = table[rows]
    clues, place = np.unique(part.indices, return_inverse=True)
    return clues, csr_matrix((part.data, place.astype(np.int32), part.indptr), shape=(len(rows), len(clues)))


def _softmax(logits: np.ndarray, questions: Questions) -> np.ndarray:
    powers = np.exp(logits - questions.widened(questions.highest(logits)))
    return powers / questions.widened(questions.total(powers))


def _target(truth: np.ndarray, questions: Questions) -> np.ndarray:
    right = (np.nan_to_num(truth) > 0).astype(np.float32)
    return right / np.maximum(questions.widened(questions.total(right)), 1)


def _told(truth: np.ndarray, questions: Questions) -> np.ndarray:
    return questions.widened(questions.total((np.nan_to_num(truth) > 0).astype(np.float32)) > 0)
