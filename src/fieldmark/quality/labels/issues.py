"""Find label issues, one image and label at a time: missing labels and wrong labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float32

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.labels.noise_model import Groups, Proba, Truth, fit_label_noise, row_blocks

MISSING, WRONG = "missing", "wrong"


def label_error_proba(
    proba: Proba, truth: Truth, *, groups: Groups | None = None, others: bool = True
) -> Float32[np.ndarray, "image label"]:
    """Return the probability that each label is a mistake: missing if it was not given, wrong if it was given.

    The probabilities are comparable between images, labels and both kinds of mistake. Their sum is the expected
    number of mistakes. The simple measure |truth - proba| has neither property. A rare label never gets a high score,
    so all its given labels look wrong and its missing labels are not found.

    Args:
        proba: Out-of-fold probabilities. A network trained on a wrong label would predict it again.
        truth: The given labels, 0 and 1.
        groups: Group number of each image, equal for copies of a picture, as in ``Collection.groups``.
        others: Whether to use the other labels of the image in addition to its scores.

    Returns:
        Probabilities from 0 (correct) to 1 (mistake).

    Raises:
        ShapeError: The matrices differ in shape or are empty, or the number of groups differs from the number of
            images.
        FieldmarkError: ``proba`` has values outside 0 to 1, or ``truth`` has values other than 0 and 1.

    Source:
        Ours; see ``fit_label_noise``.
    """
    model = fit_label_noise(proba, truth, groups=groups, others=others)
    proba, truth = np.asarray(proba), np.asarray(truth)
    issues = np.empty(truth.shape, np.float32)
    for rows in row_blocks(len(truth)):
        issues[rows] = _sigmoid(model.log_odds(proba, truth, rows))
    return issues


def likely_label_errors(
    proba: Proba,
    truth: Truth,
    labels: Sequence[str],
    *,
    most: int = 1000,
    groups: Groups | None = None,
    others: bool = True,
) -> pl.DataFrame:
    """Return the most likely label issues, for a person to check.

    Args:
        proba: Out-of-fold probabilities.
        truth: The given labels, 0 and 1.
        labels: Name of each column.
        most: Maximum number of issues.
        groups: See ``label_error_proba``.
        others: See ``label_error_proba``.

    Returns:
        A table with the columns ``row`` (of the image), ``label``, ``kind`` ("missing": not given but probably
        present; "wrong": given but probably absent), ``given``, ``proba`` and ``label_error_proba``. The rows are
        sorted by ``label_error_proba``, largest first; equal rows are in the order of images, then labels.

    Raises:
        ShapeError: As for ``label_error_proba``, or the number of names differs from the number of columns.
        FieldmarkError: As for ``label_error_proba``, or ``most`` is below 1.
    """
    proba, truth = np.asarray(proba), np.asarray(truth)
    if truth.ndim == 2 and len(labels) != truth.shape[1]:
        raise ShapeError(
            "Argument 'labels' of likely_label_errors() needs one name for every column of 'truth'.",
            got=f"{len(labels)} names, truth {truth.shape}",
            fix="pass vocabulary.tags of the collection that truth comes from.",
        )
    if most < 1:
        raise FieldmarkError(
            "Setting 'most' of likely_label_errors() must be at least 1.", got=most, fix="use most=1000."
        )
    model = fit_label_noise(proba, truth, groups=groups, others=others)
    n_labels = truth.shape[1]
    cell, odds = np.empty(0, np.int64), np.empty(0, np.float32)
    for rows in row_blocks(len(truth)):
        log_odds = model.log_odds(proba, truth, rows).ravel()
        worst = np.arange(len(log_odds)) if len(log_odds) <= most else _largest(log_odds, most)
        cell, odds = np.concatenate([cell, worst + rows[0] * n_labels]), np.concatenate([odds, log_odds[worst]])
        first = np.lexsort((cell, -odds))[:most]
        cell, odds = cell[first], odds[first]
    row, column = np.divmod(cell, n_labels)
    given = truth[row, column].astype(bool)
    return pl.DataFrame(
        {
            "row": row,
            "label": pl.Series([labels[at] for at in column], dtype=pl.String),
            "kind": [WRONG if was_given else MISSING for was_given in given],
            "given": given,
            "proba": proba[row, column].astype(np.float32),
            "label_error_proba": _sigmoid(odds),
        }
    )


def _largest(values: Float32[np.ndarray, " cell"], n: int) -> np.ndarray:
    """Return the positions of the ``n`` largest values; of equal values the first."""
    least = np.partition(values, len(values) - n)[len(values) - n]
    above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
    return np.concatenate([above, equal[: n - len(above)]])


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(log_odds, -80, 80)))
