"""Training settings (no torch): optimiser, phases and schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec
from fieldmark.losses.specs import Losses


class Constant(Spec):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"


class StepDown(Spec):
    """Multiply the learning rate by ``factor`` after every ``every_epochs`` epochs (iMet first place: 0.2).

    Attributes:
        every_epochs: Number of epochs between two steps.
        factor: Factor on the learning rate at each step.
    """

    kind: Literal["step_down"] = "step_down"
    every_epochs: Count = 5
    factor: Fraction = 0.2


class Plateau(Spec):
    """Multiply the learning rate by ``factor`` after more than ``patience`` epochs without a better validation metric.

    Attributes:
        patience: Number of epochs without improvement that are allowed.
        factor: Factor on the learning rate at each reduction (0.2 in the iMet 2019 kernels).
        drops: Largest number of reductions; the phase ends instead of a further one. None: no limit.
        rebuild: Whether each reduction resets the optimiser's state.
    """

    kind: Literal["plateau"] = "plateau"
    patience: Natural = 1
    factor: Fraction = 0.2
    drops: Count | None = None
    rebuild: bool = False


class Cosine(Spec):
    """Linear warm-up, then a decrease of the learning rate along a half cosine.

    Attributes:
        warmup: Share of the updates for the warm-up.
        floor: Final learning rate, as a share of the phase's learning rate.
    """

    kind: Literal["cosine"] = "cosine"
    warmup: Fraction = 0.05
    floor: Fraction = 0.01


class OneCycle(Spec):
    """One cycle: the learning rate rises from 1/25 to the full rate, and falls to 1/10,000, both along a cosine.

    Attributes:
        rise: Share of the updates in which the learning rate rises.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    rise: Fraction = 0.3


Schedule = Annotated[Constant | StepDown | Plateau | Cosine | OneCycle, Field(discriminator="kind")]


Share = Annotated[float, Field(gt=0, le=1)]
"""A fraction above 0 and at most 1."""


NonNegative = Annotated[float, Field(ge=0)]


class Phase(Spec):
    """One phase of a staged training.

    Attributes:
        epochs: Largest number of epochs.
        lr: Learning rate of the backbone.
        schedule: Learning-rate schedule of the phase.
        min_photos: Smallest number of training photos of a class in this phase. Unknown individuals are always used. If
            the remaining classes have less than a tenth of the photos, all classes are used.
        freeze: Names of frozen backbone stages; their batch-norm statistics do not change either. ``("all",)`` freezes
            the whole backbone, so that only neck and head are trained.
        losses: Losses of this phase; None: the losses of the train stage. Without a validation metric, the training
            loss decides which epoch is best, and it cannot be compared between phases with different losses.
        hardest: Share of the items, those with the highest last loss in this phase, for hard-negative mining; None: no
            mining. Items without a loss yet are not included, so the first epoch is a normal one. Labels only.
        mining: ``added``: the hardest items are added to each normal epoch. ``only``: epochs have only the hardest
            items, each once.
        noise: Noise of the assignment sampler in the first and the last round of the phase, in units of similarity. It
            changes geometrically between them. 0: no noise; far above 1: random opponents.
        stop_at: Training MAP@5 of an epoch that ends the phase.
        patience: Number of epochs without a better validation metric after which the phase ends.
    """

    epochs: Natural
    lr: Positive = 3e-4
    schedule: Schedule = Constant()
    min_photos: Count = 1
    freeze: tuple[str, ...] = ()
    losses: Losses | None = None
    hardest: Share | None = None
    mining: Literal["added", "only"] = "added"
    noise: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    stop_at: Fraction | None = None
    patience: Count | None = None


class Training(Spec):
    """Settings of the training loop.

    Attributes:
        phases: Training phases, in order; each starts with the weights of the last one. Without phases, the network is
            not trained.
        batch: Number of items per forward pass, over all processes.
        least_batches: Smallest number of forward passes per epoch. With few photos, the batch is halved, down to a
            quarter, to reach it: a few hundred photos then still give enough updates.
        accumulate: Number of forward passes per update; the effective batch size is ``batch * accumulate``.
        epoch_batches: Number of forward passes per epoch; None: as many as the sampler has.
        optimiser: AdamW, Adam (weight decay as L2) or SGD with momentum 0.9.
        betas: The two beta coefficients of Adam and AdamW.
        weight_decay: Weight decay.
        lr_head_times: Factor on the learning rate for head and neck.
        mixup: Parameter of mixup: each image and its labels are averaged with another image of the batch, with a weight
            from Beta(mixup, mixup). Usual values are 0.2 to 0.4. None: no mixup. With frozen lower stages, their
            features are averaged, which is faster. Labels only.
        clip: Largest norm of the gradient (Euclidean norm over all parameters); None: no limit.
        ema: Decay of an exponential moving average of the weights, which are then validated and saved; None: none.
        precision: Precision of the forward pass; ``auto`` is bf16 on a GPU that supports it, else fp32.
        keep: ``last``: the weights of the last epoch are the result. ``best``: those of the epoch with the best
            validation metric.
        checkpoint_every_s: Time between checkpoints in seconds. The end of each phase always has a checkpoint.
    """

    phases: tuple[Phase, ...] = ()
    batch: Annotated[int, Field(ge=2)] = 48
    least_batches: Count = 1
    accumulate: Count = 1
    epoch_batches: Count | None = None
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: Annotated[float, Field(ge=0)] = 2e-4
    lr_head_times: Positive = 1.0
    mixup: Positive | None = None
    clip: Positive | None = 5.0
    ema: Fraction | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    keep: Literal["last", "best"] = "last"
    checkpoint_every_s: Positive = 120.0

    def fitting(self, n_items: int, *, multiple: int = 1) -> Training:
        """Return the settings with the batch halved for few items, as ``least_batches`` says.

        Args:
            n_items: Number of training items.
            multiple: Number that the batch must remain a multiple of, for the sampler.
        """
        batch = self.batch
        while batch > max(2, self.batch / 4) and n_items < self.least_batches * batch and batch % (2 * multiple) == 0:
            batch //= 2
        return self if batch == self.batch else self.model_copy(update={"batch": batch})

    @property
    def spares_backbone(self) -> bool:
        """Whether all phases freeze the whole backbone, so that its features are the same in all epochs and folds."""
        return all("all" in phase.freeze for phase in self.phases)
