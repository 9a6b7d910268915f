"""The one training loop: legs, epochs, updates; saved and resumed so that a kill changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save
from torch import Tensor

from fieldmark.core.errors import FieldmarkError, PlanError, several
from fieldmark.core.files import sha256, write_bytes, write_json
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import hash_seed
from fieldmark.data.samplers import draw
from fieldmark.data.specs import Sampler
from fieldmark.losses.specs import Losses
from fieldmark.losses.total import total
from fieldmark.models.network import Network, Outputs, freeze, parameter_groups
from fieldmark.train import checkpoint
from fieldmark.train.average import MovingAverage
from fieldmark.train.features import Source, body
from fieldmark.train.ranks import Ranks
from fieldmark.train.schedules import rate
from fieldmark.train.specs import Leg, Plateau, Training

Watch = Callable[[Network], dict[str, float]]
"""Measures a network at the end of an epoch; the first number is the watched one, larger is better."""


class TrainingError(FieldmarkError):
    """Training cannot go on: the loss is no longer a number."""


@dataclass(frozen=True)
class Lesson:
    """What is learnt: items, their truth, how they are drawn and judged.

    Attributes:
        source: Gives pictures by item number (see ``images.batches.PhotoSource``).
        items: The items that may be drawn.
        classes: Class of *every* item of the source, -1 for unknown; or None.
        truth: Labels of every item of the source, 0 or 1; or None.
        sampler: How an epoch's order is drawn.
        losses: Their weighted sum is minimised.
        names: What to call an item in an error.
    """

    source: Source
    items: Int[np.ndarray, " item"]
    sampler: Sampler
    losses: Losses
    classes: Int[np.ndarray, " all_items"] | None = None
    truth: Float[np.ndarray, "all_items label"] | None = None
    names: Callable[[int], str] = str

    def members(self, leg: Leg) -> Int[np.ndarray, " member"]:
        """The items of one leg: classes with too few photos are left out, unknowns stay.

        Raises:
            PlanError: Nothing is left.
        """
        if self.classes is None or leg.min_photos == 1:
            return self.items
        mine = self.classes[self.items]
        counts = np.bincount(mine[mine >= 0], minlength=1)
        keep = (mine < 0) | (counts[np.maximum(mine, 0)] >= leg.min_photos)
        if not (mine[keep] >= 0).any():
            raise PlanError(
                "A leg of the training has no identity with that many photos.",
                got=f"min_photos {leg.min_photos}; the commonest identity has {counts.max()}",
                fix="lower min_photos or leave this leg out.",
            )
        return self.items[keep]


@dataclass
class Position:
    """Where training is; JSON values only."""

    leg: int = 0
    epoch: int = 0  # within the leg
    batch: int = 0  # within the epoch
    update: int = 0  # within the leg
    epochs: int = 0  # in all legs
    updates: int = 0
    drops: int = 0
    best_of_leg: float | None = None
    since_best: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Workshop:
    """Where and by what means a training works; nothing here changes what comes out of it.

    Attributes:
        folder: For checkpoints; belongs to this training alone.
        group: This process's place among those that train together.
        n_workers: Threads that read ahead.
        progress: Told each epoch.
        scalar: Told (name, value, update) for curves, e.g. ``SummaryWriter.add_scalar``.
        features: Folder in which features of frozen lower parts may be kept (see ``train.features``).
    """

    folder: Path
    group: Ranks
    n_workers: int = 2
    progress: Progress = QUIET
    scalar: Callable[[str, float, int], None] | None = None
    features: Path | None = None


def fit(
    network: Network,
    lesson: Lesson,
    training: Training,
    *,
    at: Workshop,
    seed: int,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Train ``network`` in place, going on from the workshop's folder if it holds a checkpoint.

    Order and augmentation are functions of (seed, epoch, position), dropout of (seed, update, process): a resumed
    training equals an undisturbed one to the bit on the same machine.

    Args:
        network: Built by ``models.network.build`` with the same seed each time.
        lesson: Items, truth, sampler and losses.
        training: Legs and settings.
        at: Where and by what means.
        seed: Of order, augmentation and dropout.
        watch: Measures the network after each epoch.

    Returns:
        One row an epoch: leg, epoch, update, lr, loss and its parts, map5 on the training batches, watched numbers,
        images per second.

    Raises:
        TrainingError: The loss is NaN or infinite; names the update and its items; checkpoints stay as they are.
    """
    return _Trainer(network, lesson, training, at, seed, watch).run()


class _Trainer:
    def __init__(
        self, network: Network, lesson: Lesson, training: Training, at: Workshop, seed: int, watch: Watch | None
    ) -> None:
        self.group, self.folder, self.progress, self.scalar = at.group, at.folder, at.progress, at.scalar
        self.n_workers, self.features = at.n_workers, at.features
        self.network = network.to(self.group.device).to(memory_format=torch.channels_last)
        self.lesson, self.training, self.seed, self.watch = lesson, training, seed, watch
        self.at = Position()
        self.optimiser: torch.optim.Optimizer | None = None
        self.average = MovingAverage(network, training.ema) if training.ema is not None else None
        self.names = {id(parameter): name for name, parameter in network.named_parameters()}
        self.saved_at = time.monotonic()
        self.chance = torch.Generator(device=self.group.device)
        self.network.chance = self.chance
        self.half = training.precision == "bf16" or (
            training.precision == "auto" and self.group.device.type == "cuda" and torch.cuda.is_bf16_supported()
        )

    def run(self) -> list[dict[str, Any]]:
        state = checkpoint.load(self.folder)
        if state is not None:
            self.at = Position(**state.numbers)
            self.network.load_state_dict(_below("network/", state.tensors))
            if self.average is not None:
                self.average.load(_below("average/", state.tensors), n_updates=self.at.updates)
            self.progress.say(f"goes on at leg {self.at.leg + 1}, epoch {self.at.epoch + 1}, batch {self.at.batch + 1}")
        while self.at.leg < len(self.training.legs):
            self._leg(self.training.legs[self.at.leg], state)
            state = None
        self._settle()
        return self.at.history

    def _leg(self, leg: Leg, state: checkpoint.State | None) -> None:
        freeze(self.network, leg.freeze)
        optimiser = self.optimiser = _optimiser(self.network, self.training)
        if state is not None:
            checkpoint.restore_optimiser(optimiser, dict(self.network.named_parameters()), state.tensors)
        members = self.lesson.members(leg)
        forward, source = body(
            self.network,
            self.lesson.source,
            leg.freeze,
            items=members,
            folder=self.features if self.group.world == 1 else None,
            progress=self.progress,
            n_workers=self.n_workers,
        )
        while self.at.epoch < leg.epochs:
            if self._epoch(leg, members, forward, source):
                break
        self.at.leg, self.at.epoch, self.at.update, self.at.drops = self.at.leg + 1, 0, 0, 0
        self.at.best_of_leg, self.at.since_best = None, 0
        self.optimiser = None
        self._save()

    def _epoch(self, leg: Leg, members: np.ndarray, forward: Callable[[Tensor], Outputs], source: Source) -> bool:
        """One epoch from where it stands; True if the leg should end."""
        order = self._order(members)
        updates = -(-len(order) // self.training.accumulate)
        mine = order[:, self.group.share(order.shape[1])]
        stream = source.batches(mine, epoch=self.at.epochs, n_workers=self.n_workers, skip_batches=self.at.batch)
        self.network.train()
        began, began_at = time.monotonic(), self.at.batch
        todo = range(self.at.batch, len(order), self.training.accumulate)
        what = f"leg {self.at.leg + 1} epoch {self.at.epoch + 1}/{leg.epochs}"
        for first in self.progress.track(todo, total=len(todo), what=what):
            n_micro = min(self.training.accumulate, len(order) - first)
            self._update(leg, mine[first : first + n_micro], islice(stream, n_micro), forward, updates * leg.epochs)
            self.at.batch = first + n_micro
            if time.monotonic() - self.saved_at > self.training.checkpoint_every_s and self.at.batch < len(order):
                self._save()
        images = (self.at.batch - began_at) * order.shape[1]
        return self._end_epoch(leg, images / max(1e-9, time.monotonic() - began))

    def _order(self, members: np.ndarray) -> np.ndarray:
        lesson = self.lesson
        drawn = draw(
            lesson.sampler,
            classes=None if lesson.classes is None else lesson.classes[members],
            truth=None if lesson.truth is None else lesson.truth[members],
            batch=self.training.batch,
            seed=self.seed,
            epoch=self.at.epochs,
        )
        return members[drawn][: self.training.epoch_batches]

    def _update(
        self,
        leg: Leg,
        items: np.ndarray,
        pictures: Iterator[Tensor],
        forward: Callable[[Tensor], Outputs],
        updates: int,
    ) -> None:
        """Forward and backward over the micro-batches, then one step of the optimiser."""
        self.chance.manual_seed(hash_seed(self.seed, "dropout", self.at.updates, self.group.rank))
        factor = rate(leg.schedule, update=self.at.update, updates=updates, epoch=self.at.epoch, drops=self.at.drops)
        optimiser = self.optimiser
        if optimiser is None:
            return
        for settings in optimiser.param_groups:
            settings["lr"] = leg.lr * factor * settings["lr_times"]
        told: dict[str, Tensor] = {}
        for rows, batch in zip(items, pictures, strict=True):
            loss, parts = self._loss(rows, batch, forward)
            if not torch.isfinite(loss):
                self._stop(rows, loss)
            (loss / len(items)).backward()
            for name, value in parts.items():
                told[name] = told.get(name, torch.zeros((), device=value.device)) + value.detach().float() / len(items)
        trained = [parameter for settings in optimiser.param_groups for parameter in settings["params"]]
        self.group.average_gradients(trained)
        if self.training.clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, self.training.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.network)
        self.at.update, self.at.updates = self.at.update + 1, self.at.updates + 1
        self._tell(told, leg.lr * factor)

    def _loss(
        self, rows: np.ndarray, batch: Tensor, forward: Callable[[Tensor], Outputs]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        device = self.group.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.half):
            outputs = forward(batch.to(device, non_blocking=True))
        logits = None if outputs.logits is None else outputs.logits.float()
        classes = truth = None
        if self.lesson.classes is not None:
            classes = torch.from_numpy(self.lesson.classes[rows]).to(device)
        if self.lesson.truth is not None:
            truth = torch.from_numpy(self.lesson.truth[rows]).to(device)
        loss, parts = total(
            self.lesson.losses, embedding=outputs.embedding.float(), logits=logits, classes=classes, truth=truth
        )
        parts = {"loss": loss, **parts}
        if logits is not None and classes is not None and bool((classes >= 0).any()):
            parts["map5"] = _map5(logits.detach(), classes)
        return loss, parts

    def _tell(self, told: dict[str, Tensor], lr: float) -> None:
        values = self.group.mean(torch.stack([told[name] for name in sorted(told)])).tolist()
        sums = self.at.sums
        for name, value in zip(sorted(told), values, strict=True):
            sums[name] = sums.get(name, 0.0) + value
            sums[f"n/{name}"] = sums.get(f"n/{name}", 0.0) + 1
            if self.scalar is not None:
                self.scalar(f"train/{name}", value, self.at.updates)
        sums["lr"] = lr
        if self.scalar is not None:
            self.scalar("train/lr", lr, self.at.updates)

    def _end_epoch(self, leg: Leg, images_per_s: float) -> bool:
        self.group.average_buffers(self.network)
        sums = self.at.sums
        row: dict[str, Any] = {"leg": self.at.leg + 1, "epoch": self.at.epochs + 1, "update": self.at.updates}
        row |= {name: sums[name] / sums[f"n/{name}"] for name in sums if f"n/{name}" in sums}
        row |= {"lr": sums.get("lr", 0.0), "images_per_s": round(images_per_s, 1)}
        watched: float | None = None
        if self.watch is not None:
            numbers = self._measured()
            watched = next(iter(numbers.values()), None)
            row |= numbers
            for name, value in numbers.items():
                if self.scalar is not None:
                    self.scalar(name, value, self.at.updates)
        self.at.history.append(row)
        self.progress.say(_line(row))
        # Without a watch the training loss is what must not stop improving.
        end = self._judge(leg, watched if watched is not None else -row.get("loss", 0.0), row.get("map5", 0.0))
        self.at.epoch, self.at.epochs, self.at.batch, self.at.sums = self.at.epoch + 1, self.at.epochs + 1, 0, {}
        self._save()
        return end

    def _judge(self, leg: Leg, watched: float, train_map5: float) -> bool:
        """Note the best, drop the rate on a plateau; True if the leg should end."""
        if self.at.best_of_leg is None or watched > self.at.best_of_leg:
            self.at.best_of_leg, self.at.since_best = watched, 0
        else:
            self.at.since_best += 1
        if self.training.keep == "best" and (self.at.best is None or watched > self.at.best["value"]):
            self._keep_best(watched)
        if leg.patience is not None and self.at.since_best >= leg.patience:
            return True
        if isinstance(leg.schedule, Plateau) and self.at.since_best > leg.schedule.patience:
            self.at.drops, self.at.since_best = self.at.drops + 1, 0
        return leg.stop_at is not None and train_map5 >= leg.stop_at

    def _measured(self) -> dict[str, float]:
        if self.watch is None:
            return {}
        if self.average is None:
            return self.watch(self.network)
        with self.average.worn_by(self.network):
            return self.watch(self.network)

    def _weights(self) -> dict[str, Tensor]:
        return self.network.state_dict() if self.average is None else self.average.tensors

    def _keep_best(self, value: float) -> None:
        if not self.group.leads:
            self.at.best = {"value": value, "file": "", "sha256": ""}
            return
        path = self.folder / f"best-{self.at.epochs:06d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save({name: tensor.cpu().contiguous() for name, tensor in self._weights().items()}))
        self.at.best = {"value": value, "file": path.name, "sha256": sha256(path)}

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.group.leads:
            return
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.optimiser is not None:
            tensors |= checkpoint.optimiser_tensors(self.optimiser, self.names)
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        number = self.at.updates * 2 + (self.optimiser is None)
        checkpoint.save(checkpoint.State(vars(self.at), tensors), self.folder, number=number)
        for old in self.folder.glob("best-*.safetensors"):
            if self.at.best is not None and old.name != self.at.best["file"]:
                old.unlink()

    def _settle(self) -> None:
        """Leave the network with the weights that are to be kept, everything trainable, in evaluation mode."""
        freeze(self.network, ())
        if self.training.keep == "best" and self.at.best is not None and self.group.leads:
            self.network.load_state_dict(load_file(self.folder / self.at.best["file"]))
        elif self.average is not None and self.at.updates:
            self.network.load_state_dict(self.average.tensors)
        self.network.chance = None
        self.network.eval()
        self.group.wait()

    def _stop(self, rows: np.ndarray, loss: Tensor) -> None:
        items = [self.lesson.names(int(row)) for row in rows]
        where = (
            f"leg {self.at.leg + 1}, epoch {self.at.epoch + 1}, batch {self.at.batch + 1}, update {self.at.updates + 1}"
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "nan.json", {"where": where, "loss": str(loss.item()), "items": items})
        raise TrainingError(
            f"The loss is {loss.item()} at {where}; the last checkpoint is whole.",
            got=several(items),
            fix="lower the learning rate or the clip of this leg, or use precision fp32; the batch is listed in "
            f"{self.folder / 'nan.json'}.",
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


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _map5(logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"]) -> Tensor:
    """MAP@5 of the known ones among the batch's own logits; a quick look at how far training is."""
    known = classes >= 0
    own = logits.gather(1, classes.clamp_min(0)[:, None])
    rank = (logits > own).sum(dim=1) + 1
    gain = torch.where(known & (rank <= 5), 1.0 / rank, torch.zeros(()).to(logits))
    return gain.sum() / known.sum()


def _line(row: dict[str, Any]) -> str:
    parts = [
        f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float) and name != "images_per_s"
    ]
    return f"epoch {row['epoch']}: {', '.join(parts)} ({row['images_per_s']} images/s)"
