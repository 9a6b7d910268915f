"""Find relations between label names: "A and B" implies A, "north indian" implies "indian", similar spellings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.data.vocabulary import GROUP_MARK
from fieldmark.quality.labels.inputs import ROW_BLOCK, check_truth

Rule = Literal["and", "or", "contains"]
BOTH: tuple[Rule, ...] = ("and", "or")

_JOINTS: tuple[tuple[Rule, re.Pattern[str]], ...] = (
    ("or", re.compile(r"\s+or\s+|\s*/\s*")),
    ("and", re.compile(r"\s+and\s+|\s*&\s*|\s*,\s*")),
)


@dataclass(frozen=True)
class Implication:
    """An image with ``label`` should also have ``implied``.

    Attributes:
        label: The more specific label.
        implied: The more general label.
        rule: ``"and"``, ``"or"``: ``label`` is "A and B" or "A or B". ``"contains"``: the words of ``label`` contain
            the words of ``implied``.
        n: Number of images with ``label``.
        n_missing: Number of these images without ``implied``. If some lack it, it was probably forgotten. If all
            lack it, the annotators probably used the two labels as alternatives.
    """

    label: str
    implied: str
    rule: Rule
    n: int
    n_missing: int

    @property
    def n_kept(self) -> int:
        """Number of images that have both labels."""
        return self.n - self.n_missing


@dataclass(frozen=True)
class SimilarLabels:
    """Two labels of one group whose names differ by a few letters.

    Attributes:
        first: The more frequent label.
        second: The less frequent label.
        ratio: Levenshtein similarity of the names, 0 to 1; 1 for equal names.
        n_first: Number of images with the first label.
        n_second: Number of images with the second label.
        n_both: Number of images with both labels, which is small for two spellings of one label.
    """

    first: str
    second: str
    ratio: float
    n_first: int
    n_second: int
    n_both: int


@dataclass(frozen=True)
class ExclusiveLabels:
    """Two labels of one group that never occur together, although some images with both are expected by chance.

    Attributes:
        first: The more frequent label.
        second: The less frequent label.
        n_first: Number of images with the first label.
        n_second: Number of images with the second label.
        expected: Expected number of images with both, if labels were independent.
    """

    first: str
    second: str
    n_first: int
    n_second: int
    expected: float


@dataclass(frozen=True)
class LabelGraph:
    """Relations between labels, for a person to check. The labels are not changed.

    Attributes:
        names: Label names, in column order.
        implications: Implied labels, sorted by the number of images that lack the implied label, largest first.
        similar: Labels with similar names, the most similar first.
        exclusive: Labels that never occur together, sorted by the expected number of images with both, largest first.
    """

    names: tuple[str, ...]
    implications: tuple[Implication, ...]
    similar: tuple[SimilarLabels, ...]
    exclusive: tuple[ExclusiveLabels, ...]


def inspect_labels(
    names: Sequence[str], truth: Bool[np.ndarray, "image label"], *, ratio: float = 0.8, expected: float = 10.0
) -> LabelGraph:
    """Find labels that imply, repeat or exclude each other. Only labels of the same group are compared.

    Args:
        names: Label names; the text before "::" is the group.
        truth: The given labels, 0 and 1.
        ratio: Smallest similarity of reported names, 0 to 1: 1 minus the edit distance divided by the longer length.
        expected: Smallest expected number of images with both labels, for reported labels that never occur together.

    Returns:
        The relations, with counts.

    Raises:
        ShapeError: The number of names differs from the number of columns.
        FieldmarkError: ``truth`` has values other than 0 and 1, or ``ratio`` is not above 0 and at most 1.

    Source:
        Public cleaning of the labels of iMet 2020 ("A and B" implies A and B, names compared by Levenshtein ratio and
        then manually; a name contained in another name is the more general one). The counts and the comparison with
        chance are ours.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or len(names) != truth.shape[1]:
        raise ShapeError(
            "Argument 'names' of inspect_labels() needs one name for every column of 'truth'.",
            got=f"{len(names)} names, truth {truth.shape}",
            fix="pass vocabulary.tags and truth of one collection.",
        )
    if not 0 < ratio <= 1:
        raise FieldmarkError(
            "Setting 'ratio' of inspect_labels() must be above 0 and at most 1.", got=ratio, fix="use ratio=0.8."
        )
    check_truth(truth, function="inspect_labels()")
    together = _together(truth)
    parts = [_parts(name) for name in names]
    return LabelGraph(
        names=tuple(names),
        implications=_implications(names, parts, together),
        similar=_similar(names, parts, together, ratio),
        exclusive=_exclusive(names, parts, together, len(truth), expected),
    )


def implied(
    truth: Bool[np.ndarray, "image label"], graph: LabelGraph, *, rules: Collection[Rule] = BOTH
) -> Bool[np.ndarray, "image label"]:
    """Return the labels with all implied labels added, including indirectly implied ones.

    Args:
        truth: The given labels, 0 and 1; not changed.
        graph: Result of ``inspect_labels``.
        rules: Rules to apply. Check the implications of the rule "contains" before you use it.

    Raises:
        ShapeError: The number of labels differs between ``truth`` and ``graph``.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or truth.shape[1] != len(graph.names):
        raise ShapeError(
            "Argument 'truth' of implied() must have the labels of 'graph'.",
            got=f"truth {truth.shape}, graph of {len(graph.names)} labels",
            fix="call inspect_labels() with the same names and truth.",
        )
    filled = truth.astype(bool)
    column = {name: at for at, name in enumerate(graph.names)}
    edges = [(column[each.label], column[each.implied]) for each in graph.implications if each.rule in rules]
    changed = True
    while changed:
        changed = False
        for source, target in edges:
            lacking = filled[:, source] & ~filled[:, target]
            changed |= bool(lacking.any())
            filled[:, target] |= lacking
    return filled


def _parts(name: str) -> tuple[str, str]:
    """Return the group and the name without the group."""
    group, mark, own = name.partition(GROUP_MARK)
    return (group, own.strip()) if mark else ("", name.strip())


def _together(truth: np.ndarray) -> Int[np.ndarray, "label label"]:
    """Return the number of images with both labels; the diagonal holds the number of images with each label."""
    both = np.zeros((truth.shape[1], truth.shape[1]))
    for start in range(0, len(truth), ROW_BLOCK):
        block = truth[start : start + ROW_BLOCK].astype(np.float32)  # whole numbers below 2^24: exact
        both += block.T @ block
    return both.astype(np.int64)


def _implications(
    names: Sequence[str], parts: Sequence[tuple[str, str]], together: np.ndarray
) -> tuple[Implication, ...]:
    column = {(group, own.casefold()): at for at, (group, own) in enumerate(parts)}
    found: dict[tuple[int, int], Rule] = {}
    for at, (group, own) in enumerate(parts):
        for rule, phrase in _wider(own.casefold()):
            target = next((column[group, form] for form in _forms(phrase) if (group, form) in column), at)
            if target != at:
                found.setdefault((at, target), rule)
    listed = [
        Implication(names[at], names[to], rule, int(together[at, at]), int(together[at, at] - together[at, to]))
        for (at, to), rule in found.items()
    ]
    return tuple(sorted(listed, key=lambda each: (-each.n_missing, each.label, each.implied)))


def _wider(own: str) -> Iterator[tuple[Rule, str]]:
    """Yield the phrases that a name implies, with the rule: sides of "and" or "or", else shorter word sequences."""
    for rule, joint in _JOINTS:
        sides = [side for side in joint.split(own) if side]
        if len(sides) > 1:
            yield from ((rule, side) for side in sides)
            return
    words = own.split()
    for length in range(len(words) - 1, 0, -1):
        for start in range(len(words) - length + 1):
            yield "contains", " ".join(words[start : start + length])


def _forms(phrase: str) -> tuple[str, ...]:
    """Return the phrase, its plural and its singular; "bow and arrow" implies "bows"."""
    return phrase, f"{phrase}s", f"{phrase}es", phrase.removesuffix("s")


def _similar(
    names: Sequence[str], parts: Sequence[tuple[str, str]], together: np.ndarray, ratio: float
) -> tuple[SimilarLabels, ...]:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    likeness: Any = Levenshtein.normalized_similarity  # its stub does not fit that of cdist
    folded = [own.casefold() for _, own in parts]
    groups = np.array([group for group, _ in parts])
    found = []
    for at in range(len(folded) - 1):
        # cdist() gets no score threshold: it would also drop names exactly at the threshold.
        closeness = cdist([folded[at]], folded[at + 1 :], scorer=likeness, dtype=np.float64)[0]
        for other in np.flatnonzero((closeness >= ratio - 1e-9) & (groups[at + 1 :] == groups[at])).tolist():
            first, second = _commoner(at, at + 1 + other, together)
            counts = (int(together[first, first]), int(together[second, second]), int(together[first, second]))
            found.append(SimilarLabels(names[first], names[second], float(closeness[other]), *counts))
    return tuple(sorted(found, key=lambda each: (-each.ratio, each.first, each.second)))


def _exclusive(
    names: Sequence[str], parts: Sequence[tuple[str, str]], together: np.ndarray, n_images: int, expected: float
) -> tuple[ExclusiveLabels, ...]:
    own = np.diag(together).astype(float)
    groups = np.array([group for group, _ in parts])
    by_chance = own[:, None] * own / max(n_images, 1)
    hits = (together == 0) & (by_chance >= expected) & (groups[:, None] == groups)
    found = []
    for at, other in np.argwhere(np.triu(hits, 1)):
        first, second = _commoner(int(at), int(other), together)
        found.append(
            ExclusiveLabels(names[first], names[second], int(own[first]), int(own[second]), float(by_chance[at, other]))
        )
    return tuple(sorted(found, key=lambda each: (-each.expected, each.first, each.second)))


def _commoner(at: int, other: int, together: np.ndarray) -> tuple[int, int]:
    return (at, other) if together[at, at] >= together[other, other] else (other, at)
