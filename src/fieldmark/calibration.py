"""Scores to probabilities that hold: how likely an answer is right, and what changed class shares do to it.

Arrays may be lists, numpy arrays, tensors, or columns. Classes are whole numbers, -1 for unknown individuals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from fieldmark.core.arrays import takes_arrays
from fieldmark.core.public import exports, kinds_of, named
from fieldmark.decisions.specs import Calibration, Isotonic, Logistic

if TYPE_CHECKING:
    from fieldmark.decisions.confidence import Confidence, ConfidenceModel
    from fieldmark.metrics.calibration import Reliability, calibration_error, reliability

__all__ = [
    "Reliability",
    "calibration_error",
    "class_shares",
    "cross_fitted_confidence",
    "estimate_class_shares",
    "fit_confidence",
    "recalibrate",
    "reliability",
]
METHODS = kinds_of(Logistic, Isotonic)
Method = Literal["logistic", "isotonic"]


@takes_arrays
def fit_confidence(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    method: Method | Calibration = "logistic",
    **settings: Any,
) -> ConfidenceModel:
    """A model of how likely the individual is known, and the first answer right, given its scores.

    Args:
        scores: Score of each known individual for validation queries, by models not trained on them.
        truth: The individual (column) of each query, -1 for unknown.
        method: ``logistic``: from the best score and its lead; for any number of queries. ``isotonic``: from the best
            score alone; for hundreds of queries.
        **settings: Of the method, such as ``pull=1.0``.

    Returns:
        A model whose ``of(scores)`` gives the probabilities ``known`` and ``right`` of each query, 0 to 1; NaN where
        ``truth`` had no unknown, or no known individuals.

    Raises:
        ShapeError: ``truth`` does not fit, or there are no queries.
        PlanError: A setting is not one of the method's.
        FieldmarkError: A score is NaN or infinite.

    Source:
        Platt 1999; Zadrozny and Elkan 2002.

    Example:
        ``fit_confidence(validation, truth).of(new_scores).right``
    """
    from fieldmark.decisions.confidence import confidence_model

    return confidence_model(scores, truth, by=named(METHODS, method, settings, what="method"))


@takes_arrays
def cross_fitted_confidence(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    method: Method | Calibration = "logistic",
    groups: Int[np.ndarray, " query"] | None = None,
    **settings: Any,
) -> Confidence:
    """The probabilities of each query by a model fitted without it: to check calibration with ``calibration_error``.

    Args:
        scores: As in ``fit_confidence``.
        truth: As in ``fit_confidence``.
        method: As in ``fit_confidence``.
        groups: A number that queries of one group share (copies, an encounter); they are left out together.
        **settings: Of the method.

    Returns:
        ``known`` and ``right``, a probability per query.

    Raises:
        ShapeError: ``truth`` does not fit, or there are no queries.
        PlanError: A setting is not one of the method's.
        FieldmarkError: A score is NaN or infinite.
    """
    from fieldmark.decisions.confidence import crossed_confidence

    return crossed_confidence(scores, truth, by=named(METHODS, method, settings, what="method"), groups=groups)


@takes_arrays
def class_shares(
    truth: Float[np.ndarray, "photo class"],
    *,
    question_of: Int[np.ndarray, " class"] | None = None,
    smooth: float = 0.0,
) -> Float64[np.ndarray, " class"]:
    """The share of each class among photos with ground truth.

    Args:
        truth: Above 0 where a class is right, else 0; NaN: not labelled.
        question_of: The question of each class, where classes answer several questions: 0, 0, 0, 1, 1 ...; None: one.
        smooth: Photos added to each class, so that none has the share 0.

    Returns:
        Sums to 1 within each question.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: ``smooth`` is negative.
    """
    from fieldmark.decisions.priors import shares

    return shares(truth, _questions(question_of, truth), smooth=smooth)


@takes_arrays
def estimate_class_shares(
    proba: Float[np.ndarray, "photo class"],
    *,
    have: Float[np.ndarray, " class"],
    question_of: Int[np.ndarray, " class"] | None = None,
    n_rounds: int = 1000,
) -> Float64[np.ndarray, " class"]:
    """The share of each class among photos without ground truth, from calibrated probabilities (EM).

    Args:
        proba: Sums to 1 within each question.
        have: Shares in training, as ``class_shares`` gives them.
        question_of: As in ``class_shares``.
        n_rounds: At most so many rounds.

    Returns:
        Sums to 1 within each question.

    Raises:
        ShapeError: The arrays do not fit each other, or there is no photo.
        FieldmarkError: ``have`` holds no shares, or ``n_rounds`` is below 1.

    Source:
        Saerens, Latinne and Decaestecker 2002, equation 2.9.
    """
    from fieldmark.decisions.priors import estimated_shares

    return estimated_shares(proba, _questions(question_of, proba), have=have, rounds=n_rounds)


@takes_arrays
def recalibrate(
    proba: Float[np.ndarray, "photo class"],
    *,
    have: Float[np.ndarray, " class"],
    want: Float[np.ndarray, " class"],
    question_of: Int[np.ndarray, " class"] | None = None,
    form: Literal["bayes", "per_class"] = "bayes",
) -> Float32[np.ndarray, "photo class"]:
    """The probabilities for photos among which classes have other shares than in training.

    Args:
        proba: Sums to 1 within each question.
        have: Shares in training, as ``class_shares`` gives them.
        want: Shares among these photos, as ``estimate_class_shares`` gives them.
        question_of: As in ``class_shares``.
        form: ``bayes``: exact where one class is right. ``per_class``: each class against the rest.

    Returns:
        Sums to 1 within each question.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: A share is no share, or ``have`` is 0 where ``want`` is not.

    Source:
        Saerens, Latinne and Decaestecker 2002, equation 2.4; iMaterialist Furniture 2018, first place.
    """
    from fieldmark.decisions.priors import recalibrate as recalibrated

    return recalibrated(proba, _questions(question_of, proba), have=have, want=want, form=form)


def _questions(question_of: np.ndarray | None, columns: np.ndarray) -> np.ndarray:
    """One question for all classes where nothing is said."""
    return np.zeros(columns.shape[1], np.int64) if question_of is None else question_of


__getattr__, __dir__ = exports(
    __name__,
    {
        "Reliability": "fieldmark.metrics.calibration",
        "calibration_error": "fieldmark.metrics.calibration",
        "reliability": "fieldmark.metrics.calibration",
    },
    own=__all__,
)
