"""The verb *train*: one network a fold, that has not seen its validation photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json, write_json
from fieldmark.core.seeds import hash_seed
from fieldmark.core.spec import Count, Fraction, Spec
from fieldmark.data.collection import Collection
from fieldmark.data.specs import Sampler, TupleSampler
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.losses.specs import BatchHardTriplet, Losses, OhemBce
from fieldmark.models.specs import Net, QuestionsHead
from fieldmark.stages.common.lessons import answer_watch, columns_of, identity_lesson, identity_watch, label_lesson
from fieldmark.stages.common.questions import answer_layout, told_answers
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job
from fieldmark.stages.scored import filled_by, kept_by, picked_by
from fieldmark.training.specs import Training

if TYPE_CHECKING:
    from fieldmark.models.network import Network
    from fieldmark.training.loop import Lesson, Watch
    from fieldmark.training.ranks import Ranks

LABELS = "labels.json"
"""Beside the network of a fold: the names of the labels it answers."""


class Train(Spec):
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
        training: Legs, optimiser and the rest.
        warm: A train stage on the same split whose networks these start from, each fold from its own.
        flip_identity: Individuals: a mirrored photo of identity k is one of identity k + N; strangers stay strangers.
        mirrored: Individuals: mirrored photos teach too, as photos of the same individual.
        unknowns: Individuals: whether photos of the unknown identity are trained on, as a no to every identity. A
            stranger whose file is a copy of one with a name is nobody to learn "no" from and is left out.
        groups: Labels: only those of these groups; none named means all.
        trusted: Labels: a drop stage; the photos it dropped do not teach (and are validated on all the same).
        enlarged: An enlarge stage (labels) or a recruit stage (individuals); the new photos it picked teach too.
        taught: Individuals: train stages on the same split; the mean of what their networks of this fold say of each
            stranger is its truth for the loss ``distilled``.
        filled: Labels: a stage with out-of-fold scores; a label it is sure of counts ``fill_times`` its probability
            where the table lacks it.
        fill_times: See ``filled``.
    """

    verb: Literal["train"] = "train"
    name: str
    on: str
    net: Net = Net()
    preprocess: Preprocess
    augment: Augment = NoAugment()
    versions: Count | None = None
    losses: Losses = (OhemBce(), BatchHardTriplet())
    sampler: Sampler = TupleSampler()
    training: Training = Training()
    warm: str | None = None
    flip_identity: bool = False
    mirrored: bool = False
    unknowns: bool = True
    groups: tuple[str, ...] = ()
    trusted: str | None = None
    enlarged: str | None = None
    taught: tuple[str, ...] = ()
    filled: str | None = None
    fill_times: Fraction = 0.7

    @property
    def learns_labels(self) -> bool:
        """Whether it learns labels (answers among them) rather than individuals."""
        return self.net.head.kind in {"sigmoid", "questions"}

    @property
    def learns_answers(self) -> bool:
        """Whether it learns to answer questions."""
        return self.net.head.kind == "questions"

    def reads(self) -> tuple[str, ...]:
        """The split stage, and the stages it learns more from."""
        named = (name for name in (self.warm, self.trusted, self.enlarged, self.filled) if name is not None)
        return (self.on, *named, *self.taught)

    def ready(self, known: Collection) -> None:
        """Look for the boxes, masks and landmarks that the photos' table should tell.

        Raises:
            PlanError: It tells them of no photo: the network would see all photos whole, though asked not to.
            DataError: Some boxes mark nothing of their pictures.
        """
        from fieldmark.quality.regions.finding import box_tables, refuse_outside, untold

        if lacking := untold(known, self.preprocess):
            what, maker = " and ".join(lacking), "fieldmark boxes" + (" --masks" if "masks" in lacking else "")
            raise PlanError(
                f"{self.name}: photos are to be looked at by the {what} of their table, which tells none.",
                got=f"columns {', '.join(known.table.columns)}",
                fix=f"give {what} with --boxes TABLE (`{maker}` makes one)"
                + ("." if lacking == ("landmarks",) else f", or set {lacking[0]}=none."),
            )
        refuse_outside(known, box_tables(self.preprocess))

    def run(self, job: Job, folder: Path) -> str:
        """Write ``fold<k>/`` with the network and its history for each fold; say how the last epochs went."""
        from fieldmark.training.ranks import ranks

        group = ranks(job.device)
        fold = read_folds(job, self.on)
        said = []
        for k in range(int(fold.max()) + 1):
            place = folder / f"fold{k}"
            if (place / "history.json").exists():
                continue
            said.append(self._fold(job, place, k=k, fold=fold, group=group))
        return said[-1] if said else "all folds were trained already"

    def lesson(self, job: Job, *, k: int, fold: np.ndarray) -> Lesson:
        """What network ``k`` learns from."""
        if not self.learns_labels:
            return identity_lesson(self, job, k=k, fold=fold)
        columns = columns_of(self.groups, job.known.vocabulary)
        truth = job.known.truth
        if self.filled is not None:
            truth = filled_by(job, self.filled, truth, times=self.fill_times)
        if self.learns_answers:
            truth = np.where(told_answers(job.known), truth, np.nan).astype(np.float32)
        return label_lesson(
            self,
            job,
            k=k,
            fold=fold,
            kept=kept_by(job, self.trusted),
            truth=np.ascontiguousarray(truth[:, columns]),
            extra=None if self.enlarged is None else picked_by(job, self.enlarged, k=k, columns=columns),
        )

    def fitted(self, lesson: Lesson) -> Training:
        """Its training, with the batch that so many photos ask for."""
        return self.training.fitting(len(lesson.items), multiple=self.sampler.multiple)

    def _fold(self, job: Job, place: Path, *, k: int, fold: np.ndarray, group: Ranks) -> str:
        from fieldmark.models.network import build
        from fieldmark.models.store import save
        from fieldmark.training import checkpoint
        from fieldmark.training.imprint import imprint
        from fieldmark.training.loop import Workshop, fit

        network = build(self._net(job), n_classes=self.n_classes(job), seed=hash_seed(job.seed, self.name, k))
        if self.warm is not None:
            self._warm_up(job, network, k=k)
        workshop = Workshop(
            folder=place.with_name(f".fold{k}-checkpoints"),
            group=group,
            n_workers=job.n_workers,
            progress=job.progress,
            scalar=_scalars(job, f"{self.name}-fold{k}") if group.leads else None,
            features=job.features,
        )
        lesson = self.lesson(job, k=k, fold=fold)
        begun = self.warm is not None or checkpoint.load(workshop.folder) is not None
        if getattr(self.net.head, "imprinted", False) and self.training.legs and not begun:
            imprint(network, lesson, self.training.legs[0], at=workshop, seed=hash_seed(job.seed, self.name, k))
        history = fit(
            network,
            lesson,
            self.fitted(lesson),
            at=workshop,
            seed=hash_seed(job.seed, self.name, k, "order"),
            watch=self._watch(job, k=k, fold=fold, group=group),
        )
        if group.leads:
            place.mkdir(exist_ok=True)
            save(network, place, preprocess=self.preprocess.model_dump(mode="json"))
            if self.learns_labels:
                write_json(place / LABELS, self._labels(job))
            write_json(place / "history.json", history)
        group.wait()
        return _last(history)

    def _net(self, job: Job) -> Net:
        """The network's settings, a head for questions with the layout of its answers."""
        head = self.net.head
        if not isinstance(head, QuestionsHead):
            return self.net
        layout = answer_layout(job.known.vocabulary, columns_of(self.groups, job.known.vocabulary), shared=head.shared)
        return self.net.model_copy(update={"head": head.model_copy(update={"layout": layout})})

    def n_classes(self, job: Job) -> int:
        """How many answers its networks give."""
        if self.learns_labels:
            return len(self._labels(job))
        return len(job.known.vocabulary.identities) * (2 if self.flip_identity else 1)

    def _labels(self, job: Job) -> list[str]:
        """The labels its networks answer, in the order of their logits."""
        tags = job.known.vocabulary.tags
        return [tags[column] for column in columns_of(self.groups, job.known.vocabulary)]

    def _warm_up(self, job: Job, network: Network, *, k: int) -> None:
        """Start from network ``k`` of another stage: backbone, neck, and the head's answers to the labels in common."""
        from fieldmark.models.warm import start_from

        place = job.run.stage(self.warm or "") / f"fold{k}"
        # A head without logits, as a pair head, is taken over whole.
        columns: Sequence[int] | None = range(network.n_classes) if network.head is not None else None
        if self.learns_labels:
            theirs = {name: column for column, name in enumerate(read_json(place / LABELS))}
            columns = [theirs[name] for name in self._labels(job)]
        start_from(network, place, columns=columns)

    def _watch(self, job: Job, *, k: int, fold: np.ndarray, group: Ranks) -> Watch | None:
        if self.learns_answers:
            return answer_watch(self, job, k=k, fold=fold, group=group)
        return None if self.learns_labels else identity_watch(self, job, k=k, fold=fold, group=group)


def _scalars(job: Job, name: str) -> Any:
    """A TensorBoard writer's ``add_scalar`` if TensorBoard is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(job.run.path / "tensorboard" / name)).add_scalar


def _last(history: list[dict[str, Any]]) -> str:
    if not history:
        return "the network as it was built (no legs)"
    row = history[-1]
    told = ", ".join(
        f"{name} {value:.3f}"
        for name, value in row.items()
        if name in {"loss", "map5", "validation right"} or "map5 (" in name
    )
    return f"{len(history)} epochs, {row['update']} updates; {told}"
