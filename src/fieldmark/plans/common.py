"""Settings that all recipes share, such as folds, epochs, batch size and learning rate, applied to a finished plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from fieldmark.core.errors import PlanError
from fieldmark.data.specs import Folds, IdentityFolds
from fieldmark.pipeline.plan import Plan, Stage
from fieldmark.plans.settings import Settings, Value, as_typed, setting
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.stack import Stack
from fieldmark.training.specs import Constant, Cosine, OneCycle, Phase, Plateau, Schedule, StepDown, Training

SCHEDULES: Mapping[str, Schedule] = {
    "constant": Constant(),
    "cosine": Cosine(),
    "step_down": StepDown(),
    "plateau": Plateau(drops=2, rebuild=True),
    "one_cycle": OneCycle(),
}
"""Schedules by setting value. ``plateau`` stops after two drops and restarts the optimiser at each drop, as the iMet
2019 kernels did."""
LEAST_FOLDS = 3
"""Minimum number of folds of a plan with gradient-boosted trees over labels."""
_TRAINING = ("batch", "accumulate", "optimiser", "weight_decay", "lr_head_times", "precision", "ema", "keep")
"""Fields of ``Training`` that have the same name in a recipe."""


class FoldSettings(Settings):
    """Settings of every recipe that splits photos into folds."""

    folds: int | None = setting(
        "data",
        None,
        "Number of cross-validation folds. In an identification recipe this replaces the single validation split: "
        "every photo of an individual is validated once, and no individuals are held out as unknown.",
        ge=2,
        example=3,
    )


class TrainingSettings(FoldSettings):
    """Settings of every recipe that trains networks."""

    effort: float = setting(
        "training", 1.0, "Factor for the number of epochs of every training phase.", gt=0, example=0.5
    )
    epochs: int | None = setting(
        "training",
        None,
        "Total number of epochs of the first training, instead of effort. Phases and later trainings keep their "
        "proportions.",
        ge=1,
        unset="by size and effort",
        example=12,
        why="both set the length of the training",
        needs={"effort": (1.0,)},
    )
    lr: float | None = setting(
        "training",
        None,
        "Learning rate of the first training phase. Later phases keep their ratio to it.",
        gt=0,
        lt=10,
        example=0.0007,
    )
    schedule: Literal["constant", "cosine", "step_down", "plateau", "one_cycle"] | None = setting(
        "training", None, "Learning-rate schedule within each training phase."
    )
    batch: int | None = setting("training", None, "Batch size: number of photos per forward pass.", ge=2, example=24)
    accumulate: int | None = setting(
        "training", None, "Number of forward passes per weight update (gradient accumulation).", ge=1, example=4
    )
    optimiser: Literal["adamw", "adam", "sgd"] | None = setting("training", None, "Optimiser of the weights.")
    weight_decay: float | None = setting("training", None, "Weight decay of the optimiser.", ge=0, le=1, example=0.01)
    lr_head_times: float | None = setting(
        "training",
        None,
        "Learning rate of the neck and the head, as a multiple of the learning rate of the backbone.",
        gt=0,
        example=5.0,
    )
    precision: Literal["auto", "fp32", "bf16"] | None = setting(
        "training",
        None,
        "Number format of the forward pass. auto uses bf16 on a GPU that supports it, otherwise fp32.",
    )
    ema: float | None = setting(
        "training",
        None,
        "Decay of the exponential moving average (EMA) of the weights. If set, the averaged weights are kept.",
        gt=0,
        lt=1,
        unset="none",
        example=0.999,
    )
    keep: Literal["last", "best"] | None = setting(
        "training", None, "Weights to keep: those of the last epoch, or those of the best validation epoch."
    )


def common(plan: Plan, settings: Settings) -> Plan:
    """Return the plan with the shared settings applied.

    Raises:
        PlanError: A setting has nothing to change in this plan, or its value does not fit the plan.
    """
    if isinstance(settings, FoldSettings) and settings.folds is not None:
        _check_folds(plan, settings.folds)
        plan = _each(plan, Split, lambda stage: _folded(stage, settings.folds or 2), given={"folds": settings.folds})
    if not isinstance(settings, TrainingSettings):
        return plan
    given = {name: value for name, value in settings.chosen().items() if name in TrainingSettings.model_fields}
    given.pop("folds", None)
    if not given:
        return plan
    trains = [stage for stage in plan.stages if isinstance(stage, Train) and stage.training.phases]
    if not trains:
        raise _nothing(plan, "trains no network", given)
    first = trains[0].training
    if settings.epochs is not None and settings.epochs < len(first.phases):
        raise PlanError(
            f"The setting 'epochs' is too small: the training has {len(first.phases)} phases of at least one epoch.",
            got=f"epochs={settings.epochs}",
            fix=f"use epochs={len(first.phases)}.",
        )
    _check_batch(trains, settings.batch)
    return _each(plan, Train, lambda stage: _trained(stage, settings, first), given=given)


def _each(plan: Plan, kind: type[Any], change: Callable[[Any], Stage], *, given: Mapping[str, Value]) -> Plan:
    if not any(isinstance(stage, kind) for stage in plan.stages):
        raise _nothing(plan, f"has no {kind.__name__.lower()} stage", given)
    stages = tuple(change(stage) if isinstance(stage, kind) else stage for stage in plan.stages)
    return plan.model_copy(update={"stages": stages})


def _nothing(plan: Plan, reason: str, given: Mapping[str, Value]) -> PlanError:
    return PlanError(
        f"The recipe '{plan.name}' {reason}.",
        got=", ".join(f"{name}={as_typed(value)}" for name, value in given.items()),
        fix=f"leave out {' and '.join(given)}.",
    )


def _folded(stage: Split, n_folds: int) -> Split:
    folds: Folds = IdentityFolds(n_folds=n_folds)
    if hasattr(stage.folds, "n_folds"):
        folds = stage.folds.model_copy(update={"n_folds": n_folds})
    return stage.model_copy(update={"folds": folds})


def _trained(stage: Train, settings: TrainingSettings, first: Training) -> Train:
    phases = stage.training.phases
    if settings.epochs is not None:
        phases = _spread(phases, settings.epochs / sum(phase.epochs for phase in first.phases))
    elif settings.effort != 1:
        phases = tuple(_with(phase, epochs=max(1, round(phase.epochs * settings.effort))) for phase in phases)
    if settings.lr is not None:
        times = settings.lr / first.phases[0].lr
        # The first phase gets the requested rate exactly, without rounding.
        phases = tuple(
            _with(phase, lr=settings.lr if phase.lr == first.phases[0].lr else phase.lr * times) for phase in phases
        )
    if settings.schedule is not None:
        phases = tuple(_with(phase, schedule=SCHEDULES[settings.schedule]) for phase in phases)
    changes = {name: value for name in _TRAINING if (value := getattr(settings, name)) is not None}
    return stage.model_copy(update={"training": stage.training.model_copy(update={"phases": phases, **changes})})


def _with(phase: Phase, **changes: object) -> Phase:
    return phase.model_copy(update=changes)


def _spread(phases: tuple[Phase, ...], times: float) -> tuple[Phase, ...]:
    """Return the phases with ``times`` their epochs, at least one epoch each.

    The total is rounded once, by the method of largest remainders.
    """
    exact = [phase.epochs * times for phase in phases]
    epochs = [max(1, int(one)) for one in exact]
    order = sorted(range(len(phases)), key=lambda at: epochs[at] - exact[at])
    for at in order[: max(0, round(sum(exact)) - sum(epochs))]:
        epochs[at] += 1
    return tuple(_with(phase, epochs=n) for phase, n in zip(phases, epochs, strict=True))


def _check_folds(plan: Plan, n_folds: int) -> None:
    if n_folds < LEAST_FOLDS and any(isinstance(stage, Stack) for stage in plan.stages):
        raise PlanError(
            f"The setting 'folds' is too small: gradient-boosted trees over labels need {LEAST_FOLDS} folds or more.",
            got=f"folds={n_folds}",
            fix=f"use folds={LEAST_FOLDS}, or leave out folds.",
        )


def _check_batch(trains: list[Train], batch: int | None) -> None:
    """Raise PlanError for a batch size that the samplers cannot fill.

    Samplers draw several photos of an individual at a time.
    """
    wrong = [stage.sampler.multiple for stage in trains if batch is not None and batch % stage.sampler.multiple]
    if batch is not None and wrong:
        multiple = max(wrong)
        better = max(multiple, round(batch / multiple) * multiple)
        raise PlanError(
            f"The setting 'batch' must be a multiple of {multiple}, the number of photos that are drawn together.",
            got=f"batch={batch}",
            fix=f"use batch={better}.",
        )
