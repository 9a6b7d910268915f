"""Which given labels are doubtful, cell by cell: labels that were forgotten, and labels that are wrong."""

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
    """How likely each given label is a mistake: missing where it was not given, wrong where it was.

    The numbers can be compared between images, labels and both kinds of mistake, and their sum is the number of
    mistakes to expect. |truth - proba| cannot: a rare label never scores high, so all its given labels look wrong
    and none of its forgotten ones is found.

    Args:
        proba: Out-of-fold probabilities; networks that have seen the label in training have made up excuses for it.
        truth: The given labels, 0 and 1.
        groups: A number for each image, similar for copies of a picture, as ``Collection.groups``.
        others: Whether the image's other labels are heard, beside the scores.

    Returns:
        0 (surely right) to 1 (surely a mistake).

    Raises:
        ShapeError: The matrices differ in shape or are empty, or there is not one group for each image.
        FieldmarkError: A value is no probability or no truth.

    Source:
        Ours; see ``judge``.
    """
    opinion = fit_label_noise(proba, truth, groups=groups, others=others)
    proba, truth = np.asarray(proba), np.asarray(truth)
    issues = np.empty(truth.shape, np.float32)
    for rows in row_blocks(len(truth)):
        issues[rows] = _sigmoid(opinion.log_odds(proba, truth, rows))
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
    """The most doubtful given labels, for people to look at.

    Args:
        proba: Out-of-fold probabilities.
        truth: The given labels, 0 and 1.
        labels: Name of each column.
        most: How many to list.
        groups: As for ``label_error_proba``.
        others: As for ``label_error_proba``.

    Returns:
        ``row`` (of the image), ``label``, ``kind`` ("missing": not given and perhaps there; "wrong": given and
        perhaps not there), ``given`` (whether it was), ``proba`` and ``label_error_proba``. The most doubtful first; of equal ones
        the earlier image, then the earlier label.

    Raises:
        ShapeError: As ``label_error_proba``, or there is not one name for each column.
        FieldmarkError: As ``label_error_proba``, or ``most`` is below 1.
    """
    proba, truth = np.asarray(proba), np.asarray(truth)
    if truth.ndim == 2 and len(labels) != truth.shape[1]:
        raise ShapeError(
            "likely_label_errors() needs one name for every label.",
            got=f"{len(labels)} names, truth {truth.shape}",
            fix="pass vocabulary.tags of the collection that truth comes from.",
        )
    if most < 1:
        raise FieldmarkError("likely_label_errors() lists at least one label.", got=most, fix="use most=1 or more.")
    opinion = fit_label_noise(proba, truth, groups=groups, others=others)
    n_labels = truth.shape[1]
    cell, odds = np.empty(0, np.int64), np.empty(0, np.float32)
    for rows in row_blocks(len(truth)):
        fresh = opinion.log_odds(proba, truth, rows).ravel()
        worst = np.arange(len(fresh)) if len(fresh) <= most else _largest(fresh, most)
        cell, odds = np.concatenate([cell, worst + rows[0] * n_labels]), np.concatenate([odds, fresh[worst]])
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
    """Places of the ``n`` largest, of equal ones the first."""
    least = np.partition(values, len(values) - n)[len(values) - n]
    above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
    return np.concatenate([above, equal[: n - len(above)]])


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(log_odds, -80, 80)))
