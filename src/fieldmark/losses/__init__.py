"""Loss functions of logits or embeddings and ground truth; each returns a scalar tensor."""

# All functions take torch tensors, lists, numpy arrays or columns. The result is a scalar tensor with its gradient.
# Classes are integers, -1 for unknown individuals.

from typing import TYPE_CHECKING

from fieldmark.core.public import exports

if TYPE_CHECKING:
    from fieldmark.losses.affinities import affinity, centre_spread
    from fieldmark.losses.aligned import aligned_distance, local_triplet
    from fieldmark.losses.asymmetry import asymmetric
    from fieldmark.losses.binary import bce
    from fieldmark.losses.compact import compactness
    from fieldmark.losses.distillation import distilled
    from fieldmark.losses.focusing import focal
    from fieldmark.losses.inputs import one_hot
    from fieldmark.losses.margins import arcface, combined, cosface, elastic, margins_by_count, ramp, sphereface
    from fieldmark.losses.ohem import ohem_bce
    from fieldmark.losses.pairs import pair_bce, pair_triplet
    from fieldmark.losses.questions import question_softmax
    from fieldmark.losses.soft_measures import soft_f
    from fieldmark.losses.softmax import cross_entropy
    from fieldmark.losses.specs import MarginByCount
    from fieldmark.losses.triplet import batch_hard_triplet

__all__ = [
    "MarginByCount",
    "affinity",
    "aligned_distance",
    "arcface",
    "asymmetric",
    "batch_hard_triplet",
    "bce",
    "centre_spread",
    "combined",
    "compactness",
    "cosface",
    "cross_entropy",
    "distilled",
    "elastic",
    "focal",
    "local_triplet",
    "margins_by_count",
    "ohem_bce",
    "one_hot",
    "pair_bce",
    "pair_triplet",
    "question_softmax",
    "ramp",
    "soft_f",
    "sphereface",
]
__getattr__, __dir__ = exports(
    __name__,
    {
        "MarginByCount": "fieldmark.losses.specs",
        "affinity": "fieldmark.losses.affinities",
        "aligned_distance": "fieldmark.losses.aligned",
        "arcface": "fieldmark.losses.margins",
        "asymmetric": "fieldmark.losses.asymmetry",
        "batch_hard_triplet": "fieldmark.losses.triplet",
        "bce": "fieldmark.losses.binary",
        "combined": "fieldmark.losses.margins",
        "compactness": "fieldmark.losses.compact",
        "cosface": "fieldmark.losses.margins",
        "cross_entropy": "fieldmark.losses.softmax",
        "distilled": "fieldmark.losses.distillation",
        "elastic": "fieldmark.losses.margins",
        "focal": "fieldmark.losses.focusing",
        "local_triplet": "fieldmark.losses.aligned",
        "margins_by_count": "fieldmark.losses.margins",
        "ohem_bce": "fieldmark.losses.ohem",
        "one_hot": "fieldmark.losses.inputs",
        "pair_bce": "fieldmark.losses.pairs",
        "pair_triplet": "fieldmark.losses.pairs",
        "question_softmax": "fieldmark.losses.questions",
        "ramp": "fieldmark.losses.margins",
        "soft_f": "fieldmark.losses.soft_measures",
        "sphereface": "fieldmark.losses.margins",
        "centre_spread": "fieldmark.losses.affinities",
    },
)
