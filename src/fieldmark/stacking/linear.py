"""Linear model of answers: one weight per side feature and answer, with a softmax within each question."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.core.seeds import hash_seed
from fieldmark.decisions.priors import shares
from fieldmark.decisions.questions import Questions
from fieldmark.stacking.ngrams import Sparse
from fieldmark.stacking.specs import Linear

ROW_BLOCK = 2048
L2 = 1e-3
"""Weight of the prior in every probability: an answer that was always right in training may still be wrong in 0.1 %."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Fitted weights.

    Attributes:
        of_side_feature: Weight of each side feature for each answer.
        offset: Log-odds of each answer without side features; -inf for an answer that was never correct.
        prior: Share of each answer in training, none 0; the prediction for a photo without side features.
    """

    of_side_feature: Float32[np.ndarray, "side feature answer"]
    offset: Float32[np.ndarray, " answer"]
    prior: Float32[np.ndarray, " answer"]

    @classmethod
    def learnt(
        cls,
        table: Sparse | Float32[np.ndarray, "image side feature"],
        truth: Float[np.ndarray, "image answer"],
        questions: Questions,
        *,
        by: Linear,
        seed: int,
    ) -> Weights:
        """Fit a multinomial logistic regression within each question, with scikit-learn.

        A photo with several correct answers is divided between them. Unlabelled questions of a photo are ignored.

        Args:
            table: Side features of each photo, sparse or dense.
            truth: Above 0: correct; 0: not; NaN: the photo has no label for the question.
            questions: The columns of ``truth``.
            by: Number of rounds and regularisation.
            seed: Random seed of the order of photos.
        """
        prior = shares(truth, questions.question_of, smooth=1.0).astype(np.float32)
        weights = np.zeros((table.shape[1], truth.shape[1]), np.float32)
        offset = np.log(prior)
        right = np.nan_to_num(truth) > 0
        for number, columns in enumerate(questions.slices):
            row, answer = np.nonzero(right[:, columns])
            found = np.unique(answer)
            if not len(found):
                continue
            offset[columns] = -np.inf
            offset[columns][found] = 0
            if len(found) > 1 and table.shape[1]:
                share = 1 / right[row, columns].sum(axis=1)
                model = _fitted(table[row], answer, share, by=by, seed=hash_seed(seed, "linear", number))
                # For two answers, scikit-learn fits only the second against the first.
                at = columns.start + (found if len(found) > 2 else found[1:])
                weights[:, at], offset[at] = model.coef_.T, model.intercept_
        return cls(weights, offset, prior)

    def proba(
        self, table: Sparse | Float32[np.ndarray, "image side feature"], questions: Questions
    ) -> Float32[np.ndarray, "image answer"]:
        """Return probabilities that sum to 1 within each question; the prior for a photo without side features."""
        proba = np.empty((table.shape[0], len(self.prior)), np.float32)
        for start in range(0, len(proba), ROW_BLOCK):
            part = table[start : start + ROW_BLOCK]
            logits = part @ self.of_side_feature + self.offset
            powers = np.exp(logits - questions.widened(questions.highest(logits)))
            proba[start : start + ROW_BLOCK] = powers / questions.widened(questions.total(powers))
            empty = np.flatnonzero(np.asarray(abs(part).sum(axis=1)).ravel() == 0)
            proba[start + empty] = self.prior
        return (1 - np.float32(L2)) * proba + np.float32(L2) * self.prior


def _fitted(table: Sparse | np.ndarray, answer: np.ndarray, weight: np.ndarray, *, by: Linear, seed: int) -> Any:
    """Fit the model for ``by.rounds``; more rounds do not improve the predictions for new photos.

    The warning about convergence is therefore suppressed.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=by.strength, solver="saga", max_iter=by.rounds, tol=1e-3, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(table, answer, sample_weight=weight)
