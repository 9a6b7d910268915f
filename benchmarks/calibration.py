"""How honest the probabilities of finished runs are, by either form of the curve.

Each validation photo is judged by curves learnt without it and without its copies. ``python benchmarks/calibration.py
RUN...`` prints for each run and form: of "the animal is known" and of "the first name is right" the AUC, the log loss
and the calibration error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fieldmark.stages.engine import open_run

from fieldmark.decisions.confidence import crossed_confidence
from fieldmark.decisions.ranking import top
from fieldmark.decisions.specs import Isotonic, Logistic
from fieldmark.metrics.calibration import calibration_error
from fieldmark.metrics.open_set import roc_auc
from fieldmark.tasks.identification.report import Judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    print("| run | form | known: AUC | log loss | error | right: AUC | log loss | error |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in parser.parse_args().runs:
        judged = Judged(open_run(folder))
        known = judged.truth >= 0
        right = known & (top(judged.scores, k=1)[0][:, 0] == judged.truth)
        groups = judged.known.take(judged.rows).groups
        for by in (Logistic(), Isotonic()):
            sure = crossed_confidence(judged.scores, judged.truth, by=by, groups=groups)
            cells = [cell for told, so in ((sure.known, known), (sure.right, right)) for cell in honest(told, so)]
            print(f"| {folder.name} | {by.kind} | {' | '.join(cells)} |")


def honest(proba: np.ndarray, so: np.ndarray) -> list[str]:
    """AUC, log loss and calibration error of one kind of probability."""
    loss = -np.log(np.where(so, proba, 1 - proba).clip(1e-6)).mean()
    return [f"{value:.3f}" for value in (roc_auc(proba, so), loss, calibration_error(proba, so))]


if __name__ == "__main__":
    main()
