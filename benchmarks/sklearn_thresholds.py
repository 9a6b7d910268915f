"""Claim: on the same scores our thresholds reach a higher mean F2 than scikit-learn's tuned thresholds.

Run ``OMP_NUM_THREADS=1 python benchmarks/sklearn_thresholds.py [--labels 60] [--rows 4000]``. Two parts:

1. The defect. ``OneVsRestClassifier(TunedThresholdClassifierCV(...))`` is the usual combination. It fits a threshold
   for each label, but then predicts with 0.5 (0 for decision functions), because one-vs-rest uses the probabilities of
   the estimators and not their predictions. This is shown on logistic regressions over simulated features.
2. A fair use. The thresholds of ``TunedThresholdClassifierCV`` for each label (F2 of the label) are applied by hand, to
   the same scores that ``fit_label_thresholds`` gets: those of the regressions and, for all labels, the simulated iMet
   scores of ``benchmarks/thresholds.py``. They are also measured with our global threshold for rare labels, because
   their own thresholds are very inaccurate.

Thresholds are fitted on one half of the images and applied to the other: mean F2 over images, 95 % intervals.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier

from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds
from fieldmark.decisions.specs import GlobalF2, GroupF2, LabelF2
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.labels import f_beta_per_image
from thresholds import imet, simulated


def f2(truth: np.ndarray, answer: np.ndarray) -> float:
    """Return F2 of one label, like ``fbeta_score(beta=2, zero_division=0)`` but a hundred times faster."""
    truth, answer = truth.astype(bool), answer.astype(bool)
    return 5 * (truth & answer).sum() / max(4 * truth.sum() + answer.sum(), 1)


F2 = make_scorer(f2)


class Column(ClassifierMixin, BaseEstimator):
    """A classifier that returns its single input column as the probability, for existing scores."""

    def fit(self, scores: np.ndarray, truth: np.ndarray) -> Column:  # noqa: ARG002 - the interface passes truth
        """Set the attributes of a fitted classifier."""
        self.classes_ = np.array([False, True])
        self.n_features_in_ = scores.shape[1]
        return self

    def predict_proba(self, scores: np.ndarray) -> np.ndarray:
        """Return the scores unchanged."""
        return np.column_stack([1 - scores[:, 0], scores[:, 0]])

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Return the predictions at a threshold of 0.5."""
        return scores[:, 0] > 0.5


def report(what: str, answer: np.ndarray, truth: np.ndarray, seconds: float | None = None) -> None:
    found = interval(f_beta_per_image(answer, truth))
    clock = "" if seconds is None else f", {seconds:.1f} CPU-s"
    print(f"  {what:<52} F2 {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), ", end="")
    print(f"{answer.sum(axis=1).mean():.2f} labels{clock}")


def by_hand(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return scikit-learn's threshold for each label on these scores; 0.5 for a label without photos."""
    at = np.full(truth.shape[1], 0.5)
    for label in np.flatnonzero(truth.any(axis=0)):
        one = scores[:, [label]].astype(np.float64)
        tuner = TunedThresholdClassifierCV(Column().fit(one, truth[:, label]), scoring=F2, cv="prefit", refit=False)
        at[label] = tuner.fit(one, truth[:, label]).best_threshold_
    return at


def compared(scores: np.ndarray, truth: np.ndarray, new: np.ndarray, new_truth: np.ndarray, groups: dict) -> None:
    """Print all rules, fitted on ``scores`` and applied to ``new``."""
    report("0.5 for all", new > 0.5, new_truth)
    names = [str(label) for label in range(truth.shape[1])]
    options = {"groups": groups, "names": names}
    start = time.process_time()
    at = by_hand(scores, truth)
    theirs = new >= at
    report("TunedThresholdClassifierCV per label, by hand", theirs, new_truth, time.process_time() - start)
    one_for_all = fit_label_thresholds(GlobalF2(), scores, truth, **options, parts=0)
    at[truth.sum(axis=0) < 30] = one_for_all.groups["tag"].at
    helped = new >= at
    report("the same, our global threshold below 30 photos", helped, new_truth)
    best_theirs = max(theirs, helped, key=lambda answer: f_beta_per_image(answer, new_truth).mean())
    for rule in (GlobalF2(), GroupF2(), LabelF2()):
        start = time.process_time()
        found = fit_label_thresholds(rule, scores, truth, **options, parts=0)
        ours = cut(found, new, **options)
        report(f"fit_label_thresholds, {rule.kind}", ours, new_truth, time.process_time() - start)
        gain = interval(f_beta_per_image(ours, new_truth) - f_beta_per_image(best_theirs, new_truth))
        print(f"    gain over the better of theirs {gain.value:.4f} ({gain.low:.4f} to {gain.high:.4f})")


def defect(truth: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measure one-vs-rest with the tuner; return out-of-fold scores of the first half and scores of the second."""
    chance = np.random.default_rng(seed)
    places = chance.normal(size=(truth.shape[1], 64))
    features = truth @ places + 3.0 * chance.normal(size=(len(truth), 64))
    half = len(truth) // 2
    tuner = TunedThresholdClassifierCV(LogisticRegression(max_iter=500), scoring=F2, cv=5)
    start = time.process_time()
    model = OneVsRestClassifier(tuner).fit(features[:half], truth[:half])
    seconds = time.process_time() - start
    answer = model.predict(features[half:]).astype(bool)
    own = np.column_stack([one.predict(features[half:]) for one in model.estimators_]).astype(bool)
    proba = model.predict_proba(features[half:])
    at = np.array([one.best_threshold_ for one in model.estimators_])
    print(f"  thresholds it fitted: {at.min():.3f} to {at.max():.3f}, median {np.median(at):.3f}")
    n_own, n_answer = (given.sum(axis=1).mean() for given in (own, answer))
    print(f"  labels per image: predictions of its estimators {n_own:.2f}, its predictions {n_answer:.2f}")
    print(f"  its predictions are 'probability > 0.5' in {(answer == (proba > 0.5)).mean():.2%} of all cells;", end=" ")
    print(f"{(answer & own).sum() / (answer | own).sum():.1%} of the predicted labels are predicted by both")
    report("one-vs-rest of TunedThresholdClassifierCV", answer, truth[half:], seconds)
    report("the same, predictions of its estimators", own, truth[half:])
    plain = OneVsRestClassifier(LogisticRegression(max_iter=500))
    known = cross_val_predict(plain, features[:half], truth[:half], cv=5, method="predict_proba")
    return known.astype(np.float32), proba.astype(np.float32)


def main() -> None:
    warnings.filterwarnings("ignore", module="sklearn")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    data = Path(os.environ.get("FIELDMARK_DATA", here.parent.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data / "meta_imet2019")
    parser.add_argument(
        "--labels", type=int, default=60, help="number of labels of the first part, the most frequent ones"
    )
    parser.add_argument("--rows", type=int, default=6000, help="images of the first part")
    parser.add_argument("--wide-rows", type=int, default=20000, help="images of the second part")
    parser.add_argument("--seed", type=int, default=0)
    choice = parser.parse_args()

    truth, names, groups = imet(choice.data)
    order = np.random.default_rng(choice.seed).permutation(len(truth))
    frequent = np.sort(np.argsort(-truth.sum(axis=0), kind="stable")[: choice.labels])
    some = truth[order[: choice.rows]][:, frequent]
    culture = np.array([names[label].startswith("culture::") for label in frequent])
    few_groups = {"culture": np.flatnonzero(culture), "tag": np.flatnonzero(~culture)}
    half = len(some) // 2

    print(f"1. one-vs-rest, logistic regressions, {choice.labels} labels, {half:,} images and as many to evaluate")
    known, new = defect(some, seed=choice.seed)
    print("\n2a. the scores of those regressions (out-of-fold for tuning)")
    compared(known, some[:half], new, some[half:], few_groups)

    wide = truth[order[: choice.wide_rows]]
    proba = np.mean(simulated(wide, seed=choice.seed), axis=0)
    half = len(wide) // 2
    print(
        f"\n2b. simulated scores of iMet 2019, {len(names):,} labels, {half:,} images to tune and as many to evaluate"
    )
    compared(proba[:half], wide[:half], proba[half:], wide[half:], groups)


if __name__ == "__main__":
    main()
