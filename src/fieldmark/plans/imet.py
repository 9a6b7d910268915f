"""iMet Collection 2019, first place: a zoo, trust, more photos, specialists, and trees that judge."""

from __future__ import annotations

from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.spec import Spec
from fieldmark.data.specs import LogWeightSampler, PlainSampler, Sampler, StratifiedFolds
from fieldmark.decisions.specs import Cutoff, CutoffRule, GroupF2, Preset
from fieldmark.images.specs import Augment, CropIfNeeded, ImetAugment, NoAugment, Preprocess
from fieldmark.losses.specs import Asymmetric, Bce, Focal, Losses, SoftF
from fieldmark.models.specs import Backbone, HubWeights, Net, RandomWeights, SigmoidHead
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, Size, of_size, with_effort
from fieldmark.quality.specs import Guesses, Percentile
from fieldmark.stacking.specs import Stacking, Trees
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.cut import Cut
from fieldmark.stages.labels.drop import Drop
from fieldmark.stages.labels.enlarge import Enlarge
from fieldmark.stages.labels.lend import Lend
from fieldmark.stages.labels.look import Look
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.stack import Stack
from fieldmark.training.specs import Cosine, Leg, StepDown, Training

LossName = Literal["focal", "bce", "asymmetric", "mixed"]

LOSSES: dict[str, Losses] = {
    "focal": (Focal(),),
    "bce": (Bce(),),
    "asymmetric": (Asymmetric(),),
    "mixed": (Bce(weight=0.45 / 500), SoftF(weight=0.45), Focal(weight=0.1 / 500)),
}
"""BCE and focal are sums over labels; in the mixture they weigh as means over some 500 labels."""
IMET_CUTOFFS = Preset(
    groups={"culture": Cutoff(at=0.28, least=0, most=3), "tag": Cutoff(at=0.10, least=1, most=8)},
)
"""The source's own cutoffs."""


class Member(Spec):
    """One network of the zoo and how it sees."""

    name: str
    net: Net
    preprocess: Preprocess


class Scale(Spec):
    """What differs between the sizes of the recipe."""

    zoo: tuple[Member, ...]
    eye: Backbone | None = Backbone()
    """The pretrained network whose ImageNet classes the trees read; None: none."""
    augment: Augment
    sampler: Sampler
    legs: tuple[Leg, ...]
    training: Training
    special_legs: tuple[Leg, ...]
    """Of the specialists, which start from trained networks."""
    folds: int
    stacking: Stacking


class Given(Spec):
    """What earlier stages give a training: photos to leave out, photos to add, labels to fill in."""

    trusted: str | None = None
    enlarged: str | None = None
    filled: str | None = None


def _contest(name: str, side_px: int) -> Member:
    """One of the source's networks with its size; mean and deviation are those its weights were trained with."""
    mean, std = ((0.5,) * 3, (0.5,) * 3) if name.startswith("pnas") else (IMAGENET_MEAN, IMAGENET_STD)
    return Member(
        name=name.removeprefix("legacy_").replace("_", "-"),
        net=Net(backbone=Backbone(name=name, weights=HubWeights()), neck="none", head=SigmoidHead()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded(), mean=mean, std=std),
    )


def _lite(name: str, side_px: int, pool: Literal["avg", "max"] = "avg") -> Member:
    return Member(
        name=name,
        net=Net(backbone=Backbone(pool=pool), neck="bn", head=SigmoidHead(dropout=0.2)),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded()),
    )


def _tiny(name: str, side_px: int) -> Member:
    return Member(
        name=name,
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), neck="none", head=SigmoidHead()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, crop=CropIfNeeded()),
    )


ALL = ("all",)
FINE_TUNED = (
    Leg(epochs=2, lr=2e-3, freeze=ALL),
    Leg(epochs=4, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=LOWER_LITE),
)
"""First the head, then all above the lower half."""

SCALES = {
    "toy": Scale(
        zoo=(_tiny("tiny32", 32), _tiny("tiny48", 48)),
        eye=None,
        augment=ImetAugment(),
        sampler=LogWeightSampler(),
        legs=(Leg(epochs=2, lr=3e-3),),
        special_legs=(Leg(epochs=1, lr=1e-3),),
        training=Training(batch=16, accumulate=2),
        folds=3,
        stacking=Stacking(trees=Trees(n_rounds=20, num_leaves=7, min_data_in_leaf=5)),
    ),
    "small": Scale(
        zoo=(_lite("lite0", 224), _lite("lite0-max", 224, pool="max"), _lite("lite0-160", 160)),
        augment=NoAugment(),
        sampler=LogWeightSampler(),
        legs=(Leg(epochs=30, lr=2e-3, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        special_legs=(Leg(epochs=9, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        training=Training(batch=256),
        folds=5,
        stacking=Stacking(),
    ),
    "full": Scale(
        zoo=(
            _contest("legacy_senet154", 320),
            _contest("pnasnet5large", 331),
            _contest("legacy_seresnext101_32x4d", 320),
        ),
        augment=ImetAugment(),
        sampler=LogWeightSampler(),
        legs=(Leg(epochs=25, lr=5e-3, schedule=StepDown(every_epochs=10)),),
        special_legs=(Leg(epochs=8, lr=1e-3, schedule=StepDown(every_epochs=4)),),
        training=Training(batch=80, accumulate=16, optimiser="sgd"),
        folds=5,
        stacking=Stacking(),
    ),
}


def imet2019(  # noqa: PLR0913 - every stage and every gain is a switch
    *,
    size: Size = "small",
    loss: LossName = "focal",
    trust: bool = True,
    hardest: float = 0.05,
    enlarge: bool = True,
    specialise: str = "tag",
    trees: bool = True,
    neighbours: bool = False,
    distil: bool = False,
    soft_f2: bool = False,
    mixup: float = 0.0,
    log_weights: bool = True,
    networks: int | None = None,
    finetune: bool = False,
    source_cutoffs: bool = False,
    effort: float = 1.0,
) -> Plan:
    """A zoo of networks in folds; trust, enlarge, specialise, then let trees judge.

    Args:
        size: ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop: heads on the frozen shipped backbone;
            ``full`` as in the source: SENet-154, PNASNet-5 and SE-ResNeXt-101 at 320 and 331 px.
        loss: Of the zoo: ``focal`` (the source), ``bce``, ``asymmetric``, or ``mixed`` (0.45 BCE, 0.45 soft F2, 0.1
            focal).
        trust: Stage 2: drop the 2 % of the photos with the largest out-of-fold error and train anew.
        hardest: Stage 2: share of the hardest photos shown once more each epoch; 0 for none.
        enlarge: Stage 3: add new photos whose labels are sure, and train anew.
        specialise: Stage 4: networks for this group of labels alone, with BCE; empty for none.
        trees: Stage 5: boosted trees over image x label.
        neighbours: Mix the last scores with the labels of the most alike photos.
        distil: A label the table lacks counts 0.7 times its out-of-fold probability, from stage 2 on. Later out-of-fold
            scores flatter then (the teacher has learnt from the student's judges): believe other photos only.
        soft_f2: Soft F2 alone in the last epochs.
        mixup: Mix pictures two by two, with this parameter of the Beta distribution; 0 for none.
        log_weights: Show photos with rare labels more often.
        networks: Only so many networks of the zoo; None for all.
        finetune: At ``small``: train the upper half of each network instead of the head alone (hours).
        source_cutoffs: The source's own cutoffs (groups culture and tag) instead of those found out of fold.
        effort: Multiplies the epochs of every leg.

    Contest: iMet Collection 2019 (FGVC6), first place. Differences at ``small`` and why: see the lab book.

    Command: ``fieldmark train imet2019 museum/ --run runs/museum``
    """
    if loss not in LOSSES:
        raise PlanError("The recipe has no such loss.", got=loss, fix=nearest(loss, LOSSES))
    scale = _scale(size, networks=networks, finetune=finetune, log_weights=log_weights)
    zoo = _Zoo(scale, LOSSES[loss], soft_f2=soft_f2, mixup=mixup, effort=effort)
    stages: list[Stage] = [Split(name="split", folds=StratifiedFolds(n_folds=scale.folds))]
    stages += zoo.trained("zoo", Given())
    best, voices = "zoo", ("zoo",)
    given = Given(filled="zoo" if distil else None)
    if trust:
        stages.append(Drop(name="trusted", judge=best, rule=Percentile(share=0.02)))
        given = given.model_copy(update={"trusted": "trusted"})
    if trust or hardest or distil:
        stages += zoo.trained("zoo2", given, hardest=hardest)
        best, voices = "zoo2", ("zoo2",)
    if enlarge:
        stages.append(Enlarge(name="enlarged", judge=best, on="split", rule=Guesses()))
        given = given.model_copy(update={"enlarged": "enlarged"})
        stages += zoo.trained("zoo3", given, hardest=hardest)
        best, voices = "zoo3", ("zoo3",)
    if specialise:
        stages += zoo.trained("special", given, warm=best, groups=(specialise,))
        best, voices = "special", (best, "special")
    looks = None if scale.eye is None else "looks"
    if neighbours and looks is None:
        raise PlanError(
            f"The recipe at size '{size}' has no pretrained network to tell alike photos by.",
            got="neighbours=true",
            fix="use size=small, or leave out neighbours.",
        )
    if scale.eye is not None and (trees or neighbours):
        stages.append(Look(name="looks", backbone=scale.eye))
    if trees:
        stages.append(Stack(name="trees", reads_from=voices, looks=looks, on="split", settings=scale.stacking))
        best = "trees"
    if neighbours and looks is not None:
        stages.append(Lend(name="lent", reads_from=best, on="split", looks=looks))
        best = "lent"
    rule: CutoffRule = IMET_CUTOFFS if source_cutoffs else GroupF2()
    stages += [Cut(name="cutoffs", reads_from=best, rule=rule), Answer(name="answers", reads_from="cutoffs")]
    return Plan(name="imet2019", stages=tuple(stages)).check()


def tags_plain(*, size: Size = "small", tuned: bool = True, effort: float = 1.0) -> Plan:
    """What any tagging recipe must beat: one network, BCE, one cutoff for all labels.

    Args:
        size: The first network of ``imet2019`` at that size.
        tuned: The best cutoff out of fold; else 0.5.
        effort: Multiplies the epochs.

    Source: ours; the usual first baseline.
    """
    from fieldmark.decisions.specs import GlobalF2

    one = _scale(size, networks=1, finetune=False, log_weights=False)
    fixed = Preset(groups={"": Cutoff(at=0.5, least=0, most=None)})
    return Plan(
        name="tags-plain",
        stages=(
            Split(name="split", folds=StratifiedFolds(n_folds=one.folds)),
            *_Zoo(one, LOSSES["bce"], soft_f2=False, mixup=0.0, effort=effort).trained("zoo", Given()),
            Cut(name="cutoffs", reads_from="zoo", rule=GlobalF2() if tuned else fixed),
            Answer(name="answers", reads_from="cutoffs"),
        ),
    ).check()


def _scale(size: str, *, networks: int | None, finetune: bool, log_weights: bool) -> Scale:
    scale = of_size(SCALES, size)
    if networks is not None and not 1 <= networks <= len(scale.zoo):
        raise PlanError(
            f"The zoo at size '{size}' has {len(scale.zoo)} networks.",
            got=f"networks={networks}",
            fix=f"use 1 to {len(scale.zoo)}.",
        )
    changed: dict[str, object] = {"zoo": scale.zoo[:networks]}
    if not log_weights:
        changed["sampler"] = PlainSampler()
    if finetune:
        if size != "small":
            raise PlanError(
                "Only the small recipe has frozen networks to fine-tune.",
                got=f"size={size}, finetune=true",
                fix="leave out finetune; the other sizes train whole networks.",
            )
        changed |= {"legs": FINE_TUNED, "special_legs": FINE_TUNED[-1:]}
        changed["training"] = scale.training.model_copy(update={"batch": 64})
    return scale.model_copy(update=changed)


class _Zoo:
    """The same networks again and again, each time on other photos or labels."""

    def __init__(self, scale: Scale, losses: Losses, *, soft_f2: bool, mixup: float, effort: float) -> None:
        self.scale, self.losses, self.effort = scale, losses, effort
        self.soft_f2, self.mixup = soft_f2, mixup or None

    def trained(
        self, name: str, given: Given, *, warm: str | None = None, groups: tuple[str, ...] = (), hardest: float = 0.0
    ) -> list[Stage]:
        """Train stages ``<name>-<network>`` and the score stage ``name`` over them (and over ``warm``)."""
        legs = self._legs(self.scale.legs if warm is None else self.scale.special_legs, hardest=hardest)
        stages = [
            Train(
                name=f"{name}-{member.name}",
                on="split",
                net=member.net,
                preprocess=member.preprocess,
                augment=self.scale.augment,
                losses=self.losses if warm is None else LOSSES["bce"],
                sampler=self.scale.sampler,
                training=self.scale.training.model_copy(update={"legs": legs, "mixup": self.mixup}),
                warm=None if warm is None else f"{warm}-{member.name}",
                groups=groups,
                trusted=given.trusted,
                enlarged=given.enlarged,
                filled=given.filled,
            )
            for member in self.scale.zoo
        ]
        of = tuple(stage.name for stage in stages)
        return [*stages, Score(name=name, of=of, on="split", also=() if warm is None else (warm,))]

    def _legs(self, legs: tuple[Leg, ...], *, hardest: float) -> tuple[Leg, ...]:
        made = [leg.model_copy(update={"hardest": hardest or None}) for leg in with_effort(legs, self.effort)]
        if self.soft_f2:
            last = made[-1]
            made.append(
                last.model_copy(
                    update={"epochs": max(1, round(last.epochs * 0.3)), "lr": last.lr / 5, "losses": (SoftF(),)}
                )
            )
        return tuple(made)
