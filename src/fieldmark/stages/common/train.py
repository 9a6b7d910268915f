"""The kind *train*: one network a fold, that has not seen its validation photos."""

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
    """Train a network for each fold of ``on``: of labels, of answers, or of individuals, as its head has it.

    Attributes:
        on: The split stage.
        net: Backbone, neck and head.
        preprocess: How a file becomes the network's input; stored with the network.
        augment: What training does to photos on top of it.
        versions: Vary each photo in so many fixed ways instead of anew each time; then features of frozen lower stages
            are computed once a version and kept, which makes training of the upper ones several times quicker.
        losses: Their weighted sum is minimised.
        sampler: How an epoch's order is drawn.
        training: Phases, optimiser and the rest.
        warm: A train stage on the same split whose networks these start from, each fold from its own.
        flip_identity: Individuals: a mirrored photo of identity k is one of identity k + N; unknown individuals stay unknown individuals.
        mirrored: Individuals: mirrored photos teach too, as photos of the same individual.
        unknowns: Individuals: whether photos of the unknown identity are trained on, as a no to every identity. A
            unknown individual whose file is a copy of one with a name is nobody to learn "no" from and is left out.
        groups: Labels: only those of these groups; none named means all.
        trusted: Labels: a drop stage; the photos it dropped do not teach (and are validated on all the same).
        enlarged: An enlarge stage (labels) or a recruit stage (individuals); the new photos it picked teach too.
        taught: Individuals: train stages on the same split; the mean of what their networks of this fold say of each
            unknown individual is its truth for the loss ``distilled``.
        filled: Labels: a stage with out-of-fold scores; a label it is sure of counts ``fill_times`` its probability
            where the table lacks it.
        fill_times: See ``filled``.
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
        """Whether it learns labels (answers among them) rather than individuals."""
        return self.net.head.kind in {"sigmoid", "questions"}

    @property
    def learns_answers(self) -> bool:
        """Whether it learns to answer questions."""
        return self.net.head.kind == "questions"

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Losses, samplers and heads that do not go together; stages of other individuals or labels."""
        return training_mistakes(self, earlier)

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Look for the label groups, and for the boxes, masks and landmarks that the photos' table should have.

        Raises:
            PlanError: The table has none of them: the network would see all photos whole, though asked not to; or its
                labels have no such groups.
            DataError: Some boxes mark nothing of their pictures.
        """
        from fieldmark.quality.regions.finding import box_tables, refuse_outside, unlabelled

        if lacking := unlabelled(known, self.preprocess):
            what, maker = " and ".join(lacking), "fieldmark boxes" + (" --masks" if "masks" in lacking else "")
            raise PlanError(
                f"{self.name}: photos are to be looked at by the {what} of their table, which tells none.",
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
                f"{self.name}: these photos do not have the label groups it names.",
                got=several(lacking),
                fix=nearest(lacking[0], groups)
                if groups
                else "leave out specialise: these labels have no groups (a group is the text before '::').",
            )

    def fit(self, context: Context, folder: Path) -> str:
        """Write a network and its history for each fold; say how the last epochs went."""
        from fieldmark.training.ranks import ranks

        group, models = ranks(context.device), Models(folder)
        said = [
            self._fold(context, models, k=k, group=group)
            for k in range(context.artifact(Folds, self.on).n_folds)
            if not models.trained(k)
        ]
        return said[-1] if said else "all folds were trained already"

    def lesson(self, context: Context, *, k: int) -> Lesson:
        """What network ``k`` learns from."""
        return label_lesson(self, context, k=k) if self.learns_labels else identity_lesson(self, context, k=k)

    def fitted(self, lesson: Lesson) -> Training:
        """Its training, with the batch that so many photos ask for."""
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
        begun = self.warm is not None or checkpoint.load_checkpoint(work_directory.folder) is not None
        if getattr(self.net.head, "imprinted", False) and self.training.phases and not begun:
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
        """The network's settings, a head for questions with the layout of its answers."""
        head = self.net.head
        if not isinstance(head, QuestionsHead):
            return self.net
        vocabulary = context.known.vocabulary
        layout = answer_layout(vocabulary, columns_of(self.groups, vocabulary), shared=head.shared)
        return self.net.model_copy(update={"head": head.model_copy(update={"layout": layout})})

    def n_classes(self, context: Context) -> int:
        """How many answers its networks give."""
        if self.learns_labels:
            return len(self._labels(context))
        return len(context.known.vocabulary.identities) * (2 if self.flip_identity else 1)

    def _labels(self, context: Context) -> list[str]:
        """The labels its networks answer, in the order of their logits."""
        tags = context.known.vocabulary.tags
        return [tags[column] for column in columns_of(self.groups, context.known.vocabulary)]

    def _warm_up(self, context: Context, network: Network, *, k: int) -> None:
        """Start from network ``k`` of another stage: backbone, neck, and the head's answers to the labels in common."""
        from fieldmark.models.warm import start_from

        other = context.artifact(Models, self.warm or "")
        # A head without logits, as a pair head, is taken over whole.
        columns: Sequence[int] | None = range(network.n_classes) if network.head is not None else None
        if self.learns_labels:
            theirs = {name: column for column, name in enumerate(other.labels)}
            columns = [theirs[name] for name in self._labels(context)]
        start_from(network, other.place(k), columns=columns)

    def _watch(self, context: Context, *, k: int, group: Ranks) -> Watch | None:
        if self.learns_answers:
            return answer_watch(self, context, k=k, group=group)
        return None if self.learns_labels else identity_watch(self, context, k=k, group=group)


def _scalars(context: Context, name: str) -> Any:
    """A TensorBoard writer's ``add_scalar`` if TensorBoard is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(context.run.path / "tensorboard" / name)).add_scalar


def _last(history: list[dict[str, Any]]) -> str:
    if not history:
        return "the network as it was built (no phases)"
    row = history[-1]
    told = ", ".join(
        f"{name} {value:.3f}"
        for name, value in row.items()
        if name in {"loss", "map5", "validation right"} or "map5 (" in name
    )
    return f"{len(history)} epochs, {row['update']} updates; {told}"
