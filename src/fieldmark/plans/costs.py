"""Estimates of time and memory of a network, from a formula with a few constants that were fitted to measurements."""

from __future__ import annotations

from collections.abc import Iterable

from fieldmark.core.machine import Machine
from fieldmark.images.specs import Preprocess
from fieldmark.models.costs import REFERENCE_PX, BackboneCost, StageCost

FORWARD = (1.5, 3.0)
"""Factors of a forward pass: for the time of its multiply-accumulates at full speed, and for the time to write the
outputs of its layers once."""
TRAINING = (5.4, 11.0)
"""The same factors for a training step: forward pass, backward pass and overhead."""
OPTIMISER_BYTES = 28
"""Bytes read and written for each trained parameter in one update: weight, gradient, two running means."""
UPDATE_S = 0.015
"""Minimum CPU time of an update, in seconds."""
READING_S = 0.004
"""CPU time to read, resize and augment one photo, in seconds."""
MULTICORE_EFFICIENCY = 0.85
"""Speed of one of several cores, as a share of the speed of a single core."""
GPU_SHARE = 0.25
"""Share of a GPU's peak speed that convolutions reach."""
LIBRARIES_BYTES = 950 << 20
"""Memory of Python, the libraries and small objects, in bytes."""
TRAINED_BYTES, FROZEN_BYTES = 16, 4
"""Bytes of memory per trained parameter (weight, gradient, two running means), and per frozen parameter."""
HALF = 0.6
"""Memory of activations kept for the backward pass in bf16, as a share of that in float32."""
FROZEN_BATCH = 4
"""Number of photos that pass frozen stages together on a CPU, as in training."""


def _scale(preprocess: Preprocess) -> float:
    """Return the number of input pixels, relative to the reference size."""
    return preprocess.height_px * preprocess.width_px / REFERENCE_PX**2


def _seconds(stages: Iterable[StageCost], times: tuple[float, float], preprocess: Preprocess, at: Machine) -> float:
    """Return the seconds for one photo, on one core or on the GPU."""
    if at.macs_per_s is None or at.bytes_per_s is None:
        return float("nan")
    stages = tuple(stages)
    on_gpu = at.device != "cpu"
    computing = times[0] * sum(stage.macs for stage in stages) / (at.macs_per_s * (GPU_SHARE if on_gpu else 1.0))
    writing = times[1] * sum(stage.written for stage in stages) * (2 if on_gpu else 4) / at.bytes_per_s
    return _scale(preprocess) * (computing + writing)


def forward_s(backbone: BackboneCost, preprocess: Preprocess, at: Machine, *, until: int) -> float:
    """Return the seconds for a forward pass of one photo through the first ``until`` stages, on one core or the GPU."""
    return _seconds(backbone.stages[:until], FORWARD, preprocess, at)


def training_s(backbone: BackboneCost, preprocess: Preprocess, at: Machine, *, since: int, above: int) -> float:
    """Return the seconds to train the stages after the first ``since`` on one photo, on one core or the GPU.

    ``above`` is the number of parameters of neck and head.
    """
    seconds = _seconds(backbone.stages[since:], TRAINING, preprocess, at)
    return seconds + (0.0 if at.macs_per_s is None else TRAINING[0] * above / at.macs_per_s)


def update_s(trained: int, at: Machine) -> float:
    """Return the seconds for one update of ``trained`` parameters, on one core or the GPU."""
    return UPDATE_S + (float("nan") if at.bytes_per_s is None else trained * OPTIMISER_BYTES / at.bytes_per_s)


def clock_s(computing_s: float, reading_s: float, at: Machine) -> float:
    """Return the wall time in seconds.

    On a CPU, computing and reading share the cores. On a GPU, the cores read while the GPU computes.
    """
    cores = at.cores if at.cores == 1 else at.cores * MULTICORE_EFFICIENCY
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
    """Return the peak memory of training in bytes: libraries, weights, optimiser state and activations of a batch.

    Args:
        backbone: Costs of the backbone.
        preprocess: Preprocessing, which sets the input size.
        at: Machine. A GPU computes in bf16.
        batch: Number of photos per forward pass.
        since: Number of frozen stages, counted from the input.
        trained: Number of trained parameters.
        total: Number of all parameters.
        averaged: Whether a moving average of the weights is kept as well.
        kept_below: Whether batches contain cached outputs of the frozen stages instead of images.
    """
    scale, half = _scale(preprocess), HALF if at.device == "cuda" else 1.0
    weights = trained * (TRAINED_BYTES + 4 * averaged) + (total - trained) * (FROZEN_BYTES + 4 * averaged)
    kept = scale * half * batch * sum(stage.kept_bytes for stage in backbone.stages[since:])
    largest = max((stage.written for stage in backbone.stages[:since]), default=0)
    passing = scale * 4 * (FROZEN_BATCH if at.device == "cpu" else batch) * largest
    images = 0 if kept_below else 4 * 4 * batch * preprocess.height_px * preprocess.width_px * 3
    return round(LIBRARIES_BYTES + weights + kept + passing + images)
