"""Thresholds per label group or label, fitted on out-of-fold scores, and the labels they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.core.seeds import generator
from fieldmark.decisions.specs import (
    GlobalF2,
    GroupF2,
    LabelF2,
    LabelThreshold,
    LabelThresholds,
    MeanWithInterval,
    Preset,
    Relative,
    ThresholdRule,
)
from fieldmark.decisions.threshold_checks import (
    Groups,
    check_names,
    check_not_negative,
    check_options,
    check_rule,
    checked_scores,
    checked_truth,
)

ROWS_AT_ONCE = 2048
DRAWS_AT_ONCE = 100


def fit_label_thresholds(  # noqa: PLR0913 - options, all by keyword
    rule: ThresholdRule,
    proba: Float[np.ndarray, "image label"],
    truth: Bool[np.ndarray, "image label"] | None,
    *,
    groups: Groups,
    names: Sequence[str],
    beta: float = 2.0,
    if_empty: float = 0.0,
    parts: int | Int[np.ndarray, " image"] = 5,
    seed: int = 0,
    n_boot: int = 1000,
    photo_groups: Int[np.ndarray, " image"] | None = None,
) -> LabelThresholds:
    """Fit the label thresholds of ``rule`` on scores of labelled images.

    The measure is F-beta of each image's labels, averaged over images, so every image has the same weight. Pass
    out-of-fold scores: from networks that were not trained on the image. Thresholds still overfit slightly to the
    images they were fitted on. So ``crossed`` is the number to report: the images are split into parts, and each part
    is evaluated with thresholds fitted on the other parts.

    Args:
        rule: See ``fieldmark.decisions.specs.ThresholdRule``.
        proba: Scores, read as float32; any finite numbers (``Relative`` needs at least 0).
        truth: Which labels are correct. ``Preset``, ``Relative`` and ``CountMatch`` also work without (None); then
            nothing is measured.
        groups: The columns of each label group.
        names: Label names, one per column.
        beta: A missed label weighs ``beta`` squared times as much as a wrong one.
        if_empty: F-beta of an image without any correct and any predicted label.
        parts: Number of random parts for ``crossed``; or the part of each image, to keep related photos together
            (encounters, copies); 0: ``crossed`` is not measured.
        seed: Random seed of parts and intervals; the thresholds do not depend on it.
        n_boot: Number of bootstrap samples.
        photo_groups: A number that photos of one group share (``Collection.groups``): they are resampled together and
            are in the same part. None: each photo by itself.

    Returns:
        The thresholds with their measures. A threshold is halfway between two scores; of equally good ones the highest
        is chosen.

    Raises:
        ShapeError: The arrays, names or groups do not match or are empty.
        FieldmarkError: A score is not finite, truth is missing where it is needed or contains values other than 0 and
            1, or an option is out of range.

    Source:
        Preset with least and most: iMet 2019, 1st place; relative: 6th place; count match: 22nd place; thresholds per
        label by coordinate ascent: Fan and Lin 2007. The exact searches, shrinking and ``crossed`` are ours.
    """
    needs_truth = isinstance(rule, GlobalF2 | GroupF2 | LabelF2)
    proba = checked_scores(proba, groups, names)
    truth = checked_truth(truth, proba, needed=needs_truth, rule=rule)
    groups = {name: np.asarray(columns, np.int64) for name, columns in groups.items()}
    check_options(beta=beta, if_empty=if_empty, n_boot=n_boot)
    check_rule(rule, proba, groups)
    member = np.arange(len(proba)) if photo_groups is None else np.unique(photo_groups, return_inverse=True)[1]
    part_of = _parts(parts, len(proba), seed, member) if needs_truth else None
    photos = _Photos(proba, truth, groups, tuple(names), float(beta), float(if_empty))
    all_rows = np.arange(len(proba))
    thresholds = photos.find(rule, all_rows)
    per_image, n_given = photos.evaluate(thresholds, all_rows)
    figures: dict[str, float | MeanWithInterval] = {"mean_labels": float(n_given.mean())}
    if truth is not None:
        figures["fitted"] = _estimate(per_image, member, n_boot=n_boot, seed=seed)
    if truth is not None and not needs_truth:
        figures["crossed"] = figures["fitted"]
    if part_of is not None:
        for part in np.unique(part_of):
            here = np.flatnonzero(part_of == part)
            per_image[here], _ = photos.evaluate(photos.find(rule, np.flatnonzero(part_of != part)), here)
        figures["crossed"] = _estimate(per_image, member, n_boot=n_boot, seed=seed)
    return thresholds.model_copy(update=figures)


def cut(
    thresholds: LabelThresholds, proba: Float[np.ndarray, "image label"], *, groups: Groups, names: Sequence[str]
) -> Bool[np.ndarray, "image label"]:
    """Return which labels each image gets.

    In every group, an image gets the labels above their threshold that are among the ``most`` highest of the group. It
    always gets the ``least`` highest. Labels of equal score are in the order of ``groups``. A score must be above the
    threshold; both are compared as float32.

    Args:
        thresholds: From ``fit_label_thresholds``.
        proba: Scores, read as float32.
        groups: The columns of each label group, as when the thresholds were fitted.
        names: Label names, one per column.

    Raises:
        ShapeError: Scores, names and groups do not match or are empty.
        FieldmarkError: A score is not finite, or the thresholds belong to other groups or labels.

    Source:
        iMet 2019, 1st place (``binarize_predictions``); there a least of 0 gave every label where it was not handled.
    """
    proba = checked_scores(proba, groups, names)
    groups = {name: np.asarray(columns, np.int64) for name, columns in groups.items()}
    check_names("LabelThresholds", thresholds.groups, groups, whole=thresholds.times is None)
    if thresholds.times is not None:
        check_not_negative(proba)
    not_in_scores = sorted(set(thresholds.labels) - set(names))
    if not_in_scores:
        raise FieldmarkError(
            "Some labels of the thresholds are not in the scores.",
            got=several(not_in_scores),
            fix="pass the names of the vocabulary that the thresholds were fitted with.",
        )
    return np.concatenate(list(_answers(thresholds, proba, np.arange(len(proba)), groups=groups, names=names)))


@dataclass(frozen=True)
class _Photos:
    """Checked scores and truth, with the settings of the measure."""

    proba: np.ndarray
    truth: np.ndarray | None
    groups: Groups
    names: tuple[str, ...]
    beta: float
    if_empty: float

    def find(self, rule: ThresholdRule, rows: np.ndarray) -> LabelThresholds:
        """Return the thresholds for ``rows``, without measures."""
        groups, labels = self._search(rule, rows)
        return LabelThresholds(
            kind=rule.kind,
            groups=groups,
            labels={self.names[label]: at for label, at in labels.items()},
            times=rule.times if isinstance(rule, Relative) else None,
            beta=self.beta,
            n_images=len(rows),
            mean_labels=0.0,
        )

    def _search(self, rule: ThresholdRule, rows: np.ndarray) -> tuple[dict[str, LabelThreshold], dict[int, float]]:
        """Return thresholds by group, and by label (column)."""
        if isinstance(rule, Preset):
            return {name: rule.groups.get(name) or rule.groups[""] for name in self.groups}, {}
        if isinstance(rule, Relative):
            return {}, {}
        from fieldmark.decisions import threshold_search as search  # imports numba, which cut() does not need
        from fieldmark.decisions.per_label_thresholds import label_thresholds
        from fieldmark.decisions.threshold_limits import limited_thresholds

        truth = np.zeros(self.proba.shape, bool) if self.truth is None else self.truth
        sheet = search.SortedSheet(search.SearchSheet(self.proba, truth, rows, self.groups, self.beta, self.if_empty))
        every = tuple(self.groups)
        if isinstance(rule, LabelF2):
            return label_thresholds(sheet, rule)
        if isinstance(rule, GroupF2) and rule.limits:
            return limited_thresholds(sheet, rule), {}
        if isinstance(rule, GroupF2):
            at = search.group_thresholds(sheet)
        elif isinstance(rule, GlobalF2):
            at = dict.fromkeys(every, sheet.best_threshold(every, sheet.nothing()))
        elif isinstance(rule.mean, dict):
            at = {name: search.count_threshold(sheet, (name,), mean) for name, mean in rule.mean.items()}
        else:
            at = dict.fromkeys(every, search.count_threshold(sheet, every, rule.mean))
        return {name: LabelThreshold(at=value) for name, value in at.items()}, {}

    def evaluate(self, thresholds: LabelThresholds, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return F-beta of each image, as in ``metrics.labels`` (zeros without truth), and its number of labels."""
        per_image, n_given, start = np.zeros(len(rows)), np.zeros(len(rows), np.int64), 0
        weight = self.beta * self.beta
        for answer in _answers(thresholds, self.proba, rows, groups=self.groups, names=self.names):
            here = slice(start, start + len(answer))
            start = here.stop
            n_given[here] = np.count_nonzero(answer, axis=1)
            if self.truth is None:
                continue
            right = self.truth[rows[here]]
            found = np.count_nonzero(answer & right, axis=1)
            divisor = weight * np.count_nonzero(right, axis=1) + n_given[here]
            empty = np.full(len(answer), self.if_empty)
            per_image[here] = np.divide((1 + weight) * found, divisor, out=empty, where=divisor > 0)
        return per_image, n_given


def _answers(
    thresholds: LabelThresholds, proba: np.ndarray, rows: np.ndarray, *, groups: Groups, names: Sequence[str]
) -> Iterator[np.ndarray]:
    """Yield the labels given to ``rows``, in blocks."""
    at = np.zeros(len(names), np.float32)
    for name, threshold in thresholds.groups.items():
        at[groups[name]] = threshold.at
    if thresholds.labels:
        column_of = {name: column for column, name in enumerate(names)}
        at[[column_of[name] for name in thresholds.labels]] = list(thresholds.labels.values())
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = proba[rows[start : start + ROWS_AT_ONCE]]
        if thresholds.times is None:
            given = block > at
        else:
            given = block > block.max(axis=1, keepdims=True) / np.float32(thresholds.times)
        for name, threshold in thresholds.groups.items():
            if threshold.least or threshold.most is not None:
                of_group = block[:, groups[name]], given[:, groups[name]]
                given[:, groups[name]] = _limited(*of_group, threshold, one_threshold=not thresholds.labels)
        yield given


def _limited(score: np.ndarray, given: np.ndarray, threshold: LabelThreshold, *, one_threshold: bool) -> np.ndarray:
    """Apply the least and most of a group to ``given``.

    With one threshold for the group, the given labels are the highest. So only images with too few or too many labels
    must be sorted. With one threshold per label, a label may be given that is not among the highest, so all images are
    sorted.
    """
    count = np.count_nonzero(given, axis=1)
    most = score.shape[1] if threshold.most is None else threshold.most
    odd = np.flatnonzero((count < threshold.least) | (count > most)) if one_threshold else np.arange(len(score))
    order = np.argsort(-score[odd], axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(score.shape[1])[None], axis=1)
    given[odd] = (given[odd] & (place < most)) | (place < threshold.least)
    return given


def _estimate(per_image: np.ndarray, member: np.ndarray, *, n_boot: int, seed: int) -> MeanWithInterval:
    """Return the mean with its bootstrap interval.

    Many images have the same F. A sample with replacement only decides how often each value occurs. So the counts are
    drawn at once (multinomial). This equals drawing images and is much faster.
    """
    rng, n_images, n_groups = generator(seed, "cutoffs", "bootstrap"), len(per_image), int(member.max()) + 1
    mean = float(per_image.mean())
    if n_groups < n_images:
        sums, sizes = np.bincount(member, weights=per_image), np.bincount(member)
        drawn = (rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups)) for _ in range(n_boot))
        low, high = np.quantile([(times @ sums) / (times @ sizes) for times in drawn], [0.025, 0.975]).tolist()
        return MeanWithInterval(value=mean, low=low, high=high, unit="group", n_units=n_groups)
    values, counts = np.unique(per_image, return_counts=True)
    share = counts / n_images
    means = [
        rng.multinomial(n_images, share, size=min(DRAWS_AT_ONCE, n_boot - done)) @ values / n_images
        for done in range(0, n_boot, DRAWS_AT_ONCE)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975]).tolist()
    return MeanWithInterval(value=mean, low=low, high=high, unit="photo", n_units=n_images)


def _parts(parts: int | np.ndarray, n_images: int, seed: int, member: np.ndarray) -> np.ndarray | None:
    """Return the part of each image, the same for all images of a group.

    It is None if there are no parts, or if all images are in one group.
    """
    if isinstance(parts, int):
        if parts == 0:
            return None
        if 2 <= parts <= n_images:
            n_groups = int(member.max()) + 1
            if n_groups < 2:
                return None
            return (generator(seed, "cutoffs", "parts").permutation(n_groups) % min(parts, n_groups))[member]
        raise FieldmarkError(
            "parts must be 0, or from 2 to the number of images.",
            got=f"parts={parts}, {n_images} images",
            fix="use parts=5, or parts=0 to measure on the same images only.",
        )
    part_of = np.asarray(parts)
    if part_of.shape != (n_images,) or len(np.unique(part_of)) < 2:
        raise ShapeError(
            "parts must hold the part of every image, and at least two different parts.",
            got=f"parts of shape {part_of.shape}, {len(np.unique(part_of))} different, {n_images} images",
            fix="pass one whole number per image, for example its fold, or parts=5.",
        )
    return part_of
