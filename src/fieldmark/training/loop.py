"""The training loop: phases, epochs and updates, with checkpoints that resume to the same result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, NoReturn

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from fieldmark.core.errors import FieldmarkError, several
from fieldmark.core.files import sha256, write_bytes, write_json
from fieldmark.models.network import Network, freeze
from fieldmark.training import checkpoint
from fieldmark.training.average import MovingAverage
from fieldmark.training.course import Course, NoNumberError
from fieldmark.training.lesson import Lesson
from fieldmark.training.schedules import rate
from fieldmark.training.specs import Phase, Plateau, Training
from fieldmark.training.work_directory import WorkDirectory

__all__ = ["Lesson", "Position", "TrainingError", "Watch", "WorkDirectory", "fit"]

Watch = Callable[[Network], dict[str, float]]
"""Function that measures a network after an epoch. The first metric decides which epoch is best (larger is better)."""


class TrainingError(FieldmarkError):
    """Training has stopped, because the loss is NaN or infinite."""


@dataclass
class Position:
    """The position in a training; JSON values only."""

    phase: int = 0
    epoch: int = 0  # within the phase
    batch: int = 0  # within the epoch
    epochs: int = 0  # in all phases
    updates: int = 0  # in all phases
    drops: int = 0
    best_of_phase: float | None = None
    since_best: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, numbers: dict[str, Any]) -> Position:
        """Read the position from a checkpoint. Unknown keys from other versions are ignored."""
        return cls(**{one.name: numbers[one.name] for one in fields(cls) if one.name in numbers})


def fit(
    network: Network,
    lesson: Lesson,
    training: Training,
    *,
    at: WorkDirectory,
    seed: int,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Train ``network`` in place. Training resumes if the work directory has a checkpoint.

    Order and augmentation depend only on (seed, epoch, position), and dropout and mixup only on (seed, update,
    process). On the same machine, a resumed training is therefore bit-identical to an uninterrupted one.

    Args:
        network: Network, built by ``models.network.build`` with the same seed and the same initial weights each time.
        lesson: Items, ground truth, sampler and losses.
        training: Phases and training settings.
        at: Work directory, device and workers.
        seed: Random seed of order, dropout and mixup.
        watch: Function that measures the network after each epoch.

    Returns:
        One row per epoch: phase, epoch, update, lr, loss and its parts, map5 on the training batches (with classes),
        the metrics of ``watch``, and images per second.

    Raises:
        PlanError: The training settings do not fit the training data, e.g. mixup without labels. The error lists all
            mistakes.
        TrainingError: The loss is NaN or infinite. The error names the update and its items; checkpoints are kept.
    """
    return _Trainer(network, lesson, training, at, seed, watch).run()


class _Trainer:
    def __init__(
        self, network: Network, lesson: Lesson, training: Training, at: WorkDirectory, seed: int, watch: Watch | None
    ) -> None:
        lesson.check(training, network, watched=watch is not None)
        self.work, self.group, self.folder = at, at.group, at.folder
        self.network = network.to(self.group.device).to(memory_format=torch.channels_last)
        self.lesson, self.training, self.seed, self.watch = lesson, training, seed, watch
        self.at = Position()
        self.average = MovingAverage(network, training.ema) if training.ema is not None else None
        self.best: dict[str, Tensor] | None = None  # weights of the best epoch, if not yet in a file
        self.saved_at = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        state = checkpoint.load_checkpoint(self.folder)
        if state is not None:
            self.at = Position.read(state.numbers)
            self.network.load_state_dict(_below("network/", state.tensors))
            if self.average is not None:
                self.average.load(_below("average/", state.tensors), n_updates=self.at.updates)
            place = f"phase {self.at.phase + 1}, epoch {self.at.epoch + 1}, batch {self.at.batch + 1}"
            self.work.progress.say(f"training resumes at {place}")
        while self.at.phase < len(self.training.phases):
            self._phase(self.training.phases[self.at.phase], state)
            state = None
        self._finish()
        return self.at.history

    def _phase(self, phase: Phase, state: checkpoint.State | None) -> None:
        course = Course(self.network, self.lesson, self.training, phase, at=self.work, seed=self.seed)
        if state is not None:
            course.restore(state.tensors)
        while self.at.epoch < phase.epochs:
            if self._epoch(phase, course):
                break
        self.at.phase, self.at.epoch, self.at.drops = self.at.phase + 1, 0, 0
        self.at.best_of_phase, self.at.since_best = None, 0
        self._save(None)

    def _epoch(self, phase: Phase, course: Course) -> bool:
        """Run one epoch from the current position. Return True if the phase should end."""
        order = course.order(self.at.epochs, goes_on=self.at.batch > 0)
        n_micro = self.training.accumulate
        updates = -(-len(order) // n_micro)
        mine = order[:, self.group.share(order.shape[1])]
        stream = course.body.source.batches(
            mine, epoch=self.at.epochs, n_workers=self.work.n_workers, skip_batches=self.at.batch
        )
        self.network.train()
        began, began_at = time.monotonic(), self.at.batch
        todo = range(self.at.batch, len(order), n_micro)
        n_epochs = sum(one.epochs for one in self.training.phases)
        what = f"phase {self.at.phase + 1} epoch {self.at.epoch + 1}/{phase.epochs}"
        for first in self.work.progress.track(todo, total=len(todo), what=what):
            # With hard-negative mining, epochs differ in length. Each epoch is an equal part of the schedule.
            update = self.at.epoch * updates + first // n_micro
            factor = rate(
                phase.schedule, update=update, updates=updates * phase.epochs, epoch=self.at.epoch, drops=self.at.drops
            )
            items = order[first : first + n_micro]
            try:
                metrics = course.update(
                    items,
                    islice(stream, len(items)),
                    lr=phase.lr * factor,
                    number=self.at.updates,
                    done=(self.at.epochs + first / len(order)) / n_epochs,
                )
            except NoNumberError as stopped:
                self._stop(stopped)
            if self.average is not None:
                self.average.update(self.network)
            self.at.updates += 1
            self._report(metrics, phase.lr * factor)
            self.at.batch = first + len(items)
            if self._is_time_to_save() and self.at.batch < len(order):
                self._save(course)
        images = (self.at.batch - began_at) * order.shape[1]
        return self._end_epoch(phase, course, images / max(1e-9, time.monotonic() - began))

    def _report(self, metrics: dict[str, Tensor], lr: float) -> None:
        """Add the metrics of one update to the sums of the epoch, and report them."""
        values = self.group.mean(torch.stack([metrics[name] for name in sorted(metrics)])).tolist()
        sums = self.at.sums
        for name, value in zip(sorted(metrics), values, strict=True):
            sums[name] = sums.get(name, 0.0) + value
            sums[f"n/{name}"] = sums.get(f"n/{name}", 0.0) + 1
            if self.work.scalar is not None:
                self.work.scalar(f"train/{name}", value, self.at.updates)
        sums["lr"] = lr
        if self.work.scalar is not None:
            self.work.scalar("train/lr", lr, self.at.updates)

    def _end_epoch(self, phase: Phase, course: Course, images_per_s: float) -> bool:
        self.group.average_buffers(self.network)
        sums = self.at.sums
        row: dict[str, Any] = {"phase": self.at.phase + 1, "epoch": self.at.epochs + 1, "update": self.at.updates}
        row |= {name: sums[name] / sums[f"n/{name}"] for name in sums if f"n/{name}" in sums}
        row |= {"lr": sums.get("lr", 0.0), "images_per_s": round(images_per_s, 1)}
        watched: float | None = None
        if self.watch is not None:
            numbers = self._measured()
            watched = next(iter(numbers.values()), None)
            row |= numbers
            for name, value in numbers.items():
                if self.work.scalar is not None:
                    self.work.scalar(name, value, self.at.updates)
        self.at.history.append(row)
        self.work.progress.say(_line(row))
        # Without a validation metric, the training loss must improve.
        end = self._should_end(
            phase, course, watched if watched is not None else -row.get("loss", 0.0), row.get("map5", 0.0)
        )
        self.at.epoch, self.at.epochs, self.at.batch, self.at.sums = self.at.epoch + 1, self.at.epochs + 1, 0, {}
        if self._is_time_to_save() and not end:  # the end of a phase is always saved
            self._save(course)
        return end

    def _should_end(self, phase: Phase, course: Course, watched: float, train_map5: float) -> bool:
        """Record the best epoch, and lower the learning rate on a plateau. Return True if the phase should end."""
        if self.at.best_of_phase is None or watched > self.at.best_of_phase:
            self.at.best_of_phase, self.at.since_best = watched, 0
        else:
            self.at.since_best += 1
        if self.training.keep == "best" and (self.at.best is None or watched > self.at.best["value"]):
            self._keep_best(watched)
        if phase.patience is not None and self.at.since_best >= phase.patience:
            return True
        plateau = phase.schedule
        if isinstance(plateau, Plateau) and self.at.since_best > plateau.patience:
            if self.at.drops == plateau.drops:
                return True
            self.at.drops, self.at.since_best = self.at.drops + 1, 0
            if plateau.rebuild:
                course.optimiser.state.clear()
        return phase.stop_at is not None and train_map5 >= phase.stop_at

    def _measured(self) -> dict[str, float]:
        if self.watch is None:
            return {}
        if self.average is None:
            return self.watch(self.network)
        with self.average.applied_to(self.network):
            return self.watch(self.network)

    def _weights(self) -> dict[str, Tensor]:
        return self.network.state_dict() if self.average is None else self.average.tensors

    def _keep_best(self, value: float) -> None:
        """Copy the weights. The next checkpoint writes them to a file."""
        self.at.best = {"value": value, "file": f"best-{self.at.epochs:06d}.safetensors", "sha256": ""}
        if self.group.leads:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self._weights().items()}

    def _is_time_to_save(self) -> bool:
        return time.monotonic() - self.saved_at > self.training.checkpoint_every_s

    def _save(self, course: Course | None) -> None:
        """Write a checkpoint. ``course`` is None at the end of a phase."""
        self.saved_at = time.monotonic()
        if not self.group.leads:
            return
        if self.best is not None and self.at.best is not None:
            path = self.folder / self.at.best["file"]
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, save({name: tensor.contiguous() for name, tensor in self.best.items()}))
            self.at.best["sha256"], self.best = sha256(path), None
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        if course is not None:
            tensors |= course.tensors()
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        number = self.at.updates * 2 + (course is None)
        checkpoint.save_checkpoint(checkpoint.State(vars(self.at), tensors), self.folder, number=number)
        for old in sorted(self.folder.glob("best-*.safetensors"))[
            :-2
        ]:  # the previous checkpoint may refer to the other file
            old.unlink()

    def _finish(self) -> None:
        """Load the resulting weights into the network, unfreeze it and set it to evaluation mode."""
        freeze(self.network, ())
        if self.training.keep == "best" and self.at.best is not None and self.group.leads:
            self.network.load_state_dict(load_file(self.folder / self.at.best["file"]))
        elif self.average is not None and self.at.updates:
            self.network.load_state_dict(self.average.tensors)
        self.network.chance = None
        self.network.eval()
        self.group.wait()

    def _stop(self, stopped: NoNumberError) -> NoReturn:
        items, loss = [self.lesson.names(int(item)) for item in stopped.items], stopped.loss
        at = self.at
        where = f"phase {at.phase + 1}, epoch {at.epoch + 1}, batch {at.batch + 1}, update {at.updates + 1}"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "nan.json", {"where": where, "loss": str(loss), "items": items})
        raise TrainingError(
            f"The loss is {loss} at {where}; the last checkpoint is kept.",
            got=several(items),
            fix="use a smaller lr or clip in this phase, or precision = 'fp32'; the photos of the batch are listed in "
            f"{self.folder / 'nan.json'}.",
        ) from stopped


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _line(row: dict[str, Any]) -> str:
    parts = [
        f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float) and name != "images_per_s"
    ]
    return f"epoch {row['epoch']}: {', '.join(parts)} ({row['images_per_s']} images/s)"
