"""The photos of a finished run that tags, with truth, out-of-fold probabilities, thresholds and answers."""

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
"""Kinds of thresholds that were found by looking at the truth."""


class OutOfFoldLabels:
    """All known photos, each answered by networks that have not seen it.

    Args:
        context: The run.

    Raises:
        PlanError: The run tells no labels.
        RunError: Its stages up to the thresholds are not finished.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.known = context, context.known
        self.cut = context.plan.only(Threshold)
        self.thresholds: LabelThresholds = context.artifact(LabelAnswers, self.cut.name).thresholds
        self.names = list(self.known.vocabulary.tags)
        self.groups = label_groups(self.known.vocabulary)

    @cached_property
    def truth(self) -> Bool[np.ndarray, "image label"]:
        """Which labels the table has."""
        return self.known.truth > 0

    @cached_property
    def proba(self) -> Float32[np.ndarray, "image label"]:
        """Out-of-fold probabilities of the stage that was cut."""
        return self.scores(self.cut.reads_from)

    def scores(self, name: str) -> Float32[np.ndarray, "image label"]:
        """Out-of-fold probabilities of any stage with label scores."""
        return self.context.artifact(LabelScores, name).known(self.known)

    @cached_property
    def answer(self) -> Bool[np.ndarray, "image label"]:
        """Which labels the run's thresholds give."""
        return self.cut_by(self.thresholds, self.proba)

    @cached_property
    def f2(self) -> Float64[np.ndarray, " image"]:
        """F2 of each photo."""
        return f_beta_per_image(self.answer, self.truth)

    @property
    def looked(self) -> bool:
        """Whether the thresholds were found by looking at these photos' labels."""
        return self.thresholds.kind in FOUND

    def cut_by(
        self, thresholds: LabelThresholds, proba: Float32[np.ndarray, "photo label"]
    ) -> Bool[np.ndarray, "photo label"]:
        """Which labels some thresholds give."""
        return cut(thresholds, proba, groups=self.groups, names=self.names)

    def measures(self) -> tuple[Measure, ...]:
        """All numbers; where thresholds were found on these photos, mean F2 with thresholds from others comes second."""
        rows = list(measure_labels(self.answer, self.truth, groups=self.groups, photo_groups=self.known.groups))
        crossed = self.thresholds.crossed
        if self.looked and crossed is not None:
            meaning = "each photo cut where it is best for other photos: what to expect of new ones"
            honest = Measure(
                name=CROSSED,
                value=crossed.value,
                low=crossed.low,
                high=crossed.high,
                n=self.thresholds.n_images,
                meaning=meaning,
                unit=crossed.unit,
                n_units=crossed.n_units,
            )
            rows.insert(1, honest)
        return tuple(rows)

    def scan(self, group: str, *, n_points: int = 33, most_photos: int = 4000) -> tuple[np.ndarray, np.ndarray]:
        """Mean F2 at many thresholds of one group, all else as chosen.

        Args:
            group: Its name.
            n_points: Thresholds between 0 and 1 that are tried, besides the chosen one and some near it.
            most_photos: Of more photos, so many evenly spread ones are looked at.

        Returns:
            Thresholds, ascending, and mean F2 at each.
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
            found[place] = f_beta_per_image(self.cut_by(thresholds, proba), truth).mean()
        return at, found


def crossed_f2(
    judged: OutOfFoldLabels, proba: Float32[np.ndarray, "image label"], part: np.ndarray
) -> Float64[np.ndarray, " image"]:
    """F2 of each photo by the best threshold of each label group, found on the photos of other parts.

    Args:
        judged: The photos.
        proba: Out-of-fold probabilities of any stage.
        part: A number for each photo; photos that belong together share it. Its fold will do.
    """
    found = np.zeros(len(proba))
    for one in np.unique(part):
        here = part == one
        thresholds = plain_thresholds(judged, proba[~here], judged.truth[~here])
        found[here] = f_beta_per_image(judged.cut_by(thresholds, proba[here]), judged.truth[here])
    return found


def plain_thresholds(judged: OutOfFoldLabels, proba: np.ndarray, truth: np.ndarray) -> LabelThresholds:
    """The best threshold of each label group for some photos, without least and most."""
    return fit_label_thresholds(
        GroupF2(limits=False), proba, truth, groups=judged.groups, names=judged.names, parts=0, n_boot=1
    )
