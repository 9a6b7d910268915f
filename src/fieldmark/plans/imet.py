"""iMet Collection 2019, first place: a zoo, trust, more photos, specialists, and trees that judge."""

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
Thresholds = Literal["group", "global", "label", "relative", "count", "source"]

LOSSES: dict[str, Losses] = {
    "focal": (Focal(),),
    "bce": (Bce(),),
    "asymmetric": (Asymmetric(),),
    "combined": (Bce(weight=0.45 / 500), SoftF(weight=0.45), Focal(weight=0.1 / 500)),
}
"""BCE and focal are sums over labels; in the mixture they weigh as means over some 500 labels."""
IMET_THRESHOLDS = Preset(
    groups={"culture": LabelThreshold(at=0.28, least=0, most=3), "tag": LabelThreshold(at=0.10, least=1, most=8)},
)
"""The source's own thresholds."""


class ImetMember(Spec):
    """One network of the zoo and how it sees."""

    name: str
    net: Net
    preprocess: Preprocess


class ImetScale(Spec):
    """What differs between the sizes of the recipe."""

    zoo: tuple[ImetMember, ...]
    pretrained: Backbone | None = Backbone()
    """The pretrained network whose ImageNet classes the trees read; None: none."""
    augment: Augment
    sampler: Sampler
    phases: tuple[Phase, ...]
    training: Training
    special_phases: tuple[Phase, ...]
    """Of the specialists, which start from trained networks."""
    folds: int
    stacking: Stacking


class Given(Spec):
    """What earlier stages give a training: photos to leave out, photos to add, labels to fill in."""

    trusted: str | None = None
    enlarged: str | None = None
    filled: str | None = None


def _contest(name: str, side_px: int) -> ImetMember:
    """One of the source's networks with its size; mean and deviation are those its weights were trained with."""
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
"""First the head, then all above the lower half."""

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

    log_weights: bool = setting("data", True, "Show photos with rare labels more often (logarithmic weights).")
    rare_labels: Literal["max", "mean"] = setting(
        "data",
        "max",
        "Weight of a photo: that of its rarest label, or the mean over its labels.",
        needs={"log_weights": (True,)},
    )
    networks: int | None = setting("model", None, "Number of networks, the first ones of the recipe.", ge=1, example=1)
    finetune: bool = setting(
        "model",
        False,
        "Train the upper half of each network instead of the head alone (hours).",
        why="other sizes train whole networks",
        needs={"size": ("small",)},
    )
    loss: LossName = setting(
        "training", "focal", "Loss of the networks; combined: 0.45 BCE, 0.45 soft F2 and 0.1 focal."
    )
    focal_alpha: float | None = setting(
        "training",
        None,
        "Weight of present labels in the focal loss; absent ones have the rest of 1.",
        needs={"loss": ("focal", "combined")},
        ge=0,
        le=1,
        unset="none",
        example=0.25,
    )
    focal_detached: bool = setting(
        "training",
        False,
        "Treat the focal weights as constants in the gradient.",
        needs={"loss": ("focal", "combined")},
    )
    soft_f2: bool = setting("training", False, "Soft F2 alone in the last epochs.")
    mixup: float = setting("training", 0.0, "Mixup: parameter of the Beta distribution; 0: none.", ge=0, example=0.2)
    hard_negatives: float = setting(
        "training",
        0.05,
        "Stage 2: share of the photos with the highest loss that are shown once more each epoch; 0: none.",
        ge=0,
        le=1,
    )
    hard_negatives_only: bool = setting(
        "training",
        False,
        "Show nothing but these photos after the first epoch of a phase.",
        needs={"hard_negatives": (0.05, ...)},
    )
    finetune_group: str = setting(
        "training",
        "tag",
        "Stage 4: fine-tune networks for this group of labels with BCE; empty: none.",
        example="culture",
    )
    distil: bool = setting(
        "training",
        False,
        "From stage 2 on, a label that the table lacks counts as a share of its out-of-fold probability. Later "
        "out-of-fold scores are then too high: judge by other photos only.",
    )
    distil_share: float = setting("training", 0.7, "That share.", ge=0, le=1, needs={"distil": (True,)})
    trees: bool = setting("ranking", True, "Stage 5: gradient-boosted trees over image x label.")
    neighbours: bool = setting(
        "ranking",
        False,
        "Average the last scores with the labels of the nearest photos (k-nearest-neighbour label transfer).",
        why="toy has no pretrained network to compare photos by",
        needs={"size": ("small", "full")},
    )
    thresholds: Thresholds = setting(
        "decision",
        "group",
        "Thresholds of each group, one for all, or one a label, by the best F2; relative to a photo's highest score; "
        "for a mean number of labels (count); or the source's own for the groups culture and tag (source).",
    )
    labels_per_photo: float = setting(
        "decision", 5.2, "Mean number of labels a photo.", gt=0, needs={"thresholds": ("count",)}
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """The number of networks."""
        return {"networks": len(of_size(SCALES, size).zoo)}


class PlainTagsSettings(LabelSettings):
    """Settings of ``tags-plain``."""

    tuned: bool = setting("decision", True, "The threshold with the best out-of-fold F2; else 0.5.")


@recipe("imet2019", ImetSettings)
def imet2019(size: str, settings: ImetSettings) -> Plan:
    """Tagging with an ensemble: drop noisy labels, add pseudo-labels, fine-tune a group, then gradient-boosted trees.

    ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop: heads on the frozen shipped backbone; ``full`` as
    in the source: SENet-154, PNASNet-5 and SE-ResNeXt-101 at 320 and 331 px.

    Contest: iMet Collection 2019 (FGVC6), first place. Differences at ``small`` and why: see the lab book.

    Command: ``fieldmark train imet2019 museum/ --run runs/museum``
    """
    zoo = _Zoo(_scale(size, settings), settings)
    hardest = settings.hard_negatives
    folds = StratifiedFolds(n_folds=zoo.scale.folds, method=settings.fold_method)
    stages: list[Stage] = [Split(name="split", folds=folds), *zoo.trained("zoo", Given())]
    best, members = "zoo", ("zoo",)
    given = Given(filled="zoo" if settings.distil else None)
    if settings.drop_noisy:
        stages.append(DropNoisy(name="filtered", judge=best, by=settings.noise_error, rule=drop_rule(settings)))
        given = given.model_copy(update={"trusted": "trusted"})
    if settings.drop_noisy or hardest or settings.distil:
        stages += zoo.trained("zoo2", given, hardest=hardest)
        best, members = "zoo2", ("zoo2",)
    if settings.pseudo_labels:
        stages.append(PseudoLabel(name="pseudo_labels", judge=best, on="split", rule=label_pseudo_labels(settings)))
        given = given.model_copy(update={"enlarged": "enlarged"})
        stages += zoo.trained("zoo3", given, hardest=hardest)
        best, members = "zoo3", ("zoo3",)
    if settings.finetune_group:
        stages += zoo.trained("special", given, warm=best, groups=(settings.finetune_group,))
        best, members = "special", (best, "special")
    second, best = _second_level(zoo.scale, settings, best, members)
    cut = Threshold(name="thresholds", reads_from=best, rule=_thresholds(settings))
    return Plan(
        name="imet2019", stages=(*stages, *second, cut, WriteSubmission(name="submission", reads_from="thresholds"))
    )


def _second_level(
    scale: ImetScale, settings: ImetSettings, best: str, members: tuple[str, ...]
) -> tuple[list[Stage], str]:
    """Trees and neighbours over the scores ``members``, and the stage whose scores are the last."""
    stages: list[Stage] = []
    image_features = None if scale.pretrained is None else "image_features"
    if scale.pretrained is not None and (settings.trees or settings.neighbours):
        stages.append(DescribeImages(name="image_features", backbone=scale.pretrained))
    if settings.trees:
        stages.append(
            Stack(name="trees", reads_from=members, image_features=image_features, on="split", settings=scale.stacking)
        )
        best = "trees"
    if settings.neighbours and image_features is not None:
        stages.append(TransferLabels(name="transferred", reads_from=best, on="split", image_features=image_features))
        best = "lent"
    return stages, best


def _thresholds(settings: ImetSettings) -> ThresholdRule:
    rules: dict[Thresholds, ThresholdRule] = {
        "group": GroupF2(),
        "global": GlobalF2(),
        "label": LabelF2(),
        "relative": Relative(),
        "count": CountMatch(mean=settings.labels_per_photo),
        "source": IMET_THRESHOLDS,
    }
    return rules[settings.thresholds]


@recipe("tags-plain", PlainTagsSettings)
def tags_plain(size: str, settings: PlainTagsSettings) -> Plan:
    """The baseline for tagging: one network, BCE, one threshold for all labels.

    The network is the first one of ``imet2019`` at that size.

    Source: ours; the usual first baseline.
    """
    plain = ImetSettings(networks=1, log_weights=False, loss="bce", tta=settings.tta)
    zoo = _Zoo(_scale(size, plain), plain)
    fixed = Preset(groups={"": LabelThreshold(at=0.5, least=0, most=None)})
    folds = StratifiedFolds(n_folds=zoo.scale.folds, method=settings.fold_method)
    return Plan(
        name="tags-plain",
        stages=(
            Split(name="split", folds=folds),
            *zoo.trained("zoo", Given()),
            Threshold(name="thresholds", reads_from="zoo", rule=GlobalF2() if settings.tuned else fixed),
            WriteSubmission(name="submission", reads_from="thresholds"),
        ),
    )


def _scale(size: str, settings: ImetSettings) -> ImetScale:
    scale, networks = of_size(SCALES, size), settings.networks
    if networks is not None and networks > len(scale.zoo):
        raise PlanError(
            f"The zoo at size '{size}' has {len(scale.zoo)} networks.",
            got=f"networks={networks}",
            fix=f"use networks={len(scale.zoo)} or less.",
        )
    changed: dict[str, object] = {"zoo": scale.zoo[:networks]}
    changed["sampler"] = LogWeightSampler(over=settings.rare_labels) if settings.log_weights else PlainSampler()
    if settings.finetune:
        changed |= {"phases": FINE_TUNED, "special_phases": FINE_TUNED[-1:]}
        changed["training"] = scale.training.model_copy(update={"batch": 64})
    return scale.model_copy(update=changed)


def _focal(losses: Losses, settings: ImetSettings) -> Losses:
    """The losses with the settings of the focal loss."""
    changes = {"alpha": settings.focal_alpha, "detached": settings.focal_detached}
    return tuple(loss.model_copy(update=changes) if isinstance(loss, Focal) else loss for loss in losses)


class _Zoo:
    """The same networks again and again, each time on other photos or labels."""

    def __init__(self, scale: ImetScale, settings: ImetSettings) -> None:
        self.scale, self.settings = scale, settings

    def trained(
        self, name: str, given: Given, *, warm: str | None = None, groups: tuple[str, ...] = (), hardest: float = 0.0
    ) -> list[Stage]:
        """Train stages ``<name>-<network>`` and the score stage ``name`` over them (and over ``warm``)."""
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
                trusted=given.trusted,
                enlarged=given.enlarged,
                filled=given.filled,
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
