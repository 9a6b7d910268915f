"""Soft F-beta: a differentiable version of the F-beta score of tagging."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import check_logits, precise


def soft_f(
    logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"], *, beta: float = 2.0
) -> Float[Tensor, ""]:
    """Return one minus the F-beta score of probabilities, averaged over images.

    A probability of 0.7 counts as 0.7 of a predicted label; otherwise it is the usual F-beta score of an image. The
    labels are not independent: an additional wrong label costs less if many labels are predicted already. The gradient
    is small if all probabilities are near 0 or 1. Use it in the last epochs or together with another loss. (The value
    is 0 to 1, while ``bce`` and ``focal`` are sums over labels. A sum with *means* over labels, such as 0.45 BCE + 0.45
    F2, therefore has the weights 0.45 / n_labels and 0.45 here.)

    An image without labels counts as having one label, "nothing", which is always predicted. A prediction without
    labels then costs 0, and every predicted label adds a cost. For soft truth, the weight of "nothing" is the amount by
    which the sum of the truth is below 1, so that the loss has no step.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 if the image has the label, else 0; values between are soft labels.
        beta: Weight of recall relative to precision, above 0.

    Returns:
        The loss, 0 (all labels right) to 1.

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.
        FieldmarkError: ``beta`` is not above 0.

    Source:
        Public kernels and write-ups of iMet 2019, as ``1 - (1 + b^2) P R / (b^2 P + R)`` with P and R from soft counts.
        The fraction is multiplied out here, so that it needs no epsilon; the rule for images without labels is ours.
    """
    check_logits(logits, by="soft_f", truth=truth)
    if not beta > 0:
        raise FieldmarkError("soft_f() needs a beta above 0.", got=beta, fix="use beta = 2, as in mean F2.")
    proba = precise(logits).sigmoid()
    truth = truth.to(proba)
    nothing = relu(1 - truth.sum(dim=1))
    hits = (truth * proba).sum(dim=1) + nothing
    predicted, true = proba.sum(dim=1) + nothing, truth.sum(dim=1) + nothing
    return 1 - ((1 + beta**2) * hits / (beta**2 * true + predicted)).mean()
