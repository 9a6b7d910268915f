"""Humpback Whale Identification 2018/19: classification and metric learning in one network."""

from __future__ import annotations

from typing import Literal

from fieldmark.data.specs import HumpbackHoldout, TupleSampler
from fieldmark.decide.specs import Best, Centroid, MaxMap
from fieldmark.images.specs import NoAugment, Preprocess, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, OhemBce
from fieldmark.models.specs import Backbone, EmbeddingHead, HubWeights, Net, OneVsRestHead, RandomWeights
from fieldmark.stages.answer import Answer
from fieldmark.stages.embed import Embed
from fieldmark.stages.plan import Plan
from fieldmark.stages.rank import ByLogits, Rank, Vote
from fieldmark.stages.split import Split
from fieldmark.stages.train import Train
from fieldmark.train.specs import Constant, Cosine, Leg, Training

Size = Literal["toy", "small", "full"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def humpback_classify(
    *,
    size: Size = "small",
    flip_identity: bool = True,
    triplet: bool = True,
    unknowns: bool = True,
    staged: bool = True,
    flip_views: bool = True,
    centroids: bool = True,
    epochs: float = 1.0,
) -> Plan:
    return Plan(name="humpback-classify", stages=()).check()
