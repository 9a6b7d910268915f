"""Calibrated probabilities from scores, and their correction for changed class shares.

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
    """Fit a model of the probability that an individual is known, and that the first candidate is correct.

    Args:
        scores: Out-of-fold score of each known individual for validation queries.
        truth: Individual (column) of each query, -1 for unknown.
        method: ``logistic``: from the best score and its lead; for any number of queries. ``isotonic``: from the best
            score alone; for hundreds of queries.
        **settings: Settings of the method, such as ``pull=1.0``.

    Returns:
        A model. Its ``of(scores)`` returns the probabilities ``known`` and ``right`` of each query, 0 to 1; NaN if
        ``truth`` has no unknown or no known individuals.

    Raises:
        ShapeError: The shape of ``truth`` differs, or there are no queries.
        PlanError: The method has no setting of that name, or the value is not valid.
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
    """Return the probabilities of each query by a model fitted without it, to check with ``calibration_error``.

    Args:
        scores: Scores, as in ``fit_confidence``.
        truth: Individuals, as in ``fit_confidence``.
        method: Method, as in ``fit_confidence``.
        groups: Group number of each query (copies, an encounter); a group is held out as a whole.
        **settings: Settings of the method.

    Returns:
        The probabilities ``known`` and ``right`` of each query.

    Raises:
        ShapeError: The shape of ``truth`` differs, or there are no queries.
        PlanError: The method has no setting of that name, or the value is not valid.
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
    """Return the share of each class among labelled photos.

    Args:
        truth: Above 0 if the photo has the class, else 0; NaN: not labelled.
        question_of: Question of each class, such as 0, 0, 0, 1, 1; None: one question for all classes.
        smooth: Number of photos added to each class, so that no share is 0.

    Returns:
        Shares, which sum to 1 within each question.

    Raises:
        ShapeError: The shapes differ.
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
    """Estimate the share of each class among unlabelled photos from calibrated probabilities (EM).

    Args:
        proba: Probability of each class; sums to 1 within each question.
        have: Class shares in training, as ``class_shares`` returns them.
        question_of: Question of each class, as in ``class_shares``.
        n_rounds: Maximum number of EM iterations.

    Returns:
        Shares, which sum to 1 within each question.

    Raises:
        ShapeError: The shapes differ, or there is no photo.
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
    """Correct probabilities for photos whose class shares differ from those in training.

    Args:
        proba: Probability of each class; sums to 1 within each question.
        have: Class shares in training, as ``class_shares`` returns them.
        want: Class shares among these photos, as ``estimate_class_shares`` returns them.
        question_of: Question of each class, as in ``class_shares``.
        form: ``bayes``: exact if one class is correct. ``per_class``: each class against the rest.

    Returns:
        Corrected probabilities, which sum to 1 within each question.

    Raises:
        ShapeError: The shapes differ.
        FieldmarkError: A share is not valid, or ``have`` is 0 for a class whose ``want`` is not 0.

    Source:
        Saerens, Latinne and Decaestecker 2002, equation 2.4; iMaterialist Furniture 2018, first place.
    """
    from fieldmark.decisions.priors import recalibrate as recalibrated

    return recalibrated(proba, _questions(question_of, proba), have=have, want=want, form=form)


def _questions(question_of: np.ndarray | None, columns: np.ndarray) -> np.ndarray:
    """Return the question of each class; one question for all by default."""
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
