"""The stage *pseudo_label_identities*: adds confidently identified new photos to the training photos."""

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
"""Two photos whose 64-bit hashes differ in at most this many bits count as copies of one picture."""


@stage
class PseudoLabelIdentities(Stage):
    """Use the first candidate of confidently ranked new photos as a pseudo-label.

    The pseudo-labels of network k come from the networks of fold k alone, because networks of other folds were trained
    on the validation photos of network k. The new photos are compared only with the training photos of network k. A
    validation photo therefore never provides a pseudo-label.

    Three kinds of new photos are never picked: copies of a validation photo, photos of the group of a validation photo,
    and photos of an individual without training photos in the fold. Pseudo-labelled photos are never used for
    validation and never added to a gallery, where they lowered the scores in the contests.

    Attributes:
        judges: Ranking stages whose mean score is used. The rule ``agreement`` compares their first candidates.
        on: Split stage of the ranking stages.
        rule: Confidence that a pseudo-label needs, and the largest number of photos per individual.
    """

    output = IdentityPseudoLabels
    kind: Literal["pseudo_label_identities"] = "pseudo_label_identities"
    judges: Annotated[tuple[str, ...], Ref(Ranking, by_fold=True), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    rule: IdentityPseudoLabelRule = IdentityPseudoLabelRule()

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return mistakes: the rule ``agreement`` with one ranking, and rankings of another split."""
        found = []
        if self.rule.rule.kind == "agreement" and len(self.judges) < 2:
            found.append(
                f"{self.name}: the rule 'agreement' needs two rankings: name two in 'judges', or use another rule"
            )
        others = [
            name for name in self.judges if isinstance(one := earlier.get(name), RankingStage) and one.on != self.on
        ]
        return found + [f"{self.name}: '{name}' uses another split than '{self.on}'" for name in others]

    def fit(self, context: Context, folder: Path) -> str:
        """Write the rows and the identities of the new photos that are added to each fold's training photos."""
        known, new, folds, left = (
            context.known,
            context.new,
            context.artifact(Folds, self.on),
            IdentityPseudoLabels(folder),
        )
        if new is None or not len(new):
            for k in range(folds.n_folds):
                left.write(k, np.zeros(0, np.int64), np.zeros(0, np.int64))
            return "no new photos"
        n_picked, n_named = [], []
        for k in range(folds.n_folds):
            teaches = (folds.fold != k) & ~known.extra
            rows, classes = self._picked(context.of_new(), new, known.take(folds.fold == k), teaches=teaches, k=k)
            left.write(k, rows, classes)
            n_picked.append(len(rows))
            n_named.append(len(np.unique(classes)))
        return (
            f"{min(n_picked)} to {max(n_picked)} of {len(new)} new photos added per fold, "
            f"of up to {max(n_named)} individuals"
        )

    def _picked(
        self,
        application: Application,
        new: Collection,
        validation: Collection,
        *,
        teaches: Bool[np.ndarray, " photo"],
        k: int,
    ) -> tuple[Int64[np.ndarray, " picked"], Int64[np.ndarray, " picked"]]:
        """Return the rows and identities of the new photos that are added to the training photos of network ``k``."""
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
    """Return which photos share a group (such as copies, or an encounter) with any of the others."""
    other_groups = {name for name in names_of(others, "group") if name}
    return np.array([name in other_groups for name in names_of(photos, "group")], dtype=np.bool_)


def shares_picture(paths: Sequence[Path], others: Sequence[Path]) -> Bool[np.ndarray, " photo"]:
    """Return which files show the same picture as any of the others, by their perceptual hashes.

    A few merely similar pictures are included.
    """
    if not len(paths):
        return np.zeros(0, np.bool_)
    other_hashes = np.unique(hashes(others).phash)
    return np.array(
        [(np.bitwise_count(other_hashes ^ one) <= COPY_BITS).any() for one in hashes(paths).phash], np.bool_
    )
