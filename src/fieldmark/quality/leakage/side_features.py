"""Side features of photos, and a simple model for each kind that predicts labels from the side feature alone.

Every fitted model returns a score for each label, at several *strengths*. Strength 0 ignores the side feature and
ranks labels by frequency. The caller chooses the strength on separate photos, so a side feature without information
gets strength 0 instead of fitting noise.
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
Scorer = Callable[[Rows], list[Scores]]
"""A fitted model: returns the scores of some photos at each strength of the side feature, the weakest first.

Strength 0 is not included."""

SMALLEST_BIN = 4
EXPECTED = 1.0
"""Number of photos added to the observed and the expected count before computing their ratio."""
COMMON_STEPS = 4
"""Frequency bins per factor of 2: n-grams in one bin differ in frequency by a factor of at most about 2 ** (1 / 4)."""


@dataclass(frozen=True, eq=False)
class _Texts:
    """One text per photo; "" if missing."""

    values: Sequence[str]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def given(self) -> Bool[np.ndarray, " photo"]:
        """Whether each photo has the side feature."""
        return np.array([bool(value) for value in self.values], bool)


@dataclass(frozen=True, eq=False)
class TextSideFeatures(_Texts):
    """One text per photo. The model is naive Bayes on character n-grams.

    For every n-gram and label, the number of photos with both is compared with the number expected by chance. Rare
    n-grams have little effect. The n-grams of one text are not independent, so strengths below 1 reduce their sum.

    Attributes:
        values: One text per photo; "" if missing.

    Source:
        Naive Bayes with the shrunken ratio of observed to expected counts of DuMouchel 1999, "Bayesian data mining in
        large frequency tables", in its simplest form (one gamma prior of shape and rate 1); strengths are ours.
    """

    STRENGTHS = (0.02, 0.1, 0.3, 1.0)

    @property
    def n_distinct(self) -> int:
        """Number of distinct values, including the missing value."""
        return len(set(self.values))

    @cached_property
    def ngram_matrix(self) -> Sparse:
        """(photo, n-gram) matrix with 1 where the text of the photo has the n-gram."""
        return ngrams(self.values)

    def fit(self, rows: Rows, truth: Sparse) -> Scorer:
        """Fit the model on the photos ``rows`` with their labels ``truth``, one row each."""
        grams = self.ngram_matrix[rows]
        n_photos = np.asarray(truth.sum(axis=0), np.float32).ravel()
        n_having = np.asarray(grams.sum(axis=0), np.float32).ravel()
        share = n_photos / max(1, len(rows))
        counts: Sparse = csr_matrix(grams.T @ truth)  # (n-gram, label)
        of_gram = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        # If a label never occurs with an n-gram, its term depends only on the frequency of the n-gram. N-grams are
        # therefore binned by frequency, and the sparse matrix holds only the pairs that occur.
        step = np.round(COMMON_STEPS * np.log2(np.maximum(1, n_having))).astype(np.int64)
        common = np.float32(2.0) ** (np.arange(step.max(initial=0) + 1, dtype=np.float32) / COMMON_STEPS)
        absent = -np.log1p(np.outer(common, share) / EXPECTED).astype(np.float32)
        expected = n_having[of_gram] * share[counts.indices]
        ratio = np.log((counts.data + EXPECTED) / (expected + EXPECTED))
        counts.data = (ratio - absent[step[of_gram], counts.indices]).astype(np.float32)
        # An n-gram that no training photo has is ignored.
        fitted = np.flatnonzero(n_having > 0)
        steps: Sparse = csr_matrix(
            (np.ones(len(fitted), np.float32), (fitted, step[fitted])), shape=(len(step), len(common))
        )
        prior = np.where(n_photos > 0, np.log(np.maximum(n_photos, 1)), -np.inf).astype(np.float32)

        def score(rows_to_score: Rows) -> list[Scores]:
            these = self.ngram_matrix[rows_to_score]
            evidence = (these @ counts).toarray() + (these @ steps) @ absent
            return [prior + np.float32(strength) * evidence for strength in self.STRENGTHS]

        return score


@dataclass(frozen=True, eq=False)
class Categories(_Texts):
    """One category per photo. The model counts how often each label occurs with the category.

    The label frequencies of all photos are the prior, with the weight of 1/strength photos. They dominate for rare
    categories.

    Attributes:
        values: One category per photo; "" if missing, which counts as a category.
    """

    STRENGTHS = (0.02, 0.2, 2.0)

    @property
    def n_distinct(self) -> int:
        """Number of distinct values, including the missing value."""
        return int(self.codes.max(initial=-1)) + 1

    @cached_property
    def codes(self) -> Int64[np.ndarray, " photo"]:
        """Number of the category of each photo."""
        number: dict[str, int] = {}
        return np.array([number.setdefault(value, len(number)) for value in self.values], np.int64)

    def fit(self, rows: Rows, truth: Sparse) -> Scorer:
        """Fit the model on the photos ``rows`` with their labels ``truth``, one row each."""
        return _counted([(self.codes[rows], self.codes)], truth, self.n_distinct, self.STRENGTHS)


@dataclass(frozen=True, eq=False)
class Numbers:
    """One number per photo. The model uses the labels of photos with similar numbers.

    Photos are divided into 4 bins of equal count, each bin into 4 smaller bins, and so on down to four photos. The
    last bin holds the two nearest photos. Labels are counted in each bin as for ``Categories``, and the
    next larger bin is the prior.

    Attributes:
        values: One number per photo; nan if missing.
    """

    values: Float64[np.ndarray, " photo"]

    STRENGTHS = (0.02, 0.2, 2.0)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def given(self) -> Bool[np.ndarray, " photo"]:
        """Whether each photo has the side feature."""
        return np.isfinite(self.values)

    @property
    def n_distinct(self) -> int:
        """Number of distinct values, including the missing value."""
        return len(np.unique(self.values))

    def fit(self, rows: Rows, truth: Sparse) -> Scorer:
        """Fit the model on the photos ``rows`` with their labels ``truth``, one row each."""
        known = np.isfinite(self.values)
        fitted = np.sort(self.values[rows][known[rows]])
        levels, n_codes = [], 1
        n_bins = 4
        while len(fitted) >= SMALLEST_BIN * n_bins:
            edges = np.unique(np.quantile(fitted, np.arange(1, n_bins) / n_bins, method="higher"))
            codes = np.where(known, 1 + np.searchsorted(edges, self.values, side="right"), 0)
            levels.append((codes[rows], codes))
            n_codes, n_bins = max(n_codes, len(edges) + 2), 4 * n_bins
        beside = self._beside(rows, truth) if len(fitted) > 1 else None
        return _counted(levels, truth, n_codes, self.STRENGTHS, beside)

    def _beside(self, rows: Rows, truth: Sparse) -> Callable[[Rows], Sparse]:
        """Return a function that counts the labels of the two nearest photos; zeros where the number is missing."""
        given = np.flatnonzero(np.isfinite(self.values[rows]))
        order = given[np.argsort(self.values[rows[given]], kind="stable")]
        value, answers = self.values[rows[order]], truth[order]

        def beside(rows_to_score: Rows) -> Sparse:
            place = np.searchsorted(value, self.values[rows_to_score])
            left, right = np.clip(place - 1, 0, len(value) - 1), np.clip(place, 0, len(value) - 1)
            both: Sparse = csr_matrix(answers[left] + answers[right])
            both.data *= np.repeat(np.isfinite(self.values[rows_to_score]), np.diff(both.indptr))
            return both

        return beside


SideFeature = TextSideFeatures | Categories | Numbers


def _counted(
    levels: Sequence[tuple[Int64[np.ndarray, " fitted"], Int64[np.ndarray, " photo"]]],
    truth: Sparse,
    n_codes: int,
    strengths: Sequence[float],
    beside: Callable[[Rows], Sparse] | None = None,
) -> Scorer:
    """Fit label frequencies in smaller and smaller bins, each with the next larger bin as prior.

    Args:
        levels: For each level the bins of the training photos, and the bins of all photos; the largest bins first.
        truth: Labels of the training photos.
        n_codes: Number of bins: larger than the highest bin number.
        strengths: Weights of a single photo in a bin.
        beside: Labels of the two nearest photos, used as the last and smallest bin.
    """
    n_train, n_labels = truth.shape
    prior = np.asarray(truth.sum(axis=0), np.float32).ravel() / max(1, n_train)
    counted: list[tuple[Sparse, np.ndarray, np.ndarray]] = []
    for fitted, codes in levels:
        member: Sparse = csr_matrix(
            (np.ones(n_train, np.float32), (fitted, np.arange(n_train))), shape=(n_codes, n_train)
        )
        n = np.bincount(fitted, minlength=n_codes).astype(np.float32)
        counted.append((csr_matrix(member @ truth), n, codes))

    def score(rows_to_score: Rows) -> list[Scores]:
        bins: list[tuple[np.ndarray, np.ndarray]] = [
            (counts[codes[rows_to_score]].toarray(), n[codes[rows_to_score]][:, None]) for counts, n, codes in counted
        ]
        if beside is not None:
            bins.append((beside(rows_to_score).toarray(), np.full((1, 1), 2, np.float32)))
        scores = []
        for strength in strengths:
            prior_weight = np.float32(1 / strength)
            share = np.broadcast_to(prior, (len(rows_to_score), n_labels))
            for counts, n in bins:
                share = (counts + prior_weight * share) / (n + prior_weight)
            scores.append(share)
        return scores

    return score


def check_lengths(n_photos: int, **others: Sequence[object] | np.ndarray | SideFeature) -> None:
    """Check that side features, folds and groups have one value for every photo.

    Raises:
        ShapeError: The lengths differ.
    """
    wrong = {name: len(one) for name, one in others.items() if len(one) != n_photos}
    if wrong:
        raise ShapeError(
            f"Argument {', '.join(map(repr, wrong))} needs one value for every photo.",
            got=f"{n_photos} photos; {', '.join(f'{name}: {n}' for name, n in wrong.items())}",
            fix="pass values of the same photos; use None or nan for a missing value.",
        )
