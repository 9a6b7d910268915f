"""Class priors: how common each answer is in training and in new photos, and recalibration for a change."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.decisions.questions import Questions

ROW_BLOCK = 4096
TOLERANCE = 1e-7
"""Convergence tolerance of the estimated shares."""


def shares(
    truth: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"], *, smooth: float = 0.0
) -> Float64[np.ndarray, " answer"]:
    """Return how common each answer is among the photos that are labelled for its question.

    A photo with several correct answers is divided equally between them.

    Args:
        truth: Above 0: correct; 0: not; NaN: the photo has no label for the question.
        question_of: The question number of each answer column.
        smooth: Number of photos added to each answer, so that none has the share 0.

    Returns:
        Shares that sum to 1 within each question; equal for all answers of a question without labels.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: ``smooth`` is negative.
    """
    questions, truth = Questions.of(question_of), np.asarray(truth)
    questions.must_fit("truth", truth)
    if not 0 <= smooth < np.inf:
        raise FieldmarkError("smooth must be 0 or more.", got=f"smooth={smooth}", fix="use smooth=0 or smooth=1.")
    votes = np.full(truth.shape[1], float(smooth))
    for start in range(0, len(truth), ROW_BLOCK):
        right = (np.nan_to_num(truth[start : start + ROW_BLOCK]) > 0).astype(np.float64)
        labelled = questions.widened(questions.total(right) > 0)
        votes += np.where(labelled, questions.shared_out(right), 0).sum(axis=0)
    return questions.shared_out(votes)


def recalibrate(
    proba: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    have: Float[np.ndarray, " answer"],
    want: Float[np.ndarray, " answer"],
    form: Literal["bayes", "per_class"] = "bayes",
) -> Float32[np.ndarray, "image answer"]:
    """Recalibrate probabilities for photos in which answers are more or less common than in training.

    A network trained on a shop where nine in ten shoes are black predicts "black" too often for another shop.
    Recalibration divides out the shares of the training photos and multiplies by the shares of the new photos. What
    remains is the information from the photo.

    Args:
        proba: Sums to 1 within each question.
        question_of: The question number of each answer column.
        have: Shares in training; see ``shares``. An answer with share 0 was not in training, so its ``want`` must be 0.
        want: Shares among the new photos; 0 for an answer that does not occur there.
        form: ``"bayes"``: exact where one answer is correct. ``"per_class"``: the contest's formula. It treats each
            answer against the rest, ignores how the share of the rest changes, and changes probable answers less.

    Returns:
        Probabilities that sum to 1 within each question; the wanted shares where every answer would be 0.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: A share is invalid, ``have`` is 0 where ``want`` is not, or ``form`` is unknown.

    Source:
        T38. ``bayes``: Saerens, Latinne and Decaestecker 2002, equation 2.4; with two answers it is the binary formula
        with ``1 - share``. ``per_class``: iMaterialist Furniture 2018, 1st place; the normalisation afterwards is ours
        and leaves the order as it is.
    """
    if form not in {"bayes", "per_class"}:
        raise FieldmarkError("form must be a known form of recalibration.", got=form, fix='use "bayes" or "per_class".')
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    have, want = _checked(have, questions, name="have"), _checked(want, questions, name="want")
    if ((have == 0) & (want > 0)).any():
        raise FieldmarkError(
            "want is above 0 for answers that are not in the training photos.",
            got=several(
                [
                    f"answer {column}: have 0, want {want[column]:.4g}"
                    for column in np.flatnonzero((have == 0) & (want > 0))
                ]
            ),
            fix="pass have=shares(truth, question_of, smooth=1), or set want to 0 for these answers.",
        )
    times = _ratio(want, have)
    changed = np.empty(proba.shape, np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        block = proba[rows].astype(np.float64)
        weight = times * block
        if form == "per_class":
            whole = weight + 1 - block
            weight = np.divide(weight, whole, out=np.zeros_like(weight), where=whole > 0)
        nothing = questions.widened(questions.total(weight) <= 0)
        changed[rows] = questions.shared_out(np.where(nothing, want, weight))
    return changed


def estimated_shares(
    proba: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    have: Float[np.ndarray, " answer"],
    rounds: int = 1000,
) -> Float64[np.ndarray, " answer"]:
    """Estimate how common each answer is among unlabelled photos, from a model's probabilities (EM).

    The mean of the probabilities is biased towards the shares in training. So the probabilities are recalibrated with
    this mean, a new mean is taken, and so on until it converges. The likelihood rises in each round. The method needs
    probabilities that are calibrated on photos like the training photos. Photos with the same answer must look similar
    in both sets.

    Args:
        proba: Probabilities of all new photos; sums to 1 within each question.
        question_of: The question number of each answer column.
        have: Shares in training; an answer with share 0 stays at 0.
        rounds: Maximum number of rounds; it stops earlier if no share changes by more than 1e-7.

    Returns:
        Shares that sum to 1 within each question.

    Raises:
        ShapeError: The arrays do not match in shape, or there is no photo.
        FieldmarkError: ``have`` is not a set of shares, or ``rounds`` is below 1.

    Source:
        Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities",
        equation 2.9.
    """
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    if not len(proba) or rounds < 1:
        raise FieldmarkError(
            "estimated_shares() needs at least one photo and one round.",
            got=f"{len(proba)} photos, {rounds} rounds",
            fix="pass proba with one row or more, and rounds=1 or more.",
        )
    have = _checked(have, questions, name="have")
    found = [_converged(proba[:, part].astype(np.float64), have[part], rounds=rounds) for part in questions.slices]
    return np.concatenate(found)


def _converged(proba: Float64[np.ndarray, "image answer"], have: np.ndarray, *, rounds: int) -> np.ndarray:
    """Return the shares of one question's answers at convergence."""
    want = have
    for _ in range(rounds):
        times = _ratio(want, have)
        whole = proba @ times
        # A photo whose only answers have the share 0 gets weight 0.
        per_photo = np.divide(1, whole, out=np.zeros_like(whole), where=whole > 0)
        total = times * (per_photo @ proba)
        if total.sum() <= 0:
            break
        before, want = want, total / total.sum()
        if np.abs(want - before).max() <= TOLERANCE:
            break
    return want


def _ratio(want: np.ndarray, have: np.ndarray) -> np.ndarray:
    return np.divide(want, have, out=np.zeros_like(want), where=have > 0)


def _checked(given: np.ndarray, questions: Questions, *, name: str) -> np.ndarray:
    given = np.asarray(given, np.float64)
    if given.shape != questions.question_of.shape:
        raise ShapeError(
            f"{name} needs one share for each answer.",
            got=f"{name} {given.shape}, question_of {questions.question_of.shape}",
            fix="pass shares(truth, question_of).",
        )
    good = np.isfinite(given) & (given >= 0)
    odd = [f"answer {column}: {given[column]}" for column in np.flatnonzero(~good)]
    odd += [
        f"question {number}: sum {total:.6g}"
        for number, total in enumerate(questions.total(np.where(good, given, 0)))
        if not odd and abs(total - 1) > 1e-3
    ]
    if odd:
        raise FieldmarkError(
            f"{name} must hold shares of at least 0 that sum to 1 within each question.",
            got=several(odd),
            fix="pass shares(truth, question_of, smooth=1).",
        )
    return questions.shared_out(given)
