"""Who is it, for any species: what the winners of two whale contests agree on, with today's losses."""

from __future__ import annotations

from typing import Literal, get_args

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.spec import Spec
from fieldmark.data.specs import HumpbackHoldout, OpenHoldout, PkSampler
from fieldmark.decisions.specs import Best, Centroid, FalseMatchBudget, MaxMap, UnknownAt
from fieldmark.images.specs import BoxCrop, BoxSource, Preprocess, TableBoxes, WhaleAugment
from fieldmark.losses.specs import (
    ArcFace,
    BatchHardTriplet,
    CosFace,
    CrossEntropy,
    Distilled,
    Elastic,
    Losses,
    MarginByCount,
    OhemBce,
)
from fieldmark.models.specs import Backbone, CosineHead, Head, HubWeights, Net, OneVsRestHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.finders import FoundBy, finder_of, looking
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, Size, of_size, with_effort
from fieldmark.quality.specs import Recruits, SureIdentity
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.stages.identity.recruit import Recruit
from fieldmark.stages.identity.stack_identities import StackIdentities
from fieldmark.training.specs import Cosine, Leg, Training

Loss = Literal["questions", "arcface", "cosface", "elastic", "softmax"]
Flips = Literal["other", "same", "none"]
Holdout = Literal["open", "humpback"]


class Scale(Spec):
    """What differs between the sizes of the recipe."""

    net: Net
    preprocess: Preprocess
    legs: tuple[Leg, ...]
    training: Training
    staged: tuple[Leg, ...] | None = None
    """Legs for questions, of which the first leaves out individuals with one photo; None: ``legs`` serve these too."""
    versions: int | None = None
    loss: Loss = "arcface"
    questions_weight: float = 1.0
    """Of the loss over individuals where it asks questions; triplets weigh 1, and so does a softmax."""


SCALES = {
    "toy": Scale(
        net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=CosineHead(scale=16)),
        preprocess=Preprocess(height_px=32, width_px=64),
        legs=(Leg(epochs=2, lr=1e-3),),
        training=Training(batch=16),
    ),
    "small": Scale(
        net=Net(backbone=Backbone(name="tf_efficientnet_lite0"), head=CosineHead(scale=24, imprinted=True)),
        preprocess=Preprocess(height_px=160, width_px=160),
        legs=(
            Leg(epochs=18, lr=1e-3, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Leg(epochs=4, lr=1e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
        ),
        staged=(
            Leg(epochs=15, lr=1e-3, min_photos=2, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
            Leg(epochs=7, lr=2e-4, schedule=Cosine(warmup=0.05, floor=0.1), freeze=LOWER_LITE),
        ),
        training=Training(batch=96, least_batches=40, epoch_batches=80),
        versions=6,
        # For thousands of individuals, most with one photo or two; a softmax over so many drowns the triplets.
        loss="questions",
        questions_weight=0.25,
    ),
    "full": Scale(
        net=Net(
            backbone=Backbone(name="tf_efficientnetv2_m", weights=HubWeights(), pool="gem", maps=2),
            head=CosineHead(scale=20.96, centres=2),
        ),
        preprocess=Preprocess(height_px=512, width_px=512, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        legs=(Leg(epochs=30, lr=1.6e-3, schedule=Cosine(warmup=0.2, floor=0.01)),),
        training=Training(batch=64, lr_head_times=10.0),
    ),
}


def reidentify(  # noqa: PLR0913 - every technique is a switch
    *,
    size: Size = "small",
    loss: Loss | None = None,
    by_count: bool = True,
    centres: int | None = None,
    warmup: float = 0.2,
    triplet: bool = True,
    staged: bool = True,
    flips: Flips = "other",
    unknowns: bool = True,
    tta: bool = True,
    centroids: bool = True,
    logits_weight: float = 0.5,
    distil: bool = False,
    rounds: int = 0,
    recruit_at: float = 0.8,
    evidence: bool = False,
    trees: bool = False,
    budget: float | None = None,
    boxes: FoundBy = "none",
    height_px: int | None = None,
    width_px: int | None = None,
    holdout: Holdout = "open",
    effort: float = 1.0,
) -> Plan:
    """Who is it, for any species: a question an individual or a margin, triplets, neighbours and head together.

    Args:
        size: ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop, with the shipped backbone, its lower
            half frozen; ``full``: EfficientNetV2-M at 512 px.
        loss: Over individuals: a yes or no of each (``questions``), or which of them all it is, with a margin
            (``arcface``, ``cosface``, ``elastic``) or without (``softmax``). Questions do better for thousands with a
            photo or two, the others for up to some hundreds with several. None: as the size has it, ``questions`` at
            ``small``, else ``arcface``.
        by_count: Rare individuals are asked for a larger margin (``arcface`` and ``cosface``).
        centres: Directions an individual, where it is not asked by questions; None: as the size has it.
        warmup: The margin grows to its whole over this share of the training.
        triplet: Batch-hard triplets beside that loss.
        staged: Questions at ``small`` are asked of individuals with two photos or more at first, then of all; else of
            all from the start.
        flips: A mirrored photo shows ``other`` individuals (flukes, stripes seen from one side), the ``same`` one
            (faces from in front), or is not shown (``none``).
        unknowns: Photos of nobody we know teach too: as others in triplets, and without a margin as unlike all.
        tta: Look at each photo mirrored too.
        centroids: Rank by the likeness to the centroid of an individual's photos, else to its most alike photo.
        logits_weight: Of the head's own probabilities, where likeness weighs 1.
        distil: Learn anew, a first network's word on each stranger being its truth.
        rounds: So often learn anew with new photos whose individual is sure; with ``evidence``, by points too.
        recruit_at: Score from which it is sure.
        evidence: Look again at the first ten by matching points (needs the extra ``keypoints``).
        trees: Let boosted trees judge the candidates.
        budget: Give strangers a name in at most this share, rather than find the best MAP@5.
        boxes: Look into boxes: of the ``table``, or found by colour (``grabcut``), by a network (``features``), or
            where both agree (``agreed``); ``none``: the whole photo.
        height_px: Of the network's input, at least 32; None: as the size has it.
        width_px: The same; flukes are twice as wide as high.
        holdout: Which photos judge: ``open`` holds individuals back as strangers, too; ``humpback`` takes those that
            judge the whales' own recipes, so that runs of both can be blended to one.
        effort: Multiplies the epochs.

    Source: ours, of parts: Happywhale 2022, first place (margin by count, neighbours and head together); Humpback
    Whale Identification 2018/19, first and third place (flips as other individuals, triplets, centroids).

    Command: ``fieldmark train reidentify lions.csv --run runs/lions``
    """
    scale = _scale(size, loss=loss, centres=centres, height_px=height_px, width_px=width_px)
    legs = scale.staged if staged and scale.staged is not None and scale.loss == "questions" else scale.legs
    rule: UnknownAt = MaxMap() if budget is None else FalseMatchBudget(budget=budget)
    alike = Centroid() if centroids else Best()
    votes = (Vote(by=alike),)
    if logits_weight:
        votes = (*votes, Vote(by=ByLogits(), weight=logits_weight))
    train = Train(
        name="net",
        on="split",
        net=scale.net,
        preprocess=scale.preprocess,
        augment=WhaleAugment(),
        versions=scale.versions,
        losses=_losses(
            scale.loss,
            by_count=by_count,
            warmup=warmup,
            triplet=triplet,
            unknowns=unknowns,
            questions_weight=scale.questions_weight if triplet else 1.0,
        ),
        sampler=PkSampler(k=3 if size == "small" else 4, unknown_share=0.125 if unknowns else 0.0),
        flip_identity=flips == "other",
        mirrored=flips == "same",
        unknowns=unknowns,
        training=scale.training.model_copy(update={"legs": with_effort(legs, effort)}),
    )
    finder = finder_of(boxes, what="Boxes")
    folds = HumpbackHoldout() if holdout == "humpback" else OpenHoldout()
    stages: list[Stage] = [Split(name="split", folds=folds), *looking(finder)]
    if finder is not None:
        crop = BoxCrop(margin=0.1, jitter=0.05, sources=(BoxSource(by=finder),))
        train = train.model_copy(update={"preprocess": scale.preprocess.model_copy(update={"crop": crop})})
    if rounds < 0:
        raise PlanError("There cannot be so few rounds.", got=f"rounds={rounds}", fix="use rounds=0 for none.")
    if trees and evidence:
        raise PlanError(
            "Points are matched for the first of a ranking by likeness.",
            got="trees=true, evidence=true",
            fix="leave out one of the two.",
        )
    best = embedded = taught = ""
    last = max(rounds, int(distil))
    for turn in range(last + 1):
        again = "" if not turn else str(turn + 1)
        if 0 < turn <= rounds:
            stages.append(
                Recruit(
                    name=f"recruits{again}", judges=(best,), on="split", rule=Recruits(rule=SureIdentity(at=recruit_at))
                )
            )
        enlarged = f"recruits{again}" if 0 < turn <= rounds else None
        learning = train.model_copy(update={"name": f"net{again}", "enlarged": enlarged})
        if turn and distil:
            learning = learning.model_copy(update={"taught": (taught,), "losses": (*train.losses, Distilled())})
        taught = learning.name
        stages += [
            learning,
            Embed(name=f"features{again}", of=f"net{again}", on="split", flip=tta),
            Rank(name=f"ranking{again}", reads_from=f"features{again}", on="split", votes=votes, unknown=rule),
        ]
        best, embedded = f"ranking{again}", f"features{again}"
        if evidence and (turn < rounds or turn == last):  # whoever is recruited is looked at first
            looked = Recheck(
                name=f"evidence{again}",
                reads_from=best,
                embedded=embedded,
                on="split",
                within=finder or TableBoxes(),
                unknown=rule,
            )
            stages.append(looked)
            best = looked.name
    if trees:
        stages.append(StackIdentities(name="trees", reads_from=embedded, on="split", unknown=rule))
        best = "trees"
    return Plan(name="reidentify", stages=(*stages, Answer(name="answers", reads_from=best))).check()


def _losses(
    loss: Loss, *, by_count: bool, warmup: float, triplet: bool, unknowns: bool, questions_weight: float
) -> Losses:
    """What is learnt of individuals, what teaches doubt, and the triplets."""
    kinds: dict[Loss, Losses] = {
        "questions": (OhemBce(weight=questions_weight),),
        "arcface": (ArcFace(margin=MarginByCount() if by_count else 0.3, warmup=warmup),),
        "cosface": (CosFace(margin=MarginByCount() if by_count else 0.2, warmup=warmup),),
        "elastic": (Elastic(warmup=warmup),),
        "softmax": (CrossEntropy(unknowns="uniform" if unknowns else "left_out"),),
    }
    return (*kinds[loss], BatchHardTriplet()) if triplet else kinds[loss]


def _scale(size: str, *, loss: Loss | None, centres: int | None, height_px: int | None, width_px: int | None) -> Scale:
    """The size, with what was asked for instead of its own."""
    scale = of_size(SCALES, size)
    loss = scale.loss if loss is None else loss
    if loss not in get_args(Loss):
        raise PlanError("The recipe has no such loss.", got=loss, fix=nearest(loss, get_args(Loss)))
    sides = {name: side for name, side in (("height_px", height_px), ("width_px", width_px)) if side is not None}
    if small := {name: side for name, side in sides.items() if side < 32}:
        raise PlanError(
            "A network cannot tell individuals apart on so small a picture.",
            got=", ".join(f"{name}={side}" for name, side in small.items()),
            fix="use at least 32; 96 to 224 is usual on a laptop.",
        )
    head: Head = scale.net.head
    if loss == "questions":
        if centres is not None:
            raise PlanError(
                "Questions have no centres.",
                got=f"loss=questions, centres={centres}",
                fix="leave out centres, or use loss=arcface.",
            )
        head = OneVsRestHead()
    elif centres is not None:
        head = head.model_copy(update={"centres": centres})
    net, preprocess = scale.net.model_copy(update={"head": head}), scale.preprocess.model_copy(update=sides)
    return scale.model_copy(update={"net": net, "preprocess": preprocess, "loss": loss})
