"""What the pages show, as plain frozen values: whoever fills them needs nothing of this room but these.

Pictures are the bytes of any JPEG, PNG or WebP file, of any size. A page shrinks each to a thumbnail and drops its
metadata, so that where an animal was photographed never travels with a report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from fieldmark.core.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a table of facts, such as ``Fact("photos", "8,164", "2,220 animals have a single one")``."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One measured score with its interval and what it means in plain words.

    ``low`` and ``high`` are the ends of its interval (which: told in the page's ``scores_note``), None if unknown;
    ``over`` is what the interval resamples, as ``37 groups``.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    over: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of training history: ``value[i]`` was measured at epoch or step ``at[i]``."""

    name: str
    kind: Literal["loss", "metric", "lr"]
    at: Float[np.ndarray, " point"]
    value: Float[np.ndarray, " point"]


@dataclass(frozen=True, eq=False)
class ThresholdScan:
    """What each threshold of "nobody we know" would have given on validation, and the one chosen.

    Shares and rates are 0-1. ``false_match_rate`` is the share of unknown individuals who were given somebody's name.
    """

    at: Float[np.ndarray, " point"]
    score: Float[np.ndarray, " point"]
    chosen_at: float
    share_new: Float[np.ndarray, " point"] | None = None
    false_match_rate: Float[np.ndarray, " point"] | None = None
    score_name: str = "MAP@5"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a ranking; ``picture`` is the nearest gallery photo of that identity."""

    name: str
    score: float | None = None
    is_truth: bool = False
    is_unknown: bool = False
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One query photo beside its candidates, best first; ``lines`` shows the points it shares with the first."""

    image: str
    truth: str
    picture: bytes | None
    candidates: tuple[Candidate, ...]
    lines: bytes | None = None

    @property
    def rank(self) -> int | None:
        """The place of the right answer, from 1; None if it is not among the candidates."""
        return next((place for place, one in enumerate(self.candidates, start=1) if one.is_truth), None)


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """How often photos of ``truth`` were answered with ``answer``, and a picture of each."""

    truth: str
    answer: str
    count: int
    truth_picture: bytes | None = None
    answer_picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class IdentityIssue:
    """A photo that perhaps shows ``name`` though the table says ``given``; ``lines``: the points two photos share."""

    image: str
    given: str
    name: str
    beside: str
    proba: float
    lines: bytes | None = None


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that could not be read, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of the plan, what it said when done, and how long it took (None: not run)."""

    name: str
    kind: str
    reads: tuple[str, ...] = ()
    message: str = ""
    took_s: float | None = None


@dataclass(frozen=True)
class RunPage:
    """Everything the page of a run shows; what is left empty is left out of the page.

    ``summary`` is the first thing read: one or two sentences for somebody who never heard of MAP@5. ``curves_over``
    names the horizontal axis of the curves. ``manifest`` holds names to texts, numbers or further mappings.
    """

    title: str
    recipe: str
    summary: str
    scores: tuple[ScoreRow, ...] = ()
    scores_note: str = ""
    curves: tuple[Curve, ...] = ()
    curves_over: str = "epoch"
    threshold: ThresholdScan | None = None
    expected: tuple[ScoreRow, ...] = ()
    worst: tuple[Example, ...] = ()
    best: tuple[Example, ...] = ()
    confusions: tuple[ConfusedPair, ...] = ()
    issues: tuple[IdentityIssue, ...] = ()
    issues_note: str = ""
    facts: tuple[Fact, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    stages: tuple[StageRow, ...] = ()
    plan_json: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How many photos carry a label."""

    name: str
    count: int


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """``counts[i, j]``: how many photos carry both ``labels[i]`` and ``labels[j]``."""

    labels: tuple[str, ...]
    counts: Int[np.ndarray, "label label"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with its name on a sample sheet."""

    name: str
    picture: bytes | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """Some of the photos of one identity, side by side; ``n_photos`` counts all it has."""

    name: str
    n_photos: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that will be refused: where it stands in which table, and the value found there."""

    file: str
    problem: str
    row: int | None = None
    column: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that show the same picture; ``names`` are what the table calls them, in the order of ``files``.

    Raises:
        ShapeError: There are not as many names as files.
    """

    files: tuple[str, ...]
    names: tuple[str, ...]
    picture: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse names that cannot be told apart by file."""
        if len(self.files) != len(self.names):
            raise ShapeError(
                "A group of near-duplicates needs a name for every file.",
                got=f"{len(self.files)} files, {len(self.names)} names",
                fix="pass one name for each file, in the same order.",
            )

    @property
    def is_conflict(self) -> bool:
        """Whether the same picture carries different names."""
        return len(set(self.names)) > 1


@dataclass(frozen=True)
class NameHint:
    """What the names and counts of two labels (or individuals) say about each other, for a person to judge.

    Attributes:
        label: One label.
        relation: A word or two between them, such as "implies".
        other: The other label; empty where it is about one alone.
        seen: What the photos say, such as "12 of 40 photos lack it".
    """

    label: str
    relation: str
    other: str
    seen: str


@dataclass(frozen=True, eq=False)
class InspectPage:
    """Everything the page about a collection shows; what is left empty is left out of the page.

    ``photos_per_identity`` has one entry an identity: its number of photos. The page shows all tiles it is given:
    choose a few dozen.
    """

    title: str
    summary: str
    facts: tuple[Fact, ...] = ()
    problems: tuple[Problem, ...] = ()
    broken: tuple[SkippedFile, ...] = ()
    duplicates: tuple[DuplicateGroup, ...] = ()
    photos_per_identity: Int[np.ndarray, " identity"] | None = None
    labels: tuple[LabelCount, ...] = ()
    cooccurrence: Cooccurrence | None = None
    name_hints: tuple[NameHint, ...] = ()
    odd_names: tuple[NameHint, ...] = ()
    widths_px: Int[np.ndarray, " image"] | None = None
    heights_px: Int[np.ndarray, " image"] | None = None
    samples: tuple[Tile, ...] = ()
    identities: tuple[IdentityRow, ...] = ()
