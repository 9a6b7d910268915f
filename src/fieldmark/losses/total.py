"""Weighted sum of the losses of a plan, with each part by name."""

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
"""No additional inputs."""

FIXES = {
    "logits": "use a head with logits (sigmoid, one_vs_rest or cosine)",
    "classes": "train on a collection with identities or labels",
    "truth": "train on a collection with identities or labels",
    "embedding": "pass the network's embedding",
    "taught": "name an earlier train stage in taught",
    "stripes": "set stripes of the network, for example stripes = 8",
    "scale": 'use head = {kind = "cosine"}',
    "questions": 'use head = {kind = "questions"}',
    "centres": 'use head = {kind = "affinity"}',
    "compare": 'use head = {kind = "pair"}',
    "counts": "pass the number of training photos of each class",
    "chance": "pass a torch.Generator",
}
"""Fix for each missing input of a loss."""


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
    """Return the weighted sum of ``losses``, and the value of each loss.

    Args:
        losses: Settings of the losses, at least one.
        embedding: Embeddings of unit length, for losses that compare images.
        stripes: Stripe embeddings of each image, for ``local_triplet``.
        logits: Raw scores, for losses on labels or classes.
        centres: All centres of an affinity head.
        compare: Pair head as a function of rows of the batch.
        classes: Class of each image, -1 for unknown individuals. Losses on labels use them as one-hot rows if ``truth``
            is not given.
        truth: 0 to 1 for every logit; NaN for unlabelled cells, which get no gradient.
        about: Additional inputs: scale, counts, flips, teacher, completed share of the training, random generator.

    Returns:
        The sum to minimise, and the value of each loss by its kind (``focal``, a second one ``focal 2``), without its
        weight and without gradient.

    Raises:
        PlanError: There is no loss, or inputs of losses are missing; the error names all of them.
        ShapeError: Inputs do not match in shape.
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
    """Return the weighted sum of ``losses`` on labels for each image, without gradient. Its mean equals ``total``.

    Raises:
        PlanError: A loss is not a mean over independent images.
        ShapeError: ``logits`` and ``truth`` do not match in shape.
    """
    if not all(loss.per_label for loss in losses):
        raise PlanError(
            "Only losses on labels have a value for each image.",
            got=", ".join(loss.kind for loss in losses if not loss.per_label),
            fix="use bce, focal, soft_f or asymmetric.",
        )
    check_logits(logits, by="of_each", truth=truth)
    with torch.no_grad():
        return torch.vmap(lambda z, y: total(losses, logits=z[None], truth=y[None])[0])(logits, truth)


def _check_given(losses: Sequence[Loss], names: set[str]) -> None:
    """Check that all inputs of the losses are available."""
    if not losses:
        raise PlanError(
            "losses: at least one loss is needed.",
            got="an empty list",
            fix='name at least one, for example {kind = "focal"}.',
        )
    lacking = {
        loss.kind: " or ".join(" and ".join(sorted(wanted - names)) for wanted in loss.needs())
        for loss in losses
        if not any(wanted <= names for wanted in loss.needs())
    }
    if not lacking:
        return
    wanted = dict.fromkeys(fix for name, fix in FIXES.items() if any(name in lack for lack in lacking.values()))
    raise PlanError(
        "Some losses lack inputs from the network or the collection.",
        got=several([f"{kind} lacks {lack}" for kind, lack in lacking.items()]),
        fix=f"{'; '.join(wanted)}; or leave out {', '.join(lacking)}.",
    )
