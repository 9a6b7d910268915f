"""Contents of the pages, as plain frozen dataclasses. A caller fills these and passes them to a page function.

Pictures are the bytes of a JPEG, PNG or WebP file of any size. A page shrinks each picture to a thumbnail without
metadata, so a report never contains the place where an animal was photographed.
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
    """One row of a table of facts, such as ``Fact("photos", "8,164", "2,220 individuals have a single photo")``."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One measure with its interval.

    Attributes:
        name: Name of the measure.
        value: Measured value.
        low: Lower end of the interval; None if there is no interval. The ``scores_note`` of the page explains it.
        high: Upper end of the interval; None if there is no interval.
        meaning: One plain sentence or phrase about what the measure is.
        over: What the interval resamples, such as ``37 groups``.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    over: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of a training history: ``value[i]`` was measured at epoch or step ``at[i]``."""

    name: str
    kind: Literal["loss", "metric", "lr"]
    at: Float[np.ndarray, " point"]
    value: Float[np.ndarray, " point"]


@dataclass(frozen=True, eq=False)
class ThresholdScan:
    """Measures at each threshold for unknown individuals, on validation photos.

    Attributes:
        at: Thresholds.
        score: Score at each threshold.
        chosen_at: Chosen threshold.
        share_new: Share of photos answered as unknown, 0 to 1.
        false_match_rate: FPIR: share of unknown individuals answered with a name, 0 to 1.
        score_name: Name of the score.
    """

    at: Float[np.ndarray, " point"]
    score: Float[np.ndarray, " point"]
    chosen_at: float
    share_new: Float[np.ndarray, " point"] | None = None
    false_match_rate: Float[np.ndarray, " point"] | None = None
    score_name: str = "MAP@5"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of a ranking; ``picture`` is the most similar gallery photo of that identity."""

    name: str
    score: float | None = None
    is_truth: bool = False
    is_unknown: bool = False
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One query photo with its candidates, best first; ``lines`` shows its keypoint matches with the first."""

    image: str
    truth: str
    picture: bytes | None
    candidates: tuple[Candidate, ...]
    lines: bytes | None = None

    @property
    def rank(self) -> int | None:
        """Return the place of the right answer, from 1; None if it is not among the candidates."""
        return next((place for place, one in enumerate(self.candidates, start=1) if one.is_truth), None)


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """A pair of identities, with the number of photos of ``truth`` answered as ``answer`` and a picture of each."""

    truth: str
    answer: str
    count: int
    truth_picture: bytes | None = None
    answer_picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class IdentityIssue:
    """A photo that may show ``name`` although the table says ``given``; ``lines`` shows matching keypoints."""

    image: str
    given: str
    name: str
    beside: str
    proba: float
    lines: bytes | None = None


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that could not be read, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of the plan, with its last message and its time in seconds (None if it did not run)."""

    name: str
    kind: str
    reads: tuple[str, ...] = ()
    message: str = ""
    took_s: float | None = None


@dataclass(frozen=True)
class RunPage:
    """Content of the report page of an identification run. Empty attributes have no section on the page.

    ``summary`` is the verdict at the top of the page, in plain words for a reader who does not know MAP@5.
    ``curves_over`` is the label of the horizontal axis of the curves. ``manifest`` maps names to texts, numbers or
    further mappings.
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
    """A label with its number of photos."""

    name: str
    count: int


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """Co-occurrence of labels: ``counts[i, j]`` photos have both ``labels[i]`` and ``labels[j]``."""

    labels: tuple[str, ...]
    counts: Int[np.ndarray, "label label"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with a name and a note."""

    name: str
    picture: bytes | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """Some photos of one identity; ``n_photos`` is the number of all its photos."""

    name: str
    n_photos: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a table that prevents training: file, row, column and the value found there."""

    file: str
    problem: str
    row: int | None = None
    column: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files with the same picture; ``names`` are their names in the table, in the order of ``files``.

    Raises:
        ShapeError: The numbers of names and files differ.
    """

    files: tuple[str, ...]
    names: tuple[str, ...]
    picture: bytes | None = None

    def __post_init__(self) -> None:
        """Check that every file has a name."""
        if len(self.files) != len(self.names):
            raise ShapeError(
                "The attribute names needs one name for every file of the group.",
                got=f"{len(self.files)} files, {len(self.names)} names",
                fix="pass one name for each file, in the same order.",
            )

    @property
    def is_conflict(self) -> bool:
        """Return whether the files have different names."""
        return len(set(self.names)) > 1


@dataclass(frozen=True)
class NameHint:
    """A possible relation between the names of two labels or individuals, for a person to check.

    Attributes:
        label: First label.
        relation: Relation in one or two words, such as "implies".
        other: Second label; empty if the hint is about one label.
        seen: Counts of photos that support the hint, such as "12 of 40 photos lack it".
    """

    label: str
    relation: str
    other: str
    seen: str


@dataclass(frozen=True, eq=False)
class InspectPage:
    """Content of the page about a data set. Empty attributes have no section on the page.

    ``photos_per_identity`` has one entry per identity: its number of photos. The page shows all given tiles, so pass a
    few dozen.
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
