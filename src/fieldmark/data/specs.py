"""Settings of folds and samplers in a plan, without arrays and torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Natural, Spec


class PlainFolds(Spec):
    """K random folds. Groups are never split."""

    kind: Literal["plain"] = "plain"
    n_folds: Annotated[int, Field(ge=2)] = 5


class StratifiedFolds(Spec):
    """K folds with similar shares of each class, or of each tag. Groups are never split.

    ``iterative`` distributes the photos of the rarest label first, then of the next rarest. It comes nearest to equal
    shares. ``greedy`` distributes the photos in random order, each by its rarest label, as the baseline of iMet 2019.
    """

    kind: Literal["stratified"] = "stratified"
    n_folds: Annotated[int, Field(ge=2)] = 5
    method: Literal["iterative", "greedy"] = "iterative"


class IdentityFolds(Spec):
    """K folds over the photos of each individual. Individuals with a single photo (group) stay in training.

    Photos of unknown individuals are spread over the folds, so each validation part contains some.
    """

    kind: Literal["identity"] = "identity"
    n_folds: Annotated[int, Field(ge=2)] = 5


class HumpbackSplit(Spec):
    """One validation split as in the humpback source text: one photo of each of 512 identities and 230 unknowns.

    Identities with one photo (group) stay in training. For smaller collections both numbers are reduced in proportion.
    """

    kind: Literal["humpback"] = "humpback"
    n_known: Count = 512
    n_unknown: Natural = 230


class OpenSetSplit(Spec):
    """One open-set validation split with known and unknown individuals.

    Validation contains one photo (group) of each of ``n_known`` identities and about ``n_unknown`` photos of unknown
    individuals. At most half of the unknown individuals in the table are used. If these are too few, whole identities
    are held out as unknown, those with a single photo first, at most a tenth of all. So the split also works for tables
    without unknown individuals. For smaller collections both numbers are reduced in proportion.
    """

    kind: Literal["open_set"] = "open_set"
    n_known: Count = 512
    n_unknown: Natural = 230


class DisjointIdentities(Spec):
    """K folds of whole identities: no individual is in both the validation and the training part (open set)."""

    kind: Literal["disjoint"] = "disjoint"
    n_folds: Annotated[int, Field(ge=2)] = 5


class ByDate(Spec):
    """One split by date: the latest share of the photos (whole days) is validation, as in later use of the model."""

    kind: Literal["by_date"] = "by_date"
    share: Fraction = 0.2


Folds = Annotated[
    PlainFolds | StratifiedFolds | IdentityFolds | HumpbackSplit | OpenSetSplit | DisjointIdentities | ByDate,
    Field(discriminator="kind"),
]


class PlainSampler(Spec):
    """Every item once per epoch, in a new random order."""

    kind: Literal["plain"] = "plain"
    multiple: ClassVar[int] = 1


class LogWeightSampler(Spec):
    """Items drawn with replacement, with the weight log(1 + N / n_label) of their labels.

    ``over`` selects the largest or the mean weight of the labels of an item. The source text does not define it; it
    only mentions "sampling with logarithmic weights".
    """

    kind: Literal["log_weight"] = "log_weight"
    multiple: ClassVar[int] = 1
    over: Literal["max", "mean"] = "max"


class PkSampler(Spec):
    """Batches of P identities x K photos, with a share of the slots for unknown individuals."""

    kind: Literal["pk"] = "pk"
    k: Annotated[int, Field(ge=2)] = 4
    unknown_share: Fraction = 0.25

    @property
    def multiple(self) -> int:
        """Number of which the batch size must be a multiple."""
        return self.k


class TupleSampler(Spec):
    """One tuple per identity and epoch: anchor, positive, random other identity, random unknown individual."""

    kind: Literal["tuples"] = "tuples"
    multiple: ClassVar[int] = 4


class ExactAssignment(Spec):
    """Hard negatives by linear assignment over all pairs.

    These are the hardest negatives. Memory grows with the square of the number of photos.
    """

    kind: Literal["exact"] = "exact"


class NearestAssignment(Spec):
    """Hard negatives by linear assignment among the ``k`` most similar photos of other individuals.

    It is faster than ``exact``, and the pairs are almost as hard.
    """

    kind: Literal["nearest"] = "nearest"
    k: Count = 32


class AssignmentSampler(Spec):
    """Pairs of each photo with another photo of its identity, and with a similar photo of another identity.

    The similar photo is a hard negative. Every photo occurs four times per epoch: twice as anchor, once as positive and
    once as hard negative. Photos of identities with two or more photos take part. The batch size must be a multiple
    of 4.

    Attributes:
        solver: Method that finds the hard negatives.
        every_epochs: Number of epochs after which the embeddings of all photos are computed again. Until then no pair
            of hard negatives repeats.
    """

    kind: Literal["assignment"] = "assignment"
    multiple: ClassVar[int] = 4
    solver: Annotated[ExactAssignment | NearestAssignment, Field(discriminator="kind")] = ExactAssignment()
    every_epochs: Count = 5


Sampler = Annotated[
    PlainSampler | LogWeightSampler | PkSampler | TupleSampler | AssignmentSampler, Field(discriminator="kind")
]
