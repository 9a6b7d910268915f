"""The stage *train*: trains one network per fold, without the fold's validation photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fieldmark.core.errors import PlanError, nearest, several
from fieldmark.core.seeds import hash_seed
from fieldmark.core.spec import Count, Fraction
from fieldmark.data.collection import Collection
from fieldmark.data.specs import Sampler, TupleSampler
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.losses.specs import BatchHardTriplet, Losses, OhemBce
from fieldmark.models.specs import Net, QuestionsHead
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.artifacts.selection import DroppedPhotos, PseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.lessons import answer_watch, columns_of, identity_lesson, identity_watch, label_lesson
from fieldmark.stages.common.questions import answer_layout
from fieldmark.stages.common.training_checks import training_mistakes
from fieldmark.training.specs import Training

if TYPE_CHECKING:
    from fieldmark.models.network import Network
    from fieldmark.training.loop import Lesson, Watch
    from fieldmark.training.ranks import Ranks


@stage
class Train(Stage):
    """Train one network for each fold of the split stage ``on``.

    The head of ``net`` decides what the networks are trained on: individuals, labels, or answers to questions.

    Attributes:
        on: Split stage.
        net: Backbone, neck and head of the network.
        preprocess: Preprocessing of image files; stored with the network.
        augment: Augmentation of training photos, after the preprocessing.
        versions: Number of fixed variants of each photo, instead of a new random variant in each epoch. The features of
            frozen lower stages are then computed once per variant and cached: training is several times faster.
        losses: Training losses; their weighted sum is minimised.
        sampler: Order of the photos in an epoch.
        training: Training phases, optimiser, batch size and other training settings.
        warm: Train stage on the same split whose networks provide the initial weights, fold by fold.
        flip_identity: Identification only: whether a mirrored photo of identity k is a photo of identity k + N, where N
            is the number of identities. Photos of unknown individuals stay unknown when mirrored.
        mirrored: Identification only: whether mirrored photos are added as training photos of the same individual.
        unknowns: Identification only: whether photos of unknown individuals are training photos, as negatives for every
            identity. A photo whose file is a copy of a photo of a known individual is left out.
        groups: Labels only: label groups to train on; empty: all labels.
        trusted: Labels only: ``drop_noisy`` stage. The photos it dropped are left out of training, but not out of
            validation.
        enlarged: ``pseudo_label`` stage (labels) or ``pseudo_label_identities`` stage (identification). The new photos
            it picked are added to the training photos.
        taught: Identification only: train stages on the same split. The mean prediction of their networks of this fold
            is the target of the loss ``distilled`` for photos of unknown individuals.
        filled: Labels only: stage with out-of-fold scores that fills in missing labels. A missing label with a high
            score gets the target ``fill_times`` times its probability.
        fill_times: Factor on the probabilities of ``filled``.
    """

    output = Models
    resumes = True
    distributed = True
    kind: Literal["train"] = "train"
    on: Annotated[str, Ref(Folds)]
    net: Net = Net()
    preprocess: Preprocess
    augment: Augment = NoAugment()
    versions: Count | None = None
    losses: Losses = (OhemBce(), BatchHardTriplet())
    sampler: Sampler = TupleSampler()
    training: Training = Training()
    warm: Annotated[str | None, Ref(Models)] = None
    flip_identity: bool = False
    mirrored: bool = False
    unknowns: bool = True
    groups: tuple[str, ...] = ()
    trusted: Annotated[str | None, Ref(DroppedPhotos)] = None
    enlarged: Annotated[str | None, Ref(PseudoLabels)] = None
    taught: Annotated[tuple[str, ...], Ref(Models)] = ()
    filled: Annotated[str | None, Ref(LabelScores)] = None
    fill_times: Fraction = 0.7

    @property
    def learns_labels(self) -> bool:
        """Whether its networks predict labels or answers, not individuals."""
        return self.net.head.kind in {"sigmoid", "questions"}

    @property
    def learns_answers(self) -> bool:
        """Whether its networks predict answers to questions."""
        return self.net.head.kind == "questions"

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return incompatible combinations of losses, samplers and heads, and references to stages of another task."""
        return training_mistakes(self, earlier)

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Check that the photos have the label groups, boxes, masks and landmarks that this stage uses.

        Raises:
            PlanError: The table has no boxes, masks or landmarks although the preprocessing uses them, or the labels do
                not have the named groups.
            DataError: Some boxes lie outside their photos.
        """
        from fieldmark.quality.regions.finding import box_tables, refuse_outside, unlabelled

        if lacking := unlabelled(known, self.preprocess):
            what, maker = " and ".join(lacking), "fieldmark boxes" + (" --masks" if "masks" in lacking else "")
            raise PlanError(
                f"Stage '{self.name}' uses the {what} of the photos' table, but the table has none.",
                got=f"columns {', '.join(known.table.columns)}",
                fix=f"give {what} with --boxes TABLE (`{maker}` makes one)"
                + ("." if lacking == ("landmarks",) else f", or set {lacking[0]}=none."),
            )
        for photos in (known, new):
            if photos is not None:
                refuse_outside(photos, box_tables(self.preprocess))
        if lacking := sorted(set(self.groups) - set(known.vocabulary.groups)):
            groups = [name for name in known.vocabulary.groups if name]
            raise PlanError(
                f"Stage '{self.name}' names label groups that these photos do not have.",
                got=several(lacking),
                fix=nearest(lacking[0], groups)
                if groups
                else "leave out specialise: these labels have no groups (the group is the text before '::').",
            )

    def fit(self, context: Context, folder: Path) -> str:
        """Write a network and its training history for each fold. Return the metrics of the last epoch."""
        from fieldmark.training.ranks import ranks

        group, models = ranks(context.device), Models(folder)
        said = [
            self._fold(context, models, k=k, group=group)
            for k in range(context.artifact(Folds, self.on).n_folds)
            if not models.trained(k)
        ]
        return said[-1] if said else "all folds were already trained"

    def lesson(self, context: Context, *, k: int) -> Lesson:
        """Return the training data of network ``k``."""
        return label_lesson(self, context, k=k) if self.learns_labels else identity_lesson(self, context, k=k)

    def fitted(self, lesson: Lesson) -> Training:
        """Return the training settings with the batch size adapted to the number of items."""
        return self.training.fitting(len(lesson.items), multiple=self.sampler.multiple)

    def _fold(self, context: Context, models: Models, *, k: int, group: Ranks) -> str:
        from fieldmark.models.network import build
        from fieldmark.models.store import save
        from fieldmark.training import checkpoint
        from fieldmark.training.features import FeatureStore
        from fieldmark.training.imprint import imprint
        from fieldmark.training.loop import WorkDirectory, fit

        seed = hash_seed(context.seed, self.name, k)
        network = build(self.net_for(context), n_classes=self.n_classes(context), seed=seed)
        if self.warm is not None:
            self._warm_up(context, network, k=k)
        work_directory = WorkDirectory(
            folder=models.checkpoints(k),
            group=group,
            n_workers=context.n_workers,
            progress=context.progress,
            scalar=_scalars(context, f"{self.name}-fold{k}") if group.leads else None,
            features=None if context.features is None else FeatureStore(context.features),
        )
        lesson = self.lesson(context, k=k)
        started = self.warm is not None or checkpoint.load_checkpoint(work_directory.folder) is not None
        if getattr(self.net.head, "imprinted", False) and self.training.phases and not started:
            imprint(network, lesson, self.training.phases[0], at=work_directory, seed=seed)
        history = fit(
            network,
            lesson,
            self.fitted(lesson),
            at=work_directory,
            seed=hash_seed(context.seed, self.name, k, "order"),
            watch=self._watch(context, k=k, group=group),
        )
        if group.leads:
            models.place(k).mkdir(exist_ok=True)
            save(network, models.place(k), preprocess=self.preprocess.model_dump(mode="json"))
            if self.learns_labels:
                models.write_labels(k, self._labels(context))
            models.write_history(k, history)
        group.wait()
        return _last(history)

    def net_for(self, context: Context) -> Net:
        """Return the network settings. A head for questions gets the layout of its answers."""
        head = self.net.head
        if not isinstance(head, QuestionsHead):
            return self.net
        vocabulary = context.known.vocabulary
        layout = answer_layout(vocabulary, columns_of(self.groups, vocabulary), shared=head.shared)
        return self.net.model_copy(update={"head": head.model_copy(update={"layout": layout})})

    def n_classes(self, context: Context) -> int:
        """Return the number of outputs of its networks."""
        if self.learns_labels:
            return len(self._labels(context))
        return len(context.known.vocabulary.identities) * (2 if self.flip_identity else 1)

    def _labels(self, context: Context) -> list[str]:
        """Return the labels that its networks predict, in the order of their logits."""
        tags = context.known.vocabulary.tags
        return [tags[column] for column in columns_of(self.groups, context.known.vocabulary)]

    def _warm_up(self, context: Context, network: Network, *, k: int) -> None:
        """Copy weights from network ``k`` of another stage: backbone, neck, and head weights of shared labels."""
        from fieldmark.models.warm import start_from

        other = context.artifact(Models, self.warm or "")
        # A head without logits, such as a pair head, is copied as a whole.
        columns: Sequence[int] | None = range(network.n_classes) if network.head is not None else None
        if self.learns_labels:
            column_of = {name: column for column, name in enumerate(other.labels)}
            columns = [column_of[name] for name in self._labels(context)]
        start_from(network, other.place(k), columns=columns)

    def _watch(self, context: Context, *, k: int, group: Ranks) -> Watch | None:
        if self.learns_answers:
            return answer_watch(self, context, k=k, group=group)
        return None if self.learns_labels else identity_watch(self, context, k=k, group=group)


def _scalars(context: Context, name: str) -> Any:
    """Return the ``add_scalar`` method of a TensorBoard writer, or None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(context.run.path / "tensorboard" / name)).add_scalar


def _last(history: list[dict[str, Any]]) -> str:
    if not history:
        return "untrained network (no training phases)"
    row = history[-1]
    metrics = ", ".join(
        f"{name} {value:.3f}"
        for name, value in row.items()
        if name in {"loss", "map5", "validation right"} or "map5 (" in name
    )
    return f"{len(history)} epochs, {row['update']} updates; {metrics}"
