"""Humpback Whale Identification 2018/19: classification and metric learning in one network, and what it must beat."""

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
from fieldmark.plans.keypoints import KeypointSettings, rechecked
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
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    sampler: Sampler
    losses: Losses
    phases: tuple[Phase, ...]
    training: Training
    versions: int | None = None
    logits_weight: float = 1.0
    """Of the head's own probabilities in the ranking, where likeness weighs 1."""


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
        # Chosen on validation photos: after so short a training the head knows less than the embedding.
        logits_weight=0.25,
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

    centroids: bool = setting(
        "ranking", False, "Score an individual by the similarity to the centroid of its photos; else by its photos."
    )
    tta: bool = setting("ranking", False, "Average embeddings of each photo and its mirror image.")


class ClassifySettings(RankingSettings, SubjectSettings, GroupedDecisionSettings, TrainingSettings):
    """Settings of ``humpback-classify``."""

    flip_identity: bool = setting("data", True, "Mirrored photos of an individual are photos of another individual.")
    unknowns: bool = setting("data", True, "Train on photos of unknown individuals too, as negatives for every class.")
    masks: FoundBy = setting(
        "data",
        "none",
        "A fourth input channel with the mask of the subject: of the table, or found by colour (grabcut), by a network "
        "(features), or where both agree (agreed). The frozen lower half cannot learn it, so small then trains as with "
        "whole.",
    )
    whole: bool = setting(
        "model",
        False,
        "Train the lower half of the network too, which takes several times as long.",
        why="other sizes train the lower half anyway",
        needs={"size": ("small",)},
    )
    stripes: int | None = setting(
        "model",
        None,
        "Triplets of aligned stripes: also compare so many horizontal stripes of the picture (AlignedReID).",
        ge=2,
        unset="none",
        example=3,
    )
    triplet: bool = setting("training", True, "Batch-hard triplet loss beside the one-vs-rest loss.")
    staged: bool = setting(
        "training", True, "First train on individuals with many photos, then on all, then at a tenth of the rate."
    )
    logits_weight: float | None = setting(
        "ranking",
        None,
        "Weight of the head's output in the ranking, where similarity weighs 1; 0: similarity alone.",
        ge=0,
        example=0.5,
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """The weight of the head's output."""
        return {"logits_weight": of_size(SCALES, size).logits_weight}


@recipe("humpback-classify", ClassifySettings)
def humpback_classify(size: str, settings: ClassifySettings) -> Plan:
    """One-vs-rest classification and triplets in three phases; unknown individuals are negatives for every class.

    ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower half frozen;
    ``full`` as in the source: SENet-154 at 512 x 256.

    Contest: Humpback Whale Identification 2018/19, first place as its author's code and
    others' notes tell it. Differences at ``small`` and why: see the lab book.

    Command: ``fieldmark train humpback-classify whales/ --run runs/whales``
    """
    finder = finder_of(settings.masks, what="Masks")
    scale = _scale(size, whole=settings.whole, masked_by=finder)
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
            update={"phases": scale.phases if settings.staged else _one_phase(scale.phases)}
        ),
    )
    weight = scale.logits_weight if settings.logits_weight is None else settings.logits_weight
    loop = Loop(
        settings=settings,
        train=train,
        logits_weight=weight,
        logits_first=True,
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
    """The baseline for identification: a frozen backbone, the most similar photo and a tuned threshold; no training.

    Every size has the backbone of ``humpback-classify`` at that size; ``small`` and ``full`` see photos at 224 px.

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
    looked = rechecked(
        settings, ranking="ranking", embedded="features", within=TableBoxes(), unknown=rule, per_group=per_group
    )
    if looked is not None:
        stages.append(looked)
    return Plan(name="humpback-nearest", stages=(*stages, *final_stages(settings, stages[-1].name)))


def _scale(size: str, *, whole: bool, masked_by: Finder | None) -> HumpbackScale:
    """The size, its lower half trained where it is asked to or has a mask to learn, with a channel for that mask."""
    scale = of_size(SCALES, size)
    if all(phase.freeze for phase in scale.phases) and (whole or masked_by is not None):
        phases = tuple(phase.model_copy(update={"freeze": ()}) for phase in scale.phases)
        scale = scale.model_copy(update={"phases": phases, "versions": None})
    if masked_by is not None:
        backbone = scale.net.backbone.model_copy(update={"in_channels": 4})
        scale = scale.model_copy(update={"net": scale.net.model_copy(update={"backbone": backbone})})
    return scale


def _one_phase(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """All identities from the start, for as many epochs, at the rate of the first phase, falling to its end."""
    schedule = Cosine(warmup=0.05, floor=0.01)
    return (
        phases[-1].model_copy(
            update={"epochs": sum(phase.epochs for phase in phases), "lr": phases[0].lr, "schedule": schedule}
        ),
    )
