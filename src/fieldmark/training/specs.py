"""Settings of training (no torch): optimiser, phases, schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec
from fieldmark.losses.specs import Losses


class Constant(Spec):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"


class StepDown(Spec):
    """The learning rate times ``factor`` after every ``every_epochs`` epochs (iMet first place: a fifth)."""

    kind: Literal["step_down"] = "step_down"
    every_epochs: Count = 5
    factor: Fraction = 0.2


class Plateau(Spec):
    """The learning rate times ``factor`` once the watched number has not improved for more than ``patience`` epochs.

    Attributes:
        patience: Epochs without improvement that are borne.
        factor: A fifth in the iMet 2019 kernels.
        drops: End the phase where a drop would follow so many; None: go on dropping.
        rebuild: Start the optimiser afresh at each drop, without its memory of earlier gradients.
    """

    kind: Literal["plateau"] = "plateau"
    patience: Natural = 1
    factor: Fraction = 0.2
    drops: Count | None = None
    rebuild: bool = False


class Cosine(Spec):
    """Linear warm-up over the share ``warmup`` of the updates, then a half cosine down to ``floor`` of the rate."""

    kind: Literal["cosine"] = "cosine"
    warmup: Fraction = 0.05
    floor: Fraction = 0.01


class OneCycle(Spec):
    """From a 25th of the rate up over the share ``rise`` of the updates and down to a 10,000th, both by cosine."""

    kind: Literal["one_cycle"] = "one_cycle"
    rise: Fraction = 0.3


Schedule = Annotated[Constant | StepDown | Plateau | Cosine | OneCycle, Field(discriminator="kind")]


Share = Annotated[float, Field(gt=0, le=1)]
"""A fraction of something that is never nothing."""


NonNegative = Annotated[float, Field(ge=0)]


class Phase(Spec):
    """One phase of a staged training.

    Attributes:
        epochs: At most so many passes of the sampler.
        lr: Learning rate of the backbone.
        schedule: How it changes within the phase.
        min_photos: Only classes with at least so many training photos take part (unknowns always do); where these have
            less than a tenth of the photos, all take part.
        freeze: Backbone stages that stay as they are, with their batch-norm statistics; ``("all",)`` for the whole
            backbone, so that only neck and head learn.
        losses: What is minimised in this phase; None: what the lesson says. (Where nobody watches validation photos, the
            training loss is what must improve, and that of other losses is another number.)
        hardest: Show this share of the items, those with the highest loss when last seen in this phase, as ``mining``
            says. Items not seen yet are not among them; the first epoch is a normal one. Labels only.
        mining: ``added``: the hardest once more beside each normal epoch. ``only``: nothing but them, each once.
        noise: How much chance goes into who opposes whom (assignment sampler), in units of likeness: of the phase's first
            round, and of its last; geometrically in between. 0: none; far above 1: opponents at random.
        stop_at: End the phase once the training MAP@5 of an epoch reaches this.
        patience: End the phase after so many epochs without a better watched number.
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
    """Everything the loop needs besides network, photos and loss.

    Attributes:
        phases: Trained one after the other, each from where the last one ended; none leaves the network as built.
        batch: Items in one forward pass (over all processes).
        least_batches: Where an epoch would have fewer forward passes, as photos are few, halve the batch, down to a
            quarter: a few hundred photos then still move the weights often enough.
        accumulate: Forward passes in one update; the effective batch is ``batch * accumulate``.
        epoch_batches: Forward passes an epoch; None for as many as the sampler gives.
        optimiser: AdamW, Adam (weight decay as L2) or SGD with momentum 0.9.
        lr_head_times: The head's and neck's learning rate in multiples of the backbone's.
        mixup: Blend every picture with another of its forward pass, and its labels likewise: the share of the larger is
            drawn from Beta(mixup, mixup), 0.2 to 0.4 are usual; None: not at all. Where lower stages are frozen, their
            results are blended, which is the same idea for less work. Labels only.
        clip: Longest gradient (Euclidean norm over all parameters); None for no limit.
        ema: Decay of an exponential moving average of the weights, which is then what is validated and kept.
        precision: Numbers in the forward pass; ``auto`` is bf16 on a GPU that has it, else fp32.
        keep: Whether the last weights or those of the best epoch (by the watched number) are the result.
        checkpoint_every_s: Seconds between checkpoints (each phase's end has one anyway).
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
        """The training with the batch that so many items ask for.

        Args:
            n_items: That may be drawn.
            multiple: What the batch must remain a multiple of, as the sampler needs.
        """
        batch = self.batch
        while batch > max(2, self.batch / 4) and n_items < self.least_batches * batch and batch % (2 * multiple) == 0:
            batch //= 2
        return self if batch == self.batch else self.model_copy(update={"batch": batch})

    @property
    def spares_backbone(self) -> bool:
        """Whether no phase changes the backbone; what it gives for a photo then serves all epochs, folds and answers."""
        return all("all" in phase.freeze for phase in self.phases)
