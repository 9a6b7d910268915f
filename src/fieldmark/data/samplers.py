"""In which order the items of one epoch are seen: a function of the seed and the epoch, of nothing else."""

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
    """The item numbers of each batch of one epoch.

    Args:
        spec: Which sampler.
        classes: Class of each item, -1 for unknown individuals. Numbers need not be dense: mirrored items may be ``class + n``.
        truth: Instead of classes, 1 where an item has a label; for ``PlainSampler`` and ``LogWeightSampler``.
        weights: Instead of either, how often each item is drawn relative to others: what ``log_weights`` gave, worked
            out once for many epochs. ``PlainSampler`` takes them for their number.
        batch: Items a batch, at least 1.
        seed: Same seed and epoch, same order.
        epoch: Number of the epoch.

    Returns:
        As many full batches as it takes to show as many items as there are (for tuples: one tuple an identity).

    Raises:
        PlanError: ``batch`` does not suit the sampler, or not exactly one of ``classes``, ``truth`` and ``weights`` is
            given.
        DataError: There are no items, or too few identities for the sampler.
    """
    given = [one for one in (classes, truth, weights) if one is not None]
    if len(given) != 1 or batch < 1:
        raise PlanError(
            "A sampler needs either classes or truth, and a batch of at least 1.",
            got=f"classes: {classes is not None}, truth: {truth is not None}, weights: {weights is not None}, "
            f"batch {batch}",
            fix="pass classes for identities, truth for tags.",
        )
    n_items = len(given[0])
    if not n_items:
        raise DataError("There are no items to draw from.", got="0 items", fix="give a training part with photos.")
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
                "Assignment mining looks at the photos with the network in training: classes alone draw nothing.",
                got=f"sampler '{spec.kind}'",
                fix="train with it, or draw with kind='pk'.",
            )


def log_weights(
    *,
    classes: Int64[np.ndarray, " item"] | None = None,
    truth: Float[np.ndarray, "item label"] | None = None,
    over: str = "max",
) -> Float64[np.ndarray, " item"]:
    """How often each item is drawn, relative to others: the largest or mean ``log(1 + N / n_label)`` of its labels.

    N is the number of items and n_label that of the items with the label, so rare labels are seen more often, but not
    1 / n times as often. Unknown individuals count as one label. An item without labels weighs log(2), like one whose label
    all have.

    **Source:** iMet 2019 first place, "sampling with logarithmic weights"; the formula and both readings are ours.
    """
    if classes is not None:
        _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
        return np.log1p(len(label) / counts)[label]
    if truth is None:
        raise PlanError("Weights need classes or truth.", got="neither", fix="pass one of them.")
    weights = np.empty(len(truth))
    counts = (truth > 0).sum(axis=0)
    of_label = np.log1p(len(truth) / np.maximum(counts, 1))
    for start in range(0, len(truth), 8192):  # a block at a time: the product is as large as truth
        has = truth[start : start + 8192] > 0
        number = has.sum(axis=1)
        weigh = (has * of_label).max(axis=1, initial=0) if over == "max" else has @ of_label / np.maximum(number, 1)
        weights[start : start + 8192] = np.where(number > 0, weigh, np.log(2))
    return weights


def _weighted(
    weights: Float64[np.ndarray, " item"], steps: int, batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """Items with replacement, in proportion to their weights."""
    edges = np.cumsum(weights)
    items = np.searchsorted(edges, rng.random((steps, batch)) * edges[-1], side="right")
    return np.minimum(items, len(weights) - 1).astype(np.int64)  # rounding may reach the very last edge


def _pk(
    spec: PkSampler, classes: Int64[np.ndarray, " item"], steps: int, batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """Batches of P identities x K photos, then unknown individuals.

    Identities come from a shuffled deck: everyone once before anyone twice. So do the photos of an identity, each visit
    taking the next K of them: K different ones where it has K, else each as evenly as can be. With unknown individuals, the slots
    that K does not divide go to them as well.

    **Source:** seutao's whale solution (K=4, 25 % new_whale); the decks are ours.
    """
    by_class = _ByClass(classes, rng)
    unknowns = np.flatnonzero(classes < 0)
    share = spec.unknown_share if len(unknowns) else 0.0
    n_people = (batch - round(batch * share)) // spec.k
    n_strange = batch - n_people * spec.k
    if n_people < 1 or (n_strange and share == 0):
        smallest = -(-spec.k // (1 - share)) + 1 if share < 1 else 0  # of which the known slots hold K
        enough = max(batch // spec.k, 1) * spec.k if share == 0 else int(smallest)
        raise PlanError(
            "The batch does not divide into identities of K photos.",
            got=f"batch {batch}, k {spec.k}, share of unknown individuals {share:g}",
            fix=f"use batch={enough}, or another k." if share < 1 else "use unknown_share=0.25.",
        )
    people = dealt(by_class.n, steps, n_people, rng)
    visit = np.arange(people.size).reshape(people.shape) // by_class.n  # which time this identity is on
    place = visit[:, :, None] * spec.k + np.arange(spec.k)
    known = by_class.items(people[:, :, None], place % by_class.counts[people][:, :, None])
    known = known.reshape(steps, n_people * spec.k)
    if not n_strange:
        return known
    return np.concatenate([known, unknowns[dealt(len(unknowns), steps, n_strange, rng)]], axis=1)


def _tuples(
    classes: Int64[np.ndarray, " item"], batch: int, rng: np.random.Generator
) -> Int64[np.ndarray, "step slot"]:
    """One tuple an identity: anchor, another photo of it (itself if it is the only one), somebody else, an unknown individual.

    Without unknown individuals the fourth is one more known other. The last batch is filled with the epoch's first tuples.

    **Source:** earhian's whale solution.
    """
    by_class = _ByClass(classes, rng)
    if batch % 4 or by_class.n < 2:
        got = f"batch {batch}, {by_class.n} identities"
        if batch % 4:
            fix = f"use batch={max(batch // 4, 1) * 4}."
            raise PlanError("Tuples are four photos each; the batch must be a multiple of 4.", got=got, fix=fix)
        raise DataError("Tuples need two identities.", got=got, fix="use kind='plain', or give more identities.")
    person = rng.permutation(by_class.n)
    count = by_class.counts[person]
    first = rng.integers(0, count)
    second = (first + 1 + rng.integers(0, np.maximum(count - 1, 1))) % count
    unknowns = np.flatnonzero(classes < 0)
    fourth = unknowns[rng.integers(0, len(unknowns), by_class.n)] if len(unknowns) else by_class.other(person, rng)
    tuples = np.stack(
        [by_class.items(person, first), by_class.items(person, second), by_class.other(person, rng), fourth], axis=1
    )
    steps = -(-len(tuples) // (batch // 4))
    return np.resize(tuples, (steps * (batch // 4), 4)).reshape(steps, batch)


class _ByClass:
    """The items of each identity, in random order; identities are counted from 0 in order of their class."""

    def __init__(self, classes: Int64[np.ndarray, " item"], rng: np.random.Generator) -> None:
        known = rng.permutation(np.flatnonzero(classes >= 0))
        if not len(known):
            raise DataError(
                "There are no known identities to draw.",
                got=f"{len(classes)} unknown individuals",
                fix="use kind='plain', or give photos of known identities.",
            )
        self._order = known[np.argsort(classes[known], kind="stable")]
        _, self._starts, self.counts = np.unique(classes[self._order], return_index=True, return_counts=True)
        self.n = len(self.counts)

    def items(self, person: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The item at a place (0 to count - 1) among those of an identity."""
        return self._order[self._starts[person] + place]

    def other(self, person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random photo of a random other identity, for each."""
        another = (person + 1 + rng.integers(0, self.n - 1, len(person))) % self.n
        return self.items(another, rng.integers(0, self.counts[another]))


def _labelled(classes: Int64[np.ndarray, " item"] | None, kind: str) -> Int64[np.ndarray, " item"]:
    """The classes, if every item has one."""
    if classes is None:
        raise PlanError(
            "This sampler draws by identity.", got=f"kind={kind!r} with truth", fix="use kind='log_weight'."
        )
    unlabelled = int((classes <= UNLABELLED).sum())
    if unlabelled:
        raise DataError(
            "This sampler needs the identity of every item.",
            got=f"{unlabelled} of {len(classes)} items have none",
            fix="train on photos with an identity (or the unknown one) only.",
        )
    return classes
