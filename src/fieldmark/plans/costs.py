"""How long a network takes and how much memory it needs: a model with a few constants, fitted to measurements."""

from __future__ import annotations

from collections.abc import Iterable

from fieldmark.core.machine import Machine
from fieldmark.images.specs import Preprocess
from fieldmark.models.costs import REFERENCE_PX, BackboneCost, StageCost

FORWARD = (1.5, 3.0)
"""Of a forward pass: the time of its multiply-accumulates at full speed, times the first, and that of writing its
layers' results once, times the second."""
TRAINING = (5.4, 11.0)
"""The same of forward, backward and what lies between."""
OPTIMISER_BYTES = 28
"""Read and written for each trained parameter in one update: weight, gradient, two running means."""
UPDATE_S = 0.015
"""CPU seconds that an update takes however small the network is."""
READING_S = 0.004
"""CPU seconds to read, resize and change one photo."""
TOGETHER = 0.85
"""What each of several cores does of what one alone does."""
GPU_SHARE = 0.25
"""Share of a GPU's greatest speed that convolutions reach."""
LIBRARIES_BYTES = 950 << 20
"""Memory of Python and the libraries, and of all that is small."""
TRAINED_BYTES, STILL_BYTES = 16, 4
"""Memory for each trained parameter (weight, gradient, two running means), and for each frozen one."""
HALF = 0.6
"""Memory of what is kept for the backward pass in bf16, as a share of that in float32."""
AT_ONCE = 4
"""Photos that go through frozen stages together on a CPU, as training has it."""


def _scale(preprocess: Preprocess) -> float:
    """Pixels of the network's input as a multiple of those of the reference size."""
    return preprocess.height_px * preprocess.width_px / REFERENCE_PX**2


def _seconds(stages: Iterable[StageCost], times: tuple[float, float], preprocess: Preprocess, at: Machine) -> float:
    """Seconds of one core or of the GPU for one photo."""
    if at.macs_per_s is None or at.bytes_per_s is None:
        return float("nan")
    stages = tuple(stages)
    on_gpu = at.device != "cpu"
    computing = times[0] * sum(stage.macs for stage in stages) / (at.macs_per_s * (GPU_SHARE if on_gpu else 1.0))
    writing = times[1] * sum(stage.written for stage in stages) * (2 if on_gpu else 4) / at.bytes_per_s
    return _scale(preprocess) * (computing + writing)


def forward_s(backbone: BackboneCost, preprocess: Preprocess, at: Machine, *, until: int) -> float:
    """Seconds of one core, or of the GPU, for a photo's way through the first ``until`` stages."""
    return _seconds(backbone.stages[:until], FORWARD, preprocess, at)


def training_s(backbone: BackboneCost, preprocess: Preprocess, at: Machine, *, since: int, above: int) -> float:
    """The same to train the stages after the first ``since``, and ``above`` parameters over them, on one photo."""
    seconds = _seconds(backbone.stages[since:], TRAINING, preprocess, at)
    return seconds + (0.0 if at.macs_per_s is None else TRAINING[0] * above / at.macs_per_s)


def update_s(trained: int, at: Machine) -> float:
    """The same for one update of so many parameters."""
    return UPDATE_S + (float("nan") if at.bytes_per_s is None else trained * OPTIMISER_BYTES / at.bytes_per_s)


def clock_s(computing_s: float, reading_s: float, at: Machine) -> float:
    """Seconds of the clock: on a CPU both share its cores; a GPU computes while the cores read."""
    cores = at.cores if at.cores == 1 else at.cores * TOGETHER
    return (computing_s + reading_s) / cores if at.device == "cpu" else max(computing_s, reading_s / cores)


def memory_bytes(
    backbone: BackboneCost,
    preprocess: Preprocess,
    at: Machine,
    *,
    batch: int,
    since: int,
    trained: int,
    total: int,
    averaged: bool,
    kept_below: bool,
) -> int:
    """Peak memory of training: libraries, weights with what the optimiser keeps, and what a batch keeps.

    Args:
        backbone: Its costs.
        preprocess: The size of the input.
        at: A GPU computes in bf16.
        batch: Photos in one forward pass.
        since: Frozen stages from the input on.
        trained: Trained parameters.
        total: All parameters.
        averaged: Whether a moving average of the weights is kept, too.
        kept_below: Whether batches hold kept results of the frozen stages instead of pictures.
    """
    scale, half = _scale(preprocess), HALF if at.device == "cuda" else 1.0
    weights = trained * (TRAINED_BYTES + 4 * averaged) + (total - trained) * (STILL_BYTES + 4 * averaged)
    kept = scale * half * batch * sum(stage.kept_bytes for stage in backbone.stages[since:])
    largest = max((stage.written for stage in backbone.stages[:since]), default=0)
    passing = scale * 4 * (AT_ONCE if at.device == "cpu" else batch) * largest
    pictures = 0 if kept_below else 4 * 4 * batch * preprocess.height_px * preprocess.width_px * 3
    return round(LIBRARIES_BYTES + weights + kept + passing + pictures)
