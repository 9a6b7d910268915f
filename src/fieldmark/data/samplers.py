"""Samplers: the order of the training items in one epoch. It depends on the seed and the epoch only."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64

from fieldmark.core.errors import DataError, PlanError
from fieldmark.core.seeds import generator
from fieldmark.data.shuffled_rows import dealt
from fieldmark.data.specs import AssignmentSampler, LogWeightSampler, PkSampler, PlainSampler, Sampler, TupleSampler
from fieldmark.data.vocabulary import UNLABELLED


def draw(
    spec: Sampler,
    *,
    classes: Int64[np.ndarray, " item"] | None = None,
    truth: Float[np.ndarray, "item label"] | None = None,
    weights: Float64[np.ndarray, " item"] | None = None,
    batch: int,
    seed: int,
    epoch: int,
) -> Int64[np.ndarray, "step slot"]:
    """Draw the item numbers of all batches of one epoch.

    Pass exactly one of ``classes``, ``truth`` and ``weights``.

    Args:
        spec: The sampler.
        classes: Class of each item, -1 for unknown individuals. Classes need not be consecutive numbers: mirrored items
            may have ``class + n``.
        truth: Label matrix of the items, for ``PlainSampler`` and ``LogWeightSampler``.
        weights: Relative frequency of each item, computed once by ``log_weights`` for many epochs. ``PlainSampler``
            uses only their number.
        batch: Number of items in a batch, at least 1.
        seed: Random seed. The same seed and epoch give the same order.
        epoch: Number of the epoch.

    Returns:
        Full batches, as many as are needed for the number of items (for tuples: one tuple per identity).

    Raises:
        PlanError: ``batch`` is not possible with the sampler, or not exactly one of ``classes``, ``truth`` and
            ``weights`` is given.
        DataError: There are no items, or too few identities for the sampler.
    """
    given = [one for one in (classes, truth, weights) if one is not None]
    if len(given) != 1 or batch < 1:
        raise PlanError(
            "A sampler needs exactly one of classes, truth and weights, and a batch of at least 1.",
            got=f"classes: {classes is not None}, truth: {truth is not None}, weights: {weights is not None}, "
            f"batch {batch}",
            fix="pass classes for identities, truth for tags.",
        )
    n_items = len(given[0])
    if not n_items:
        raise DataError("There are no items to draw.", got="0 items", fix="give a training part with photos.")
    rng = generator(seed, "sampler", spec.kind, epoch)
    steps = -(-n_items // batch)
    match spec:
        case PlainSampler():
            return np.resize(rng.permutation(n_items), (steps, batch))
        case LogWeightSampler():
            if weights is None:
                weights = log_weights(classes=classes, truth=truth, over=spec.over)
            return _weighted(weights, steps, batch, rng)
        case PkSampler():
            return _pk(spec, _labelled(classes, spec.kind), steps, batch, rng)
        case TupleSampler():
            return _tuples(_labelled(classes, spec.kind), batch, rng)
        case AssignmentSampler():
            raise PlanError(
                "The sampler 'assignment' needs embeddings of the network in training; draw() cannot use it.",
                got=f"sampler '{spec.kind}'",
                fix="use it in a training stage, or draw with kind='pk'.",
            )


def log_weights(
    *,
    classes: Int64[np.ndarray, " item"] | None = None,
    truth: Float[np.ndarray, "item label"] | None = None,
    over: str = "max",
) -> Float64[np.ndarray, " item"]:
    """Compute sampling weights: the largest or mean ``log(1 + N / n_label)`` of the labels of each item.

    N is the number of items and n_label the number of items with the label. So rare labels are drawn more often, but
    less than 1 / n_label times as often. All unknown individuals count as one label. An item without labels has the
    weight log(2), as an item whose label is on all items.

    **Source:** iMet 2019 first place, "sampling with logarithmic weights"; the formula and both interpretations are
    ours.
    """
    if classes is not None:
        _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
        return np.log1p(len(label) / counts)[label]
    if truth is None:
        raise PlanError("Weights need classes or truth.", got="neither", fix="pass one of them.")
    weights = np.empty(len(truth))
    counts = (truth > 0).sum(axis=0)
    of_label = np.log1p(len(truth) / np.maximum(counts, 1))
    for start in range(0, len(truth), 8192):  # in blocks, because the product is as large as truth
        has = truth[start : start + 8192] > 0
        number = has.sum(axis=1)
        weigh = (has * of_label).max(axis=1, initial=0) if over == "max" else has @ of_label / np.maximum(number, 1)
        weights[start : start + 8192] = np.where(number > 0, weigh, np.log(2))
    return weights


def _weighted(
    weights: Float64[np.ndarray, " item"], steps: int, batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """Items drawn with replacement, in proportion to their weights."""
    edges = np.cumsum(weights)
    items = np.searchsorted(edges, rng.random((steps, batch)) * edges[-1], side="right")
    return np.minimum(items, len(weights) - 1).astype(np.int64)  # rounding may reach the last edge


def _pk(
    spec: PkSampler, classes: Int64[np.ndarray, " item"], steps: int, batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """Batches of P identities x K photos, followed by unknown individuals.

    Identities come in shuffled order: each one once before any comes twice. Each time, an identity contributes its next
    K photos: K different ones if it has K, otherwise its photos as evenly as possible. If there are unknown
    individuals, they also fill the slots that are left after the division by K.

    **Source:** seutao's whale solution (K=4, 25 % new_whale); the shuffled order is ours.
    """
    by_class = _ByClass(classes, rng)
    unknowns = np.flatnonzero(classes < 0)
    share = spec.unknown_share if len(unknowns) else 0.0
    n_identities = (batch - round(batch * share)) // spec.k
    n_unknown = batch - n_identities * spec.k
    if n_identities < 1 or (n_unknown and share == 0):
        smallest = -(-spec.k // (1 - share)) + 1 if share < 1 else 0  # the smallest batch with K slots for known items
        enough = max(batch // spec.k, 1) * spec.k if share == 0 else int(smallest)
        raise PlanError(
            "batch cannot be divided into identities with k photos each.",
            got=f"batch {batch}, k {spec.k}, share of unknown individuals {share:g}",
            fix=f"use batch={enough}, or another k." if share < 1 else "use unknown_share=0.25.",
        )
    identities = dealt(by_class.n, steps, n_identities, rng)
    n_earlier = np.arange(identities.size).reshape(identities.shape) // by_class.n  # earlier uses of this identity
    place = n_earlier[:, :, None] * spec.k + np.arange(spec.k)
    known = by_class.items(identities[:, :, None], place % by_class.counts[identities][:, :, None])
    known = known.reshape(steps, n_identities * spec.k)
    if not n_unknown:
        return known
    return np.concatenate([known, unknowns[dealt(len(unknowns), steps, n_unknown, rng)]], axis=1)


def _tuples(
    classes: Int64[np.ndarray, " item"], batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """One tuple per identity: anchor, another photo of the identity, another identity, an unknown individual.

    If the anchor is the only photo of its identity, it is used twice. Without unknown individuals the fourth photo is
    of one more known identity. The last batch is filled with the first tuples of the epoch.

    **Source:** earhian's whale solution.
    """
    by_class = _ByClass(classes, rng)
    if batch % 4 or by_class.n < 2:
        got = f"batch {batch}, {by_class.n} identities"
        if batch % 4:
            fix = f"use batch={max(batch // 4, 1) * 4}."
            raise PlanError("batch must be a multiple of 4 for tuples of four photos.", got=got, fix=fix)
        raise DataError("Tuples need at least two identities.", got=got, fix="use kind='plain', or add identities.")
    identity = rng.permutation(by_class.n)
    count = by_class.counts[identity]
    first = rng.integers(0, count)
    second = (first + 1 + rng.integers(0, np.maximum(count - 1, 1))) % count
    unknowns = np.flatnonzero(classes < 0)
    fourth = unknowns[rng.integers(0, len(unknowns), by_class.n)] if len(unknowns) else by_class.other(identity, rng)
    tuples = np.stack(
        [by_class.items(identity, first), by_class.items(identity, second), by_class.other(identity, rng), fourth],
        axis=1,
    )
    steps = -(-len(tuples) // (batch // 4))
    return np.resize(tuples, (steps * (batch // 4), 4)).reshape(steps, batch)


class _ByClass:
    """The items of each identity in random order. Identities are numbered from 0 in the order of their classes."""

    def __init__(self, classes: Int64[np.ndarray, " item"], rng: np.random.Generator) -> None:
        known = rng.permutation(np.flatnonzero(classes >= 0))
        if not len(known):
            raise DataError(
                "There are no known identities to draw.",
                got=f"{len(classes)} unknown individuals",
                fix="use kind='plain', or add photos of known identities.",
            )
        self._order = known[np.argsort(classes[known], kind="stable")]
        _, self._starts, self.counts = np.unique(classes[self._order], return_index=True, return_counts=True)
        self.n = len(self.counts)

    def items(self, identity: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The item at a place (0 to count - 1) among the items of an identity."""
        return self._order[self._starts[identity] + place]

    def other(self, identity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each identity a random photo of a random other identity."""
        another = (identity + 1 + rng.integers(0, self.n - 1, len(identity))) % self.n
        return self.items(another, rng.integers(0, self.counts[another]))


def _labelled(classes: Int64[np.ndarray, " item"] | None, kind: str) -> Int64[np.ndarray, " item"]:
    """The classes, after a check that every item has one."""
    if classes is None:
        raise PlanError(
            f"The sampler {kind!r} needs identities.", got=f"kind={kind!r} with truth", fix="use kind='log_weight'."
        )
    unlabelled = int((classes <= UNLABELLED).sum())
    if unlabelled:
        raise DataError(
            f"The sampler {kind!r} needs the identity of every item.",
            got=f"{unlabelled} of {len(classes)} items have none",
            fix="train only on photos with an identity or the label of unknown individuals.",
        )
    return classes
