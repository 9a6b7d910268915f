"""Humpback Whale Identification 2018/19: classification and metric learning in one network."""

from __future__ import annotations

from typing import Literal

from fieldmark.data.specs import HumpbackHoldout, TupleSampler
from fieldmark.decide.specs import Best, Centroid, MaxMap
from fieldmark.images.specs import Preprocess, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, OhemBce
from fieldmark.models.specs import Backbone, EmbeddingHead, HubWeights, Net, OneVsRestHead, RandomWeights
from fieldmark.stages.answer import Answer
from fieldmark.stages.embed import Embed
from fieldmark.stages.plan import Plan
from fieldmark.stages.rank import ByLogits, Rank, Vote
from fieldmark.stages.split import Split
from fieldmark.stages.train import Train
from fieldmark.train.specs import Leg, Training

Size = Literal["toy", "small", "full"]

TOY_NET = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead())
SMALL_NET = Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=OneVsRestHead())
FULL_NET = Net(backbone=Backbone(name="legacy_senet154", weights=HubWeights()), head=OneVsRestHead())
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NETS = {"toy": TOY_NET, "small": SMALL_NET, "full": FULL_NET}
INPUTS = {
    "toy": Preprocess(height_px=32, width_px=64),
    "small": Preprocess(height_px=96, width_px=192),
    "full": Preprocess(height_px=256, width_px=512, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear"),
}


def humpback_classify(
    *,
    size: Size = "small",
    flip_identity: bool = True,
    triplet: bool = True,
    unknowns: bool = True,
    staged: bool = True,
    tta: bool = True,
    centroids: bool = True,
) -> Plan:
    """One-vs-rest questions and triplets in one network, in three legs; a stranger is a no to every question."""
    losses = (OhemBce(), BatchHardTriplet()) if triplet else (OhemBce(),)
    return Plan(
        name="humpback-classify",
        stages=(
            Split(name="split", folds=HumpbackHoldout(n_known=512, n_unknown=230)),
            Train(
                name="net",
                on="split",
                net=NETS[size],
                preprocess=INPUTS[size],
                augment=WhaleAugment(),
                losses=losses,
                sampler=TupleSampler(),
                flip_identity=flip_identity,
                unknowns=unknowns,
                training=Training(legs=(Leg(epochs=2, min_photos=2), Leg(epochs=2), Leg(epochs=1, lr=3e-5)), batch=16),
            ),
            Embed(name="features", of="net", on="split", flip=tta),
            Rank(
                name="ranking",
                reads_from="features",
                on="split",
                votes=(Vote(by=ByLogits()), Vote(by=Centroid() if centroids else Best())),
                unknown=MaxMap(),
            ),
            Answer(name="answers", reads_from="ranking"),
        ),
    ).check()
