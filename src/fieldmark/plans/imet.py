"""Recipes after iMet Collection 2019, first place: an ensemble, noise filter, pseudo-labels, and boosted trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Spec
from fieldmark.data.specs import LogWeightSampler, PlainSampler, Sampler, StratifiedFolds
from fieldmark.decisions.specs import (
    CountMatch,
    GlobalF2,
    GroupF2,
    LabelF2,
    LabelThreshold,
    Preset,
    Relative,
    ThresholdRule,
)
from fieldmark.images.specs import Augment, CropIfNeeded, ImetAugment, NoAugment, Preprocess
from fieldmark.losses.specs import Asymmetric, Bce, Focal, Losses, SoftF
from fieldmark.models.specs import Backbone, HubWeights, Net, RandomWeights, SigmoidHead
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.labels import (
    LabelNoiseSettings,
    LabelPseudoLabelSettings,
    LabelSettings,
    drop_rule,
    label_pseudo_labels,
)
from fieldmark.plans.recipe import recipe
from fieldmark.plans.settings import Value, setting
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, of_size
from fieldmark.stacking.specs import Stacking, Trees
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.labels.describe_images import DescribeImages
from fieldmark.stages.labels.drop_noisy import DropNoisy
from fieldmark.stages.labels.pseudo_label import PseudoLabel
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.threshold import Threshold
from fieldmark.stages.labels.transfer_labels import TransferLabels
from fieldmark.training.specs import Cosine, Phase, StepDown, Training

LossName = Literal["focal", "bce", "asymmetric", "combined"]
Thresholds = Literal["group", "global", "label", "relative", "count", "published"]

LOSSES: dict[str, Losses] = {
    "focal": (Focal(),),
    "bce": (Bce(),),
    "asymmetric": (Asymmetric(),),
    "combined": (Bce(weight=0.45 / 500), SoftF(weight=0.45), Focal(weight=0.1 / 500)),
}
"""Losses by setting value. BCE and focal loss are sums over labels; ``combined`` divides them by about 500 labels."""
IMET_THRESHOLDS = Preset(
    groups={"culture": LabelThreshold(at=0.28, least=0, most=3), "tag": LabelThreshold(at=0.10, least=1, most=8)},
)
"""The thresholds that the source published."""


class ImetMember(Spec):
    """One network of the ensemble, with its preprocessing."""

    name: str
    net: Net
    preprocess: Preprocess


class ImetScale(Spec):
    """Parts of the recipe that depend on its size."""

    zoo: tuple[ImetMember, ...]
    pretrained: Backbone | None = Backbone()
    """Pretrained backbone whose ImageNet probabilities are features of the trees; None: not used."""
    augment: Augment
    sampler: Sampler
    phases: tuple[Phase, ...]
    training: Training
    special_phases: tuple[Phase, ...]
    """Phases of the fine-tuning on one label group, which starts from trained networks."""
    folds: int
    stacking: Stacking


class TrainingInputs(Spec):
    """Names of earlier stages that change the training data.

    Attributes:
        filtered: Stage that removes noisy photos.
        pseudo_labels: Stage that adds pseudo-labelled photos.
        filled: Stage whose out-of-fold scores fill in missing labels.
    """

    filtered: str | None = None
    pseudo_labels: str | None = None
    filled: str | None = None


def _contest(name: str, side_px: int) -> ImetMember:
    """Return a network of the source, with the pixel mean and standard deviation of its pretrained weights."""
    mean, std = ((0.5,) * 3, (0.5,) * 3) if name.startswith("pnas") else (IMAGENET_MEAN, IMAGENET_STD)
    return ImetMember(
        name=name.removeprefix("legacy_").replace("_", "-"),
        net=Net(backbone=Backbone(name=name, weights=HubWeights()), neck="none", head=SigmoidHead()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded(), mean=mean, std=std),
    )


def _lite(name: str, side_px: int, pool: Literal["avg", "max"] = "avg") -> ImetMember:
    return ImetMember(
        name=name,
        net=Net(backbone=Backbone(pool=pool), neck="bn", head=SigmoidHead(dropout=0.2)),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded()),
    )


def _tiny(name: str, side_px: int) -> ImetMember:
    return ImetMember(
        name=name,
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), neck="none", head=SigmoidHead()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded()),
    )


ALL = ("all",)
FINE_TUNED = (
    Phase(epochs=2, lr=2e-3, freeze=ALL),
    Phase(epochs=4, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=LOWER_LITE),
)
"""Training phases at size ``small`` with ``finetune_backbone``: first the head, then also the upper half."""

SCALES = {
    "toy": ImetScale(
        zoo=(_tiny("tiny32", 32), _tiny("tiny48", 48)),
        pretrained=None,
        augment=ImetAugment(),
        sampler=LogWeightSampler(),
        phases=(Phase(epochs=2, lr=3e-3),),
        special_phases=(Phase(epochs=1, lr=1e-3),),
        training=Training(batch=16, accumulate=2),
        folds=3,
        stacking=Stacking(trees=Trees(n_rounds=20, num_leaves=7, min_data_in_leaf=5)),
    ),
    "small": ImetScale(
        zoo=(_lite("lite0", 224), _lite("lite0-max", 224, pool="max"), _lite("lite0-160", 160)),
        augment=NoAugment(),
        sampler=LogWeightSampler(),
        phases=(Phase(epochs=30, lr=2e-3, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        special_phases=(Phase(epochs=9, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        training=Training(batch=256),
        folds=5,
        stacking=Stacking(),
    ),
    "full": ImetScale(
        zoo=(
            _contest("legacy_senet154", 320),
            _contest("pnasnet5large", 331),
            _contest("legacy_seresnext101_32x4d", 320),
        ),
        augment=ImetAugment(),
        sampler=LogWeightSampler(),
        phases=(Phase(epochs=25, lr=5e-3, schedule=StepDown(every_epochs=10)),),
        special_phases=(Phase(epochs=8, lr=1e-3, schedule=StepDown(every_epochs=4)),),
        training=Training(batch=80, accumulate=16, optimiser="sgd"),
        folds=5,
        stacking=Stacking(),
    ),
}


class ImetSettings(LabelNoiseSettings, LabelPseudoLabelSettings, LabelSettings):
    """Settings of ``imet2019``."""

    oversample_rare: bool = setting(
        "data", True, "Draw photos with rare labels more often, by logarithmic weights of the labels."
    )
    oversample_weight: Literal["max", "mean"] = setting(
        "data",
        "max",
        "Sampling weight of a photo. max: the weight of its rarest label. mean: the mean weight of its labels.",
        needs={"oversample_rare": (True,)},
    )
    networks: int | None = setting(
        "model", None, "Number of networks in the ensemble. The first ones of the recipe are used.", ge=1, example=1
    )
    finetune_backbone: bool = setting(
        "model",
        False,
        "Train the upper half of each backbone and the head, instead of the head only. Takes hours.",
        why="the other sizes always train the whole networks",
        needs={"size": ("small",)},
    )
    loss: LossName = setting(
        "training",
        "focal",
        "Loss of the networks. combined is the sum of 0.45 BCE, 0.45 soft F2 and 0.1 focal loss.",
    )
    focal_alpha: float | None = setting(
        "training",
        None,
        "Weight of present labels in the focal loss. Absent labels have the weight 1 - focal_alpha.",
        needs={"loss": ("focal", "combined")},
        ge=0,
        le=1,
        unset="none",
        example=0.25,
    )
    focal_detached: bool = setting(
        "training",
        False,
        "Treat the weighting factors of the focal loss as constants in the gradient.",
        needs={"loss": ("focal", "combined")},
    )
    soft_f2: bool = setting("training", False, "Add a last training phase with the soft F2 loss only.")
    mixup: float = setting(
        "training", 0.0, "Parameter of the Beta distribution of mixup; 0: no mixup.", ge=0, example=0.2
    )
    hard_negatives: float = setting(
        "training",
        0.05,
        "Step 2: share of the photos, those with the highest loss, that are repeated in each epoch; 0: none.",
        ge=0,
        le=1,
    )
    hard_negatives_only: bool = setting(
        "training",
        False,
        "Train on these photos only, after the first epoch of each phase.",
        needs={"hard_negatives": (0.05, ...)},
    )
    finetune_group: str = setting(
        "training",
        "tag",
        "Step 4: group of labels for which the networks are fine-tuned with BCE; empty: no fine-tuning.",
        example="culture",
    )
    distil: bool = setting(
        "training",
        False,
        "From step 2 on, use out-of-fold probabilities as targets for labels that are missing in the table (knowledge "
        "distillation). Later out-of-fold scores are then too high, so evaluate on other photos only.",
    )
    distil_share: float = setting(
        "training", 0.7, "Factor for these probabilities.", ge=0, le=1, needs={"distil": (True,)}
    )
    trees: bool = setting(
        "ranking",
        True,
        "Step 5: re-score pairs of photo and label by gradient-boosted trees, from the scores of all networks.",
    )
    knn_label_transfer: bool = setting(
        "ranking",
        False,
        "Average the scores with the labels of the nearest photos (k-nearest-neighbour label transfer).",
        why="size toy has no pretrained network that compares photos",
        needs={"size": ("small", "full")},
    )
    thresholds: Thresholds = setting(
        "decision",
        "group",
        "Thresholds for the label probabilities. group, global, label: best F2 with one threshold per label group, for "
        "all labels, or per label. relative: a share of the photo's highest probability. count: a threshold that gives "
        "labels_per_photo labels on average. published: thresholds of the source for the groups culture and tag.",
    )
    labels_per_photo: float = setting(
        "decision", 5.2, "Mean number of predicted labels per photo.", gt=0, needs={"thresholds": ("count",)}
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the number of networks."""
        return {"networks": len(of_size(SCALES, size).zoo)}


class PlainTagsSettings(LabelSettings):
    """Settings of ``tags-plain``."""

    tune_thresholds: bool = setting(
        "decision", True, "If true, use the threshold with the best out-of-fold F2. If false, use 0.5."
    )


@recipe("imet2019", ImetSettings)
def imet2019(size: str, settings: ImetSettings) -> Plan:
    """Tagging with an ensemble, in five steps from noisy-label filtering to gradient-boosted trees.

    The steps: (1) train an ensemble, (2) drop photos with noisy labels and train again, (3) add pseudo-labels and
    train again, (4) fine-tune for one label group, (5) re-score by gradient-boosted trees.

    ``toy`` runs in seconds on synthetic images. ``small`` runs on a laptop; it trains heads on the frozen included
    backbone. ``full`` is as in the source: SENet-154, PNASNet-5 and SE-ResNeXt-101 at 320 and 331 px.

    Contest: iMet Collection 2019 (FGVC6), first place. The lab book lists the differences at ``small`` and their
    reasons.

    Command: ``fieldmark train imet2019 museum/ --run runs/museum``
    """
    zoo = _Zoo(_scale(size, settings), settings)
    hardest = settings.hard_negatives
    folds = StratifiedFolds(n_folds=zoo.scale.folds, method=settings.fold_method)
    stages: list[Stage] = [Split(name="split", folds=folds), *zoo.trained("zoo", TrainingInputs())]
    best, members = "zoo", ("zoo",)
    inputs = TrainingInputs(filled="zoo" if settings.distil else None)
    if settings.drop_noisy:
        stages.append(DropNoisy(name="filtered", judge=best, by=settings.noise_error, rule=drop_rule(settings)))
        inputs = inputs.model_copy(update={"filtered": "filtered"})
    if settings.drop_noisy or hardest or settings.distil:
        stages += zoo.trained("zoo2", inputs, hardest=hardest)
        best, members = "zoo2", ("zoo2",)
    if settings.pseudo_labels:
        stages.append(PseudoLabel(name="pseudo_labels", judge=best, on="split", rule=label_pseudo_labels(settings)))
        inputs = inputs.model_copy(update={"pseudo_labels": "pseudo_labels"})
        stages += zoo.trained("zoo3", inputs, hardest=hardest)
        best, members = "zoo3", ("zoo3",)
    if settings.finetune_group:
        stages += zoo.trained("special", inputs, warm=best, groups=(settings.finetune_group,))
        best, members = "special", (best, "special")
    second, best = _second_level(zoo.scale, settings, best, members)
    decision = Threshold(name="thresholds", reads_from=best, rule=_thresholds(settings))
    submission = WriteSubmission(name="submission", reads_from="thresholds")
    return Plan(name="imet2019", stages=(*stages, *second, decision, submission))


def _second_level(
    scale: ImetScale, settings: ImetSettings, best: str, members: tuple[str, ...]
) -> tuple[list[Stage], str]:
    """Return the stages for trees and label transfer over the score stages ``members``, and the last score stage."""
    stages: list[Stage] = []
    image_features = None if scale.pretrained is None else "image_features"
    if scale.pretrained is not None and (settings.trees or settings.knn_label_transfer):
        stages.append(DescribeImages(name="image_features", backbone=scale.pretrained))
    if settings.trees:
        stages.append(
            Stack(name="trees", reads_from=members, image_features=image_features, on="split", settings=scale.stacking)
        )
        best = "trees"
    if settings.knn_label_transfer and image_features is not None:
        stages.append(TransferLabels(name="transferred", reads_from=best, on="split", image_features=image_features))
        best = "transferred"
    return stages, best


def _thresholds(settings: ImetSettings) -> ThresholdRule:
    rules: dict[Thresholds, ThresholdRule] = {
        "group": GroupF2(),
        "global": GlobalF2(),
        "label": LabelF2(),
        "relative": Relative(),
        "count": CountMatch(mean=settings.labels_per_photo),
        "published": IMET_THRESHOLDS,
    }
    return rules[settings.thresholds]


@recipe("tags-plain", PlainTagsSettings)
def tags_plain(size: str, settings: PlainTagsSettings) -> Plan:
    """Baseline for tagging: one network with binary cross-entropy (BCE), one threshold for all labels.

    The network is the first one of ``imet2019`` at the same size.

    Source: ours; the usual first baseline.
    """
    plain = ImetSettings(networks=1, oversample_rare=False, loss="bce", tta=settings.tta)
    zoo = _Zoo(_scale(size, plain), plain)
    fixed = Preset(groups={"": LabelThreshold(at=0.5, least=0, most=None)})
    folds = StratifiedFolds(n_folds=zoo.scale.folds, method=settings.fold_method)
    return Plan(
        name="tags-plain",
        stages=(
            Split(name="split", folds=folds),
            *zoo.trained("zoo", TrainingInputs()),
            Threshold(name="thresholds", reads_from="zoo", rule=GlobalF2() if settings.tune_thresholds else fixed),
            WriteSubmission(name="submission", reads_from="thresholds"),
        ),
    )


def _scale(size: str, settings: ImetSettings) -> ImetScale:
    scale, networks = of_size(SCALES, size), settings.networks
    if networks is not None and networks > len(scale.zoo):
        raise PlanError(
            f"The setting 'networks' is too large: the recipe has {len(scale.zoo)} network(s) at size '{size}'.",
            got=f"networks={networks}",
            fix=f"use networks={len(scale.zoo)} or less.",
        )
    changed: dict[str, object] = {"zoo": scale.zoo[:networks]}
    weighted = LogWeightSampler(over=settings.oversample_weight)
    changed["sampler"] = weighted if settings.oversample_rare else PlainSampler()
    if settings.finetune_backbone:
        changed |= {"phases": FINE_TUNED, "special_phases": FINE_TUNED[-1:]}
        changed["training"] = scale.training.model_copy(update={"batch": 64})
    return scale.model_copy(update=changed)


def _focal(losses: Losses, settings: ImetSettings) -> Losses:
    """Return the losses with the settings of the focal loss applied."""
    changes = {"alpha": settings.focal_alpha, "detached": settings.focal_detached}
    return tuple(loss.model_copy(update=changes) if isinstance(loss, Focal) else loss for loss in losses)


class _Zoo:
    """The networks of the ensemble, which are trained several times on different photos or labels."""

    def __init__(self, scale: ImetScale, settings: ImetSettings) -> None:
        self.scale, self.settings = scale, settings

    def trained(
        self,
        name: str,
        inputs: TrainingInputs,
        *,
        warm: str | None = None,
        groups: tuple[str, ...] = (),
        hardest: float = 0.0,
    ) -> list[Stage]:
        """Return the train stages ``<name>-<network>`` and the score stage ``name`` over them (and over ``warm``)."""
        phases = self._phases(self.scale.phases if warm is None else self.scale.special_phases, hardest=hardest)
        stages = [
            Train(
                name=f"{name}-{member.name}",
                on="split",
                net=member.net,
                preprocess=member.preprocess,
                augment=self.scale.augment,
                losses=_focal(LOSSES[self.settings.loss], self.settings) if warm is None else LOSSES["bce"],
                sampler=self.scale.sampler,
                training=self.scale.training.model_copy(
                    update={"phases": phases, "mixup": self.settings.mixup or None}
                ),
                warm=None if warm is None else f"{warm}-{member.name}",
                groups=groups,
                trusted=inputs.filtered,
                enlarged=inputs.pseudo_labels,
                filled=inputs.filled,
                fill_times=self.settings.distil_share,
            )
            for member in self.scale.zoo
        ]
        of = tuple(stage.name for stage in stages)
        also = () if warm is None else (warm,)
        return [*stages, Score(name=name, of=of, on="split", also=also, flip=self.settings.tta)]

    def _phases(self, phases: tuple[Phase, ...], *, hardest: float) -> tuple[Phase, ...]:
        mining: Literal["added", "only"] = "only" if self.settings.hard_negatives_only and hardest else "added"
        made = [phase.model_copy(update={"hardest": hardest or None, "mining": mining}) for phase in phases]
        if self.settings.soft_f2:
            last = made[-1]
            made.append(
                last.model_copy(
                    update={"epochs": max(1, round(last.epochs * 0.3)), "lr": last.lr / 5, "losses": (SoftF(),)}
                )
            )
        return tuple(made)
