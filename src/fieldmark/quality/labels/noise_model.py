"""Fit the label-noise model: the probability of a mistake for every label, from out-of-fold scores and other labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.quality.labels.co_occurrence import CoOccurrence, fit_co_occurrence
from fieldmark.quality.labels.inputs import ROW_BLOCK, SMALLEST, check_pair
from fieldmark.quality.labels.label_noise import ByBin, ByLabel, Counts, LabelNoise, fit_rates, mean

Proba = Float[np.ndarray, "image label"]
Truth = Bool[np.ndarray, "image label"]
Groups = Int[np.ndarray, " image"]
Rows = Int64[np.ndarray, " row"]
LogOdds = Float32[np.ndarray, "row label"]

LOGIT_SLOPE, RANK_SLOPE = (1.0, 0.7), (3.0, 2.0)
"""Prior mean and standard deviation of the slope, for logits and for ranks. Calibrated logits have slope 1."""
OTHER_LABEL_WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Weights of the other labels of an image. They are tried in this order until the likelihood no longer improves."""
N_BINS = 257
N_TRIAL_ROWS = 20_000
"""Number of images used to choose the weight of the other labels."""
LEAST_RANGE = 1e-3
"""Smallest range of the evidence of a label, used where its scores are nearly equal."""


@dataclass(frozen=True)
class LabelNoiseModel:
    """A fitted label-noise model, returned by ``fit_label_noise``.

    Attributes:
        noise: Rates of mistakes of each label (``missing``, ``wrong``), and log-odds of a mistake for each bin of the
            evidence.
        low: Evidence in the first bin of each label.
        step: Width of the bins of each label.
        weight: Weight of the other labels of an image, relative to its score; 0 means not used.
        co_occurrence: Co-occurrence model of the labels; None if it is not used.
    """

    noise: LabelNoise
    low: ByLabel
    step: ByLabel
    weight: float
    co_occurrence: CoOccurrence | None

    def log_odds(self, proba: Proba, truth: Truth, rows: Rows) -> LogOdds:
        """Return the log-odds that each label is a mistake, for some of the fitted images.

        Args:
            proba: The probabilities that the model was fitted on.
            truth: The given labels that the model was fitted on.
            rows: Rows of the images to compute.
        """
        place = (_evidence(proba, truth, rows, self.co_occurrence, self.weight) - self.low) / self.step
        place = np.clip(place, 0, N_BINS - 1.001)
        below = place.astype(np.int64)
        share = place - below
        cell = below + N_BINS * np.arange(place.shape[1])
        given = np.asarray(truth[rows], dtype=bool)
        odds = np.empty(given.shape, np.float32)
        for table, where in ((self.noise.if_absent.ravel(), ~given), (self.noise.if_given.ravel(), given)):
            at, beyond = cell[where], share[where]
            odds[where] = table[at] * (1 - beyond) + table[at + 1] * beyond
        return odds


def fit_label_noise(
    proba: Proba, truth: Truth, *, groups: Groups | None = None, others: bool = True
) -> LabelNoiseModel:
    """Fit a label-noise model to out-of-fold probabilities and given labels.

    The evidence for a label is its score plus a term from the other labels of the image. The weight of this term
    maximises the likelihood of the given labels. The model is fitted twice, once with the evidence as log-odds and
    once with its ranks, and the two probabilities of a mistake are averaged. Log-odds fit networks that did not
    learn the label noise. Networks that learned it never output very low scores; ranks are not affected by this. The
    average is always close to the better of the two.

    Args:
        proba: Out-of-fold probabilities. A network trained on a wrong label would predict it again.
        truth: The given labels, 0 and 1.
        groups: Group number of each image, equal for copies of a picture, as in ``Collection.groups``. Copies carry
            the same mistakes, so a co-occurrence model is never fitted and applied to copies of one picture.
        others: Whether to use the other labels of an image.

    Raises:
        ShapeError: The matrices differ in shape or are empty, or the number of groups differs from the number of
            images.
        FieldmarkError: ``proba`` has values outside 0 to 1, or ``truth`` has values other than 0 and 1.

    Source:
        Ours; the parts are in ``label_noise`` and ``co_occurrence``.
    """
    proba, truth = check_pair(proba, truth, function="fit_label_noise()")
    if groups is not None and np.shape(groups) != (len(truth),):
        raise ShapeError(
            "Argument 'groups' of fit_label_noise() needs one number for every image.",
            got=f"groups {np.shape(groups)}, truth {truth.shape}",
            fix="pass Collection.groups of the same photos, or leave groups out.",
        )
    learned = fit_co_occurrence(truth, groups=groups) if others and truth.shape[1] > 1 else None
    trial = np.unique(np.linspace(0, len(truth) - 1, min(N_TRIAL_ROWS, len(truth))).astype(np.int64))

    best = _fit(proba, truth, trial, None, 0.0)
    for weight in OTHER_LABEL_WEIGHTS if learned is not None else ():
        candidate = _fit(proba, truth, trial, learned, weight)
        if candidate.noise.log_likelihood <= best.noise.log_likelihood:
            break
        best = candidate
    if len(trial) == len(truth):
        return best
    return _fit(proba, truth, np.arange(len(truth)), best.co_occurrence, best.weight)


def row_blocks(n_images: int) -> Iterator[Rows]:
    """Yield row numbers in blocks of ``ROW_BLOCK``."""
    for start in range(0, n_images, ROW_BLOCK):
        yield np.arange(start, min(start + ROW_BLOCK, n_images))


def _fit(
    proba: np.ndarray, truth: np.ndarray, rows: Rows, learned: CoOccurrence | None, weight: float
) -> LabelNoiseModel:
    """Fit the model on some images, with a fixed weight of the other labels."""
    n_labels = truth.shape[1]
    low, high = np.full(n_labels, np.inf), np.full(n_labels, -np.inf)
    for block in row_blocks(len(rows)):
        evidence = _evidence(proba, truth, rows[block], learned, weight)
        low, high = np.minimum(low, evidence.min(axis=0)), np.maximum(high, evidence.max(axis=0))
    step = np.maximum(high - low, LEAST_RANGE) / (N_BINS - 1)

    counts = np.zeros((2, n_labels * N_BINS))
    for block in row_blocks(len(rows)):
        evidence = _evidence(proba, truth, rows[block], learned, weight)
        cell = np.rint((evidence - low) / step).astype(np.int64) + N_BINS * np.arange(n_labels)
        given = np.asarray(truth[rows[block]], dtype=bool)
        for number, cells in enumerate((cell[~given], cell[given])):
            counts[number] += np.bincount(cells, minlength=counts.shape[1])
    absent, given = counts.reshape(2, n_labels, N_BINS)
    bins = low[:, None] + step[:, None] * np.arange(N_BINS)
    noise = mean(
        fit_rates(Counts(absent=absent, given=given, reading=bins, slope=LOGIT_SLOPE)),
        fit_rates(Counts(absent=absent, given=given, reading=_normal_score(absent, given), slope=RANK_SLOPE)),
    )
    return LabelNoiseModel(noise=noise, low=low, step=step, weight=weight, co_occurrence=learned)


def _evidence(proba: np.ndarray, truth: np.ndarray, rows: Rows, learned: CoOccurrence | None, weight: float) -> LogOdds:
    """Return the log-odds of the score plus the weighted term from the other labels."""
    clipped = np.clip(proba[rows].astype(np.float32, copy=False), SMALLEST, 1 - SMALLEST)
    evidence = np.log(clipped) - np.log1p(-clipped)
    if learned is not None:
        evidence += np.float32(weight) * learned.lift(truth, rows)
    return evidence


def _normal_score(absent: ByBin, given: ByBin) -> ByBin:
    """Return the normal score of the rank of each bin; 0 where as many images rank above as have the label."""
    total = absent + given
    n = total.sum(axis=1, keepdims=True)
    below = (np.cumsum(total, axis=1) - total / 2 + 0.25) / (n + 0.5)
    share = (given.sum(axis=1, keepdims=True) + 0.5) / (n + 1)
    log_odds, scores = _normal_table()
    place = np.interp(np.log(below) - np.log1p(-below), log_odds, scores)
    return place - np.interp(np.log1p(-share) - np.log(share), log_odds, scores)


@cache
def _normal_table() -> tuple[Float64[np.ndarray, " knot"], Float64[np.ndarray, " knot"]]:
    """Return a table of log-odds of a share, and the matching quantiles of the normal distribution."""
    left = np.linspace(-25, 0, 1001)
    below = [NormalDist().inv_cdf(1 / (1 + float(np.exp(-log_odds)))) for log_odds in left]
    return np.concatenate([left, -left[-2::-1]]), np.concatenate([below, -np.array(below)[-2::-1]])
