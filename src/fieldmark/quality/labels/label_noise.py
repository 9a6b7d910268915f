"""Fit the rates of missing and wrong labels: a small model of the annotators, fitted to scores and given labels.

Each cell (image, label) has a hidden true value. The score gives its probability:
``sigmoid(intercept + slope * reading)``. The annotators missed some true labels and added some wrong ones. Each label
has four parameters: intercept, slope, rate of missing and rate of wrong labels. They give the probability that a given
label is a mistake. Rare labels have too few images for four parameters, so their parameters are shrunk towards the
values of all labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

ROUNDS = 40
WARM_UP = 5
"""Rounds before the mean intercept and slope over the labels are estimated from the data."""
PRIOR_RATE = 0.1
"""Prior rate of mistakes, with the weight of ``PRIOR_WEIGHT`` given labels."""
PRIOR_WEIGHT = 200.0
SHRINKAGE = 20.0
"""Weight of the rate over all labels, in given labels of one label."""
MAX_RATE = 0.5
"""Largest rate of mistakes. A label that is missing more often than given looks the same as a rarer label."""
ENOUGH = 30
"""Smallest number of given labels for a label to be used in the priors, if ``ENOUGH_LABELS`` labels have as many."""
ENOUGH_LABELS = 10
LEAST_DEVIATION = np.array([0.3, 0.1])
"""Smallest standard deviation of intercepts and slopes between labels."""
TINY = 1e-12

ByLabel = Float64[np.ndarray, " label"]
ByBin = Float64[np.ndarray, "label bin"]


@dataclass(frozen=True)
class Counts:
    """Number of images in each score bin, for each label.

    Attributes:
        absent: Images without the label.
        given: Images with the label.
        reading: Value of the score in each bin, increasing from bin to bin.
        slope: Prior mean and standard deviation of the slope that converts ``reading`` to log-odds of the true label.
    """

    absent: ByBin
    given: ByBin
    reading: ByBin
    slope: tuple[float, float]


@dataclass(frozen=True)
class LabelNoise:
    """Fitted rates of mistakes of each label.

    Attributes:
        missing: Share of the images that truly have the label but were not given it.
        wrong: Share of the images with the given label that do not truly have it.
        if_absent: Log-odds of a missing label where the label was not given, for each score bin.
        if_given: Log-odds of a wrong label where the label was given, for each score bin.
        log_likelihood: Log-likelihood of the given labels, in nats; the larger one of two averaged fits.
    """

    missing: ByLabel
    wrong: ByLabel
    if_absent: ByBin
    if_given: ByBin
    log_likelihood: float


@dataclass
class _Link:
    """Intercept and slope of each label (rows of ``own``), and their mean and standard deviation over the labels."""

    own: Float64[np.ndarray, "2 label"]
    mean: Float64[np.ndarray, " 2"]
    deviation: Float64[np.ndarray, " 2"]

    def log_odds(self, reading: ByBin) -> ByBin:
        """Return the log-odds of the true label in each bin."""
        return np.clip(self.own[0][:, None] + self.own[1][:, None] * reading, -50, 50)

    def true(self, reading: ByBin) -> ByBin:
        """Return the probability of the true label in each bin."""
        return 1 / (1 + np.exp(-self.log_odds(reading)))


def fit_rates(counts: Counts) -> LabelNoise:
    """Fit the rates of mistakes by expectation-maximisation, with priors estimated from all labels.

    Returns:
        The rates, and the log-odds of a mistake. They are finite also for labels that no image or every image has.

    Source:
        The error model is that of Dawid and Skene 1979 with one annotator. A logistic function of the score is the
        prior of the true label, as in Raykar et al. 2010 (JMLR 11, section 2). The priors between labels are ours.
    """
    n_given, n = counts.given.sum(axis=1), (counts.absent + counts.given).sum(axis=1)
    link = _start(counts, n_given)
    missing, wrong = np.full(len(n), PRIOR_RATE), np.full(len(n), PRIOR_RATE)
    for number in range(ROUNDS):
        made_up = _made_up(wrong, n_given, n)
        forgotten, invented = _expected(link.true(counts.reading), missing, made_up)
        n_forgotten = (counts.absent * forgotten).sum(axis=1)
        n_invented = (counts.given * invented).sum(axis=1)
        missing = _rate(n_forgotten, n_given - n_invented + n_forgotten)
        wrong = _rate(n_invented, n_given)
        n_true = counts.absent * forgotten + counts.given * (1 - invented)
        _improve(link, counts, n_true)
        known = n_given >= ENOUGH
        if number >= WARM_UP and known.sum() >= ENOUGH_LABELS:
            link.mean = np.median(link.own[:, known], axis=1)
            link.deviation = np.maximum(link.own[:, known].std(axis=1), LEAST_DEVIATION)

    made_up = _made_up(wrong, n_given, n)
    log_odds, true = link.log_odds(counts.reading), link.true(counts.reading)
    given_proba = np.clip((1 - missing)[:, None] * true + made_up[:, None] * (1 - true), TINY, 1 - TINY)
    return LabelNoise(
        missing=missing,
        wrong=wrong,
        if_absent=(np.log(missing) - np.log1p(-made_up))[:, None] + log_odds,
        if_given=(np.log(made_up) - np.log1p(-missing))[:, None] - log_odds,
        log_likelihood=float((counts.given * np.log(given_proba) + counts.absent * np.log1p(-given_proba)).sum()),
    )


def mean(one: LabelNoise, other: LabelNoise) -> LabelNoise:
    """Return the average of two fits of the same scores: mean rates and mean probabilities of mistakes."""
    return LabelNoise(
        missing=(one.missing + other.missing) / 2,
        wrong=(one.wrong + other.wrong) / 2,
        if_absent=_between(one.if_absent, other.if_absent),
        if_given=_between(one.if_given, other.if_given),
        log_likelihood=max(one.log_likelihood, other.log_likelihood),
    )


def _between(one: ByBin, other: ByBin) -> ByBin:
    """Return the log-odds of the mean of two probabilities given as log-odds; exact also near 0 and 1."""
    yes = np.logaddexp(-np.logaddexp(0, -one), -np.logaddexp(0, -other))
    no = np.logaddexp(-np.logaddexp(0, one), -np.logaddexp(0, other))
    return yes - no


def _start(counts: Counts, n_given: ByLabel) -> _Link:
    """Return a link with the prior slope, and intercepts for which as many labels are true as are given."""
    slope, spread = counts.slope
    own = np.stack([np.zeros(len(n_given)), np.full(len(n_given), slope)])
    link = _Link(own, np.array([0.0, slope]), np.array([2.0, spread]))
    total = counts.absent + counts.given
    for _ in range(20):
        true = link.true(counts.reading)
        too_many = (total * true).sum(axis=1) - n_given - 0.5
        own[0] -= np.clip(too_many / ((total * true * (1 - true)).sum(axis=1) + 0.1), -1, 1)
    known = n_given >= ENOUGH
    link.mean[0] = np.median(own[0, known] if known.any() else own[0])
    return link


def _made_up(wrong: ByLabel, n_given: ByLabel, n: ByLabel) -> ByLabel:
    """Return the share of images without the label that were given it, from the share of wrong given labels."""
    return np.clip(wrong * n_given / np.maximum(n - n_given, 1), 1e-9, MAX_RATE)


def _expected(true: ByBin, missing: ByLabel, made_up: ByLabel) -> tuple[ByBin, ByBin]:
    """Return the probability that an absent label is missing, and that a given label is wrong."""
    forgotten, rightly_absent = missing[:, None] * true, (1 - made_up)[:, None] * (1 - true)
    invented, rightly_given = made_up[:, None] * (1 - true), (1 - missing)[:, None] * true
    return forgotten / (forgotten + rightly_absent), invented / (invented + rightly_given)


def _rate(n_mistakes: ByLabel, of: ByLabel) -> ByLabel:
    """Return the rate of each label, shrunk towards the rate over all labels."""
    usual = (n_mistakes.sum() + PRIOR_WEIGHT * PRIOR_RATE) / (of.sum() + PRIOR_WEIGHT)
    return np.clip((n_mistakes + SHRINKAGE * usual) / (of + SHRINKAGE), 1e-4, MAX_RATE)


def _improve(link: _Link, counts: Counts, n_true: ByBin) -> None:
    """Do two damped Newton steps for the intercept and slope of every label, towards the expected true labels."""
    total, x = counts.absent + counts.given, counts.reading
    for _ in range(2):
        true = link.true(x)
        off, weight = n_true - total * true, total * true * (1 - true)
        pull = (link.own - link.mean[:, None]) / link.deviation[:, None] ** 2
        stiff = 1 / link.deviation**2
        g0, g1 = off.sum(axis=1) - pull[0], (off * x).sum(axis=1) - pull[1]
        h00, h01 = weight.sum(axis=1) + stiff[0], (weight * x).sum(axis=1)
        h11 = (weight * x * x).sum(axis=1) + stiff[1]
        step = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / (h00 * h11 - h01**2)
        link.own += step / np.maximum(np.abs(step).max(axis=0), 1)
        # The slope stays positive: a higher score never makes the label less likely, and the order of images is kept.
        np.maximum(link.own[1], 0.01, out=link.own[1])
