"""Humpback Whale Identification 2018/19: classification and metric learning in one network, and what it must beat."""

from __future__ import annotations

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Spec
from fieldmark.data.specs import HumpbackHoldout, PkSampler, Sampler, TupleSampler
from fieldmark.decisions.specs import Best, Centroid, MaxMap
from fieldmark.images.specs import Finder, MaskChannel, Preprocess, TableBoxes, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, Losses, OhemBce
from fieldmark.models.specs import Backbone, EmbeddingHead, HubWeights, Net, OneVsRestHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.finders import FoundBy, finder_of, looking
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, Size, of_size, with_effort
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.training.specs import Constant, Cosine, Leg, Training


class Scale(Spec):
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    sampler: Sampler
    losses: Losses
    legs: tuple[Leg, ...]
    training: Training
    versions: int | None = None
    logits_weight: float = 1.0
    """Of the head's own probabilities in the ranking, where likeness weighs 1."""


SCALES = {
    "toy": Scale(
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead()),
        preprocess=Preprocess(height_px=32, width_px=64),
        sampler=TupleSampler(),
        losses=(OhemBce(), BatchHardTriplet()),
        legs=(Leg(epochs=2, min_photos=2, lr=1e-3), Leg(epochs=2, lr=1e-3, freeze=("stem",)), Leg(epochs=1, lr=1e-4)),
        training=Training(batch=16),
    ),
    "small": Scale(
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=OneVsRestHead()),
        preprocess=Preprocess(height_px=96, width_px=192),
        sampler=PkSampler(k=3, unknown_share=0.125),
        losses=(OhemBce(weight=0.25), BatchHardTriplet()),
        legs=(
            Leg(epochs=16, lr=1e-3, min_photos=2, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Leg(epochs=6, lr=2e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Leg(epochs=2, lr=5e-5, schedule=Constant(), freeze=LOWER_LITE),
        ),
        training=Training(batch=96, epoch_batches=80),
        versions=6,
        # Chosen on validation photos: after so short a training the head knows less than the embedding.
        logits_weight=0.25,
    ),
    "full": Scale(
        net=Net(backbone=Backbone(name="legacy_senet154", weights=HubWeights()), head=OneVsRestHead()),
        preprocess=Preprocess(
            height_px=256, width_px=512, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear"
        ),
        sampler=TupleSampler(),
        losses=(OhemBce(), BatchHardTriplet()),
        legs=(
            Leg(epochs=100, lr=3e-4, min_photos=10, stop_at=0.98),
            Leg(epochs=100, lr=3e-4, freeze=("stem", "layer1", "layer2"), stop_at=0.98),
            Leg(epochs=30, lr=3e-5, freeze=("stem", "layer1", "layer2")),
        ),
        training=Training(batch=48, optimiser="adam"),
    ),
}


def humpback_classify(  # noqa: PLR0913 - every technique is a switch
    *,
    size: Size = "small",
    flip_identity: bool = True,
    triplet: bool = True,
    unknowns: bool = True,
    staged: bool = True,
    tta: bool = True,
    centroids: bool = True,
    whole: bool = False,
    masks: FoundBy = "none",
    evidence: bool = False,
    effort: float = 1.0,
) -> Plan:
    """One yes-or-no question a whale and triplets, in three legs; a stranger is a no to every question.

    Args:
        size: ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower
            half frozen; ``full`` as in the source: SENet-154 at 512 x 256.
        flip_identity: A mirrored fluke is another whale.
        triplet: Batch-hard triplets beside the questions.
        unknowns: Train on photos of strangers, as a no to every question.
        staged: First whales with many photos, then all, then all at a tenth of the rate; else all from the start.
        tta: Look at each photo mirrored too, and average.
        centroids: Rank by the likeness to the centroid of a whale's photos, else to its most alike photo.
        whole: At ``small``: the lower half of the network learns too, which takes several times as long.
        masks: Show the network in a fourth channel where the fluke is: by the ``table``'s masks, or found by colour
            (``grabcut``), by a network (``features``), or where both agree (``agreed``). A frozen lower half cannot
            learn to see them, so ``small`` then learns as ``whole`` does.
        evidence: Look again at the first ten by matching points (needs the extra ``keypoints``); the source had none.
        effort: Multiplies the epochs of every leg.

    Contest: Humpback Whale Identification 2018/19, first place as its author's code and
    others' notes tell it. Differences at ``small`` and why: see the lab book.

    Command: ``fieldmark train humpback-classify whales/ --run runs/whales``
    """
    finder = finder_of(masks, what="Masks")
    scale = _scale(size, whole=whole, masked_by=finder)
    legs = scale.legs if staged else _one_leg(scale.legs)
    legs = with_effort(legs, effort)
    losses = scale.losses if triplet else tuple(loss for loss in scale.losses if loss.kind != "triplet")
    alike = Centroid() if centroids else Best()
    stages: list[Stage] = [
        Split(name="split", folds=HumpbackHoldout()),
        *looking(finder),
        Train(
            name="net",
            on="split",
            net=scale.net,
            preprocess=scale.preprocess,
            augment=WhaleAugment(),
            versions=scale.versions,
            losses=losses,
            sampler=scale.sampler,
            flip_identity=flip_identity,
            unknowns=unknowns,
            training=scale.training.model_copy(update={"legs": legs}),
        ),
        Embed(name="features", of="net", on="split", flip=tta),
        Rank(
            name="ranking",
            reads_from="features",
            on="split",
            votes=(Vote(by=ByLogits(), weight=scale.logits_weight), Vote(by=alike)),
            unknown=MaxMap(),
        ),
    ]
    if evidence:
        within = finder or TableBoxes()
        stages.append(Recheck(name="evidence", reads_from="ranking", embedded="features", on="split", within=within))
    answers = Answer(name="answers", reads_from=stages[-1].name)
    return Plan(name="humpback-classify", stages=(*stages, answers)).check()


def humpback_nearest(*, size: Size = "small", tta: bool = False) -> Plan:
    """What any recipe must beat: the frozen backbone, the most alike photo, a tuned threshold; nothing is learnt.

    Args:
        size: The backbone of the recipe of that size, at its own input size (``toy``: as there).
        tta: Look at each photo mirrored too.

    Source: ours; the usual first baseline of identification contests.
    """
    scale = of_size(SCALES, size)
    preprocess = scale.preprocess
    if size != "toy":
        preprocess = preprocess.model_copy(update={"height_px": 224, "width_px": 224})
    net = scale.net.model_copy(update={"head": EmbeddingHead(), "neck": "none"})
    return Plan(
        name="humpback-nearest",
        stages=(
            Split(name="split", folds=HumpbackHoldout()),
            Train(name="net", on="split", net=net, preprocess=preprocess, losses=(BatchHardTriplet(),)),
            Embed(name="features", of="net", on="split", flip=tta),
            Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=Best()),), unknown=MaxMap()),
            Answer(name="answers", reads_from="ranking"),
        ),
    ).check()


def _scale(size: str, *, whole: bool, masked_by: Finder | None) -> Scale:
    """The size, its lower half learning where it is asked to or has a mask to learn, and with that mask."""
    scale = of_size(SCALES, size)
    frozen = all(leg.freeze for leg in scale.legs)
    if whole and not frozen:
        raise PlanError(
            "The lower half of the network learns already.",
            got=f"size={size}, whole=true",
            fix="leave out whole; only size=small never lets it learn.",
        )
    if frozen and (whole or masked_by is not None):
        legs = tuple(leg.model_copy(update={"freeze": ()}) for leg in scale.legs)
        scale = scale.model_copy(update={"legs": legs, "versions": None})
    if masked_by is not None:
        backbone = scale.net.backbone.model_copy(update={"in_channels": 4})
        seen = scale.preprocess.model_copy(update={"mask": MaskChannel(by=masked_by)})
        net = scale.net.model_copy(update={"backbone": backbone})
        scale = scale.model_copy(update={"net": net, "preprocess": seen})
    return scale


def _one_leg(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """All identities from the start, for as many epochs, at the rate of the first leg, falling to its end."""
    schedule = Cosine(warmup=0.05, floor=0.01)
    return (
        legs[-1].model_copy(update={"epochs": sum(leg.epochs for leg in legs), "lr": legs[0].lr, "schedule": schedule}),
    )
