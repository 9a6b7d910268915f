"""Settings of folds and samplers (no arrays, no torch): what a plan says about data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Natural, Spec


class PlainFolds(Spec):
    """K folds at random; a group is never split."""

    kind: Literal["plain"] = "plain"
    n_folds: Annotated[int, Field(ge=2)] = 5


class StratifiedFolds(Spec):
    """K folds with the share of each class, or of each tag, similar; a group is never split.

    ``iterative`` shares out the rarest label first, then the next, and comes nearest to equal shares; ``greedy`` takes
    the photos in random order, each by its rarest label, as the baseline of iMet 2019 did.
    """

    kind: Literal["stratified"] = "stratified"
    n_folds: Annotated[int, Field(ge=2)] = 5
    method: Literal["iterative", "greedy"] = "iterative"


class IdentityFolds(Spec):
    """K true folds over identities' photos; photos of identities with a single photo (group) stay in training.

    Photos of the unknown identity are spread over the folds, so that each fold has unknown individuals to refuse.
    """

    kind: Literal["identity"] = "identity"
    n_folds: Annotated[int, Field(ge=2)] = 5


class HumpbackSplit(Spec):
    """The local validation of the humpback source text: one photo of each of 512 identities and 230 unknowns.

    Identities with one photo (group) stay in training. Fewer are taken, in proportion, where the collection is smaller.
    """

    kind: Literal["humpback"] = "humpback"
    n_known: Count = 512
    n_unknown: Natural = 230


class OpenSetSplit(Spec):
    """Known individuals and unknown individuals to judge by, for collections with or without photos of nobody we know.

    One photo (group) of each of ``n_known`` identities, and ``n_unknown`` photos or so of unknown individuals: half of those
    there are at most, then whole identities that training never sees, single photos first, a tenth of all at most.
    Fewer are taken, in proportion, where the collection is smaller.
    """

    kind: Literal["open_set"] = "open_set"
    n_known: Count = 512
    n_unknown: Natural = 230


class DisjointIdentities(Spec):
    """K folds of whole identities: nobody of a validation fold is in its training part (open set)."""

    kind: Literal["disjoint"] = "disjoint"
    n_folds: Annotated[int, Field(ge=2)] = 5


class ByDate(Spec):
    """One fold: the latest share of the photos (whole days) is validation, as new photos come after old ones."""

    kind: Literal["by_date"] = "by_date"
    share: Fraction = 0.2


Folds = Annotated[
    PlainFolds | StratifiedFolds | IdentityFolds | HumpbackSplit | OpenSetSplit | DisjointIdentities | ByDate,
    Field(discriminator="kind"),
]


class PlainSampler(Spec):
    """Every item once an epoch, in a new random order."""

    kind: Literal["plain"] = "plain"
    multiple: ClassVar[int] = 1


class LogWeightSampler(Spec):
    """Items drawn with replacement, weight = log(1 + N / n_label) over the item's labels.

    The source text gives the words only ("sampling with logarithmic weights"); ``over`` chooses the reading:
    the largest or the mean weight of the item's labels.
    """

    kind: Literal["log_weight"] = "log_weight"
    multiple: ClassVar[int] = 1
    over: Literal["max", "mean"] = "max"


class PkSampler(Spec):
    """Batches of P identities x K photos, a share of the slots from unknowns."""

    kind: Literal["pk"] = "pk"
    k: Annotated[int, Field(ge=2)] = 4
    unknown_share: Fraction = 0.25

    @property
    def multiple(self) -> int:
        """What a batch is a multiple of."""
        return self.k


class TupleSampler(Spec):
    """One item an identity and epoch: anchor, positive, random other identity, random unknown."""

    kind: Literal["tuples"] = "tuples"
    multiple: ClassVar[int] = 4


class ExactAssignment(Spec):
    """Opponents by linear assignment over all pairs: the hardest there are. Memory grows with the square of photos."""

    kind: Literal["exact"] = "exact"


class NearestAssignment(Spec):
    """Opponents by linear assignment among the ``k`` most similar unknown individuals of each photo: quicker, hardly less hard."""

    kind: Literal["nearest"] = "nearest"
    k: Count = 32


class AssignmentSampler(Spec):
    """Every photo beside one of its own identity and beside one that is hard to tell from it, in four places in all.

    Photos of identities with two or more photos take part; a batch is a multiple of 4.

    Attributes:
        solver: How opponents are found.
        every_epochs: Look at all photos anew after so many epochs; until then no pair of opponents comes twice.
    """

    kind: Literal["assignment"] = "assignment"
    multiple: ClassVar[int] = 4
    solver: Annotated[ExactAssignment | NearestAssignment, Field(discriminator="kind")] = ExactAssignment()
    every_epochs: Count = 5


Sampler = Annotated[
    PlainSampler | LogWeightSampler | PkSampler | TupleSampler | AssignmentSampler, Field(discriminator="kind")
]
