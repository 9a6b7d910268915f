"""iMaterialist Challenge 2017, sixth place: one answer to each of many questions, from pictures and from texts."""

from __future__ import annotations

from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.spec import Spec
from fieldmark.data.specs import PlainSampler, StratifiedFolds
from fieldmark.decisions.specs import GeometricMean, MergeRule, RankMean, WeightedMean
from fieldmark.images.specs import Augment, CropIfNeeded, ImaterialistAugment, NoAugment, Preprocess
from fieldmark.losses.specs import Bce, Losses, QuestionSoftmax
from fieldmark.models.specs import Backbone, HubWeights, Net, QuestionsHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, Size, of_size, with_effort
from fieldmark.stacking.specs import MiniLm, NGrams, Stacking, TextModel, Trees
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.merge import Merge
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.settle import Settle
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.texts import Texts
from fieldmark.training.specs import Cosine, Leg, Plateau, Training

Form = Literal["softmax", "each", "both", "conditional"]
Merging = Literal["geometric", "weighted", "rank"]
Reader = Literal["ngrams", "minilm"]
READERS: dict[str, TextModel] = {"ngrams": NGrams(), "minilm": MiniLm()}
LOSSES: dict[str, Losses] = {
    "softmax": (QuestionSoftmax(),),
    "each": (Bce(),),
    "both": (QuestionSoftmax(), Bce(weight=0.25)),
    "conditional": (QuestionSoftmax(),),
}
MERGING: dict[str, MergeRule] = {
    "geometric": GeometricMean(each_question=True),
    "weighted": WeightedMean(each_question=True),
    "rank": RankMean(each_question=True),
}
ALL = ("all",)


class Member(Spec):
    """One network and how it sees."""

    name: str
    backbone: Backbone
    neck: Literal["none", "bn"] = "none"
    preprocess: Preprocess


class Scale(Spec):
    """What differs between the sizes of the recipe."""

    zoo: tuple[Member, ...]
    dropout: float
    augment: Augment
    legs: tuple[Leg, ...]
    training: Training
    folds: int
    stacking: Stacking


def _contest(name: str, side_px: int) -> Member:
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if name == "resnet50" else ((0.5,) * 3, (0.5,) * 3)
    return Member(
        name=name.removeprefix("legacy_").replace("_", "-"),
        backbone=Backbone(name=name, weights=HubWeights()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, mean=mean, std=std),
    )


FINE_TUNED = (
    Leg(epochs=2, lr=2e-3, freeze=ALL),
    Leg(epochs=6, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=LOWER_LITE),
)
"""At small size: the new head for two epochs, then all above the lower half."""

SCALES = {
    "toy": Scale(
        zoo=(
            Member(
                name="tiny",
                backbone=Backbone(name="test_efficientnet", weights=RandomWeights()),
                preprocess=Preprocess(height_px=32, width_px=32),
            ),
        ),
        dropout=0.0,
        augment=ImaterialistAugment(strength=0.2),
        legs=(Leg(epochs=1, lr=3e-3, freeze=ALL), Leg(epochs=2, lr=3e-3, schedule=Plateau())),
        training=Training(batch=16),
        folds=3,
        stacking=Stacking(trees=Trees(n_rounds=20, num_leaves=7, min_data_in_leaf=5)),
    ),
    "small": Scale(
        zoo=(
            Member(
                name="lite0",
                backbone=Backbone(),
                neck="bn",
                preprocess=Preprocess(height_px=224, width_px=224, crop=CropIfNeeded()),
            ),
        ),
        dropout=0.2,
        augment=NoAugment(),
        legs=(Leg(epochs=30, lr=2e-3, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        training=Training(batch=256),
        folds=5,
        stacking=Stacking(),
    ),
    "full": Scale(
        zoo=(_contest("resnet50", 224), _contest("inception_v3", 299), _contest("legacy_xception", 299)),
        dropout=0.5,
        augment=ImaterialistAugment(),
        legs=(Leg(epochs=2, lr=1e-3, freeze=ALL), Leg(epochs=28, lr=1e-4, schedule=Plateau(patience=2, factor=0.3))),
        training=Training(batch=64, optimiser="adam", weight_decay=0.0),
        folds=10,
        stacking=Stacking(),
    ),
}


def imaterialist2017(  # noqa: PLR0913 - every technique is a switch
    *,
    size: Size = "small",
    form: Form = "softmax",
    shared: bool = True,
    pictures: bool = True,
    texts: str = "text",
    leaks: str = "",
    reader: Reader = "ngrams",
    merging: Merging = "geometric",
    trees: bool = False,
    consistent: bool = True,
    shift: bool = False,
    networks: int | None = None,
    finetune: bool = False,
    effort: float = 1.0,
) -> Plan:
    """One answer to each question, from networks with one head for all questions and from what is written beside.

    Args:
        size: ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop: a head on the frozen shipped backbone;
            ``full`` as in the source: ResNet-50, Inception-v3 and Xception, ten folds.
        form: Of the head: the answers of a question compete (``softmax``), each is a yes or no (``each``), or they are
            trained as ``both``; ``conditional``: they compete below the answer to the question above, given first.
        shared: An answer of the same name is the same label in all questions (381 labels for 576 answers in the
            contest).
        pictures: Ask the networks; else texts alone.
        texts: Columns of text to answer from as well, separated by commas; empty for none. Where the table has none of
            them, the networks answer alone.
        leaks: Columns that tell the answer without being meant to, as ``url``; used only if named here.
        reader: Of texts: ``ngrams`` knows words and pieces of them, ``minilm`` their sense (English; a package more).
        merging: How networks and texts are merged: ``geometric``, ``weighted`` or ``rank`` mean, weights found out of
            fold for each question.
        trees: Boosted trees judge what networks and texts say, and are merged with them.
        consistent: Answers that fit together; else the likeliest of each question by itself.
        shift: New photos may show answers in other shares than the known ones: estimate them and correct.
        networks: Only so many networks of the zoo; None for all.
        finetune: At ``small``: train the upper half of the network too.
        effort: Multiplies the epochs of every leg.

    Contest: iMaterialist Challenge at FGVC4 2017, sixth place (slides). What they leave open, and what we chose: the
    final loss (``form``), the text model (n-grams), the merge (weights found out of fold).

    Command: ``fieldmark train imaterialist2017 shop/labels.csv --run runs/shop``
    """
    if form not in LOSSES:
        raise PlanError("The recipe has no such form.", got=form, fix=nearest(form, LOSSES))
    if merging not in MERGING:
        raise PlanError("The recipe has no such merging.", got=merging, fix=nearest(merging, MERGING))
    if reader not in READERS:
        raise PlanError("The recipe has no such reader of texts.", got=reader, fix=nearest(reader, READERS))
    columns, leaking = _names(texts), _names(leaks)
    if not pictures and not columns and not leaking:
        raise PlanError(
            "The recipe has nothing to answer from.",
            got="pictures=false, no texts, no leaks",
            fix="name columns of text: --set texts=name, or leave pictures on.",
        )
    scale = _scale(size, networks=networks, finetune=finetune)
    stages: list[Stage] = [Split(name="split", folds=StratifiedFolds(n_folds=scale.folds))]
    voices: tuple[str, ...] = ()
    if pictures:
        stages += _zoo(scale, form=form, shared=shared, effort=effort)
        voices = ("pictures",)
    if columns or leaking:
        stages.append(Texts(name="texts", on="split", columns=columns, leaks=leaking, by=READERS[reader]))
        voices = (*voices, "texts")
    if trees:
        stages.append(Stack(name="trees", reads_from=voices, on="split", settings=scale.stacking))
        voices = (*voices, "trees")
    stages += [
        Merge(name="merged", reads_from=voices, on="split", by=MERGING[merging]),
        Settle(name="answers", reads_from="merged", consistent=consistent, shift="estimated" if shift else "none"),
        Answer(name="submission", reads_from="answers"),
    ]
    return Plan(name="imaterialist2017", stages=tuple(stages)).check()


def _zoo(scale: Scale, *, form: Form, shared: bool, effort: float) -> list[Stage]:
    head = QuestionsHead(
        form="softmax" if form == "both" else form, shared=shared and form != "conditional", dropout=scale.dropout
    )
    trained = [
        Train(
            name=f"net-{member.name}",
            on="split",
            net=Net(backbone=member.backbone, neck=member.neck, head=head),
            preprocess=member.preprocess,
            augment=scale.augment,
            losses=LOSSES[form],
            sampler=PlainSampler(),
            training=scale.training.model_copy(update={"legs": with_effort(scale.legs, effort)}),
        )
        for member in scale.zoo
    ]
    return [*trained, Score(name="pictures", of=tuple(stage.name for stage in trained), on="split")]


def _names(typed: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in typed.split(",") if part.strip())


def _scale(size: str, *, networks: int | None, finetune: bool) -> Scale:
    scale = of_size(SCALES, size)
    if networks is not None and not 1 <= networks <= len(scale.zoo):
        raise PlanError(
            f"The zoo at size '{size}' has {len(scale.zoo)} network(s).",
            got=f"networks={networks}",
            fix=f"use 1 to {len(scale.zoo)}.",
        )
    scale = scale.model_copy(update={"zoo": scale.zoo[:networks]})
    if finetune and size != "small":
        raise PlanError(
            "Only the small recipe has frozen networks to fine-tune.",
            got=f"size={size}, finetune=true",
            fix="leave out finetune; the other sizes train whole networks.",
        )
    if finetune:
        training = scale.training.model_copy(update={"batch": 64})
        scale = scale.model_copy(
            update={"legs": FINE_TUNED, "training": training, "augment": ImaterialistAugment(strength=0.3)}
        )
    return scale
