"""Estimates of `fieldmark plan` against real trainings: CPU seconds and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/plan_estimates.py

Each run is a separate process on drawn photos with one thread, so that CPU seconds correspond to the estimated seconds
on one core. Only train stages are timed. Memory is the largest resident size up to the end of training.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("humpback-classify", "toy", {}, "flukes"),
    ("humpback-classify", "small", {"effort": 0.1}, "flukes"),
    ("humpback-siamese", "toy", {}, "flukes"),
    ("reidentify", "small", {"effort": 0.07}, "flukes"),
    ("imet2019", "toy", {}, "museum"),
    ("tags-plain", "small", {"effort": 0.2}, "museum"),
)


def draw(folder: Path, what: str) -> None:
    from fieldmark.specimens.collections import draw_flukes
    from fieldmark.specimens.museum import draw_museum

    if what == "flukes":
        draw_flukes(folder, n_identities=100, n_unknown=40, n_test=1, n_broken=0)
    else:
        draw_museum(folder, n_train=300, n_test=1, n_broken=0)


def measure(recipe: str, size: str, settings: dict[str, Any], what: str) -> dict[str, float]:
    """Run a recipe in this process; return estimated and measured seconds and memory of its train stages."""
    import fieldmark
    from fieldmark.plans.estimates import PhotoCounts, plan_estimate
    from fieldmark.stages.common.train import Train

    took = {"s": 0.0, "bytes": 0.0}
    fit = Train.fit

    def timed(self: Train, *given: Any) -> str:
        began = time.process_time()
        summary = fit(self, *given)
        took["s"] += time.process_time() - began
        took["bytes"] = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return summary

    Train.fit = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name) / "photos", what)
        data = fieldmark.read(Path(name) / "photos")
        plan = fieldmark.plan(recipe, size=size, settings=settings)
        estimate = plan_estimate(plan, PhotoCounts.of(data))
        fieldmark.train(plan, data, run=Path(name) / "run", device="cpu", n_workers=0)
    memory = max(stage.memory_bytes or 0 for stage in estimate.stages)
    return {"photos": len(data), "estimated_s": estimate.seconds or 0.0, "estimated_bytes": memory, **took}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(*json.loads(sys.argv[1]))))
        return
    print("| recipe | size | photos | estimated CPU-s | measured | ratio | estimated GiB | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in RUNS:
        command = [sys.executable, __file__, json.dumps(one)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        values = json.loads(done.stdout.splitlines()[-1])
        gib = [values[name] / 2**30 for name in ("estimated_bytes", "bytes")]
        settings = "".join(f" {name}={value}" for name, value in one[2].items())
        cells = [one[0], one[1] + settings, str(values["photos"]), f"{values['estimated_s']:.0f}", f"{values['s']:.0f}"]
        cells += [
            f"{values['estimated_s'] / values['s']:.2f}",
            f"{gib[0]:.2f}",
            f"{gib[1]:.2f}",
            f"{gib[0] / gib[1]:.2f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
