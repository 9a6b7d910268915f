"""The weighted sum of a plan's losses, with each part by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import PlanError, several
from fieldmark.losses.inputs import Circumstances, check_logits
from fieldmark.losses.pairs import Compare
from fieldmark.losses.specs import Loss

ALONE = Circumstances()
"""Nothing is known but outputs and truth."""

MENDS = {
    "logits": "give the network a head with logits (sigmoid, one_vs_rest or cosine)",
    "classes": "train on a collection with identities or labels",
    "truth": "train on a collection with identities or labels",
    "embedding": "pass the network's embedding",
    "taught": "name an earlier train stage by taught",
    "stripes": "give the network stripes, as stripes = 8",
    "scale": 'use head = {kind = "cosine"}',
    "questions": 'use head = {kind = "questions"}',
    "centres": 'use head = {kind = "affinity"}',
    "compare": 'use head = {kind = "pair"}',
    "counts": "pass the number of training photos of each class",
    "chance": "pass a torch.Generator",
}
"""Where each thing that a loss may need comes from."""


def total(
    losses: Sequence[Loss],
    *,
    embedding: Float[Tensor, "batch dim"] | None = None,
    stripes: Float[Tensor, "batch stripe dim"] | None = None,
    logits: Float[Tensor, "batch class"] | None = None,
    centres: Float[Tensor, "centre width"] | None = None,
    compare: Compare | None = None,
    classes: Int[Tensor, " batch"] | None = None,
    truth: Float[Tensor, "batch class"] | None = None,
    about: Circumstances = ALONE,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum of ``losses``, and each of them on its own.

    Args:
        losses: Their settings, at least one.
        embedding: Unit-length vectors, for losses that compare pictures.
        stripes: Some such vectors a picture, for ``local_triplet``.
        logits: Raw scores, for losses that ask about labels.
        centres: All centres of an affinity head.
        compare: A pair head, asked about rows of the batch.
        classes: One class a picture, -1 for unknowns. Losses on many labels take it as one-hot rows where ``truth``
            is not given.
        truth: 0 to 1 for every logit; NaN where it is not told, of which nothing is learnt.
        about: What else margins may ask for: scale, counts, flips, teachers, how far training is, chance.

    Returns:
        The sum to learn from, and a value a loss by its kind (``focal``, a second one ``focal 2``): before its weight,
        without gradient.

    Raises:
        PlanError: There is no loss, or a loss needs what was not given; all such mistakes at once.
        ShapeError: What was given does not match in shape.
    """
    given = {
        "embedding": embedding,
        "stripes": stripes,
        "logits": logits,
        "centres": centres,
        "compare": compare,
        "classes": classes,
        "truth": truth,
        "taught": about.taught,
        "scale": about.scale,
        "counts": about.counts,
        "questions": about.question_of,
        "chance": about.chance,
    }
    there = {name: value for name, value in given.items() if value is not None}
    _check_given(losses, set(there))
    sums: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for loss in losses:
        value = loss.value(there, about)
        sums.append(loss.weight * value)
        times = 1 + sum(name.split()[0] == loss.kind for name in parts)
        parts[loss.kind if times == 1 else f"{loss.kind} {times}"] = value.detach()
    return sum(sums[1:], start=sums[0]), parts


def of_each(
    losses: Sequence[Loss], *, logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """The weighted sum of ``losses`` on labels for each image by itself, without gradient; its mean is ``total``'s.

    Raises:
        PlanError: A loss does not judge images by themselves.
        ShapeError: ``logits`` and ``truth`` do not match in shape.
    """
    if not all(loss.per_label for loss in losses):
        raise PlanError(
            "Only losses on labels judge each image by itself.",
            got=", ".join(loss.kind for loss in losses if not loss.per_label),
            fix="use bce, focal, soft_f or asymmetric.",
        )
    check_logits(logits, by="of_each", truth=truth)
    with torch.no_grad():
        return torch.vmap(lambda z, y: total(losses, logits=z[None], truth=y[None])[0])(logits, truth)


def _check_given(losses: Sequence[Loss], names: set[str]) -> None:
    """Refuse a list of losses that cannot be computed from what is there."""
    if not losses:
        raise PlanError(
            "There is no loss to learn from.", got="an empty list", fix='name at least one, as {kind = "focal"}.'
        )
    lacking = {
        loss.kind: " or ".join(" and ".join(sorted(wanted - names)) for wanted in loss.needs())
        for loss in losses
        if not any(wanted <= names for wanted in loss.needs())
    }
    if not lacking:
        return
    wanted = dict.fromkeys(mend for name, mend in MENDS.items() if any(name in lack for lack in lacking.values()))
    raise PlanError(
        "Some losses need what the network or the collection does not give.",
        got=several([f"{kind} lacks {lack}" for kind, lack in lacking.items()]),
        fix=f"{'; '.join(wanted)}; or leave out {', '.join(lacking)}.",
    )
