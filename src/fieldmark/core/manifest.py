"""The software versions and the hardware that a run was made with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "fieldmark",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "polars",
    "pillow",
    "simplejpeg",
    "safetensors",
    "pydantic",
)


def versions() -> dict[str, str]:
    """The installed versions of Python and of the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """System, machine type, processor and number of cores, without host or user name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.system(), "machine": platform.machine(), "processor": _processor(), "cores": cores}


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
