"""Recipes after Humpback Whale Identification 2018/19: classification with metric learning, and a baseline."""

from __future__ import annotations

from collections.abc import Mapping

from fieldmark.core.spec import Spec
from fieldmark.data.specs import HumpbackSplit, PkSampler, Sampler, TupleSampler
from fieldmark.images.specs import Finder, Preprocess, TableBoxes, WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, Losses, OhemBce
from fieldmark.models.specs import Backbone, EmbeddingHead, HubWeights, Net, OneVsRestHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.common import FoldSettings, TrainingSettings
from fieldmark.plans.deciding import (
    GroupedDecisionSettings,
    SimilaritySettings,
    final_stages,
    groups_of,
    neighbourhood,
    similarity,
    unknown_at,
)
from fieldmark.plans.finders import FoundBy, SubjectSettings, cropped, finder_of, finding, masked
from fieldmark.plans.keypoints import KeypointSettings, keypoint_reranking
from fieldmark.plans.recipe import recipe
from fieldmark.plans.rounds import Loop, RankingSettings
from fieldmark.plans.settings import Value, setting
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, of_size, striped
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank, Vote
from fieldmark.training.specs import Constant, Cosine, Phase, Training


class HumpbackScale(Spec):
    """Parts of the recipe that depend on its size."""

    net: Net
    preprocess: Preprocess
    sampler: Sampler
    losses: Losses
    phases: tuple[Phase, ...]
    training: Training
    versions: int | None = None
    head_weight: float = 1.0
    """Weight of the head's probabilities in the ranking, where similarity has weight 1."""


SCALES = {
    "toy": HumpbackScale(
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead()),
        preprocess=Preprocess(height_px=32, width_px=64),
        sampler=TupleSampler(),
        losses=(OhemBce(), BatchHardTriplet()),
        phases=(
            Phase(epochs=2, min_photos=2, lr=1e-3),
            Phase(epochs=2, lr=1e-3, freeze=("stem",)),
            Phase(epochs=1, lr=1e-4),
        ),
        training=Training(batch=16),
    ),
    "small": HumpbackScale(
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=OneVsRestHead()),
        preprocess=Preprocess(height_px=96, width_px=192),
        sampler=PkSampler(k=3, unknown_share=0.125),
        losses=(OhemBce(weight=0.25), BatchHardTriplet()),
        phases=(
            Phase(epochs=16, lr=1e-3, min_photos=2, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Phase(epochs=6, lr=2e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Phase(epochs=2, lr=5e-5, schedule=Constant(), freeze=LOWER_LITE),
        ),
        training=Training(batch=96, epoch_batches=80),
        versions=6,
        # Chosen on validation photos: after this short training the embedding ranks better than the head.
        head_weight=0.25,
    ),
    "full": HumpbackScale(
        net=Net(backbone=Backbone(name="legacy_senet154", weights=HubWeights()), head=OneVsRestHead()),
        preprocess=Preprocess(
            height_px=256, width_px=512, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear"
        ),
        sampler=TupleSampler(),
        losses=(OhemBce(), BatchHardTriplet()),
        phases=(
            Phase(epochs=100, lr=3e-4, min_photos=10, stop_at=0.98),
            Phase(epochs=100, lr=3e-4, freeze=("stem", "layer1", "layer2"), stop_at=0.98),
            Phase(epochs=30, lr=3e-5, freeze=("stem", "layer1", "layer2")),
        ),
        training=Training(batch=48, optimiser="adam"),
    ),
}


class NearestSettings(SimilaritySettings, GroupedDecisionSettings, KeypointSettings, FoldSettings):
    """Settings of ``humpback-nearest``."""

    score_by_centroid: bool = setting(
        "ranking",
        False,
        "If true, score an individual by its similarity to the mean embedding (centroid) of its photos. If false, "
        "compare its photos one by one; see score_by_photo.",
    )
    tta: bool = setting(
        "ranking", False, "Test-time augmentation (TTA): average the embeddings of a photo and its horizontal flip."
    )


class ClassifySettings(RankingSettings, SubjectSettings, GroupedDecisionSettings, TrainingSettings):
    """Settings of ``humpback-classify``."""

    flip_identity: bool = setting(
        "data",
        True,
        "Treat the horizontal flips of an individual's photos as photos of a separate individual.",
    )
    unknowns: bool = setting(
        "data", True, "Also train on photos of unknown individuals, as negatives for every individual."
    )
    masks: FoundBy = setting(
        "data",
        "none",
        "Source of the subject mask, which becomes a fourth input channel. none: no mask. table: the mask column of "
        "the photo table. grabcut: masks found by colour. features: masks found by a network. agreed: masks on which "
        "both agree. A frozen lower half cannot learn the new channel, so at size small a mask implies "
        "train_all_layers.",
    )
    train_all_layers: bool = setting(
        "model",
        False,
        "Also train the lower half of the backbone. Training then takes several times as long.",
        why="the other sizes always train the lower half",
        needs={"size": ("small",)},
    )
    stripes: int | None = setting(
        "model",
        None,
        "Number of horizontal stripes whose features are also compared by a triplet loss (AlignedReID).",
        ge=2,
        unset="none",
        example=3,
    )
    triplet: bool = setting("training", True, "Add a batch-hard triplet loss to the one-vs-rest loss.")
    curriculum: bool = setting(
        "training",
        True,
        "Train in phases: first on individuals with several photos, then on all individuals, then on all with a lower "
        "learning rate. If false, train in one phase.",
    )
    head_weight: float | None = setting(
        "ranking",
        None,
        "Weight of the classification head's output in the ranking, where similarity has weight 1. 0: rank by "
        "similarity only.",
        ge=0,
        example=0.5,
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the weight of the head's output."""
        return {"head_weight": of_size(SCALES, size).head_weight}


@recipe("humpback-classify", ClassifySettings)
def humpback_classify(size: str, settings: ClassifySettings) -> Plan:
    """Whale flukes: one-vs-rest classification with a triplet loss, trained in three phases.

    Unknown individuals are negatives for every individual. ``toy`` runs in seconds on synthetic images. ``small`` runs
    on a laptop; it uses the included backbone with a frozen lower half. ``full`` is as in the source: SENet-154 at
    512 x 256.

    Contest: Humpback Whale Identification 2018/19, first place, after its author's code and the notes of others. The
    lab book lists the differences at ``small`` and their reasons.

    Command: ``fieldmark train humpback-classify whales/ --run runs/whales``
    """
    finder = finder_of(settings.masks, what="masks")
    scale = _scale(size, all_layers=settings.train_all_layers, mask_finder=finder)
    losses = scale.losses if settings.triplet else tuple(loss for loss in scale.losses if loss.kind != "triplet")
    net, losses = striped(scale.net, losses, settings.stripes, scale.preprocess)
    train = Train(
        name="net",
        on="split",
        net=net,
        preprocess=masked(cropped(scale.preprocess, settings, margin=0.05, jitter=0.05), finder),
        augment=WhaleAugment(),
        versions=scale.versions,
        losses=losses,
        sampler=scale.sampler,
        flip_identity=settings.flip_identity,
        unknowns=settings.unknowns,
        training=scale.training.model_copy(
            update={"phases": scale.phases if settings.curriculum else _one_phase(scale.phases)}
        ),
    )
    weight = scale.head_weight if settings.head_weight is None else settings.head_weight
    loop = Loop(
        settings=settings,
        train=train,
        head_weight=weight,
        head_first=True,
        unknown=unknown_at(settings),
        per_group=groups_of(settings),
    )
    stages, best, _ = loop.stages()
    split = Split(name="split", folds=HumpbackSplit())
    return Plan(
        name="humpback-classify",
        stages=(split, *finding(train.preprocess), *stages, *final_stages(settings, best)),
    )


@recipe("humpback-nearest", NearestSettings)
def humpback_nearest(size: str, settings: NearestSettings) -> Plan:
    """Baseline for identification: most similar photo by a pretrained backbone, with a fitted threshold; no training.

    Every size has the backbone of ``humpback-classify`` at that size; ``small`` and ``full`` read photos at 224 px.

    Source: ours; the usual first baseline of identification contests.
    """
    scale = of_size(SCALES, size)
    preprocess = scale.preprocess
    if size != "toy":
        preprocess = preprocess.model_copy(update={"height_px": 224, "width_px": 224})
    net = scale.net.model_copy(update={"head": EmbeddingHead(), "neck": "none"})
    rule, per_group = unknown_at(settings), groups_of(settings)
    stages: list[Stage] = [
        Split(name="split", folds=HumpbackSplit()),
        Train(name="net", on="split", net=net, preprocess=preprocess, losses=(BatchHardTriplet(),)),
        Embed(name="features", of="net", on="split", flip=settings.tta),
        Rank(
            name="ranking",
            reads_from="features",
            on="split",
            votes=(Vote(by=similarity(settings)),),
            unknown=rule,
            reciprocal=neighbourhood(settings),
            per_group=per_group,
        ),
    ]
    matching = keypoint_reranking(
        settings, ranking="ranking", embedded="features", within=TableBoxes(), unknown=rule, per_group=per_group
    )
    if matching is not None:
        stages.append(matching)
    return Plan(name="humpback-nearest", stages=(*stages, *final_stages(settings, stages[-1].name)))


def _scale(size: str, *, all_layers: bool, mask_finder: Finder | None) -> HumpbackScale:
    """Return the parts of a size.

    The lower half is unfrozen if ``all_layers`` is true or a mask is used. A mask adds an input channel.
    """
    scale = of_size(SCALES, size)
    if all(phase.freeze for phase in scale.phases) and (all_layers or mask_finder is not None):
        phases = tuple(phase.model_copy(update={"freeze": ()}) for phase in scale.phases)
        scale = scale.model_copy(update={"phases": phases, "versions": None})
    if mask_finder is not None:
        backbone = scale.net.backbone.model_copy(update={"in_channels": 4})
        scale = scale.model_copy(update={"net": scale.net.model_copy(update={"backbone": backbone})})
    return scale


def _one_phase(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Return one phase on all identities, with the total number of epochs and the first phase's learning rate."""
    schedule = Cosine(warmup=0.05, floor=0.01)
    return (
        phases[-1].model_copy(
            update={"epochs": sum(phase.epochs for phase in phases), "lr": phases[0].lr, "schedule": schedule}
        ),
    )
