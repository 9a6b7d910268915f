"""Humpback Whale Identification 2018/19, the other way: a network that looks at two photos and says same or not."""

from __future__ import annotations

from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.spec import Spec
from fieldmark.data.specs import (
    AssignmentSampler,
    ExactAssignment,
    HumpbackHoldout,
    NearestAssignment,
    PkSampler,
    Sampler,
)
from fieldmark.decisions.specs import Best, MaxMap
from fieldmark.images.specs import BoxCrop, BoxSource, Preprocess, TableBoxes, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, Compactness, Losses, PairBce, PairTriplet
from fieldmark.models.specs import Backbone, HubWeights, Net, PairHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.finders import FoundBy, finder_of, looking
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, Size, of_size, with_effort
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank, Vote
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.stages.identity.rescore import Rescore
from fieldmark.training.specs import Cosine, Leg, Training

Mining = Literal["exact", "nearest", "batch"]
PairLoss = Literal["bce", "triplet"]


class Scale(Spec):
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    every_epochs: int
    legs: tuple[Leg, ...]
    training: Training
    mining: Mining
    again: tuple[Leg, ...] = ()
    """A second training that starts from the first one's weights, with weight decay."""
    versions: int | None = None
    boxes: FoundBy = "none"


AGAIN_DECAY = 2e-4

SCALES = {
    "toy": Scale(
        net=Net(
            backbone=Backbone(name="test_efficientnet", weights=RandomWeights(), pool="max"), head=PairHead(dim=16)
        ),
        preprocess=Preprocess(height_px=32, width_px=64),
        every_epochs=2,
        legs=(Leg(epochs=3, lr=1e-3, noise=(10.0, 1.0)), Leg(epochs=1, lr=1e-4, freeze=("stem",), noise=(0.25, 0.25))),
        training=Training(batch=16),
        mining="exact",
    ),
    "small": Scale(
        # 128 numbers a photo: a pair head of all 1,280 would need ten times the time for every pair.
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=PairHead(dim=128)),
        preprocess=Preprocess(height_px=96, width_px=192),
        every_epochs=6,
        legs=(
            Leg(epochs=18, lr=1e-3, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE, noise=(100.0, 0.5)),
            Leg(epochs=6, lr=1e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE, noise=(0.25, 0.25)),
        ),
        training=Training(batch=96, epoch_batches=80),
        mining="nearest",
        versions=6,
    ),
    "full": Scale(
        net=Net(backbone=Backbone(name="densenet121", weights=HubWeights(), pool="max"), neck="none", head=PairHead()),
        preprocess=Preprocess(
            height_px=384,
            width_px=384,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            interpolation="bilinear",
            colour="grey",
        ),
        every_epochs=5,
        legs=(
            Leg(epochs=10, lr=64e-5, noise=(1000.0, 1000.0)),
            Leg(epochs=50, lr=64e-5, noise=(100.0, 100**0.1)),
            Leg(epochs=90, lr=64e-5, noise=(1.0, 1.0)),
            Leg(epochs=50, lr=16e-5, noise=(0.5, 0.5)),
            Leg(epochs=40, lr=4e-5, noise=(0.25, 0.25)),
            Leg(epochs=10, lr=1e-5, noise=(0.25, 0.25)),
        ),
        again=(
            Leg(epochs=50, lr=64e-5, noise=(1.0, 1.0)),
            Leg(epochs=50, lr=16e-5, noise=(0.5, 0.5)),
            Leg(epochs=40, lr=4e-5, noise=(0.25, 0.25)),
            Leg(epochs=10, lr=1e-5, noise=(0.25, 0.25)),
        ),
        training=Training(batch=64, optimiser="adam", weight_decay=0.0),
        mining="exact",
        boxes="table",
    ),
}


def humpback_siamese(  # noqa: PLR0913 - every technique is a switch
    *,
    size: Size = "small",
    mining: Mining | None = None,
    noise: bool = True,
    pair_loss: PairLoss = "bce",
    triplet: bool = True,
    compact: bool = False,
    flip_identity: bool = True,
    tta: bool = True,
    rescoring: bool = True,
    alone: bool = False,
    evidence: bool = False,
    boxes: FoundBy | None = None,
    effort: float = 1.0,
) -> Plan:
    """Pairs of photos, same whale or not, the hardest first: opponents by assignment; then the shortlist again.

    Args:
        size: ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower
            half frozen; ``full`` as in the source: 384 x 384 grey, 400 epochs, a backbone of ImageNet as in its forks.
        mining: Opponents over all pairs (``exact``), among each photo's most alike (``nearest``), or whoever meets in
            a batch (``batch``: P whales x K photos, all pairs of the batch); None: as the size has it.
        noise: Chance among opponents at first, less and less of it later; else the very hardest from the start.
        pair_loss: ``bce``: same or not; ``triplet``: the same likelier than any other by a margin.
        triplet: Batch-hard triplets on the embedding besides, without which the shortlist has little to go by.
        compact: Draw each whale's photos together besides, wherever others are.
        flip_identity: A mirrored fluke is another whale (and nobody's opponent is its own mirror image).
        tta: Look at each photo mirrored too, and average.
        rescoring: Let the pair head look again at the 20 likeliest whales of the embedding.
        alone: Let the pair head rank everybody by itself, as the source does (there without ``triplet``).
        evidence: Look again at the first ten by matching points (needs the extra ``keypoints``); the source had none.
        boxes: Look into boxes: of the ``table``, or found by colour (``grabcut``), by a network (``features``), or
            where both agree (``agreed``); ``none``: the whole photo. None: ``table`` at ``full``, as in the source,
            else ``none``.
        effort: Multiplies the epochs of every leg.

    Contest: Humpback Whale Identification 2018/19, the public Siamese network (Piotte, seesee's fork with an ImageNet
    backbone). Differences even at ``full``, beside the switches: vectors of unit length, no standardisation of each
    picture, all assignments of a round solved at its beginning.

    Command: ``fieldmark train humpback-siamese whales/ --run runs/siamese``
    """
    scale = of_size(SCALES, size)
    if alone and not rescoring:
        raise PlanError(
            "The pair head cannot rank alone and not at all.",
            got="alone=true, rescoring=false",
            fix="leave out one of the two.",
        )
    losses = _losses(pair_loss, triplet=triplet, compact=compact, mined=mining != "batch")
    finder = finder_of(scale.boxes if boxes is None else boxes, what="Boxes")
    preprocess = scale.preprocess
    if finder is not None:
        crop = BoxCrop(margin=0.05, sources=(BoxSource(by=finder),))
        preprocess = preprocess.model_copy(update={"crop": crop})
    train = Train(
        name="net",
        on="split",
        net=scale.net,
        preprocess=preprocess,
        augment=WhaleAugment(),
        versions=scale.versions,
        losses=losses,
        sampler=_sampler(mining or scale.mining, every_epochs=scale.every_epochs),
        flip_identity=flip_identity,
        unknowns=False,
        training=scale.training.model_copy(update={"legs": _legs(scale.legs, noise=noise, effort=effort)}),
    )
    stages: list[Stage] = [Split(name="split", folds=HumpbackHoldout()), *looking(finder), train]
    if scale.again:
        legs = _legs(scale.again, noise=noise, effort=effort)
        training = scale.training.model_copy(update={"legs": legs, "weight_decay": AGAIN_DECAY})
        stages.append(train.model_copy(update={"name": "again", "warm": "net", "training": training}))
    best = stages[-1].name
    stages += [
        Embed(name="features", of=best, on="split", flip=tta),
        Rank(name="ranking", reads_from="features", on="split", votes=(Vote(by=Best()),), unknown=MaxMap()),
    ]
    if rescoring:
        stages.append(
            Rescore(
                name="pairs",
                reads_from="ranking",
                of=best,
                embedded="features",
                on="split",
                shortlist=None if alone else 20,
                weight=1.0 if alone else None,
            )
        )
    if evidence:
        last, within = stages[-1].name, finder or TableBoxes()
        stages.append(Recheck(name="evidence", reads_from=last, embedded="features", on="split", within=within))
    return Plan(name="humpback-siamese", stages=(*stages, Answer(name="answers", reads_from=stages[-1].name))).check()


def _losses(pair_loss: PairLoss, *, triplet: bool, compact: bool, mined: bool) -> Losses:
    kinds: dict[str, Losses] = {
        "bce": (PairBce(pairs="drawn" if mined else "all"),),
        "triplet": (PairTriplet(),),
    }
    if pair_loss not in kinds:
        raise PlanError("The recipe has no such loss on pairs.", got=pair_loss, fix=nearest(pair_loss, kinds))
    beside = (BatchHardTriplet(),) if triplet else ()
    return (*kinds[pair_loss], *beside, *((Compactness(),) if compact else ()))


def _sampler(mining: Mining, *, every_epochs: int) -> Sampler:
    kinds: dict[str, Sampler] = {
        "exact": AssignmentSampler(solver=ExactAssignment(), every_epochs=every_epochs),
        "nearest": AssignmentSampler(solver=NearestAssignment(), every_epochs=every_epochs),
        "batch": PkSampler(k=4, unknown_share=0.0),
    }
    if mining not in kinds:
        raise PlanError("The recipe has no such mining.", got=mining, fix=nearest(mining, kinds))
    return kinds[mining]


def _legs(legs: tuple[Leg, ...], *, noise: bool, effort: float) -> tuple[Leg, ...]:
    changes = {} if noise else {"noise": (0.0, 0.0)}
    return tuple(leg.model_copy(update=changes) for leg in with_effort(legs, effort))
