"""iMaterialist Challenge 2017, sixth place: one answer to each of many questions, from pictures and from texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Spec
from fieldmark.data.specs import PlainSampler, StratifiedFolds
from fieldmark.decisions.specs import GeometricMean, RankMean, ScoreAverage, WeightedMean
from fieldmark.images.specs import Augment, CropIfNeeded, ImaterialistAugment, NoAugment, Preprocess
from fieldmark.losses.specs import Bce, Losses, QuestionSoftmax
from fieldmark.models.specs import Backbone, HubWeights, Net, QuestionsHead, RandomWeights
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.labels import LabelSettings
from fieldmark.plans.recipe import recipe
from fieldmark.plans.settings import Value, setting
from fieldmark.plans.sizes import IMAGENET_MEAN, IMAGENET_STD, LOWER_LITE, of_size
from fieldmark.stacking.specs import MiniLm, NGrams, Stacking, TextModel, Trees
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.labels.ensemble_scores import EnsembleScores
from fieldmark.stages.labels.resolve_hierarchy import ResolveHierarchy
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.texts import Texts
from fieldmark.training.specs import Cosine, Phase, Plateau, Training

Form = Literal["softmax", "each", "both", "conditional"]
Average = Literal["geometric", "weighted", "rank"]
Reader = Literal["ngrams", "minilm"]
READERS: dict[str, TextModel] = {"ngrams": NGrams(), "minilm": MiniLm()}
LOSSES: dict[str, Losses] = {
    "softmax": (QuestionSoftmax(),),
    "each": (Bce(),),
    "both": (QuestionSoftmax(), Bce(weight=0.25)),
    "conditional": (QuestionSoftmax(),),
}
AVERAGES: dict[str, ScoreAverage] = {
    "geometric": GeometricMean(each_question=True),
    "weighted": WeightedMean(each_question=True),
    "rank": RankMean(each_question=True),
}
ALL = ("all",)


class ImaterialistMember(Spec):
    """One network and how it sees."""

    name: str
    backbone: Backbone
    neck: Literal["none", "bn"] = "none"
    preprocess: Preprocess


class ImaterialistScale(Spec):
    """What differs between the sizes of the recipe."""

    zoo: tuple[ImaterialistMember, ...]
    dropout: float
    augment: Augment
    phases: tuple[Phase, ...]
    training: Training
    folds: int
    stacking: Stacking


def _contest(name: str, side_px: int) -> ImaterialistMember:
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if name == "resnet50" else ((0.5,) * 3, (0.5,) * 3)
    return ImaterialistMember(
        name=name.removeprefix("legacy_").replace("_", "-"),
        backbone=Backbone(name=name, weights=HubWeights()),
        preprocess=Preprocess(height_px=side_px, width_px=side_px, mean=mean, std=std),
    )


FINE_TUNED = (
    Phase(epochs=2, lr=2e-3, freeze=ALL),
    Phase(epochs=6, lr=5e-4, schedule=Cosine(warmup=0.05, floor=0.02), freeze=LOWER_LITE),
)
"""At small size: the new head for two epochs, then all above the lower half."""

SCALES = {
    "toy": ImaterialistScale(
        zoo=(
            ImaterialistMember(
                name="tiny",
                backbone=Backbone(name="test_efficientnet", weights=RandomWeights()),
                preprocess=Preprocess(height_px=32, width_px=32),
            ),
        ),
        dropout=0.0,
        augment=ImaterialistAugment(strength=0.2),
        phases=(Phase(epochs=1, lr=3e-3, freeze=ALL), Phase(epochs=2, lr=3e-3, schedule=Plateau())),
        training=Training(batch=16),
        folds=3,
        stacking=Stacking(trees=Trees(n_rounds=20, num_leaves=7, min_data_in_leaf=5)),
    ),
    "small": ImaterialistScale(
        zoo=(
            ImaterialistMember(
                name="lite0",
                backbone=Backbone(),
                neck="bn",
                preprocess=Preprocess(height_px=224, width_px=224, crop=CropIfNeeded()),
            ),
        ),
        dropout=0.2,
        augment=NoAugment(),
        phases=(Phase(epochs=30, lr=2e-3, schedule=Cosine(warmup=0.05, floor=0.02), freeze=ALL),),
        training=Training(batch=256),
        folds=5,
        stacking=Stacking(),
    ),
    "full": ImaterialistScale(
        zoo=(_contest("resnet50", 224), _contest("inception_v3", 299), _contest("legacy_xception", 299)),
        dropout=0.5,
        augment=ImaterialistAugment(),
        phases=(
            Phase(epochs=2, lr=1e-3, freeze=ALL),
            Phase(epochs=28, lr=1e-4, schedule=Plateau(patience=2, factor=0.3)),
        ),
        training=Training(batch=64, optimiser="adam", weight_decay=0.0),
        folds=10,
        stacking=Stacking(),
    ),
}


PICTURES = {"pictures": (True,)}


class ImaterialistSettings(LabelSettings):
    """Settings of ``imaterialist2017``."""

    texts: str = setting(
        "data",
        "text",
        "Columns of text to answer from, separated by commas; empty: none. Where the table has none of them, the "
        "networks answer alone.",
        example="title",
    )
    leaks: str = setting(
        "data", "", "Columns that tell the answer without being meant to (leakage), as url; used only if named.",
        example="url",
    )  # fmt: skip
    pictures: bool = setting("model", True, "Answer from photos; else from texts alone.")
    form: Form = setting(
        "model",
        "softmax",
        "Answers of a question compete (softmax), each is a yes or no (each), or they are trained as both; "
        "conditional: they compete below the answer to the question above, which is given first.",
        needs=PICTURES,
    )
    shared: bool = setting(
        "model",
        True,
        "An answer of the same name is the same label in all questions (381 labels for 576 answers in the contest).",
        why="below different answers the same name means different labels",
        needs=PICTURES | {"form": ("softmax", "each", "both")},
    )
    networks: int | None = setting(
        "model", None, "Number of networks, the first ones of the recipe.", needs=PICTURES, ge=1, example=1
    )
    finetune: bool = setting(
        "model",
        False,
        "Train the upper half of the network too.",
        why="only small has frozen networks, and texts have none",
        needs={"size": ("small",)} | PICTURES,
    )
    reader: Reader = setting(
        "model",
        "ngrams",
        "Model of texts: words and pieces of them (ngrams), or their sense (minilm; English).",
        why="no texts are read",
    )
    tta: bool = setting("ranking", True, "Average predictions for each photo and its mirror image.", needs=PICTURES)
    trees: bool = setting(
        "ranking", False, "Gradient-boosted trees over the scores of networks and texts, averaged with them."
    )
    average: Average = setting(
        "ranking",
        "geometric",
        "Average of networks and texts: geometric, weighted or rank mean, with out-of-fold weights for each question.",
    )
    consistent: bool = setting(
        "decision", True, "Answers that fit together; else the likeliest of each question by itself."
    )
    shift: bool = setting(
        "decision", False, "Estimate the shares of answers among new photos, and correct for them (prior calibration)."
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """The number of networks."""
        return {"networks": len(of_size(SCALES, size).zoo)}


@recipe("imaterialist2017", ImaterialistSettings)
def imaterialist2017(size: str, settings: ImaterialistSettings) -> Plan:
    """Attributes: one answer to each question, from networks with a head for all questions and from texts.

    ``toy`` runs in seconds on drawn pictures; ``small`` on a laptop: a head on the frozen shipped backbone; ``full`` as
    in the source: ResNet-50, Inception-v3 and Xception, ten folds.

    Contest: iMaterialist Challenge at FGVC4 2017, sixth place (slides). What they leave open, and what we chose: the
    final loss (``form``), the text model (n-grams), the average (weights found out of fold).

    Command: ``fieldmark train imaterialist2017 shop/labels.csv --run runs/shop``
    """
    columns, leaking = _names(settings.texts), _names(settings.leaks)
    if not settings.pictures and not columns and not leaking:
        raise PlanError(
            "The recipe has nothing to answer from.",
            got="pictures=false, no texts, no leaks",
            fix="name columns of text: --set texts=text, or leave out pictures.",
        )
    scale = _scale(size, settings)
    folds = StratifiedFolds(n_folds=scale.folds, method=settings.fold_method)
    stages: list[Stage] = [Split(name="split", folds=folds)]
    members: tuple[str, ...] = ()
    if settings.pictures:
        stages += _zoo(scale, settings)
        members = ("pictures",)
    if columns or leaking:
        stages.append(Texts(name="texts", on="split", columns=columns, leaks=leaking, by=READERS[settings.reader]))
        members = (*members, "texts")
    if settings.trees:
        stages.append(Stack(name="trees", reads_from=members, on="split", settings=scale.stacking))
        members = (*members, "trees")
    shift: Literal["none", "estimated"] = "estimated" if settings.shift else "none"
    stages += [
        EnsembleScores(name="ensemble", reads_from=members, on="split", by=AVERAGES[settings.average]),
        ResolveHierarchy(name="answers", reads_from="merged", consistent=settings.consistent, shift=shift),
        WriteSubmission(name="submission", reads_from="answers"),
    ]
    return Plan(name="imaterialist2017", stages=tuple(stages))


def _zoo(scale: ImaterialistScale, settings: ImaterialistSettings) -> list[Stage]:
    form = settings.form
    head = QuestionsHead(
        form="softmax" if form == "both" else form,
        shared=settings.shared and form != "conditional",
        dropout=scale.dropout,
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
            training=scale.training.model_copy(update={"phases": scale.phases}),
        )
        for member in scale.zoo
    ]
    of = tuple(stage.name for stage in trained)
    return [*trained, Score(name="pictures", of=of, on="split", flip=settings.tta)]


def _names(typed: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in typed.split(",") if part.strip())


def _scale(size: str, settings: ImaterialistSettings) -> ImaterialistScale:
    scale, networks = of_size(SCALES, size), settings.networks
    if networks is not None and networks > len(scale.zoo):
        raise PlanError(
            f"The recipe at size '{size}' has {len(scale.zoo)} network(s).",
            got=f"networks={networks}",
            fix=f"use networks={len(scale.zoo)} or less.",
        )
    scale = scale.model_copy(update={"zoo": scale.zoo[:networks]})
    if settings.finetune:
        training = scale.training.model_copy(update={"batch": 64})
        scale = scale.model_copy(
            update={"phases": FINE_TUNED, "training": training, "augment": ImaterialistAugment(strength=0.3)}
        )
    return scale
