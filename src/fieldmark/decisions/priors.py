"""How common each answer is: in training, in the photos asked about, and what a change of it does to probabilities."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.decisions.questions import Questions

ROW_BLOCK = 4096
STILL = 1e-7
"""Shares that move by no more stand still."""


def shares(
    truth: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"], *, smooth: float = 0.0
) -> Float64[np.ndarray, " answer"]:
    """How common each answer is among the photos that are told of its question.

    Several right answers share the photo's one vote.

    Args:
        truth: Above 0: right; 0: not; NaN: the question is not told of that photo.
        question_of: The question of each answer column.
        smooth: Photos added to each answer, so that none has the share 0.

    Returns:
        Sums to 1 within each question; similar for all answers of a question that is never told.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: ``smooth`` is negative.
    """
    questions, truth = Questions.of(question_of), np.asarray(truth)
    questions.must_fit("truth", truth)
    if not 0 <= smooth < np.inf:
        raise FieldmarkError("Photos can only be added.", got=f"smooth={smooth}", fix="use 0 (none) or more, as 1.")
    votes = np.full(truth.shape[1], float(smooth))
    for start in range(0, len(truth), ROW_BLOCK):
        right = (np.nan_to_num(truth[start : start + ROW_BLOCK]) > 0).astype(np.float64)
        told = questions.widened(questions.total(right) > 0)
        votes += np.where(told, questions.shared_out(right), 0).sum(axis=0)
    return questions.shared_out(votes)


def recalibrate(
    proba: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    have: Float[np.ndarray, " answer"],
    want: Float[np.ndarray, " answer"],
    form: Literal["bayes", "per_class"] = "bayes",
) -> Float32[np.ndarray, "image answer"]:
    """The probabilities for photos among which the answers are differently common than in training.

    A network that was trained on a shop with nine in ten shoes black says "black" too readily of another shop's. What
    it saw in the photo is its odds beyond the share it learnt; those are kept, and the share is exchanged.

    Args:
        proba: Sums to 1 within each question.
        question_of: The question of each answer column.
        have: Shares in training; see ``shares``. An answer with 0 was never seen, and 0 must be wanted of it.
        want: Shares among the photos asked about; 0 is an answer that does not occur there.
        form: ``"bayes"``: exact where one answer is right. ``"per_class"``: the contest's formula, each answer against
            the rest without regard to the rest's share, which moves likely answers less.

    Returns:
        Sums to 1 within each question. Where every answer would be 0, the wanted shares.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: A share is no share, ``have`` is 0 where ``want`` is not, or ``form`` is unknown.

    Source:
        T38. ``bayes``: Saerens, Latinne and Decaestecker 2002, equation 2.4; with two answers it is the binary
        formula with ``1 - share``. ``per_class``: iMaterialist Furniture 2018, 1st place; sharing out afterwards is
        ours and leaves the order as it is.
    """
    if form not in {"bayes", "per_class"}:
        raise FieldmarkError("There is no such form of recalibration.", got=form, fix='use "bayes" or "per_class".')
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    have, want = _checked(have, questions, name="have"), _checked(want, questions, name="want")
    if ((have == 0) & (want > 0)).any():
        raise FieldmarkError(
            "An answer that was never seen in training cannot be wanted.",
            got=several(
                [
                    f"answer {column}: have 0, want {want[column]:.4g}"
                    for column in np.flatnonzero((have == 0) & (want > 0))
                ]
            ),
            fix="pass have=shares(truth, question_of, smooth=1), or want 0 of it.",
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
    """How common each answer is among photos without truth, from what a model says of them (EM).

    The mean of the model's probabilities leans towards the shares it was trained on. So: exchange those for the mean,
    ask again, take the new mean, until nothing moves. Each round makes the photos likelier. It needs probabilities
    that are calibrated on photos like the training's, and that the photos of one answer look similar in both places.

    Args:
        proba: Of all photos asked about; sums to 1 within each question.
        question_of: The question of each answer column.
        have: Shares in training; an answer with 0 was never seen and stays 0.
        rounds: At most so many; fewer if no share moves by more than 1e-7.

    Returns:
        Sums to 1 within each question.

    Raises:
        ShapeError: The arrays do not fit each other, or there is no photo.
        FieldmarkError: ``have`` holds no shares, or ``rounds`` is below 1.

    Source:
        Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori
        probabilities", equation 2.9.
    """
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    if not len(proba) or rounds < 1:
        raise FieldmarkError(
            "Shares are estimated from photos, in rounds.",
            got=f"{len(proba)} photos, {rounds} rounds",
            fix="pass the probabilities of one photo or more, and rounds=1 or more.",
        )
    have = _checked(have, questions, name="have")
    found = [_settled(proba[:, part].astype(np.float64), have[part], rounds=rounds) for part in questions.slices]
    return np.concatenate(found)


def _settled(proba: Float64[np.ndarray, "image answer"], have: np.ndarray, *, rounds: int) -> np.ndarray:
    """The shares of one question's answers, once they stand still."""
    want = have
    for _ in range(rounds):
        times = _ratio(want, have)
        whole = proba @ times
        # A photo whose only answers have the share 0 tells nothing.
        told = np.divide(1, whole, out=np.zeros_like(whole), where=whole > 0)
        total = times * (told @ proba)
        if total.sum() <= 0:
            break
        before, want = want, total / total.sum()
        if np.abs(want - before).max() <= STILL:
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
            f"{name} must hold shares from 0 up that sum to 1 within each question.",
            got=several(odd),
            fix="pass shares(truth, question_of, smooth=1).",
        )
    return questions.shared_out(given)
