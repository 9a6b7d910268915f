"""Softmax cross-entropy within each question, over the answers to that question."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.inputs import SHUT, check_logits, precise


def question_softmax(
    logits: Float[Tensor, "batch answer"],
    truth: Float[Tensor, "batch answer"],
    question_of: Int[Tensor, " answer"],
    *,
    below: Bool[Tensor, "answer answer"] | None = None,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the cross-entropy within each labelled question: summed over questions, averaged over images.

    Args:
        logits: Raw scores.
        truth: Above 0 for right answers (several are allowed), 0 for wrong ones, NaN in the columns of a question that
            is not labelled for the image.
        question_of: Question of each answer, ascending from 0.
        below: Parent answers: row ``a`` marks the answers to an earlier question that are parents of answer ``a``; all
            False if there are none. The softmax of a question then covers only answers with a right parent answer. If
            the parent question is not labelled, it covers all answers.
        smoothing: Share of the truth that is spread evenly over the answers in the softmax.

    Returns:
        The loss, at least 0, in nats per image.

    Raises:
        ShapeError: ``question_of`` or ``truth`` does not fit the logits, or they are empty.
        FieldmarkError: ``smoothing`` is outside 0 to 1.

    Source:
        iMaterialist 2017, sixth place (softmax output over 381 labels), by question as the rules require; conditional
        softmax: Redmon and Farhadi 2017, arXiv:1612.08242, section 4.
    """
    check_logits(logits, by="question_softmax", truth=truth)
    if question_of.shape != logits.shape[1:] or (below is not None and below.shape != 2 * logits.shape[1:]):
        raise ShapeError(
            "question_softmax() needs the question of each answer.",
            got=f"logits {tuple(logits.shape)}, question_of {tuple(question_of.shape)}"
            + ("" if below is None else f", below {tuple(below.shape)}"),
            fix="pass one integer per answer, and a square matrix (answer, answer) for below.",
        )
    if not 0 <= smoothing <= 1:
        raise FieldmarkError(
            "question_softmax(): smoothing must be between 0 and 1.", got=smoothing, fix="use 0 (none) to 1."
        )
    logits = precise(logits)
    labelled = ~torch.isnan(truth)
    right = torch.where(labelled, truth, 0).to(logits).clamp(min=0)
    compete = labelled if below is None else labelled & (_open(right, labelled, below) | (right > 0))
    n_questions = int(question_of.max()) + 1
    columns = question_of.expand_as(logits)

    def by_question(values: Tensor) -> Tensor:
        return values.new_zeros(len(values), n_questions).scatter_add(1, columns, values)

    shut = logits.masked_fill(~compete, SHUT)
    highest = shut.detach().new_full((len(shut), n_questions), SHUT).scatter_reduce(1, columns, shut.detach(), "amax")
    powers = torch.where(compete, torch.exp(shut - highest.gather(1, columns)), 0)
    level = (highest + by_question(powers).clamp(min=1e-30).log()).gather(1, columns)
    nats = torch.where(compete, level - shut, 0)
    share = right / by_question(right).clamp(min=1e-12).gather(1, columns)
    if smoothing:
        evenly = compete.to(logits) / by_question(compete.to(logits)).clamp(min=1).gather(1, columns)
        share = (1 - smoothing) * share + smoothing * evenly
    return (share * nats).sum(dim=1).mean()


def _open(right: Tensor, labelled: Tensor, below: Tensor) -> Tensor:
    """Return which answers have a right parent answer, no parent, or an unlabelled parent question."""
    parents = below.to(right)
    free = ~below.any(dim=1) | (labelled.to(right) @ parents.T == 0)
    return free | ((right > 0).to(right) @ parents.T > 0)
