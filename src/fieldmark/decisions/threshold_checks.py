"""Input checks of ``fit_label_thresholds`` and ``cut``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.decisions.specs import CountMatch, LabelThreshold, Preset, Relative, ThresholdRule

Groups = dict[str, Int[np.ndarray, " label"]]
"""The columns of each label group; every label is in exactly one group."""


def checked_scores(proba: np.ndarray, groups: Groups, names: Sequence[str]) -> Float32[np.ndarray, "image label"]:
    """Return ``proba`` as float32, after checking that groups and names match it."""
    proba = np.asarray(proba)
    if proba.ndim != 2 or not proba.size or not np.issubdtype(proba.dtype, np.floating):
        raise ShapeError(
            "proba must be an (image, label) matrix of scores.",
            got=f"proba {proba.shape} of type {proba.dtype}",
            fix="pass an (image, label) matrix of float32 with at least one of each.",
        )
    if len(names) != proba.shape[1] or len(set(names)) != len(names):
        raise ShapeError(
            "names must hold one unique name per column of the scores.",
            got=f"{proba.shape[1]} columns, {len(names)} names, {len(set(names))} different",
            fix="pass the label names of the vocabulary that made the columns.",
        )
    _check_groups(groups, proba.shape[1])
    proba = np.ascontiguousarray(proba, np.float32)
    if not (np.isfinite(proba.min()) and np.isfinite(proba.max())):  # NaN goes through min and max; no copy is made
        odd = [row for row in range(len(proba)) if not np.isfinite(proba[row]).all()]
        raise FieldmarkError(
            f"The scores of {len(odd)} of {len(proba)} images are not finite numbers.",
            got=several([f"row {row}: {int((~np.isfinite(proba[row])).sum())} of {proba.shape[1]}" for row in odd]),
            fix="check the network's outputs for those images; use score 0 for an impossible label.",
        )
    return proba


def _check_groups(groups: Groups, n_labels: int) -> None:
    mistakes = [f"group {name!r} has no label" for name, columns in groups.items() if not np.size(columns)]
    every = np.concatenate([np.asarray(columns).ravel() for columns in groups.values()]) if groups else np.zeros(0)
    if every.size and not np.issubdtype(every.dtype, np.integer):
        mistakes.append(f"columns of type {every.dtype}")
    else:
        every = every.astype(np.int64)
        mistakes += [f"column {column}: there are {n_labels}" for column in every[(every < 0) | (every >= n_labels)]]
        count = np.bincount(every[(every >= 0) & (every < n_labels)], minlength=n_labels)
        mistakes += [f"column {column}: in {count[column]} groups" for column in np.flatnonzero(count != 1)]
    if mistakes:
        raise ShapeError(
            "Groups must hold every label exactly once.",
            got=several(mistakes),
            fix="pass {name: column numbers}; {'all': np.arange(n_labels)} is one group for all.",
        )


def checked_truth(
    truth: np.ndarray | None, proba: np.ndarray, *, needed: bool, rule: ThresholdRule
) -> np.ndarray | None:
    """Return ``truth`` as booleans of the shape of ``proba``; None is accepted only if truth is not needed."""
    if truth is None:
        if not needed:
            return None
        raise FieldmarkError(
            "This rule needs truth to fit thresholds.",
            got=f"truth=None, rule {rule.kind}",
            fix="pass the true labels of the images, or use Preset, Relative or CountMatch.",
        )
    truth = np.asarray(truth)
    if truth.shape != proba.shape:
        raise ShapeError(
            "truth must have the shape of proba.",
            got=f"proba {proba.shape}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape.",
        )
    if truth.dtype == bool:
        return truth
    blocks = (truth[start : start + 1024] for start in range(0, len(truth), 1024))
    if not all(((block == 0) | (block == 1)).all() for block in blocks):
        raise FieldmarkError(
            "truth must hold only 0 and 1, or booleans.",
            got=f"values from {truth.min()} to {truth.max()}",
            fix="convert soft targets first, for example with truth > 0.5.",
        )
    return truth.astype(bool)


def check_options(*, beta: float, if_empty: float, n_boot: int) -> None:
    """Raise an error if an option of ``fit_label_thresholds`` is out of range."""
    if not (0 < beta < math.inf and 0 <= if_empty <= 1 and n_boot >= 1):
        raise FieldmarkError(
            "An option of fit_label_thresholds() is out of range.",
            got=f"beta={beta}, if_empty={if_empty}, n_boot={n_boot}",
            fix="use beta=2 (iMet) or another positive number, if_empty from 0 to 1, and n_boot=1000.",
        )


def check_rule(rule: ThresholdRule, proba: Float32[np.ndarray, "image label"], groups: Groups) -> None:
    """Raise an error if a rule does not match the scores or the groups."""
    if isinstance(rule, Relative):
        check_not_negative(proba)
    if isinstance(rule, Preset):
        named = {name: threshold for name, threshold in rule.groups.items() if name in groups or name}
        check_names("The preset", named, groups, whole="" not in rule.groups)
    if not isinstance(rule, CountMatch):
        return
    if isinstance(rule.mean, dict):
        check_names("CountMatch", rule.mean, groups)
        sizes = [(name, mean, len(groups[name])) for name, mean in rule.mean.items()]
    else:
        sizes = [("all labels", rule.mean, proba.shape[1])]
    too_many = [f"{name}: {mean} of {size}" for name, mean, size in sizes if mean >= size]
    if too_many:
        raise FieldmarkError(
            "CountMatch: the mean must be below the number of labels.",
            got=several(too_many),
            fix="use a smaller mean, for example the mean number of labels per training photo.",
        )


def check_names(
    what: str, named: dict[str, LabelThreshold] | dict[str, float], groups: Groups, *, whole: bool = True
) -> None:
    """Raise an error for settings of unknown groups and, with ``whole``, for groups without settings."""
    if not set(named) <= set(groups) or (whole and set(named) != set(groups)):
        raise FieldmarkError(
            f"{what} must name exactly the existing label groups.",
            got=f"named: {', '.join(sorted(named)) or 'none'}; groups: {', '.join(sorted(groups))}",
            fix=f"set one threshold for each of: {', '.join(sorted(groups))}.",
        )


def check_not_negative(proba: Float32[np.ndarray, "image label"]) -> None:
    """Raise an error for negative scores."""
    if proba.min() < 0:
        raise FieldmarkError(
            "The rule 'relative' needs scores of at least 0.",
            got=f"scores from {proba.min():.4g} to {proba.max():.4g}",
            fix="pass probabilities (after the sigmoid), or use another rule.",
        )
