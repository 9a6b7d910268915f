"""An opinion of every given label, from out-of-fold scores and from the labels that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.quality.labels.company import Company, company
from fieldmark.quality.labels.inputs import ROW_BLOCK, SMALLEST, check_pair
from fieldmark.quality.labels.label_noise import ByBin, ByLabel, Counts, LabelNoise, fit_rates, mean

Proba = Float[np.ndarray, "image label"]
Truth = Bool[np.ndarray, "image label"]
Groups = Int[np.ndarray, " image"]
Rows = Int64[np.ndarray, " row"]
LogOdds = Float32[np.ndarray, "row label"]

LOGIT_SLOPE, RANK_SLOPE = (1.0, 0.7), (3.0, 2.0)
"""Mean and deviation of the slope believed at first. The logits of a calibrated network need one of 1."""
HEARD = (0.5, 1.0, 1.5, 2.0, 3.0)
"""How much the other labels of an image may count beside its score, tried in this order while it helps."""
N_BINS = 257
N_TRIAL_ROWS = 20_000
"""Images on which it is settled how much other labels count."""
NARROWEST = 1e-3
"""Range of the evidence of a label whose scores are all similar."""


@dataclass(frozen=True)
class LabelNoiseModel:
    """A fitted opinion of every given label. Made by ``judge``.

    Attributes:
        noise: Rates of mistakes of each label (``missing``, ``wrong``), and its issues for each bin of the evidence.
        low: Evidence in the first bin of each label.
        step: Width of its bins.
        heard: How much the other labels of an image count beside its score; 0: not at all.
        company: What labels say about each other; None where that is not heard.
    """

    noise: LabelNoise
    low: ByLabel
    step: ByLabel
    heard: float
    company: Company | None

    def log_odds(self, proba: Proba, truth: Truth, rows: Rows) -> LogOdds:
        """Log-odds that a given label is a mistake, for some of the images that were judged.

        Args:
            proba: The matrix that was judged.
            truth: Its given labels.
            rows: Which images to tell of.
        """
        place = (_evidence(proba, truth, rows, self.company, self.heard) - self.low) / self.step
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
    """Learn how far each given label is to be trusted.

    What is known about a cell is its score, and what the image's other labels let expect. How much the others count
    is settled by the data: the measure under which the given labels are likeliest is taken. This evidence is read in
    two ways, as log-odds and as a mere order, and the issues of both are averaged. Log-odds are right for networks
    that know little of the noise; those that have learned it put a floor under their scores, which only an order does
    not see. The mean is never far from the better of the two.

    Args:
        proba: Out-of-fold: a network that was trained on a wrong label repeats it.
        truth: The given labels, 0 and 1.
        groups: A number for each image, similar for copies of a picture, as ``Collection.groups``; copies carry the
            same mistakes and are not asked about each other.
        others: Whether to hear the other labels of an image at all.

    Raises:
        ShapeError: The matrices differ in shape or are empty, or there is not one group for each image.
        FieldmarkError: A value is no probability or no truth.

    Source:
        Ours; the parts are in ``label_noise`` and ``company``.
    """
    proba, truth = check_pair(proba, truth, who="judge()")
    if groups is not None and np.shape(groups) != (len(truth),):
        raise ShapeError(
            "judge() needs one group for every image.",
            got=f"groups {np.shape(groups)}, truth {truth.shape}",
            fix="pass Collection.groups of the same photos, or leave groups out.",
        )
    learned = company(truth, groups=groups) if others and truth.shape[1] > 1 else None
    trial = np.unique(np.linspace(0, len(truth) - 1, min(N_TRIAL_ROWS, len(truth))).astype(np.int64))

    best = _judge(proba, truth, trial, None, 0.0)
    for heard in HEARD if learned is not None else ():
        louder = _judge(proba, truth, trial, learned, heard)
        if louder.noise.log_likelihood <= best.noise.log_likelihood:
            break
        best = louder
    if len(trial) == len(truth):
        return best
    return _judge(proba, truth, np.arange(len(truth)), best.company, best.heard)


def row_blocks(n_images: int) -> Iterator[Rows]:
    """Row numbers, some thousand at a time."""
    for start in range(0, n_images, ROW_BLOCK):
        yield np.arange(start, min(start + ROW_BLOCK, n_images))


def _judge(proba: np.ndarray, truth: np.ndarray, rows: Rows, learned: Company | None, heard: float) -> LabelNoiseModel:
    """The opinion that hears other labels so much, learned from those images."""
    n_labels = truth.shape[1]
    low, high = np.full(n_labels, np.inf), np.full(n_labels, -np.inf)
    for block in row_blocks(len(rows)):
        evidence = _evidence(proba, truth, rows[block], learned, heard)
        low, high = np.minimum(low, evidence.min(axis=0)), np.maximum(high, evidence.max(axis=0))
    step = np.maximum(high - low, NARROWEST) / (N_BINS - 1)

    counts = np.zeros((2, n_labels * N_BINS))
    for block in row_blocks(len(rows)):
        evidence = _evidence(proba, truth, rows[block], learned, heard)
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
    return LabelNoiseModel(noise=noise, low=low, step=step, heard=heard, company=learned)


def _evidence(proba: np.ndarray, truth: np.ndarray, rows: Rows, learned: Company | None, heard: float) -> LogOdds:
    """The log-odds of the score, and on top what the other labels let expect."""
    clipped = np.clip(proba[rows].astype(np.float32, copy=False), SMALLEST, 1 - SMALLEST)
    evidence = np.log(clipped) - np.log1p(-clipped)
    if learned is not None:
        evidence += np.float32(heard) * learned.lift(truth, rows)
    return evidence


def _normal_score(absent: ByBin, given: ByBin) -> ByBin:
    """Where a bin stands among the images on the scale of a normal law; 0 where as many lie above as have the label."""
    total = absent + given
    n = total.sum(axis=1, keepdims=True)
    below = (np.cumsum(total, axis=1) - total / 2 + 0.25) / (n + 0.5)
    share = (given.sum(axis=1, keepdims=True) + 0.5) / (n + 1)
    log_odds, scores = _normal_law()
    place = np.interp(np.log(below) - np.log1p(-below), log_odds, scores)
    return place - np.interp(np.log1p(-share) - np.log(share), log_odds, scores)


@cache
def _normal_law() -> tuple[Float64[np.ndarray, " knot"], Float64[np.ndarray, " knot"]]:
    """Log-odds of a share, and the point of the normal law that has so much below it."""
    left = np.linspace(-25, 0, 1001)
    below = [NormalDist().inv_cdf(1 / (1 + float(np.exp(-log_odds)))) for log_odds in left]
    return np.concatenate([left, -left[-2::-1]]), np.concatenate([below, -np.array(below)[-2::-1]])
