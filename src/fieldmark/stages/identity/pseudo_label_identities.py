"""The kind *recruit*: new photos whose individual is sure join the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from fieldmark.data.collection import Collection
from fieldmark.images.hashes import hashes
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import Ranking, names_of
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.quality.identity_pseudo_labels import pick_identity_pseudo_labels
from fieldmark.quality.specs import IdentityPseudoLabelRule
from fieldmark.stages.identity.ranking import RankingStage

COPY_BITS = 6
"""Two photos whose hashes of 64 bits differ in no more are taken for copies of one picture."""


@stage
class PseudoLabelIdentities(Stage):
    """Pseudo-labels for individuals: take the first name of new photos for the truth where it is sure enough.

    What network k learns from is picked by the networks of fold k alone, as those of other folds have seen the photos
    that validate network k; and by comparison with the photos it learnt from alone: a name that comes from a validation
    photo is never taken. Nor is a new photo picked that shows the same picture as a validation photo, or is of its
    group, nor as an individual of whom network k has no photo to learn from. Such photos are never validated on and
    never in a gallery, where they did harm in the contests.

    Attributes:
        judges: Ranking stages; their mean score counts, and for ``agreement`` whom each of them names.
        on: Their split stage.
        rule: When a name is believed, and how many photos an individual may get.
    """

    output = IdentityPseudoLabels
    kind: Literal["pseudo_label_identities"] = "pseudo_label_identities"
    judges: Annotated[tuple[str, ...], Ref(Ranking, by_fold=True), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    rule: IdentityPseudoLabelRule = IdentityPseudoLabelRule()

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Agreement of one ranking, rankings of another split."""
        found = []
        if self.rule.rule.kind == "agreement" and len(self.judges) < 2:
            found.append(f"{self.name}: one ranking alone cannot agree with others: name two judges, or use sure")
        others = [
            name for name in self.judges if isinstance(one := earlier.get(name), RankingStage) and one.on != self.on
        ]
        return found + [f"{self.name}: '{name}' was split by another stage than '{self.on}'" for name in others]

    def fit(self, context: Context, folder: Path) -> str:
        """Write the rows of the new photos that each fold's network may learn from, and the individual of each."""
        known, new, folds, left = (
            context.known,
            context.new,
            context.artifact(Folds, self.on),
            IdentityPseudoLabels(folder),
        )
        if new is None or not len(new):
            for k in range(folds.n_folds):
                left.write(k, np.zeros(0, np.int64), np.zeros(0, np.int64))
            return "no new photos to learn from"
        n_picked, n_named = [], []
        for k in range(folds.n_folds):
            teaches = (folds.fold != k) & ~known.extra
            rows, classes = self._picked(context.of_new(), new, known.take(folds.fold == k), teaches=teaches, k=k)
            left.write(k, rows, classes)
            n_picked.append(len(rows))
            n_named.append(len(np.unique(classes)))
        return f"{min(n_picked)} to {max(n_picked)} of {len(new)} new photos joined, as {max(n_named)} individuals"

    def _picked(
        self,
        application: Application,
        new: Collection,
        validation: Collection,
        *,
        teaches: Bool[np.ndarray, " photo"],
        k: int,
    ) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
        """Rows of the new photos that network ``k`` may learn from, and the individual of each."""
        known = application.context.known
        classes = known.classes
        counts = np.bincount(classes[teaches & (classes >= 0)], minlength=len(known.vocabulary.identities))
        rankings = [
            np.where(counts > 0, application.value(judge, k).scores, -np.inf).astype(np.float32)
            for judge in self.judges
        ]
        rows, names = pick_identity_pseudo_labels(rankings, counts, self.rule)
        free = ~shares_group(new, validation)[rows]
        free[free] = ~shares_picture([new.paths[row] for row in rows[free]], validation.paths)
        return rows[free], names[free]


def shares_group(photos: Collection, others: Collection) -> Bool[np.ndarray, " photo"]:
    """Which photos are of a group (copies, an encounter) that some of the others are of, too."""
    theirs = {name for name in names_of(others, "group") if name}
    return np.array([name in theirs for name in names_of(photos, "group")], dtype=np.bool_)


def shares_picture(paths: Sequence[Path], others: Sequence[Path]) -> Bool[np.ndarray, " photo"]:
    """Which files show, by their hashes, the same picture as some of the others; a few that only look so as well."""
    if not len(paths):
        return np.zeros(0, np.bool_)
    theirs = np.unique(hashes(others).phash)
    return np.array([(np.bitwise_count(theirs ^ one) <= COPY_BITS).any() for one in hashes(paths).phash], np.bool_)
