"""What the names of labels say about each other: "A and B" implies A, "north indian" is indian, two are one."""

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
        label: The more special label.
        implied: The label it brings along.
        rule: ``"and"``, ``"or"``: ``label`` is "A and B" or "A or B". ``"contains"``: its words contain the other's.
        n: Images with ``label``.
        n_missing: Those of them without ``implied``. Where it is some of them, some were forgotten; where it is all,
            whoever labelled them took the two for alternatives.
    """

    label: str
    implied: str
    rule: Rule
    n: int
    n_missing: int

    @property
    def n_kept(self) -> int:
        """Images that have both, as the names want it."""
        return self.n - self.n_missing


@dataclass(frozen=True)
class SimilarLabels:
    """Two labels of one group whose names differ by a few letters.

    Attributes:
        first: The commoner one.
        second: The rarer one.
        ratio: 1 for equal names, 0 for names without a letter in common place.
        n_first: Images with the first.
        n_second: Images with the second.
        n_both: Images with both; two spellings of one thing rarely meet.
    """

    first: str
    second: str
    ratio: float
    n_first: int
    n_second: int
    n_both: int


@dataclass(frozen=True)
class Apart:
    """Two labels of one group that no image has together, though chance alone would have brought them together.

    Attributes:
        first: The commoner one.
        second: The rarer one.
        n_first: Images with the first.
        n_second: Images with the second.
        expected: Images with both if labels were given independently.
    """

    first: str
    second: str
    n_first: int
    n_second: int
    expected: float


@dataclass(frozen=True)
class LabelGraph:
    """Findings for a person to judge; nothing is changed.

    Attributes:
        names: Of the labels, in column order.
        implications: The one with the most images that lack what is implied first.
        similar: The most similar first.
        apart: The most surprising first.
    """

    names: tuple[str, ...]
    implications: tuple[Implication, ...]
    similar: tuple[SimilarLabels, ...]
    apart: tuple[Apart, ...]


def inspect_labels(
    names: Sequence[str], truth: Bool[np.ndarray, "image label"], *, ratio: float = 0.8, expected: float = 10.0
) -> LabelGraph:
    """Look for labels that imply, repeat or exclude each other; only labels of one group are compared.

    Args:
        names: Of the labels; the text before "::" is the group.
        truth: The given labels, 0 and 1.
        ratio: Names at least so similar are told, 0-1: 1 minus the edits from one to the other over the longer length.
        expected: Labels never together are told where chance would have given at least so many images both.

    Returns:
        Findings with counts.

    Raises:
        ShapeError: There is not one name for each column.
        FieldmarkError: ``truth`` holds other values than 0 and 1, or ``ratio`` is not above 0 and at most 1.

    Source:
        Public cleaning of the labels of iMet 2020 ("A and B" implies A and B, names compared by Levenshtein ratio and
        then by eye, a name within a name is the wider one); counts and the test of chance are ours.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or len(names) != truth.shape[1]:
        raise ShapeError(
            "inspect_labels() needs one name for every label.",
            got=f"{len(names)} names, truth {truth.shape}",
            fix="pass vocabulary.tags and truth of one collection.",
        )
    if not 0 < ratio <= 1:
        raise FieldmarkError("inspect_labels() compares names by a ratio.", got=ratio, fix="use 0.8, or up to 1.")
    check_truth(truth, who="inspect_labels()")
    together = _together(truth)
    parts = [_parts(name) for name in names]
    return LabelGraph(
        names=tuple(names),
        implications=_implications(names, parts, together),
        similar=_similar(names, parts, together, ratio),
        apart=_apart(names, parts, together, len(truth), expected),
    )


def implied(
    truth: Bool[np.ndarray, "image label"], graph: LabelGraph, *, rules: Collection[Rule] = BOTH
) -> Bool[np.ndarray, "image label"]:
    """The truth with the labels that others imply added, until nothing more follows.

    Args:
        truth: The given labels, 0 and 1; left as it is.
        graph: What ``inspect_labels`` found.
        rules: Which findings to believe; names that merely contain each other are worth a look before.

    Raises:
        ShapeError: The truth has another number of labels than the graph.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or truth.shape[1] != len(graph.names):
        raise ShapeError(
            "implied() needs the truth of the labels that were inspected.",
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
    """Group and own name."""
    group, mark, own = name.partition(GROUP_MARK)
    return (group, own.strip()) if mark else ("", name.strip())


def _together(truth: np.ndarray) -> Int[np.ndarray, "label label"]:
    """Images that have both labels; on the diagonal those that have the label."""
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
    """Phrases a name implies, with the rule: the sides of a joint, else every run of its words."""
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
    """The phrase, its plural and its singular: "bow and arrow" implies "bows"."""
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
        # No score_threshold: it also drops names that are exactly at the threshold.
        closeness = cdist([folded[at]], folded[at + 1 :], scorer=likeness, dtype=np.float64)[0]
        for other in np.flatnonzero((closeness >= ratio - 1e-9) & (groups[at + 1 :] == groups[at])).tolist():
            first, second = _commoner(at, at + 1 + other, together)
            counts = (int(together[first, first]), int(together[second, second]), int(together[first, second]))
            found.append(SimilarLabels(names[first], names[second], float(closeness[other]), *counts))
    return tuple(sorted(found, key=lambda each: (-each.ratio, each.first, each.second)))


def _apart(
    names: Sequence[str], parts: Sequence[tuple[str, str]], together: np.ndarray, n_images: int, expected: float
) -> tuple[Apart, ...]:
    own = np.diag(together).astype(float)
    groups = np.array([group for group, _ in parts])
    by_chance = own[:, None] * own / max(n_images, 1)
    hits = (together == 0) & (by_chance >= expected) & (groups[:, None] == groups)
    found = []
    for at, other in np.argwhere(np.triu(hits, 1)):
        first, second = _commoner(int(at), int(other), together)
        found.append(Apart(names[first], names[second], int(own[first]), int(own[second]), float(by_chance[at, other])))
    return tuple(sorted(found, key=lambda each: (-each.expected, each.first, each.second)))


def _commoner(at: int, other: int, together: np.ndarray) -> tuple[int, int]:
    return (at, other) if together[at, at] >= together[other, other] else (other, at)
