"""Side features: what stands beside a picture, and the simple model that guesses answers from each kind of it.

All models answer similar: from what they have learnt, a score for every answer, at several *strengths*. At strength 0 a
side feature says nothing, and every photo gets the commonest answers first. Whoever asks tries on other photos which strength
helps; so a side feature that knows nothing comes to strength 0 instead of to noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.sparse import csr_matrix

from fieldmark.core.errors import ShapeError
from fieldmark.quality.leakage.ngrams import Sparse, ngrams

Rows = Int64[np.ndarray, " row"]
Scores = Float32[np.ndarray, "row answer"]
StackedTrees = Callable[[Rows], list[Scores]]
"""For some photos the scores at each of the side feature's strengths, the weakest first; strength 0 is not among them."""

SMALLEST_BIN = 4
EXPECTED = 1.0
"""Photos that are added to those counted and those expected, before the two are compared."""
COMMON_STEPS = 4
"""Runs are as common as each other whose photos differ by less than a factor of about 2 ** (1 / 4)."""


@dataclass(frozen=True, eq=False)
class TextSideFeatures:
    """A text a photo; guessed from by naive Bayes on short runs of letters.

    For every run of letters and answer, the photos that have both are compared with those that would have both by
    chance. Seldom runs say little. The runs of one text depend on each other, so strengths below 1 mute them.

    Attributes:
        values: One a photo; "" where there is none.

    Source:
        Naive Bayes with the shrunk ratio of observed to expected counts of DuMouchel 1999, "Bayesian data mining in
        large frequency tables", in its simplest form (one gamma prior of shape and rate 1); strengths are ours.
    """

    values: Sequence[str]

    STRENGTHS = (0.02, 0.1, 0.3, 1.0)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def given(self) -> Bool[np.ndarray, " photo"]:
        """Which photos have the side feature."""
        return np.array([bool(value) for value in self.values], bool)

    @property
    def n_distinct(self) -> int:
        """Distinct values, a missing one among them."""
        return len(set(self.values))

    @cached_property
    def runs(self) -> Sparse:
        """(photo, run) with 1 where the photo's text has the run."""
        return ngrams(self.values)

    def learn(self, rows: Rows, truth: Sparse) -> StackedTrees:
        """The judge that has seen the photos ``rows`` with their ``truth``, a row each."""
        runs = self.runs[rows]
        n_photos = np.asarray(truth.sum(axis=0), np.float32).ravel()
        n_having = np.asarray(runs.sum(axis=0), np.float32).ravel()
        share = n_photos / max(1, len(rows))
        counts: Sparse = csr_matrix(runs.T @ truth)  # (run, answer)
        of_run = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        # Where an answer never goes with a run, its evidence depends on how common the run is alone. Runs about as
        # common as each other are therefore put together, and only what does go together stands in the matrix.
        step = np.round(COMMON_STEPS * np.log2(np.maximum(1, n_having))).astype(np.int64)
        common = np.float32(2.0) ** (np.arange(step.max(initial=0) + 1, dtype=np.float32) / COMMON_STEPS)
        absent = -np.log1p(np.outer(common, share) / EXPECTED).astype(np.float32)
        expected = n_having[of_run] * share[counts.indices]
        ratio = np.log((counts.data + EXPECTED) / (expected + EXPECTED))
        counts.data = (ratio - absent[step[of_run], counts.indices]).astype(np.float32)
        # A run that none of the learnt photos has tells nothing.
        seen = np.flatnonzero(n_having > 0)
        steps: Sparse = csr_matrix((np.ones(len(seen), np.float32), (seen, step[seen])), shape=(len(step), len(common)))
        prior = np.where(n_photos > 0, np.log(np.maximum(n_photos, 1)), -np.inf).astype(np.float32)

        def judge(asked: Rows) -> list[Scores]:
            these = self.runs[asked]
            evidence = (these @ counts).toarray() + (these @ steps) @ absent
            return [prior + np.float32(strength) * evidence for strength in self.STRENGTHS]

        return judge


@dataclass(frozen=True, eq=False)
class Categories:
    """One of several values a photo; guessed from by how often each answer goes with the value.

    Where a value was seldom seen, the commonest answers of all photos help out: they count as much as 1/strength
    further photos.

    Attributes:
        values: One a photo; "" where there is none, which is a value too.
    """

    values: Sequence[str]

    STRENGTHS = (0.02, 0.2, 2.0)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def given(self) -> Bool[np.ndarray, " photo"]:
        """Which photos have the side feature."""
        return np.array([bool(value) for value in self.values], bool)

    @property
    def n_distinct(self) -> int:
        """Distinct values, a missing one among them."""
        return int(self.codes.max(initial=-1)) + 1

    @cached_property
    def codes(self) -> Int64[np.ndarray, " photo"]:
        """The number of each photo's value."""
        number: dict[str, int] = {}
        return np.array([number.setdefault(value, len(number)) for value in self.values], np.int64)

    def learn(self, rows: Rows, truth: Sparse) -> StackedTrees:
        """The judge that has seen the photos ``rows`` with their ``truth``, a row each."""
        return _counted([(self.codes[rows], self.codes)], truth, self.n_distinct, self.STRENGTHS)


@dataclass(frozen=True, eq=False)
class Numbers:
    """A number a photo; guessed from by the answers of photos with like numbers.

    Photos are put into 4 bins of equal count, each bin into 4 again, and so on down to four photos, and last come the
    two photos next to it. In each bin the answers are counted as for ``Categories``; what is common in the bin
    around it helps out.

    Attributes:
        values: One a photo; nan where there is none.
    """

    values: Float64[np.ndarray, " photo"]

    STRENGTHS = (0.02, 0.2, 2.0)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def given(self) -> Bool[np.ndarray, " photo"]:
        """Which photos have the side feature."""
        return np.isfinite(self.values)

    @property
    def n_distinct(self) -> int:
        """Distinct values, a missing one among them."""
        return len(np.unique(self.values))

    def learn(self, rows: Rows, truth: Sparse) -> StackedTrees:
        """The judge that has seen the photos ``rows`` with their ``truth``, a row each."""
        known = np.isfinite(self.values)
        learnt = np.sort(self.values[rows][known[rows]])
        levels, n_codes = [], 1
        n_bins = 4
        while len(learnt) >= SMALLEST_BIN * n_bins:
            edges = np.unique(np.quantile(learnt, np.arange(1, n_bins) / n_bins, method="higher"))
            codes = np.where(known, 1 + np.searchsorted(edges, self.values, side="right"), 0)
            levels.append((codes[rows], codes))
            n_codes, n_bins = max(n_codes, len(edges) + 2), 4 * n_bins
        beside = self._beside(rows, truth) if len(learnt) > 1 else None
        return _counted(levels, truth, n_codes, self.STRENGTHS, beside)

    def _beside(self, rows: Rows, truth: Sparse) -> Callable[[Rows], Sparse]:
        """How often the two photos next to each asked one have each answer; none where the number is missing."""
        given = np.flatnonzero(np.isfinite(self.values[rows]))
        order = given[np.argsort(self.values[rows[given]], kind="stable")]
        value, answers = self.values[rows[order]], truth[order]

        def beside(asked: Rows) -> Sparse:
            place = np.searchsorted(value, self.values[asked])
            left, right = np.clip(place - 1, 0, len(value) - 1), np.clip(place, 0, len(value) - 1)
            both: Sparse = csr_matrix(answers[left] + answers[right])
            both.data *= np.repeat(np.isfinite(self.values[asked]), np.diff(both.indptr))
            return both

        return beside


SideFeature = TextSideFeatures | Categories | Numbers


def _counted(
    levels: Sequence[tuple[Int64[np.ndarray, " learnt"], Int64[np.ndarray, " photo"]]],
    truth: Sparse,
    n_codes: int,
    strengths: Sequence[float],
    beside: Callable[[Rows], Sparse] | None = None,
) -> StackedTrees:
    """Shares of answers in ever smaller bins, each helped out by the one around it.

    Args:
        levels: The bin of each photo that is learnt from, and of each photo at all; the largest bins first.
        truth: Answers of the photos that are learnt from.
        n_codes: More than the highest number of a bin.
        strengths: How much a single photo in a bin counts.
        beside: Answers of the two nearest photos, as a last and smallest bin.
    """
    n_learnt, n_answers = truth.shape
    prior = np.asarray(truth.sum(axis=0), np.float32).ravel() / max(1, n_learnt)
    counted: list[tuple[Sparse, np.ndarray, np.ndarray]] = []
    for learnt, codes in levels:
        member: Sparse = csr_matrix(
            (np.ones(n_learnt, np.float32), (learnt, np.arange(n_learnt))), shape=(n_codes, n_learnt)
        )
        n = np.bincount(learnt, minlength=n_codes).astype(np.float32)
        counted.append((csr_matrix(member @ truth), n, codes))

    def judge(asked: Rows) -> list[Scores]:
        bins: list[tuple[np.ndarray, np.ndarray]] = [
            (counts[codes[asked]].toarray(), n[codes[asked]][:, None]) for counts, n, codes in counted
        ]
        if beside is not None:
            bins.append((beside(asked).toarray(), np.full((1, 1), 2, np.float32)))
        scores = []
        for strength in strengths:
            help_out = np.float32(1 / strength)
            share = np.broadcast_to(prior, (len(asked), n_answers))
            for counts, n in bins:
                share = (counts + help_out * share) / (n + help_out)
            scores.append(share)
        return scores

    return judge


def check_lengths(n_photos: int, **others: Sequence[object] | np.ndarray | SideFeature) -> None:
    """Refuse side features, folds or groups that are not of the same photos.

    Raises:
        ShapeError: Lengths differ.
    """
    wrong = {name: len(one) for name, one in others.items() if len(one) != n_photos}
    if wrong:
        raise ShapeError(
            "A side feature, and folds and groups, need one value for every photo.",
            got=f"{n_photos} photos; {', '.join(f'{name}: {n}' for name, n in wrong.items())}",
            fix="pass values of the same photos, None or nan where a photo has none.",
        )
