"""One running training phase: its items, their order, and the update of the weights in each step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import PlanError
from fieldmark.core.seeds import generator, hash_seed
from fieldmark.data.samplers import draw
from fieldmark.data.specs import AssignmentSampler
from fieldmark.losses.inputs import Circumstances, without_mirror
from fieldmark.losses.total import of_each, total
from fieldmark.models.heads import Answers, CosineLogits
from fieldmark.models.network import Network, freeze, parameter_groups
from fieldmark.training import checkpoint
from fieldmark.training.features import body
from fieldmark.training.lesson import Lesson
from fieldmark.training.mining import HardExamples
from fieldmark.training.mixing import mix
from fieldmark.training.pairs import HardPairs, compare_items, unvaried
from fieldmark.training.specs import Phase, Training
from fieldmark.training.work_directory import WorkDirectory


class NoNumberError(Exception):
    """The loss of a forward pass is NaN or infinite."""

    def __init__(self, items: Int[np.ndarray, " batch"], loss: Tensor) -> None:
        super().__init__(loss)
        self.items, self.loss = items, loss.item()


@dataclass
class StepOutcome:
    """The result of one forward pass.

    Attributes:
        loss: Loss to minimise.
        parts: Loss, its parts and other metrics to report.
        of_items: Loss of each item, for hard-negative mining; None if it is not needed.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    of_items: Float[Tensor, " batch"] | None = None


class Course:
    """One running training phase. The constructor freezes the network as the phase says and builds the optimiser.

    All results depend only on the seed, the number of the epoch and the number of the update.

    Args:
        network: Network, on its device.
        lesson: Training data.
        training: Training settings.
        phase: Training phase.
        at: Work directory, device and workers.
        seed: Random seed of order, dropout and mixup.
    """

    def __init__(
        self, network: Network, lesson: Lesson, training: Training, phase: Phase, *, at: WorkDirectory, seed: int
    ) -> None:
        self.network, self.lesson, self.training, self.group, self.seed = network, lesson, training, at.group, seed
        freeze(network, phase.freeze)
        self.optimiser = _optimiser(network, training)
        self.losses = phase.losses or lesson.losses
        self.members = lesson.members(phase, progress=at.progress)
        self.sampling = lesson.sampling(self.members)
        self.body = body(
            network,
            lesson.source,
            items=self.members,
            features=at.features if at.group.world == 1 else None,
            progress=at.progress,
            n_workers=at.n_workers,
        )
        self.hardest = (
            None if phase.hardest is None else HardExamples(self.members, share=phase.hardest, mode=phase.mining)
        )
        self.pairs = self._hard_pairs(phase, at) if isinstance(lesson.sampler, AssignmentSampler) else None
        self.half = training.precision == "bf16" or (
            training.precision == "auto" and at.group.device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        self.chance = torch.Generator(device=at.group.device)
        network.chance = self.chance
        counts = lesson.counts(self.members, network.n_classes)
        self.counts = None if counts is None else counts.to(at.group.device)
        self.spares_mirror = lesson.flip_identity and any(loss.competes for loss in self.losses)

    def order(self, epoch: int, *, goes_on: bool = False) -> Int[np.ndarray, "step slot"]:
        """Return the items of each forward pass of an epoch.

        Args:
            epoch: Number of the epoch, counted over all phases.
            goes_on: Whether an interrupted epoch is resumed. The hard examples then stay those of its start.
        """
        if self.pairs is not None:
            return self.pairs.order(epoch)[: self.training.epoch_batches]
        drawn = draw(self.lesson.sampler, batch=self.training.batch, seed=self.seed, epoch=epoch, **self.sampling)
        order = self.members[drawn][: self.training.epoch_batches]
        if self.hardest is None:
            return order
        if not goes_on:
            self.hardest.choose()
        return self.hardest.order(order, generator(self.seed, "mining", epoch))

    def update(
        self,
        items: Int[np.ndarray, "step slot"],
        batches: Iterable[Tensor],
        *,
        lr: float,
        number: int,
        done: float = 1.0,
    ) -> dict[str, Tensor]:
        """Run forward and backward passes over some batches, then one optimiser step.

        Args:
            items: Items of the batches, over all processes.
            batches: This process's share of the batches, from the source of ``body``.
            lr: Learning rate of the backbone.
            number: Number of earlier updates, counted over all phases.
            done: Completed share of all epochs; margins may grow with it.

        Returns:
            Mean loss and other metrics over the batches of this process.

        Raises:
            NoNumberError: The loss is NaN or infinite. The weights are unchanged.
        """
        mine = items[:, self.group.share(items.shape[1])]
        self.chance.manual_seed(hash_seed(self.seed, "dropout", number, self.group.rank))
        metrics: dict[str, Tensor] = {}
        of_items: list[Tensor] = []
        for at, (rows, batch) in enumerate(zip(mine, batches, strict=True)):
            step = self._forward(rows, batch, place=(number, at), done=done)
            if not torch.isfinite(step.loss):
                self.optimiser.zero_grad(set_to_none=True)
                raise NoNumberError(rows, step.loss)
            (step.loss / len(items)).backward()
            for name, value in step.parts.items():
                total_so_far = metrics.get(name, torch.zeros((), device=value.device))
                metrics[name] = total_so_far + value.detach().float() / len(items)
            if step.of_items is not None:
                of_items.append(step.of_items)
        if self.hardest is not None and of_items:
            self.hardest.note(items.ravel(), self.group.gather(torch.stack(of_items)).ravel().cpu().numpy())
        self._step(lr)
        return metrics

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the optimiser and of hard-negative mining for a checkpoint."""
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        mined = {} if self.hardest is None else self.hardest.tensors()
        mined |= {} if self.pairs is None else self.pairs.tensors()
        return checkpoint.optimiser_tensors(self.optimiser, names) | mined

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state from a checkpoint."""
        checkpoint.restore_optimiser(self.optimiser, dict(self.network.named_parameters()), tensors)
        if self.hardest is not None:
            self.hardest.restore(tensors)
        if self.pairs is not None:
            self.pairs.restore(tensors)

    def _hard_pairs(self, phase: Phase, at: WorkDirectory) -> HardPairs:
        """Return the assignment sampler of this phase. It chooses opponents on photos without augmentation."""
        network, sampler, classes = self.network, self.lesson.sampler, self.lesson.classes
        if classes is None or not isinstance(sampler, AssignmentSampler):
            raise PlanError(
                "sampler: assignment mining needs individuals, but this network is trained on labels.",
                got="sampler = {kind = 'assignment'}",
                fix="use sampler = {kind = 'plain'} or 'log_weight' for labels.",
            )
        source = unvaried(self.lesson.source)
        plain = self.body
        if source is not self.lesson.source:
            features = at.features if at.group.world == 1 else None
            pace = {"progress": at.progress, "n_workers": at.n_workers}
            plain = body(network, source, items=self.members, features=features, **pace)
        return HardPairs(
            sampler,
            members=self.members,
            classes=classes[self.members],
            n_identities=network.n_classes // 2 if self.lesson.flip_identity else None,
            phase=phase,
            batch=self.training.batch,
            seed=self.seed,
            compare=lambda items: compare_items(
                network, plain, items, device=self.group.device, n_workers=at.n_workers
            ),
            group=self.group,
        )

    def _step(self, lr: float) -> None:
        for settings in self.optimiser.param_groups:
            settings["lr"] = lr * settings["lr_times"]
        trained = [parameter for settings in self.optimiser.param_groups for parameter in settings["params"]]
        self.group.average_gradients(trained)
        if self.training.clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, self.training.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _forward(
        self, rows: Int[np.ndarray, " batch"], batch: Tensor, *, place: tuple[int, int], done: float
    ) -> StepOutcome:
        device = self.group.device
        classes, truth = self.lesson.classes_of(rows), self.lesson.truth_of(rows)
        classes = None if classes is None else classes.to(device)
        truth = None if truth is None else truth.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.half):
            features = self.body.below(batch.to(device, non_blocking=True))
            if self.training.mixup is not None and truth is not None:
                rng = generator(self.seed, "mixup", *place, self.group.rank)
                features, truth = mix(features, truth, alpha=self.training.mixup, rng=rng)
            outputs = self.body.above(features)
        logits = None if outputs.logits is None else outputs.logits.float()
        embedding = outputs.embedding.float()
        stripes = None if outputs.stripes is None else outputs.stripes.float()
        centres = getattr(self.network.head, "centres", None)
        loss, parts = total(
            self.losses,
            embedding=embedding,
            stripes=stripes,
            logits=logits,
            centres=None if centres is None else centres.flatten(0, 1),
            compare=None if self.network.pair is None else self.network.pair.among(embedding),
            classes=classes,
            truth=truth,
            about=self._about(rows, place, done=done),
        )
        outcome = StepOutcome(loss, {"loss": loss, **parts})
        if logits is not None and classes is not None and bool((classes >= 0).any()):
            outcome.parts["map5"] = _map5(logits.detach(), classes, spares_mirror=self.spares_mirror)
        if logits is not None and truth is not None and self.hardest is not None:
            outcome.of_items = of_each(self.losses, logits=logits.detach(), truth=truth)
        return outcome

    def _about(self, rows: Int[np.ndarray, " batch"], place: tuple[int, int], *, done: float) -> Circumstances:
        """Return the other inputs of the losses. The random seed depends on the update, as for dropout."""
        chance = torch.Generator().manual_seed(hash_seed(self.seed, "loss", *place, self.group.rank))
        answers = self.network.head if isinstance(self.network.head, Answers) else None
        taught = self.lesson.taught_of(rows)
        return Circumstances(
            taught=None if taught is None else taught.to(self.group.device),
            question_of=None if answers is None else answers.question_of,
            below=None if answers is None else answers.below,
            scale=self.network.head.scale if isinstance(self.network.head, CosineLogits) else None,
            counts=self.counts,
            flip_identity=self.lesson.flip_identity,
            done=done,
            chance=chance,
        )


def _optimiser(network: Network, training: Training) -> torch.optim.Optimizer:
    groups = parameter_groups(network, lr_head_times=training.lr_head_times, weight_decay=training.weight_decay)
    match training.optimiser:
        case "adamw":
            return torch.optim.AdamW(groups, lr=1.0, betas=training.betas)
        case "adam":
            return torch.optim.Adam(groups, lr=1.0, betas=training.betas)
        case "sgd":
            return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def _map5(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], *, spares_mirror: bool = False
) -> Tensor:
    """Return MAP@5 of the known individuals in a training batch, from its logits; a quick measure of progress.

    With ``spares_mirror``, the class of the photo's own mirror image is left out, because it is never trained.
    """
    known = classes >= 0
    if spares_mirror:
        logits = without_mirror(logits, classes, by="map5")
    own = logits.gather(1, classes.clamp_min(0)[:, None])
    rank = (logits > own).sum(dim=1) + 1
    gain = torch.where(known & (rank <= 5), 1.0 / rank, torch.zeros(()).to(logits))
    return gain.sum() / known.sum()
