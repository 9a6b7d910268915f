"""Cost estimate of a plan before it runs: networks, parameters, memory, time and downloads."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from typing import Annotated

import numpy as np
from pydantic import Field, computed_field

from fieldmark.core.machine import Machine, this_machine
from fieldmark.core.spec import Count, Natural, Spec
from fieldmark.data.collection import Collection
from fieldmark.data.specs import AssignmentSampler, ByDate, Folds, HumpbackSplit, OpenSetSplit, TupleSampler
from fieldmark.images.specs import NoAugment
from fieldmark.models.costs import ALL, BackboneCost, cost_of
from fieldmark.models.specs import AffinityHead, CosineHead, EmbeddingHead, Net, PairHead
from fieldmark.pipeline.plan import Plan
from fieldmark.plans import costs
from fieldmark.plans.downloads_needed import WeightsNeeded, weights_needed
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.training.specs import Phase

ASSUMED_PHOTOS = 1000
ASSUMED_PER_IDENTITY = 4
MOST_HELD_OUT = 0.2
"""Approximate share of a small collection that a validation split holds out."""
LEAST_LEFT = 0.1
"""Minimum share of the photos in a phase for individuals with many photos. With a smaller share, the phase trains on
all individuals, as in training."""


class PhotoCounts(Spec):
    """Numbers of photos, individuals and labels of a data set, as input of an estimate.

    Attributes:
        n_photos: Number of labelled photos.
        identities: Number of photos of each known individual; empty for labels. JSON has ``n_identities`` instead.
        n_labels: Number of labels or answers; 0: unknown, so the parameters of the head are not counted.
        assumed: Whether the numbers are assumed, without a data set.
    """

    n_photos: Count
    identities: Annotated[tuple[Natural, ...], Field(exclude=True)] = ()
    n_labels: Natural = 0
    assumed: bool = False

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_identities(self) -> int:
        """Number of known individuals."""
        return len(self.identities)

    @classmethod
    def of(cls, photos: Collection) -> PhotoCounts:
        """Return the numbers of a collection."""
        classes, names = photos.classes, photos.vocabulary
        counts = np.bincount(classes[classes >= 0], minlength=len(names.identities))
        return cls(n_photos=max(1, len(photos)), identities=tuple(counts.tolist()), n_labels=len(names.tags))

    @classmethod
    def nominal(cls) -> PhotoCounts:
        """Return assumed numbers: 1,000 photos, four of each individual."""
        n = ASSUMED_PHOTOS // ASSUMED_PER_IDENTITY
        return cls(n_photos=ASSUMED_PHOTOS, identities=(ASSUMED_PER_IDENTITY,) * n, assumed=True)


class PhaseEstimate(Spec):
    """Estimate of one training phase of one network.

    Attributes:
        epochs: Maximum number of epochs.
        lr: Learning rate of the backbone.
        frozen: Names of the backbone stages that are not trained.
        photos_per_epoch: Number of photos per epoch, including repeats.
        updates: Number of optimiser steps in the phase.
        trained: Number of trained parameters; None: unknown.
        seconds: Wall time in seconds; None: unknown.
    """

    epochs: Natural
    lr: float
    frozen: tuple[str, ...]
    photos_per_epoch: Natural
    updates: Natural
    trained: Natural | None
    seconds: float | None


class TrainEstimate(Spec):
    """Estimate of one train stage, which trains one network per fold, one after the other.

    Attributes:
        name: Name of the stage.
        network: Name of the backbone in timm.
        head: Kind of the head.
        height_px: Height of the input in pixels.
        width_px: Width of the input in pixels.
        folds: Number of networks that are trained.
        batch: Number of photos per forward pass.
        accumulate: Number of forward passes per update.
        parameters: Number of parameters of one network; None: unknown without torch for backbones of no recipe.
        memory_bytes: Peak memory of the device in bytes; None: unknown.
        preparing_s: Time in seconds to compute the outputs of frozen stages, once for all epochs and folds; None:
            unknown.
        phases: Training phases of each network.
        seconds: Wall time in seconds for all networks and the preparation; None: unknown.
    """

    name: str
    network: str
    head: str
    height_px: Count
    width_px: Count
    folds: Count
    batch: Count
    accumulate: Count
    parameters: Natural | None
    memory_bytes: Natural | None
    preparing_s: float | None
    phases: tuple[PhaseEstimate, ...]
    seconds: float | None


class PlanEstimate(Spec):
    """Cost estimate of a plan. Times and memory are rough: between half and twice the measured values.

    Attributes:
        photos: Data set of the estimate.
        machine: Machine of the estimate.
        stages: Estimates of the train stages, in order.
        seconds: Total time of the train stages in seconds; None: some are unknown. Other stages (scoring, matching,
            trees) take additional time.
        weights: Pretrained weights that the plan uses.
    """

    photos: PhotoCounts
    machine: Machine
    stages: tuple[TrainEstimate, ...]
    seconds: float | None
    weights: tuple[WeightsNeeded, ...]


def plan_estimate(plan: Plan, photos: PhotoCounts | None = None, *, machine: Machine | None = None) -> PlanEstimate:
    """Return the cost estimate of a plan, without running it.

    A table in the package contains the parameters of the recipes' backbones. Other backbones are counted by torch,
    which takes some seconds; without torch their numbers are unknown.

    Args:
        plan: A checked plan.
        photos: Data set; None: 1,000 photos, four of each individual.
        machine: Machine on which the plan would run; None: this machine.

    Raises:
        PlanError: The plan names a backbone that does not exist (only checked if torch is installed).
    """
    at, given = machine or this_machine(), photos or PhotoCounts.nominal()
    splits = {stage.name: stage.folds for stage in plan.stages if isinstance(stage, Split)}
    prepared: set[str] = set()
    stages = tuple(
        _train(stage, splits[stage.on], given, at, prepared) for stage in plan.stages if isinstance(stage, Train)
    )
    seconds = _known(sum(math.nan if one.seconds is None else one.seconds for one in stages))
    return PlanEstimate(photos=given, machine=at, stages=stages, seconds=seconds, weights=weights_needed(plan))


def _train(stage: Train, folds: Folds, photos: PhotoCounts, at: Machine, prepared: set[str]) -> TrainEstimate:
    """Return the estimate of a train stage.

    ``prepared`` contains the keys of frozen outputs that earlier stages have cached. The keys of this stage are added.
    """
    cost = _cost(stage.net.backbone.name)
    items = _items(stage, folds, photos)
    batch = stage.training.fitting(items, multiple=stage.sampler.multiple).batch
    n_classes = photos.n_labels if stage.learns_labels else len(photos.identities) * (2 if stage.flip_identity else 1)
    above = 0 if cost is None else _above(stage.net, cost.width, n_classes)
    phases = tuple(_phase(stage, phase, cost, above, items, batch, photos, at) for phase in stage.training.phases)
    preparing_s = _preparing_s(stage, cost, photos, at, prepared)
    n_folds = getattr(folds, "n_folds", 1)
    each = sum(math.nan if one.seconds is None else one.seconds for one in phases)
    n_frozen = min((_frozen_first(cost, phase) for phase in stage.training.phases), default=0)
    return TrainEstimate(
        name=stage.name,
        network=stage.net.backbone.name,
        head=stage.net.head.kind,
        height_px=stage.preprocess.height_px,
        width_px=stage.preprocess.width_px,
        folds=n_folds,
        batch=batch,
        accumulate=stage.training.accumulate,
        parameters=None if cost is None else cost.parameters + above,
        memory_bytes=None
        if cost is None
        else costs.memory_bytes(
            cost,
            stage.preprocess,
            at,
            batch=batch,
            since=n_frozen if phases else len(cost.stages),
            trained=max((phase.trained or 0 for phase in phases), default=0),
            total=cost.parameters + above,
            averaged=stage.training.ema is not None,
            kept_below=n_frozen > 0 and _keeps(stage),
        ),
        preparing_s=_known(preparing_s),
        phases=phases,
        seconds=_known(preparing_s + n_folds * each),
    )


def _phase(
    stage: Train,
    phase: Phase,
    cost: BackboneCost | None,
    above: int,
    items: int,
    batch: int,
    photos: PhotoCounts,
    at: Machine,
) -> PhaseEstimate:
    """Return the estimate of one training phase of one network."""
    drawn = _drawn(stage, phase, items, photos)
    steps = min(-(-drawn // batch), stage.training.epoch_batches or sys.maxsize)
    if phase.hardest is not None:
        steps = math.ceil(steps * (phase.hardest if phase.mining == "only" else 1 + phase.hardest))
    shown, updates = phase.epochs * steps * batch, phase.epochs * -(-steps // stage.training.accumulate)
    trained, seconds = None, math.nan
    if cost is not None:
        first = cost.frozen_first(phase.freeze)
        trained = above + sum(part.parameters for part in cost.stages if not _is_frozen(part.name, phase))
        photo_s = costs.training_s(cost, stage.preprocess, at, since=first, above=above)
        if not (first and _keeps(stage)):
            photo_s += costs.forward_s(cost, stage.preprocess, at, until=first)
        reading_s = 0.0 if first and _keeps(stage) else shown * costs.READING_S
        seconds = costs.clock_s(shown * photo_s + updates * costs.update_s(trained, at), reading_s, at)
    return PhaseEstimate(
        epochs=phase.epochs,
        lr=phase.lr,
        frozen=phase.freeze,
        photos_per_epoch=steps * batch,
        updates=updates,
        trained=trained,
        seconds=_known(seconds),
    )


def _preparing_s(
    stage: Train, cost: BackboneCost | None, photos: PhotoCounts, at: Machine, prepared: set[str]
) -> float:
    """Return the seconds to compute the outputs of frozen stages for all versions of all photos.

    Outputs that an earlier stage has cached take no time.
    """
    if cost is None:
        return math.nan
    seconds, varied = 0.0, not isinstance(stage.augment, NoAugment)
    for first in sorted({_frozen_first(cost, phase) for phase in stage.training.phases} - {0}):
        seed = stage.name if varied else ""
        made = [stage.net.backbone, stage.preprocess, stage.augment, stage.versions, seed, first]
        key = repr(made)
        if _keeps(stage) and key not in prepared:
            prepared.add(key)
            n = photos.n_photos * _times(stage) * (stage.versions or 1)
            passing = n * costs.forward_s(cost, stage.preprocess, at, until=first)
            seconds += costs.clock_s(passing, n * costs.READING_S, at)
    return seconds


def _cost(name: str) -> BackboneCost | None:
    """Return the costs of a backbone from the included table, or counted by torch if it is installed."""
    found = cost_of(name)
    if found is not None or find_spec("torch") is None or find_spec("timm") is None:
        return found
    from fieldmark.models.counting import count

    return count(name)


def _above(net: Net, width: int, n_classes: int) -> int:
    """Return the number of parameters of neck and head for ``n_classes`` classes."""
    head = net.head
    neck = width if net.neck == "bn" else 0  # a batch norm without shift
    if isinstance(head, EmbeddingHead | PairHead):
        pair = 6 * head.hidden + (head.dim or width) + 2 if isinstance(head, PairHead) else 0
        return neck + width * (head.dim or 0) + pair
    if isinstance(head, CosineHead | AffinityHead):
        return neck + width * n_classes * head.centres
    return neck + (width + 1) * n_classes


def _frozen_first(cost: BackboneCost | None, phase: Phase) -> int:
    return 0 if cost is None else cost.frozen_first(phase.freeze)


def _is_frozen(name: str, phase: Phase) -> bool:
    return ALL in phase.freeze or name in phase.freeze


def _keeps(stage: Train) -> bool:
    """Return whether the outputs of frozen stages are cached, which needs a fixed number of versions of each photo."""
    return isinstance(stage.augment, NoAugment) or stage.versions is not None


def _times(stage: Train) -> int:
    """Return 2 if horizontal flips are separate training items, otherwise 1."""
    mirrored = isinstance(stage.augment, NoAugment) if stage.learns_labels else stage.flip_identity or stage.mirrored
    return 1 + mirrored


def _items(stage: Train, folds: Folds, photos: PhotoCounts) -> int:
    """Return the approximate number of training items of one network: photos outside its validation part and flips."""
    n = photos.n_photos
    match folds:
        case HumpbackSplit():
            held_out = min((folds.n_known + folds.n_unknown) / n, MOST_HELD_OUT)
        case OpenSetSplit():
            held_out = min((folds.n_known + folds.n_unknown) / n, MOST_HELD_OUT)
        case ByDate():
            held_out = folds.share
        case _:
            held_out = 1 / folds.n_folds
    return max(1, round(n * (1 - held_out))) * _times(stage)


def _drawn(stage: Train, phase: Phase, items: int, photos: PhotoCounts) -> int:
    """Return the number of photos that the sampler draws in an epoch of a phase, before the last batch is filled."""
    counts = photos.identities
    if not stage.learns_labels and phase.min_photos > 1:
        enough = tuple(n for n in counts if n >= phase.min_photos)
        if sum(enough) >= LEAST_LEFT * sum(counts):
            items = round(items * (1 - (sum(counts) - sum(enough)) / photos.n_photos))
            counts = enough
    if isinstance(stage.sampler, TupleSampler):
        return 4 * len(counts) * (2 if stage.flip_identity else 1)
    if isinstance(stage.sampler, AssignmentSampler):
        return 4 * round(items * sum(n for n in counts if n > 1) / photos.n_photos)
    return items


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
