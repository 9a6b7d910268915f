"""Re-identification for any species: what the winners of two whale contests agree on, with today's losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fieldmark.core.spec import Spec
from fieldmark.data.specs import HumpbackSplit, OpenSetSplit, PkSampler
from fieldmark.images.specs import Preprocess, WhaleAugment
from fieldmark.losses.specs import (
    Affinity,
    ArcFace,
    BatchHardTriplet,
    CombinedMargin,
    Compactness,
    CosFace,
    CrossEntropy,
    Elastic,
    Losses,
    MarginByCount,
    OhemBce,
    SphereFace,
)
from fieldmark.models.specs import (
    AffinityHead,
    Backbone,
    CosineHead,
    Head,
    HubWeights,
    Net,
    OneVsRestHead,
    RandomWeights,
)
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.common import TrainingSettings
from fieldmark.plans.deciding import GroupedDecisionSettings, final_stages, groups_of, unknown_at
from fieldmark.plans.finders import SubjectSettings, cropped, finding
from fieldmark.plans.recipe import recipe
from fieldmark.plans.rounds import Loop, RankingSettings
from fieldmark.plans.settings import Value, setting
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, of_size, striped
from fieldmark.stacking.specs import IdentityStacking, Tuning
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.rerank_trees import RerankTrees
from fieldmark.training.specs import Cosine, Phase, Training

Loss = Literal["questions", "arcface", "cosface", "elastic", "sphereface", "combined", "softmax", "affinity"]
MARGINED = ("arcface", "cosface", "elastic", "sphereface", "combined")
CENTRED = (*MARGINED, "softmax", "affinity")


class ReidentifyScale(Spec):
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    phases: tuple[Phase, ...]
    training: Training
    staged: tuple[Phase, ...] | None = None
    """Phases for questions, of which the first leaves out individuals with one photo; None: ``phases`` serve these too."""
    versions: int | None = None
    loss: Loss = "arcface"
    questions_weight: float = 1.0
    """Of the loss over individuals where it asks questions; triplets weigh 1, and so does a softmax."""


SCALES = {
    "toy": ReidentifyScale(
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=CosineHead(scale=16)),
        preprocess=Preprocess(height_px=32, width_px=64),
        phases=(Phase(epochs=2, lr=1e-3),),
        training=Training(batch=16),
    ),
    "small": ReidentifyScale(
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=CosineHead(scale=24, imprinted=True)),
        preprocess=Preprocess(height_px=160, width_px=160),
        phases=(
            Phase(epochs=18, lr=1e-3, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Phase(epochs=4, lr=1e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
        ),
        staged=(
            Phase(epochs=15, lr=1e-3, min_photos=2, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Phase(epochs=7, lr=2e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
        ),
        training=Training(batch=96, least_batches=40, epoch_batches=80),
        versions=6,
        # For thousands of individuals, most with one photo or two; a softmax over so many drowns the triplets.
        loss="questions",
        questions_weight=0.25,
    ),
    "full": ReidentifyScale(
        net=Net(
            backbone=Backbone(name="tf_efficientnetv2_m", weights=HubWeights(), pool="gem", maps=2),
            head=CosineHead(scale=20.96, centres=2),
        ),
        preprocess=Preprocess(height_px=512, width_px=512, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        phases=(Phase(epochs=30, lr=1.6e-3, schedule=Cosine(warmup=0.2, floor=0.01)),),
        training=Training(batch=64, lr_head_times=10.0),
    ),
}


class ReidentifySettings(RankingSettings, SubjectSettings, GroupedDecisionSettings, TrainingSettings):
    """Settings of ``reidentify``."""

    mirror: Literal["other", "same", "none"] = setting(
        "data",
        "other",
        "What a mirrored photo shows: other individuals (flukes, stripes seen from one side), the same one (faces from "
        "in front); none: mirrored photos are left out.",
    )
    unknowns: bool = setting(
        "data", True, "Train on photos of unknown individuals too: as others in triplets, and as unlike all others."
    )
    validation: Literal["open", "humpback"] = setting(
        "data",
        "open",
        "Validation photos: with whole individuals held out as unknown (open), or those of the whale recipes "
        "(humpback), so that runs of both can be joined to an ensemble.",
        why="folds replace it",
        needs={"folds": (None,)},
    )
    height_px: int | None = setting("data", None, "Height of the network's input.", ge=32, le=4096, example=96)
    width_px: int | None = setting(
        "data", None, "Width of the network's input; flukes are twice as wide as high.", ge=32, le=4096, example=192
    )
    centres: int | None = setting(
        "model",
        None,
        "Centres an individual, of which the nearest counts.",
        why="one-vs-rest has no centres",
        needs={"loss": CENTRED},
        ge=1,
        example=3,
    )
    pool: Literal["avg", "max", "gem"] | None = setting("model", None, "Pooling of the backbone's feature map.")
    maps: int | None = setting(
        "model", None, "Feature maps of the backbone that are pooled: the last, or the last two.", ge=1, le=2, example=2
    )
    stripes: int | None = setting(
        "model",
        None,
        "Triplets of aligned stripes: also compare so many horizontal stripes of the picture (AlignedReID).",
        ge=2,
        unset="none",
        example=3,
    )
    loss: Loss | None = setting(
        "training",
        None,
        "Loss over individuals: one-vs-rest with the hardest negatives (questions), softmax with a margin (arcface, "
        "cosface, elastic, sphereface, combined) or without (softmax), or affinity to centres. questions does better "
        "for thousands with a photo or two, the others for up to some hundreds with several.",
    )
    by_count: bool = setting(
        "training",
        True,
        "A larger margin for individuals with few photos.",
        why="only these margins depend on the number of photos",
        needs={"loss": ("arcface", "cosface")},
    )
    warmup: float = setting(
        "training",
        0.2,
        "Share of the training over which the margin grows to its whole.",
        why="this loss has no margin",
        needs={"loss": MARGINED},
        ge=0,
        le=1,
        example=0.5,
    )
    triplet: bool = setting("training", True, "Batch-hard triplet loss beside the loss over individuals.")
    compact: bool = setting("training", False, "Also draw the photos of each individual together (compactness loss).")
    staged: bool = setting(
        "training",
        True,
        "First train on individuals with two photos or more, then on all.",
        why="only the one-vs-rest training of size small has such a first phase",
        needs={"size": ("small",), "loss": ("questions",)},
    )
    distil: bool = setting(
        "training",
        False,
        "Train again with the first network's predictions as targets of unknown individuals.",
        why="no unknown individuals are trained on",
        needs={"unknowns": (True,)},
    )
    logits_weight: float = setting(
        "ranking",
        0.5,
        "Weight of the head's output in the ranking, where similarity weighs 1; 0: similarity alone.",
        ge=0,
    )
    trees: bool = setting(
        "ranking",
        False,
        "Rank the candidates by gradient-boosted trees.",
        why="keypoints are matched for the first names of a ranking by similarity",
        needs={"keypoints": ("none",)},
    )
    trees_columns: Literal["likeness", "embedding", "both"] = setting(
        "ranking",
        "likeness",
        "Features of the trees: similarities and counts, principal components (PCA) of embeddings, or both.",
        needs={"trees": (True,)},
    )
    trees_trials: int = setting(
        "ranking",
        0,
        "Optuna trials to tune the trees (extra tuning); 0: no search.",
        needs={"trees": (True,)},
        ge=0,
        example=20,
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Loss, input size, pooling and maps."""
        scale = of_size(SCALES, size)
        backbone, seen = scale.net.backbone, scale.preprocess
        own: dict[str, Value] = {"loss": scale.loss, "height_px": seen.height_px, "width_px": seen.width_px}
        return own | {"pool": backbone.pool, "maps": backbone.maps}


@recipe("reidentify", ReidentifySettings)
def reidentify(size: str, settings: ReidentifySettings) -> Plan:
    """Re-identification for any species: one-vs-rest or margin loss, triplets, and nearest photos and head together.

    ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower half frozen;
    ``full``: EfficientNetV2-M at 512 px.

    Source: ours, of parts: Happywhale 2022, first place (margin by count, neighbours and head together); Humpback
    Whale Identification 2018/19, first and third place (flips as other individuals, triplets, centroids).

    Command: ``fieldmark train reidentify lions.csv --run runs/lions``
    """
    scale = _scale(size, settings)
    phases = (
        scale.staged if settings.staged and scale.staged is not None and scale.loss == "questions" else scale.phases
    )
    losses = _losses(settings, scale)
    preprocess = cropped(scale.preprocess, settings, margin=0.1, jitter=0.05)
    net, losses = striped(scale.net, losses, settings.stripes, preprocess)
    train = Train(
        name="net",
        on="split",
        net=net,
        preprocess=preprocess,
        augment=WhaleAugment(),
        versions=scale.versions,
        losses=losses,
        sampler=PkSampler(k=3 if size == "small" else 4, unknown_share=0.125 if settings.unknowns else 0.0),
        flip_identity=settings.mirror == "other",
        mirrored=settings.mirror == "same",
        unknowns=settings.unknowns,
        training=scale.training.model_copy(update={"phases": phases}),
    )
    rule, groups = unknown_at(settings), groups_of(settings)
    loop = Loop(
        settings=settings,
        train=train,
        logits_weight=settings.logits_weight,
        unknown=rule,
        per_group=groups,
        distil=settings.distil,
    )
    stages, best, embedded = loop.stages()
    if settings.trees:
        tuning = Tuning(n_trials=settings.trees_trials) if settings.trees_trials else None
        trees = IdentityStacking(columns=settings.trees_columns, tuning=tuning)
        stages.append(
            RerankTrees(name="trees", reads_from=embedded, on="split", settings=trees, unknown=rule, per_group=groups)
        )
        best = "trees"
    split = Split(name="split", folds=HumpbackSplit() if settings.validation == "humpback" else OpenSetSplit())
    return Plan(name="reidentify", stages=(split, *finding(preprocess), *stages, *final_stages(settings, best)))


def _losses(settings: ReidentifySettings, scale: ReidentifyScale) -> Losses:
    """The loss over individuals, and the losses beside it."""
    warmup, by_count = settings.warmup, settings.by_count
    kinds: dict[Loss, Losses] = {
        "questions": (OhemBce(weight=scale.questions_weight if settings.triplet else 1.0),),
        "arcface": (ArcFace(margin=MarginByCount() if by_count else 0.3, warmup=warmup),),
        "cosface": (CosFace(margin=MarginByCount() if by_count else 0.2, warmup=warmup),),
        "elastic": (Elastic(warmup=warmup),),
        "sphereface": (SphereFace(warmup=warmup),),
        "combined": (CombinedMargin(warmup=warmup),),
        "softmax": (CrossEntropy(unknowns="uniform" if settings.unknowns else "left_out"),),
        "affinity": (Affinity(),),
    }
    beside = (*((BatchHardTriplet(),) if settings.triplet else ()), *((Compactness(),) if settings.compact else ()))
    return (*kinds[scale.loss], *beside)


def _scale(size: str, settings: ReidentifySettings) -> ReidentifyScale:
    """The size, with the network and input that were asked for."""
    scale = of_size(SCALES, size)
    loss = settings.loss or scale.loss
    head: Head = scale.net.head
    if loss == "questions":
        head = OneVsRestHead()
    elif loss == "affinity":
        head = AffinityHead()
    if settings.centres is not None and loss != "questions":
        head = head.model_copy(update={"centres": settings.centres})
    parts = {"pool": settings.pool, "maps": settings.maps}
    backbone = scale.net.backbone.model_copy(update={name: one for name, one in parts.items() if one is not None})
    sides = {"height_px": settings.height_px, "width_px": settings.width_px}
    seen = scale.preprocess.model_copy(update={name: side for name, side in sides.items() if side is not None})
    net = scale.net.model_copy(update={"head": head, "backbone": backbone})
    return scale.model_copy(update={"net": net, "preprocess": seen, "loss": loss})
