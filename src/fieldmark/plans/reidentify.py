"""Recipe for re-identification of any species, from methods shared by winners of two whale contests."""

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

Loss = Literal["one_vs_rest", "arcface", "cosface", "elastic", "sphereface", "combined", "softmax", "affinity"]
WITH_MARGIN = ("arcface", "cosface", "elastic", "sphereface", "combined")
WITH_CENTRES = (*WITH_MARGIN, "softmax", "affinity")


class ReidentifyScale(Spec):
    """Parts of the recipe that depend on its size."""

    net: Net
    preprocess: Preprocess
    phases: tuple[Phase, ...]
    training: Training
    curriculum: tuple[Phase, ...] | None = None
    """Phases for the one-vs-rest loss; the first leaves out individuals with one photo. None: same as ``phases``."""
    versions: int | None = None
    loss: Loss = "arcface"
    one_vs_rest_weight: float = 1.0
    """Weight of the one-vs-rest loss beside a triplet loss; the other losses have weight 1."""


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
        curriculum=(
            Phase(epochs=15, lr=1e-3, min_photos=2, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Phase(epochs=7, lr=2e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
        ),
        training=Training(batch=96, least_batches=40, epoch_batches=80),
        versions=6,
        # For thousands of individuals, most with one or two photos: a softmax loss over so many classes is much larger
        # than the triplet loss.
        loss="one_vs_rest",
        one_vs_rest_weight=0.25,
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

    horizontal_flip: Literal["other_identity", "same_identity", "none"] = setting(
        "data",
        "other_identity",
        "Use of horizontally flipped photos in training. other_identity: as photos of a separate individual (flukes, "
        "stripes photographed from one side). same_identity: as photos of the same individual (faces from the front). "
        "none: not used.",
    )
    unknowns: bool = setting(
        "data",
        True,
        "Also train on photos of unknown individuals, as negatives in the classification and the triplet loss.",
    )
    validation: Literal["open_set", "humpback"] = setting(
        "data",
        "open_set",
        "Validation split. open_set: hold out whole individuals as unknown. humpback: the split of the humpback "
        "recipes, so that runs of both can be combined to an ensemble.",
        why="folds replaces the validation split",
        needs={"folds": (None,)},
    )
    height_px: int | None = setting(
        "data", None, "Height of the network's input image, in pixels.", ge=32, le=4096, example=96
    )
    width_px: int | None = setting(
        "data",
        None,
        "Width of the network's input image, in pixels. Flukes are about twice as wide as high.",
        ge=32,
        le=4096,
        example=192,
    )
    sub_centres: int | None = setting(
        "model",
        None,
        "Number of sub-centres (weight vectors) per individual. The nearest one counts.",
        why="the one-vs-rest head has no sub-centres",
        needs={"loss": WITH_CENTRES},
        ge=1,
        example=3,
    )
    pool: Literal["avg", "max", "gem"] | None = setting(
        "model", None, "Pooling of the backbone's feature map: average, maximum, or generalised mean (GeM)."
    )
    feature_maps: int | None = setting(
        "model", None, "Number of feature maps that are pooled: the last one, or the last two.", ge=1, le=2, example=2
    )
    stripes: int | None = setting(
        "model",
        None,
        "Number of horizontal stripes whose features are also compared by a triplet loss (AlignedReID).",
        ge=2,
        unset="none",
        example=3,
    )
    loss: Loss | None = setting(
        "training",
        None,
        "Classification loss. one_vs_rest: binary cross-entropy with the hardest negatives. arcface, cosface, elastic, "
        "sphereface, combined: softmax with a margin. softmax: softmax without a margin. affinity: affinity to class "
        "centres. Use one_vs_rest for thousands of individuals with one or two photos each. Use the others for up to "
        "some hundreds of individuals with several photos.",
    )
    margin_by_count: bool = setting(
        "training",
        True,
        "Use a larger margin for individuals with fewer photos.",
        why="only the margins of these losses can depend on the number of photos",
        needs={"loss": ("arcface", "cosface")},
    )
    margin_warmup: float = setting(
        "training",
        0.2,
        "Share of the training during which the margin grows from a fifth to its full value.",
        why="this loss has no margin",
        needs={"loss": WITH_MARGIN},
        ge=0,
        le=1,
        example=0.5,
    )
    triplet: bool = setting("training", True, "Add a batch-hard triplet loss to the classification loss.")
    compactness: bool = setting(
        "training", False, "Add a compactness loss, which pulls the embeddings of each individual's photos together."
    )
    curriculum: bool = setting(
        "training",
        True,
        "Train in two phases: first on individuals with at least two photos, then on all individuals.",
        why="only the one-vs-rest training of size small has such a first phase",
        needs={"size": ("small",), "loss": ("one_vs_rest",)},
    )
    distil: bool = setting(
        "training",
        False,
        "Train a second network, with the first network's predictions as targets for unknown individuals (knowledge "
        "distillation).",
        why="the training has no photos of unknown individuals",
        needs={"unknowns": (True,)},
    )
    head_weight: float = setting(
        "ranking",
        0.5,
        "Weight of the classification head's output in the ranking, where similarity has weight 1. 0: rank by "
        "similarity only.",
        ge=0,
    )
    trees: bool = setting(
        "ranking",
        False,
        "Re-rank the candidates by gradient-boosted trees.",
        why="keypoints re-rank the ranking by similarity",
        needs={"keypoints": ("none",)},
    )
    trees_features: Literal["likeness", "embedding", "both"] = setting(
        "ranking",
        "likeness",
        "Features of the trees. likeness: similarities and counts of photos. embedding: principal components (PCA) of "
        "the embeddings. both: all of these.",
        needs={"trees": (True,)},
    )
    trees_trials: int = setting(
        "ranking",
        0,
        "Number of Optuna trials for the hyperparameters of the trees; 0: defaults. Needs `pip install "
        '"fieldmark[tuning]"`.',
        needs={"trees": (True,)},
        ge=0,
        example=20,
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the values of loss, input size, pooling and feature maps."""
        scale = of_size(SCALES, size)
        backbone, sides = scale.net.backbone, scale.preprocess
        own: dict[str, Value] = {"loss": scale.loss, "height_px": sides.height_px, "width_px": sides.width_px}
        return own | {"pool": backbone.pool, "feature_maps": backbone.maps}


@recipe("reidentify", ReidentifySettings)
def reidentify(size: str, settings: ReidentifySettings) -> Plan:
    """Any species: a network with a one-vs-rest or margin loss and a triplet loss; ranks by similarity and head.

    ``toy`` runs in seconds on synthetic images. ``small`` runs on a laptop; it uses the included backbone with a frozen
    lower half. ``full`` uses EfficientNetV2-M at 512 px.

    Source: our combination of methods from Happywhale 2022, first place (margin by number of photos, ranking by
    neighbours and head), and Humpback Whale Identification 2018/19, first and third place (flips as separate
    individuals, triplet loss, centroids).

    Command: ``fieldmark train reidentify lions.csv --run runs/lions``
    """
    scale = _scale(size, settings)
    phases = (
        scale.curriculum
        if settings.curriculum and scale.curriculum is not None and scale.loss == "one_vs_rest"
        else scale.phases
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
        flip_identity=settings.horizontal_flip == "other_identity",
        mirrored=settings.horizontal_flip == "same_identity",
        unknowns=settings.unknowns,
        training=scale.training.model_copy(update={"phases": phases}),
    )
    rule, groups = unknown_at(settings), groups_of(settings)
    loop = Loop(
        settings=settings,
        train=train,
        head_weight=settings.head_weight,
        unknown=rule,
        per_group=groups,
        distil=settings.distil,
    )
    stages, best, embedded = loop.stages()
    if settings.trees:
        tuning = Tuning(n_trials=settings.trees_trials) if settings.trees_trials else None
        trees = IdentityStacking(columns=settings.trees_features, tuning=tuning)
        stages.append(
            RerankTrees(name="trees", reads_from=embedded, on="split", settings=trees, unknown=rule, per_group=groups)
        )
        best = "trees"
    split = Split(name="split", folds=HumpbackSplit() if settings.validation == "humpback" else OpenSetSplit())
    return Plan(name="reidentify", stages=(split, *finding(preprocess), *stages, *final_stages(settings, best)))


def _losses(settings: ReidentifySettings, scale: ReidentifyScale) -> Losses:
    """Return the classification loss and the losses added to it."""
    warmup, by_count = settings.margin_warmup, settings.margin_by_count
    kinds: dict[Loss, Losses] = {
        "one_vs_rest": (OhemBce(weight=scale.one_vs_rest_weight if settings.triplet else 1.0),),
        "arcface": (ArcFace(margin=MarginByCount() if by_count else 0.3, warmup=warmup),),
        "cosface": (CosFace(margin=MarginByCount() if by_count else 0.2, warmup=warmup),),
        "elastic": (Elastic(warmup=warmup),),
        "sphereface": (SphereFace(warmup=warmup),),
        "combined": (CombinedMargin(warmup=warmup),),
        "softmax": (CrossEntropy(unknowns="uniform" if settings.unknowns else "left_out"),),
        "affinity": (Affinity(),),
    }
    beside = (*((BatchHardTriplet(),) if settings.triplet else ()), *((Compactness(),) if settings.compactness else ()))
    return (*kinds[scale.loss], *beside)


def _scale(size: str, settings: ReidentifySettings) -> ReidentifyScale:
    """Return the parts of a size, with the network and input size of the settings."""
    scale = of_size(SCALES, size)
    loss = settings.loss or scale.loss
    head: Head = scale.net.head
    if loss == "one_vs_rest":
        head = OneVsRestHead()
    elif loss == "affinity":
        head = AffinityHead()
    if settings.sub_centres is not None and loss != "one_vs_rest":
        head = head.model_copy(update={"centres": settings.sub_centres})
    parts = {"pool": settings.pool, "maps": settings.feature_maps}
    backbone = scale.net.backbone.model_copy(update={name: one for name, one in parts.items() if one is not None})
    sides = {"height_px": settings.height_px, "width_px": settings.width_px}
    preprocess = scale.preprocess.model_copy(update={name: side for name, side in sides.items() if side is not None})
    net = scale.net.model_copy(update={"head": head, "backbone": backbone})
    return scale.model_copy(update={"net": net, "preprocess": preprocess, "loss": loss})
