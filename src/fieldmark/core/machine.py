"""Detection of the device, memory and speed of this machine, without torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.spec import Count, Natural, Positive, Spec

Kind = Literal["cpu", "cuda", "mps"]

GPUS: tuple[tuple[str, float, float], ...] = (
    ("GB200", 1250.0, 8000.0),
    ("B200", 1125.0, 8000.0),
    ("H200", 495.0, 4800.0),
    ("H100", 495.0, 3350.0),
    ("A100", 156.0, 1555.0),
    ("L40S", 181.0, 864.0),
    ("L4", 60.0, 300.0),
    ("A10G?", 62.0, 600.0),
    ("T4", 4.0, 320.0),
    ("V100", 7.8, 900.0),
    ("RTX 4090", 82.0, 1008.0),
    ("RTX 3090", 35.0, 936.0),
)
"""For each GPU a pattern of its name, its peak speed in 1e12 multiply-accumulates/s, and its bandwidth in GB/s.

The speed is that of bf16, or of fp32 where the GPU has no bf16.

Source: data sheets of the manufacturers, dense numbers.
"""


class Machine(Spec):
    """The properties of a machine that time estimates need.

    Attributes:
        device: Type of the computing device.
        name: Name of the processor or GPU.
        cores: Number of CPU cores that this process may use.
        memory_bytes: Memory of the GPU, or of the machine, in bytes; 0: unknown.
        macs_per_s: Multiply-accumulate operations per second, of one CPU core or of the GPU; None: unknown.
        bytes_per_s: Bytes read and written per second, by one CPU core or by the GPU; None: unknown.
    """

    device: Kind
    name: str
    cores: Count
    memory_bytes: Natural
    macs_per_s: Positive | None
    bytes_per_s: Positive | None


def this_machine(device: str = "auto") -> Machine:
    """The properties of this machine. The speed of a CPU is measured in about 0.1 s; that of a GPU is tabulated.

    Args:
        device: ``auto`` (an NVIDIA or Apple GPU if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or
            ``mps``.

    Raises:
        FieldmarkError: This machine has no device of that name.
    """
    kind, _, number = device.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and not (kind == "cuda" and number.isdigit())):
        raise FieldmarkError("There is no such device.", got=device, fix="use auto, cpu, cuda, cuda:1 or mps.")
    gpus = [] if kind in {"cpu", "mps"} else _nvidia()
    at = int(number or 0)
    if kind == "cuda" and at >= len(gpus):
        raise FieldmarkError(
            "That GPU is not on this machine.", got=f"{device}; GPUs found: {len(gpus)}", fix="use --device cpu."
        )
    cores, memory = usable_cores(), _memory()
    if gpus:
        name, size = gpus[at]
        speed = next(
            ((1e12 * macs, 1e9 * gb) for part, macs, gb in GPUS if re.search(rf"\b{part}\b", name)), (None, None)
        )
        return Machine(
            device="cuda", name=name, cores=cores, memory_bytes=size, macs_per_s=speed[0], bytes_per_s=speed[1]
        )
    is_apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    if kind == "mps" and not is_apple:
        raise FieldmarkError("That GPU is not on this machine.", got=device, fix="use --device cpu.")
    if is_apple and kind != "cpu":
        return Machine(
            device="mps", name="Apple GPU", cores=cores, memory_bytes=memory, macs_per_s=None, bytes_per_s=None
        )
    macs, through = _speed()
    name = platform.processor() or platform.machine()
    return Machine(device="cpu", name=name, cores=cores, memory_bytes=memory, macs_per_s=macs, bytes_per_s=through)


def usable_cores() -> int:
    """Number of CPU cores for computing: the value of ``OMP_NUM_THREADS``, else all cores this process may use."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if threads.isdigit() and int(threads) > 0:
        return int(threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _speed(*, side: int = 512, n_numbers: int = 8 << 20) -> tuple[float, float]:
    """Multiply-accumulates and bytes per second of one core: the best of six matrix products and of four copies."""
    matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
    target = np.empty_like(matrix)
    long, other = np.ones(n_numbers, np.float32), np.ones(n_numbers, np.float32)
    products = [_cpu_s(lambda: np.matmul(matrix, matrix, out=target)) for _ in range(6)]
    copies = [_cpu_s(lambda: np.copyto(other, long)) for _ in range(4)]
    return side**3 / min(products), 2 * long.nbytes / min(copies)


def _cpu_s(work: Callable[[], object]) -> float:
    """CPU time of the work in seconds, summed over all threads."""
    began = time.process_time()
    work()
    return max(time.process_time() - began, 1e-6)


def _nvidia() -> list[tuple[str, int]]:
    """Name and memory in bytes of each NVIDIA GPU, from ``nvidia-smi``; empty if the program is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(",", 1) for line in output.splitlines() if "," in line]
    return [(name.strip(), int(size) << 20) for name, size in rows if size.strip().isdigit()]


def _memory() -> int:
    """Memory of the machine in bytes; 0 where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
