"""Recipe after iMaterialist Challenge 2017, sixth place: one answer per question, from photos and from texts."""

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

QuestionHead = Literal["softmax", "sigmoid", "both", "conditional"]
EnsembleMean = Literal["geometric", "arithmetic", "rank"]
TextModelName = Literal["ngrams", "minilm"]
TEXT_MODELS: dict[str, TextModel] = {"ngrams": NGrams(), "minilm": MiniLm()}
HEAD_FORMS: dict[QuestionHead, Literal["softmax", "each", "conditional"]] = {
    "softmax": "softmax",
    "sigmoid": "each",
    "both": "softmax",
    "conditional": "conditional",
}
LOSSES: dict[QuestionHead, Losses] = {
    "softmax": (QuestionSoftmax(),),
    "sigmoid": (Bce(),),
    "both": (QuestionSoftmax(), Bce(weight=0.25)),
    "conditional": (QuestionSoftmax(),),
}
ENSEMBLE_MEANS: dict[EnsembleMean, ScoreAverage] = {
    "geometric": GeometricMean(each_question=True),
    "arithmetic": WeightedMean(each_question=True),
    "rank": RankMean(each_question=True),
}
ALL = ("all",)


class ImaterialistMember(Spec):
    """One network of the ensemble, with its preprocessing."""

    name: str
    backbone: Backbone
    neck: Literal["none", "bn"] = "none"
    preprocess: Preprocess


class ImaterialistScale(Spec):
    """Parts of the recipe that depend on its size."""

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
"""Training phases at size ``small`` with ``finetune_backbone``: the head for two epochs, then also the upper half."""

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


WITH_PHOTOS = {"use_photos": (True,)}


class ImaterialistSettings(LabelSettings):
    """Settings of ``imaterialist2017``."""

    text_columns: str = setting(
        "data",
        "text",
        "Table columns with text from which answers are predicted, separated by commas; empty: none. If the table has "
        "none of them, only the photos are used.",
        example="title",
    )
    leaky_columns: str = setting(
        "data",
        "",
        "Table columns that reveal the answer by accident (leakage), such as url, separated by commas. A column is "
        "used only if it is named here.",
        example="url",
    )
    use_photos: bool = setting("model", True, "Predict from photos and texts. If false, predict from texts only.")
    question_head: QuestionHead = setting(
        "model",
        "softmax",
        "Output of the head for the answers of a question. softmax: the answers compete. sigmoid: each answer is an "
        "independent yes or no. both: softmax, trained with both losses. conditional: the answers compete within the "
        "answer to the parent question.",
        needs=WITH_PHOTOS,
    )
    shared_answers: bool = setting(
        "model",
        True,
        "Treat answers with the same name as one label in all questions; in the contest, 381 labels for 576 answers.",
        why="the same name means different labels under different parent answers",
        needs=WITH_PHOTOS | {"question_head": ("softmax", "sigmoid", "both")},
    )
    networks: int | None = setting(
        "model",
        None,
        "Number of networks in the ensemble. The first ones of the recipe are used.",
        needs=WITH_PHOTOS,
        ge=1,
        example=1,
    )
    finetune_backbone: bool = setting(
        "model",
        False,
        "Train the upper half of the backbone and the head, instead of the head only.",
        why="only photos at size small have a frozen network",
        needs={"size": ("small",)} | WITH_PHOTOS,
    )
    text_model: TextModelName = setting(
        "model",
        "ngrams",
        "Model of the texts. ngrams: a linear model on words and character n-grams. minilm: a linear model on the "
        "features of an English language model.",
        why="no texts are used",
    )
    tta: bool = setting(
        "ranking",
        True,
        "Test-time augmentation (TTA): average the predictions for a photo and its horizontal flip.",
        needs=WITH_PHOTOS,
    )
    trees: bool = setting(
        "ranking",
        False,
        "Add gradient-boosted trees on the scores of networks and texts to the ensemble.",
    )
    ensemble_mean: EnsembleMean = setting(
        "ranking",
        "geometric",
        "Mean of the scores of networks, texts and trees: geometric, arithmetic or rank mean. Each question has its "
        "own weights, fitted on out-of-fold scores.",
    )
    consistent_answers: bool = setting(
        "decision",
        True,
        "If true, predict the most probable set of answers that satisfies the relations between questions. If false, "
        "predict the most probable answer to each question independently.",
    )
    label_shift: bool = setting(
        "decision",
        False,
        "Estimate the frequencies of answers among the new photos, and correct the predictions for them (label shift).",
    )

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the number of networks."""
        return {"networks": len(of_size(SCALES, size).zoo)}


@recipe("imaterialist2017", ImaterialistSettings)
def imaterialist2017(size: str, settings: ImaterialistSettings) -> Plan:
    """Attributes: predicts one answer per question, from an ensemble of image networks and a text model.

    ``toy`` runs in seconds on synthetic images. ``small`` runs on a laptop; it trains a head on the frozen included
    backbone. ``full`` is as in the source: ResNet-50, Inception-v3 and Xception, ten folds.

    Contest: iMaterialist Challenge at FGVC4 2017, sixth place (slides). The slides do not specify three parts, which we
    chose: the final loss (``question_head``), the text model (n-grams), and the ensemble weights (fitted out of fold).

    Command: ``fieldmark train imaterialist2017 shop/labels.csv --run runs/shop``
    """
    columns, leaky = _names(settings.text_columns), _names(settings.leaky_columns)
    if not settings.use_photos and not columns and not leaky:
        raise PlanError(
            "The recipe 'imaterialist2017' has no inputs with these settings.",
            got="use_photos=false, no text_columns, no leaky_columns",
            fix="name columns of text: --set text_columns=text, or leave out use_photos.",
        )
    scale = _scale(size, settings)
    folds = StratifiedFolds(n_folds=scale.folds, method=settings.fold_method)
    stages: list[Stage] = [Split(name="split", folds=folds)]
    members: tuple[str, ...] = ()
    if settings.use_photos:
        stages += _zoo(scale, settings)
        members = ("pictures",)
    if columns or leaky:
        model = TEXT_MODELS[settings.text_model]
        stages.append(Texts(name="texts", on="split", columns=columns, leaks=leaky, by=model))
        members = (*members, "texts")
    if settings.trees:
        stages.append(Stack(name="trees", reads_from=members, on="split", settings=scale.stacking))
        members = (*members, "trees")
    shift: Literal["none", "estimated"] = "estimated" if settings.label_shift else "none"
    stages += [
        EnsembleScores(name="ensemble", reads_from=members, on="split", by=ENSEMBLE_MEANS[settings.ensemble_mean]),
        ResolveHierarchy(name="answers", reads_from="ensemble", consistent=settings.consistent_answers, shift=shift),
        WriteSubmission(name="submission", reads_from="answers"),
    ]
    return Plan(name="imaterialist2017", stages=tuple(stages))


def _zoo(scale: ImaterialistScale, settings: ImaterialistSettings) -> list[Stage]:
    kind = settings.question_head
    head = QuestionsHead(
        form=HEAD_FORMS[kind],
        shared=settings.shared_answers and kind != "conditional",
        dropout=scale.dropout,
    )
    trained = [
        Train(
            name=f"net-{member.name}",
            on="split",
            net=Net(backbone=member.backbone, neck=member.neck, head=head),
            preprocess=member.preprocess,
            augment=scale.augment,
            losses=LOSSES[kind],
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
            f"The setting 'networks' is too large: the recipe has {len(scale.zoo)} network(s) at size '{size}'.",
            got=f"networks={networks}",
            fix=f"use networks={len(scale.zoo)} or less.",
        )
    scale = scale.model_copy(update={"zoo": scale.zoo[:networks]})
    if settings.finetune_backbone:
        training = scale.training.model_copy(update={"batch": 64})
        scale = scale.model_copy(
            update={"phases": FINE_TUNED, "training": training, "augment": ImaterialistAugment(strength=0.3)}
        )
    return scale
