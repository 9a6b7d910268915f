"""Humpback Whale Identification 2018/19, the other way: a network that looks at two photos and says same or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fieldmark.core.spec import Spec
from fieldmark.data.specs import (
    AssignmentSampler,
    ExactAssignment,
    HumpbackSplit,
    NearestAssignment,
    PkSampler,
    Sampler,
)
from fieldmark.images.specs import Preprocess, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, Compactness, Losses, PairBce, PairTriplet
from fieldmark.models.specs import Backbone, HubWeights, Net, PairHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.common import TrainingSettings
from fieldmark.plans.deciding import (
    DecisionSettings,
    SimilaritySettings,
    final_stages,
    neighbourhood,
    similarity,
    unknown_at,
)
from fieldmark.plans.finders import SubjectSettings, cropped, finding, subject
from fieldmark.plans.keypoints import KeypointSettings, rechecked
from fieldmark.plans.recipe import recipe
from fieldmark.plans.settings import Value, setting
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, of_size
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank, Vote
from fieldmark.stages.identity.rerank_pairs import RerankPairs
from fieldmark.training.specs import Cosine, Phase, Training

Mining = Literal["exact", "nearest", "batch"]
PairLoss = Literal["bce", "triplet"]


class SiameseScale(Spec):
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    every_epochs: int
    phases: tuple[Phase, ...]
    training: Training
    mining: Mining
    again: tuple[Phase, ...] = ()
    """A second training that starts from the first one's weights, with weight decay."""
    versions: int | None = None
    boxes: str = "none"


AGAIN_DECAY = 2e-4

SCALES = {
    "toy": SiameseScale(
        net=Net(
            backbone=Backbone(name="test_efficientnet", weights=RandomWeights(), pool="max"), head=PairHead(dim=16)
        ),
        preprocess=Preprocess(height_px=32, width_px=64),
        every_epochs=2,
        phases=(
            Phase(epochs=3, lr=1e-3, noise=(10.0, 1.0)),
            Phase(epochs=1, lr=1e-4, freeze=("stem",), noise=(0.25, 0.25)),
        ),
        training=Training(batch=16),
        mining="exact",
    ),
    "small": SiameseScale(
        # 128 numbers a photo: a pair head of all 1,280 would need ten times the time for every pair.
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=PairHead(dim=128)),
        preprocess=Preprocess(height_px=96, width_px=192),
        every_epochs=6,
        phases=(
            Phase(epochs=18, lr=1e-3, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE, noise=(100.0, 0.5)),
            Phase(epochs=6, lr=1e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE, noise=(0.25, 0.25)),
        ),
        training=Training(batch=96, epoch_batches=80),
        mining="nearest",
        versions=6,
    ),
    "full": SiameseScale(
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
        phases=(
            Phase(epochs=10, lr=64e-5, noise=(1000.0, 1000.0)),
            Phase(epochs=50, lr=64e-5, noise=(100.0, 100**0.1)),
            Phase(epochs=90, lr=64e-5, noise=(1.0, 1.0)),
            Phase(epochs=50, lr=16e-5, noise=(0.5, 0.5)),
            Phase(epochs=40, lr=4e-5, noise=(0.25, 0.25)),
            Phase(epochs=10, lr=1e-5, noise=(0.25, 0.25)),
        ),
        again=(
            Phase(epochs=50, lr=64e-5, noise=(1.0, 1.0)),
            Phase(epochs=50, lr=16e-5, noise=(0.5, 0.5)),
            Phase(epochs=40, lr=4e-5, noise=(0.25, 0.25)),
            Phase(epochs=10, lr=1e-5, noise=(0.25, 0.25)),
        ),
        training=Training(batch=64, optimiser="adam", weight_decay=0.0),
        mining="exact",
        boxes="table",
    ),
}


class SiameseSettings(SubjectSettings, SimilaritySettings, DecisionSettings, KeypointSettings, TrainingSettings):
    """Settings of ``humpback-siamese``."""

    boxes: str | None = setting(
        "data",
        None,
        "Crop to boxes, as boxes of humpback-classify; those of the table at full, as in the source.",
        example="grabcut",
    )
    flip_identity: bool = setting("data", True, "Mirrored photos of an individual are photos of another individual.")
    mining: Mining | None = setting(
        "training",
        None,
        "Opponents by assignment over all pairs (exact), among each photo's most similar (nearest), or all pairs of a "
        "batch of P individuals x K photos (batch).",
    )
    noise: bool = setting(
        "training",
        True,
        "Random noise among opponents at first, less later; else the hardest from the start.",
        why="opponents are then whoever is in the batch",
        needs={"mining": ("exact", "nearest")},
    )
    pair_loss: PairLoss = setting(
        "training",
        "bce",
        "Loss on pairs: same or not (bce), or the same likelier than any other by a margin (triplet).",
    )
    triplet: bool = setting(
        "training", True, "Batch-hard triplet loss on the embedding too, by which the shortlist is made."
    )
    compact: bool = setting("training", False, "Also draw the photos of each individual together (compactness loss).")
    tta: bool = setting("ranking", True, "Average embeddings of each photo and its mirror image.")
    centroids: bool = setting(
        "ranking",
        False,
        "Make the shortlist by the centroid of an individual's photos; else by its photos.",
        needs={"alone": (False,)},
    )
    by_photos: Literal["best", "mean_top", "nearest", "sum_above"] = setting(
        "ranking",
        "best",
        "As by_photos of humpback-classify, for the shortlist.",
        needs={"centroids": (False,), "alone": (False,)},
    )
    reciprocal: bool = setting(
        "ranking",
        False,
        "k-reciprocal re-ranking of the shortlist.",
        needs={"centroids": (False,), "alone": (False,)},
    )
    rescoring: bool = setting(
        "ranking", True, "Re-rank the 20 likeliest individuals of the embedding by the pair head."
    )
    alone: bool = setting(
        "ranking",
        False,
        "Rank all individuals by the pair head alone, as the source does (there without triplet).",
        needs={"rescoring": (True,)},
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Mining and boxes."""
        scale = of_size(SCALES, size)
        return {"mining": scale.mining, "boxes": scale.boxes}


@recipe("humpback-siamese", SiameseSettings)
def humpback_siamese(size: str, settings: SiameseSettings) -> Plan:
    """A network that compares two photos, trained on the hardest pairs by assignment; it re-ranks a shortlist.

    ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower half frozen;
    ``full`` as in the source: 384 x 384 grey, 400 epochs, a backbone of ImageNet as in its forks.

    Contest: Humpback Whale Identification 2018/19, the public Siamese network (Piotte, seesee's fork with an ImageNet
    backbone). Differences even at ``full``, beside the switches: vectors of unit length, no standardisation of each
    picture, all assignments of a round solved at its beginning.

    Command: ``fieldmark train humpback-siamese whales/ --run runs/siamese``
    """
    scale = of_size(SCALES, size)
    mining = settings.mining or scale.mining
    train = Train(
        name="net",
        on="split",
        net=scale.net,
        preprocess=cropped(scale.preprocess, settings, boxes=scale.boxes, margin=0.05),
        augment=WhaleAugment(),
        versions=scale.versions,
        losses=_losses(settings, mined=mining != "batch"),
        sampler=_sampler(mining, every_epochs=scale.every_epochs),
        flip_identity=settings.flip_identity,
        unknowns=False,
        training=scale.training.model_copy(update={"phases": _phases(scale.phases, noise=settings.noise)}),
    )
    stages: list[Stage] = [Split(name="split", folds=HumpbackSplit()), *finding(train.preprocess), train]
    if scale.again:
        phases = _phases(scale.again, noise=settings.noise)
        training = scale.training.model_copy(update={"phases": phases, "weight_decay": AGAIN_DECAY})
        stages.append(train.model_copy(update={"name": "again", "warm": "net", "training": training}))
    stages += _ranked(settings, net=stages[-1].name)
    looked = rechecked(
        settings,
        ranking=stages[-1].name,
        embedded="features",
        within=subject(train),
        unknown=unknown_at(settings),
    )
    if looked is not None:
        stages.append(looked)
    return Plan(name="humpback-siamese", stages=(*stages, *final_stages(settings, stages[-1].name)))


def _ranked(settings: SiameseSettings, *, net: str) -> list[Stage]:
    """Embeddings by the stage ``net``, the ranking by them, and the pair head's."""
    unknown, alone = unknown_at(settings), settings.alone
    stages: list[Stage] = [
        Embed(name="features", of=net, on="split", flip=settings.tta),
        Rank(
            name="ranking",
            reads_from="features",
            on="split",
            votes=(Vote(by=similarity(settings)),),
            unknown=unknown,
            reciprocal=neighbourhood(settings),
        ),
    ]
    if settings.rescoring:
        stages.append(
            RerankPairs(
                name="pairs",
                reads_from="ranking",
                of=net,
                embedded="features",
                on="split",
                shortlist=None if alone else 20,
                weight=1.0 if alone else None,
                unknown=unknown,
            )
        )
    return stages


def _losses(settings: SiameseSettings, *, mined: bool) -> Losses:
    kinds: dict[str, Losses] = {
        "bce": (PairBce(pairs="drawn" if mined else "all"),),
        "triplet": (PairTriplet(),),
    }
    beside = (BatchHardTriplet(),) if settings.triplet else ()
    return (*kinds[settings.pair_loss], *beside, *((Compactness(),) if settings.compact else ()))


def _sampler(mining: Mining, *, every_epochs: int) -> Sampler:
    kinds: dict[str, Sampler] = {
        "exact": AssignmentSampler(solver=ExactAssignment(), every_epochs=every_epochs),
        "nearest": AssignmentSampler(solver=NearestAssignment(), every_epochs=every_epochs),
        "batch": PkSampler(k=4, unknown_share=0.0),
    }
    return kinds[mining]


def _phases(phases: tuple[Phase, ...], *, noise: bool) -> tuple[Phase, ...]:
    return phases if noise else tuple(phase.model_copy(update={"noise": (0.0, 0.0)}) for phase in phases)
