"""Recipe after Humpback Whale Identification 2018/19: a Siamese network that compares pairs of photos."""

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
from fieldmark.plans.keypoints import KeypointSettings, keypoint_reranking
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
    """Parts of the recipe that depend on its size."""

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
        # 128 features per photo: a pair head on all 1,280 features would take ten times as long for every pair.
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
        "Source of the boxes to which photos are cropped, as for boxes of humpback-classify. Size full uses the boxes "
        "of the photo table, as in the source.",
        example="grabcut",
    )
    flip_identity: bool = setting(
        "data",
        True,
        "Treat the horizontal flips of an individual's photos as photos of a separate individual.",
    )
    mining: Mining | None = setting(
        "training",
        None,
        "Hard-negative mining. exact: pair photos of different individuals by linear assignment over all pairs. "
        "nearest: the same, only among the most similar photos. batch: use all pairs within batches of P individuals "
        "x K photos.",
    )
    mining_noise: bool = setting(
        "training",
        True,
        "Add random noise to the mining, less of it in each phase. If false, train on the hardest negatives from the "
        "start.",
        why="batch mining has no noise",
        needs={"mining": ("exact", "nearest")},
    )
    pair_loss: PairLoss = setting(
        "training",
        "bce",
        "Loss on pairs of photos. bce: binary cross-entropy for same or different individual. triplet: margin between "
        "the scores of a same pair and a different pair.",
    )
    triplet: bool = setting(
        "training",
        True,
        "Add a batch-hard triplet loss on the embedding. The embedding ranks the shortlist for the pair head.",
    )
    compactness: bool = setting(
        "training", False, "Add a compactness loss, which pulls the embeddings of each individual's photos together."
    )
    tta: bool = setting(
        "ranking", True, "Test-time augmentation (TTA): average the embeddings of a photo and its horizontal flip."
    )
    score_by_centroid: bool = setting(
        "ranking",
        False,
        "If true, rank the shortlist by the similarity to the mean embedding (centroid) of an individual's photos. If "
        "false, compare its photos one by one; see score_by_photo.",
        needs={"pair_head_only": (False,)},
    )
    score_by_photo: Literal["best", "mean_top", "nearest", "sum_above"] = setting(
        "ranking",
        "best",
        "Score of an individual in the shortlist, as for score_by_photo of humpback-classify.",
        needs={"score_by_centroid": (False,), "pair_head_only": (False,)},
    )
    k_reciprocal: bool = setting(
        "ranking",
        False,
        "Apply k-reciprocal re-ranking to the shortlist.",
        needs={"score_by_centroid": (False,), "pair_head_only": (False,)},
    )
    pair_reranking: bool = setting("ranking", True, "Re-rank the 20 most similar individuals by the pair head.")
    pair_head_only: bool = setting(
        "ranking",
        False,
        "Rank all individuals by the pair head only, without a shortlist. The source does this, and trains without "
        "triplet.",
        needs={"pair_reranking": (True,)},
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the values of mining and boxes."""
        scale = of_size(SCALES, size)
        return {"mining": scale.mining, "boxes": scale.boxes}


@recipe("humpback-siamese", SiameseSettings)
def humpback_siamese(size: str, settings: SiameseSettings) -> Plan:
    """Whale flukes: a Siamese network that compares pairs of photos, trained on mined hard pairs; re-ranks a shortlist.

    ``toy`` runs in seconds on synthetic images. ``small`` runs on a laptop; it uses the included backbone with a frozen
    lower half. ``full`` is as in the source: 384 x 384 grey, 400 epochs, an ImageNet backbone as in the source's forks.

    Contest: Humpback Whale Identification 2018/19, the public Siamese network (Piotte, seesee's fork with an ImageNet
    backbone). Differences that remain at ``full``: embeddings have unit length, photos are not standardised one by
    one, and all assignments of a round are solved at its start.

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
        losses=_losses(settings, mines_pairs=mining != "batch"),
        sampler=_sampler(mining, every_epochs=scale.every_epochs),
        flip_identity=settings.flip_identity,
        unknowns=False,
        training=scale.training.model_copy(update={"phases": _phases(scale.phases, noise=settings.mining_noise)}),
    )
    stages: list[Stage] = [Split(name="split", folds=HumpbackSplit()), *finding(train.preprocess), train]
    if scale.again:
        phases = _phases(scale.again, noise=settings.mining_noise)
        training = scale.training.model_copy(update={"phases": phases, "weight_decay": AGAIN_DECAY})
        stages.append(train.model_copy(update={"name": "again", "warm": "net", "training": training}))
    stages += _ranked(settings, net=stages[-1].name)
    matching = keypoint_reranking(
        settings,
        ranking=stages[-1].name,
        embedded="features",
        within=subject(train),
        unknown=unknown_at(settings),
    )
    if matching is not None:
        stages.append(matching)
    return Plan(name="humpback-siamese", stages=(*stages, *final_stages(settings, stages[-1].name)))


def _ranked(settings: SiameseSettings, *, net: str) -> list[Stage]:
    """Return the embed stage of ``net``, the ranking by similarity, and the re-ranking by the pair head."""
    unknown, pair_head_only = unknown_at(settings), settings.pair_head_only
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
    if settings.pair_reranking:
        stages.append(
            RerankPairs(
                name="pairs",
                reads_from="ranking",
                of=net,
                embedded="features",
                on="split",
                shortlist=None if pair_head_only else 20,
                weight=1.0 if pair_head_only else None,
                unknown=unknown,
            )
        )
    return stages


def _losses(settings: SiameseSettings, *, mines_pairs: bool) -> Losses:
    kinds: dict[str, Losses] = {
        "bce": (PairBce(pairs="drawn" if mines_pairs else "all"),),
        "triplet": (PairTriplet(),),
    }
    beside = (BatchHardTriplet(),) if settings.triplet else ()
    return (*kinds[settings.pair_loss], *beside, *((Compactness(),) if settings.compactness else ()))


def _sampler(mining: Mining, *, every_epochs: int) -> Sampler:
    kinds: dict[str, Sampler] = {
        "exact": AssignmentSampler(solver=ExactAssignment(), every_epochs=every_epochs),
        "nearest": AssignmentSampler(solver=NearestAssignment(), every_epochs=every_epochs),
        "batch": PkSampler(k=4, unknown_share=0.0),
    }
    return kinds[mining]


def _phases(phases: tuple[Phase, ...], *, noise: bool) -> tuple[Phase, ...]:
    return phases if noise else tuple(phase.model_copy(update={"noise": (0.0, 0.0)}) for phase in phases)
