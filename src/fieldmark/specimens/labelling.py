"""What the museum objects of a collection are called: in truth, and on the cards that somebody filled in.

Truth follows a long tail: in each list of names the first is ``TAIL`` times as frequent as the last. The given labels
are the truth with mistakes of known kinds and numbers, so that whatever looks for mistakes can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64
from numpy.random import Generator

from fieldmark.core import seeds
from fieldmark.specimens.artefacts import KINDS, Artefact
from fieldmark.specimens.cultures import CULTURES
from fieldmark.specimens.motifs import MOTIFS

TAIL = 20.0
"""How many times as frequent the first of a list of names is as the last."""
PAIRS = (("birds", "flowers"), ("men", "horses"), ("boats", "fish"))
"""Motifs with a label for both together, such as "birds and flowers", which implies each of the two."""
PAIRED = 0.3
"""Share of the objects with one half of a pair, and a further motif, that get the other half."""
N_CULTURES = (0.15, 0.7, 0.15)
"""Shares of the objects with no, one, two cultures."""
N_MOTIFS = (0.1, 0.45, 0.3, 0.15)
"""Shares of the objects with no, one, two, three motifs."""

LABELS = (
    *(f"culture::{name}" for name in sorted(CULTURES)),
    *(f"tag::{name}" for name in sorted([*KINDS, *MOTIFS, *(" and ".join(pair) for pair in PAIRS)])),
)
"""Every label there is, in the order of ``labels.csv``."""


@dataclass(frozen=True)
class Noise:
    """How often the given labels are wrong; all are shares, 0 to 1.

    Attributes:
        missing_tags: Share of the true tags that are not given.
        missing_cultures: Share of the true cultures that are not given.
        wrong: Wrong labels, as a share of the number of true ones.
        swapped: Share of the photos that carry the labels of another photo instead.
        unclosed: Share of the photos with a label for two motifs together where neither motif is given by itself.
    """

    missing_tags: float = 0.1
    missing_cultures: float = 0.15
    wrong: float = 0.03
    swapped: float = 0.02
    unclosed: float = 0.3


NO_NOISE = Noise(0.0, 0.0, 0.0, 0.0, 0.0)


def labels_of(artefact: Artefact) -> tuple[str, ...]:
    """All that is true of an object, each label visible in it: cultures, kind, motifs, and what the motifs imply.

    Example:
        >>> labels_of(Artefact("vases", ("greek",), ("flowers", "birds"), 0))
        ('culture::greek', 'tag::birds', 'tag::birds and flowers', 'tag::flowers', 'tag::vases')
    """
    tags = [artefact.kind, *artefact.motifs]
    tags += [" and ".join(pair) for pair in PAIRS if set(pair) <= set(artefact.motifs)]
    return (*sorted(f"culture::{name}" for name in artefact.cultures), *sorted(f"tag::{name}" for name in tags))


def truth_of(artefacts: Sequence[Artefact]) -> Bool[np.ndarray, "object label"]:
    """Whether each object has each of ``LABELS``."""
    column = {name: place for place, name in enumerate(LABELS)}
    truth = np.zeros((len(artefacts), len(LABELS)), dtype=bool)
    for row, artefact in zip(truth, artefacts, strict=True):
        row[[column[name] for name in labels_of(artefact)]] = True
    return truth


def catalogue(n_objects: int, *, seed: int, part: str) -> list[Artefact]:
    """The objects of one part of a museum.

    The names are dealt out by quota, not by chance: a share of 1 % is three objects in 300, and while there are more
    objects than names, every name occurs.

    Args:
        n_objects: How many.
        seed: The museum.
        part: Another part, other objects.
    """
    chance = seeds.generator(seed, "catalogue", part)
    kinds = _dealt(list(KINDS), n_objects, chance)
    n_cultures = _shared(np.array(N_CULTURES), n_objects, chance)
    n_motifs = _shared(np.array(N_MOTIFS), n_objects, chance)
    cultures = _dealt(list(CULTURES), int(n_cultures.sum()), chance)
    motifs = _dealt(list(MOTIFS), int(n_motifs.sum()), chance)
    partner = {**dict(PAIRS), **{second: first for first, second in PAIRS}}
    found = []
    for number, kind in enumerate(kinds):
        own_cultures = [cultures.pop() for _ in range(n_cultures[number])]
        own_motifs = [motifs.pop() for _ in range(n_motifs[number])]
        if len(own_motifs) > 1 and own_motifs[0] in partner and chance.random() < PAIRED:
            own_motifs[1] = partner[own_motifs[0]]
        key = seeds.hash_seed(seed, "object", part, number)
        found.append(Artefact(kind, tuple(dict.fromkeys(own_cultures)), tuple(dict.fromkeys(own_motifs)), key))
    return found


def _dealt(names: list[str], n: int, chance: Generator) -> list[str]:
    """``n`` names in chance order, the earlier in the list the more often."""
    shares = TAIL ** -(np.arange(len(names)) / (len(names) - 1))
    return [names[place] for place in _shared(shares, n, chance)]


def _shared(shares: np.ndarray, n: int, chance: Generator) -> Int64[np.ndarray, " place"]:
    """``n`` places of a list in chance order, each as often as its share says, and at least once if ``n`` suffices."""
    least = 1 if n >= 2 * len(shares) else 0
    exact = shares / shares.sum() * (n - least * len(shares))
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n - least * len(shares) - counts.sum()]] += 1
    return chance.permutation(np.repeat(np.arange(len(shares)), counts + least))


def given_labels(
    truth: Bool[np.ndarray, "photo label"], noise: Noise, *, seed: int
) -> tuple[Bool[np.ndarray, "photo label"], Int64[np.ndarray, " photo"]]:
    """The labels as somebody filled them in.

    Some photos get the labels of another. The rates of the other mistakes are those among the rest of the photos, and
    as many mistakes are made as they say, to the nearest whole number. No photo loses its last label.

    Args:
        truth: Whether each photo has each label of ``LABELS``; each photo has at least one.
        noise: The rates.
        seed: Another seed, other mistakes.

    Returns:
        The given labels, and for each photo the one whose labels it carries (itself, most often).

    Source:
        Ours; the kinds of mistakes are those of the iMet contest's labels.
    """
    chance = seeds.generator(seed, "noise")
    n_photos = len(truth)
    source = np.arange(n_photos)
    given = truth.copy()
    swapped = chance.permutation(n_photos)[: round(noise.swapped * n_photos)]
    for photo in swapped:
        others = chance.permutation(n_photos)[:50]
        different = others[(truth[others] != truth[photo]).any(axis=1)]
        if len(different):
            source[photo] = different[0]
            given[photo] = truth[different[0]]
    rest = np.flatnonzero(source == np.arange(n_photos))
    _leave_open(given, rest, noise.unclosed, chance)
    is_culture = np.array([name.startswith("culture::") for name in LABELS])
    for rate, group in ((noise.missing_cultures, is_culture), (noise.missing_tags, ~is_culture)):
        _forget(given, rest, rate, group, chance)
    _invent(given, truth, rest, round(noise.wrong * int(truth[rest].sum())), chance)
    return given, source


def _leave_open(
    given: Bool[np.ndarray, "photo label"], rest: Int64[np.ndarray, " photo"], rate: float, chance: Generator
) -> None:
    """Take "A" and "B" from a share of the photos with "A and B"."""
    for pair in PAIRS:
        both, one, other = (LABELS.index(f"tag::{name}") for name in (" and ".join(pair), *pair))
        having = rest[given[rest, both]]
        chosen = chance.permutation(having)[: round(rate * len(having))]
        given[chosen, one] = given[chosen, other] = False


def _forget(
    given: Bool[np.ndarray, "photo label"],
    rest: Int64[np.ndarray, " photo"],
    rate: float,
    group: Bool[np.ndarray, " label"],
    chance: Generator,
) -> None:
    """Take a share of the given labels of one group away, but never the last one of a photo."""
    places, labels = np.nonzero(given[rest] & group)
    left = given.sum(axis=1)
    wanted = round(rate * len(places))
    for cell in chance.permutation(len(places)):
        if wanted == 0:
            return
        photo = rest[places[cell]]
        if left[photo] > 1:
            given[photo, labels[cell]] = False
            left[photo] -= 1
            wanted -= 1


def _invent(
    given: Bool[np.ndarray, "photo label"],
    truth: Bool[np.ndarray, "photo label"],
    rest: Int64[np.ndarray, " photo"],
    n: int,
    chance: Generator,
) -> None:
    """Add ``n`` labels that are not true; frequent labels are given by mistake as often as they are given."""
    often = truth.sum(axis=0) + 1  # a label that nobody has may still be given by mistake, so there is always one left
    share = often / often.sum()
    while n > 0:
        photos, labels = chance.choice(rest, n), chance.choice(len(share), n, p=share)
        for photo, label in zip(photos, labels, strict=True):
            if not truth[photo, label] and not given[photo, label]:
                given[photo, label] = True
                n -= 1
