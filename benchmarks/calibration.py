"""Calibration of the probabilities of finished runs, for both forms of the calibration curve.

The curves for each validation photo are fitted without this photo and its copies. ``python benchmarks/calibration.py
RUN...`` prints AUC, log loss and calibration error for each run and form, for two probabilities: "the individual is
known" and "the first name is right".
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fieldmark.decisions.confidence import crossed_confidence
from fieldmark.decisions.ranking import top
from fieldmark.decisions.specs import Isotonic, Logistic
from fieldmark.metrics.calibration import calibration_error
from fieldmark.metrics.open_set import roc_auc
from fieldmark.pipeline.context import Context
from fieldmark.tasks.identification.validation import ValidatedPhotos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    print("| run | form | known: AUC | log loss | error | right: AUC | log loss | error |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in parser.parse_args().runs:
        scored = ValidatedPhotos(Context.open(folder))
        known = scored.truth >= 0
        right = known & (top(scored.scores, k=1)[0][:, 0] == scored.truth)
        groups = scored.known.take(scored.rows).groups
        for by in (Logistic(), Isotonic()):
            confidence = crossed_confidence(scored.scores, scored.truth, by=by, groups=groups)
            pairs = ((confidence.known, known), (confidence.right, right))
            cells = [cell for proba, true in pairs for cell in measures(proba, true)]
            print(f"| {folder.name} | {by.kind} | {' | '.join(cells)} |")


def measures(proba: np.ndarray, true: np.ndarray) -> list[str]:
    """Return AUC, log loss and calibration error of one kind of probability."""
    loss = -np.log(np.where(true, proba, 1 - proba).clip(1e-6)).mean()
    return [f"{value:.3f}" for value in (roc_auc(proba, true), loss, calibration_error(proba, true))]


if __name__ == "__main__":
    main()
