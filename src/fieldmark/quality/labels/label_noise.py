"""How often each label is forgotten or made up: a small model of labelling, fitted to scores and given labels.

Each cell (image, label) has a hidden truth. The score says how likely it is: ``sigmoid(intercept + slope * reading)``.
Whoever labelled the image forgot some true labels and made up some false ones. From these four numbers a label follows
how likely each given label is a mistake. A label of eight images cannot tell its four numbers; it leans on what the
labels have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

ROUNDS = 40
WARM_UP = 5
"""Rounds before the labels' common intercept and slope are learned from the labels themselves."""
USUAL = 0.1
"""Rate of mistakes believed before the data speak, with the weight of ``USUAL_WEIGHT`` labels given."""
USUAL_WEIGHT = 200.0
LEAN = 20.0
"""So many given labels of its own weigh as much to a label as what is usual among all labels."""
MOST = 0.5
"""A label that is forgotten more often than given cannot be told from a rarer one that is not."""
ENOUGH = 30
"""Given labels from which on a label has a say in what is usual, where ``ENOUGH_LABELS`` have so many."""
ENOUGH_LABELS = 10
LEAST_DEVIATION = np.array([0.3, 0.1])
"""Of intercepts and slopes between labels: labels are never quite similar."""
TINY = 1e-12

ByLabel = Float64[np.ndarray, " label"]
ByBin = Float64[np.ndarray, "label bin"]


@dataclass(frozen=True)
class Counts:
    """Images in each bin of the score of each label.

    Attributes:
        absent: Those the label was not given.
        given: Those it was given.
        reading: What a score in that bin says, rising from bin to bin.
        slope: Mean and deviation of what ``reading`` is to be multiplied with to become log-odds of the truth, as
            believed before the data speak.
    """

    absent: ByBin
    given: ByBin
    reading: ByBin
    slope: tuple[float, float]


@dataclass(frozen=True)
class LabelNoise:
    """What was found about each label.

    Attributes:
        missing: Share of the images that show the label and were not given it.
        wrong: Share of the images given the label that do not show it.
        if_absent: Log-odds that the label is missing where it was not given, for each bin of the score.
        if_given: Log-odds that it is wrong where it was given.
        log_likelihood: Of the given labels, in nats; of two readings that of the likelier.
    """

    missing: ByLabel
    wrong: ByLabel
    if_absent: ByBin
    if_given: ByBin
    log_likelihood: float


@dataclass
class _Link:
    """Intercept and slope of each label (rows of ``own``), and their mean and deviation over the labels."""

    own: Float64[np.ndarray, "2 label"]
    mean: Float64[np.ndarray, " 2"]
    deviation: Float64[np.ndarray, " 2"]

    def log_odds(self, reading: ByBin) -> ByBin:
        """Log-odds that the label is true in each bin."""
        return np.clip(self.own[0][:, None] + self.own[1][:, None] * reading, -50, 50)

    def true(self, reading: ByBin) -> ByBin:
        """How likely the label is true in each bin."""
        return 1 / (1 + np.exp(-self.log_odds(reading)))


def fit_rates(counts: Counts) -> LabelNoise:
    """The likeliest rates, by expectation and maximisation, with priors learned from all labels.

    Returns:
        Rates and issues, finite also for labels that nobody or everybody has.

    Source:
        The errors are those of Dawid and Skene 1979 with one annotator, and a logistic of the score is the truth's
        prior as in Raykar et al. 2010 (JMLR 11, section 2); the priors between labels are ours.
    """
    n_given, n = counts.given.sum(axis=1), (counts.absent + counts.given).sum(axis=1)
    link = _start(counts, n_given)
    missing, wrong = np.full(len(n), USUAL), np.full(len(n), USUAL)
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
    says_yes = np.clip((1 - missing)[:, None] * true + made_up[:, None] * (1 - true), TINY, 1 - TINY)
    return LabelNoise(
        missing=missing,
        wrong=wrong,
        if_absent=(np.log(missing) - np.log1p(-made_up))[:, None] + log_odds,
        if_given=(np.log(made_up) - np.log1p(-missing))[:, None] - log_odds,
        log_likelihood=float((counts.given * np.log(says_yes) + counts.absent * np.log1p(-says_yes)).sum()),
    )


def mean(one: LabelNoise, other: LabelNoise) -> LabelNoise:
    """What two readings of the same scores say together: the mean of their rates and of their issues."""
    return LabelNoise(
        missing=(one.missing + other.missing) / 2,
        wrong=(one.wrong + other.wrong) / 2,
        if_absent=_between(one.if_absent, other.if_absent),
        if_given=_between(one.if_given, other.if_given),
        log_likelihood=max(one.log_likelihood, other.log_likelihood),
    )


def _between(one: ByBin, other: ByBin) -> ByBin:
    """Log-odds of the mean of two probabilities, both given as log-odds; exact also near 0 and 1."""
    yes = np.logaddexp(-np.logaddexp(0, -one), -np.logaddexp(0, -other))
    no = np.logaddexp(-np.logaddexp(0, one), -np.logaddexp(0, other))
    return yes - no


def _start(counts: Counts, n_given: ByLabel) -> _Link:
    """A link with the believed slope, and intercepts by which as many labels are true as are given."""
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
    """Share of the images without the label that are given it, from the share of wrong ones among the given."""
    return np.clip(wrong * n_given / np.maximum(n - n_given, 1), 1e-9, MOST)


def _expected(true: ByBin, missing: ByLabel, made_up: ByLabel) -> tuple[ByBin, ByBin]:
    """How likely a label that was not given is forgotten, and one that was given invented."""
    forgotten, rightly_absent = missing[:, None] * true, (1 - made_up)[:, None] * (1 - true)
    invented, rightly_given = made_up[:, None] * (1 - true), (1 - missing)[:, None] * true
    return forgotten / (forgotten + rightly_absent), invented / (invented + rightly_given)


def _rate(n_mistakes: ByLabel, of: ByLabel) -> ByLabel:
    """The rate of each label, leaning on the rate of all."""
    usual = (n_mistakes.sum() + USUAL_WEIGHT * USUAL) / (of.sum() + USUAL_WEIGHT)
    return np.clip((n_mistakes + LEAN * usual) / (of + LEAN), 1e-4, MOST)


def _improve(link: _Link, counts: Counts, n_true: ByBin) -> None:
    """Two careful Newton steps of every label's intercept and slope towards the expected number of true labels."""
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
        # A rising reading never speaks against its label; a little slope keeps the order within a label.
        np.maximum(link.own[1], 0.01, out=link.own[1])
