"""Soft F-beta: the measure a tagging is judged by, made smooth enough to learn from."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import check_logits, precise


def soft_f(
    logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"], *, beta: float = 2.0
) -> Float[Tensor, ""]:
    """One minus the F-beta of probabilities instead of answers, averaged over images.

    A probability of 0.7 counts as 0.7 of an answer; otherwise this is the F-beta by which the answers are measured in
    the end. Labels are no longer questions of their own: a further answer costs the less the more there are already.
    Where all probabilities are near 0 or 1 hardly any gradient is left, so this is for the last epochs, or beside
    another loss. (It is a number from 0 to 1, while ``bce`` and ``focal`` are sums over labels: a mixture with *means*
    over labels, such as 0.45 BCE + 0.45 F2, has the weights 0.45 / n_labels and 0.45 here.)

    An image without labels is counted as having one, "nothing", which the network always gives: to say nothing costs
    0, and every label said costs. So that soft truth meets no step, "nothing" is there to the degree to which the truth
    holds less than one label.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 where the image has the label, else 0; values between are soft labels.
        beta: Above 0: recall counts ``beta`` times as much as precision.

    Returns:
        One number, 0 (all right) to 1.

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.
        FieldmarkError: ``beta`` is not above 0.

    Source:
        Public kernels and write-ups of iMet 2019, as ``1 - (1 + b^2) P R / (b^2 P + R)`` with P and R from soft counts.
        The two quotients are multiplied out here, which needs no epsilon; images without labels are ours.
    """
    check_logits(logits, by="soft_f", truth=truth)
    if not beta > 0:
        raise FieldmarkError("soft_f() needs a beta above 0.", got=beta, fix="use beta = 2, as in mean F2.")
    proba = precise(logits).sigmoid()
    truth = truth.to(proba)
    nothing = relu(1 - truth.sum(dim=1))
    hits = (truth * proba).sum(dim=1) + nothing
    told, true = proba.sum(dim=1) + nothing, truth.sum(dim=1) + nothing
    return 1 - ((1 + beta**2) * hits / (beta**2 * true + told)).mean()
