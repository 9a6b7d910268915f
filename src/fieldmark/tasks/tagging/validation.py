"""Out-of-fold labels and measures of a finished run of the tagging task."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64

from fieldmark.decisions.label_thresholds import LabelThresholds, cut, fit_label_thresholds
from fieldmark.decisions.specs import GroupF2, LabelThreshold
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.predictions import LabelAnswers
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.stages.labels.threshold import Threshold, label_groups
from fieldmark.tasks.tagging.measures import measure_labels

CROSSED = "mean F2, cross-fitted"
FOUND = ("global_f2", "group_f2", "label_f2")
"""Kinds of thresholds that are fitted on ground truth."""


class OutOfFoldLabels:
    """Out-of-fold labels of all known photos: no photo is scored by a network that was trained on it.

    Args:
        context: The run.

    Raises:
        PlanError: The run predicts no labels.
        RunError: A stage that the thresholds need is not finished.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.known = context, context.known
        self.cut = context.plan.only(Threshold)
        self.thresholds: LabelThresholds = context.artifact(LabelAnswers, self.cut.name).thresholds
        self.names = list(self.known.vocabulary.tags)
        self.groups = label_groups(self.known.vocabulary)

    @cached_property
    def truth(self) -> Bool[np.ndarray, "image label"]:
        """Return which labels each photo has in the table."""
        return self.known.truth > 0

    @cached_property
    def proba(self) -> Float32[np.ndarray, "image label"]:
        """Return the out-of-fold probabilities to which the thresholds apply."""
        return self.scores(self.cut.reads_from)

    def scores(self, name: str) -> Float32[np.ndarray, "image label"]:
        """Return the out-of-fold probabilities of a stage with label scores."""
        return self.context.artifact(LabelScores, name).known(self.known)

    @cached_property
    def answer(self) -> Bool[np.ndarray, "image label"]:
        """Return which labels the thresholds of the run predict."""
        return self.labels_above(self.thresholds, self.proba)

    @cached_property
    def f2(self) -> Float64[np.ndarray, " image"]:
        """Return the F2 of each photo."""
        return f_beta_per_image(self.answer, self.truth)

    @property
    def fitted_on_labels(self) -> bool:
        """Return whether the thresholds were fitted on the labels of these photos."""
        return self.thresholds.kind in FOUND

    def labels_above(
        self, thresholds: LabelThresholds, proba: Float32[np.ndarray, "photo label"]
    ) -> Bool[np.ndarray, "photo label"]:
        """Return which labels the given thresholds predict."""
        return cut(thresholds, proba, groups=self.groups, names=self.names)

    def measures(self) -> tuple[Measure, ...]:
        """Return all measures. If the thresholds were fitted on these photos, the cross-fitted mean F2 comes second."""
        rows = list(measure_labels(self.answer, self.truth, groups=self.groups, photo_groups=self.known.groups))
        crossed = self.thresholds.crossed
        if self.fitted_on_labels and crossed is not None:
            meaning = "mean F2 to expect on new photos: the thresholds for each photo were found on other photos"
            cross_fitted = Measure(
                name=CROSSED,
                value=crossed.value,
                low=crossed.low,
                high=crossed.high,
                n=self.thresholds.n_images,
                meaning=meaning,
                unit=crossed.unit,
                n_units=crossed.n_units,
            )
            rows.insert(1, cross_fitted)
        return tuple(rows)

    def scan(self, group: str, *, n_points: int = 33, most_photos: int = 4000) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean F2 at many thresholds of one label group, with the thresholds of other groups unchanged.

        Args:
            group: Name of the label group.
            n_points: Number of thresholds between 0 and 1, besides the chosen one and some near it.
            most_photos: Maximum number of photos; of more, evenly spaced ones are used.

        Returns:
            Thresholds, ascending, and the mean F2 at each.
        """
        rows = np.unique(np.linspace(0, len(self.known) - 1, min(most_photos, len(self.known))).astype(np.int64))
        proba, truth = self.proba[rows], self.truth[rows]
        chosen = self.thresholds.groups[group]
        tried = np.concatenate(
            [np.linspace(0.02, 0.98, n_points), chosen.at * np.array([0.25, 0.5, 0.75, 1, 1.25, 1.5])]
        )
        at = np.unique(tried[(tried > 0) & ((tried < 1) | (tried == chosen.at))])
        found = np.zeros(len(at))
        for place, value in enumerate(at.tolist()):
            other = LabelThreshold(at=value, least=chosen.least, most=chosen.most)
            thresholds = self.thresholds.model_copy(update={"groups": {**self.thresholds.groups, group: other}})
            found[place] = f_beta_per_image(self.labels_above(thresholds, proba), truth).mean()
        return at, found


def crossed_f2(
    oof: OutOfFoldLabels, proba: Float32[np.ndarray, "image label"], part: np.ndarray
) -> Float64[np.ndarray, " image"]:
    """Return the cross-fitted F2 of each photo: the thresholds per label group were found on the other parts.

    Args:
        oof: The known photos with their labels.
        proba: Out-of-fold probabilities of any stage.
        part: Part number of each photo, for example its fold. Photos that belong together must share a part.
    """
    found = np.zeros(len(proba))
    for one in np.unique(part):
        here = part == one
        thresholds = plain_thresholds(oof, proba[~here], oof.truth[~here])
        found[here] = f_beta_per_image(oof.labels_above(thresholds, proba[here]), oof.truth[here])
    return found


def plain_thresholds(oof: OutOfFoldLabels, proba: np.ndarray, truth: np.ndarray) -> LabelThresholds:
    """Fit the best threshold per label group on some photos, without limits on the number of labels."""
    return fit_label_thresholds(
        GroupF2(limits=False), proba, truth, groups=oof.groups, names=oof.names, parts=0, n_boot=1
    )
