"""Ten times `kill -9` at random moments of a toy run, the same command again each time; the end must be the same bits.

The undisturbed run goes first and tells how long each stage takes. A kill waits until a stage drawn with the printed
seed is at work (training more often than the others), and falls at a random moment of it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fieldmark.core.files import read_json

WATCHED = (
    "net/fold0/weights.safetensors",
    "features/scores/values.npy",
    "ranking/validation.npy",
    "answers/submission.csv",
)


STAGES = ("net", "net", "net", "net", "net", "features", "features", "ranking", "answers", "split")
"""What is interrupted, as often as it stands here."""


def digests(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in WATCHED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fieldmark-kill-"))
    from fieldmark.specimens.collections import draw_flukes

    draw_flukes(folder / "flukes", n_identities=24, n_strangers=16, n_test=12, seed=3)

    def command(run: Path) -> list[str]:
        return [
            sys.executable,
            "-m",
            "fieldmark",
            "train",
            "humpback-classify",
            str(folder / "flukes"),
            "--size",
            "toy",
            "--run",
            str(run),
            "--skip-broken",
        ]

    began = time.monotonic()
    subprocess.run(command(folder / "whole"), check=True, capture_output=True)
    whole = digests(folder / "whole")
    took_s = {name: read_json(folder / "whole" / name / "stage.json")["took_s"] for name in STAGES}
    print(f"undisturbed run: {time.monotonic() - began:.1f} s; seed of the moments {options.seed}")
    chance = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    killed = 0
    while killed < options.kills:
        run = folder / f"killed{killed}"
        # A killed run begins anew only here; between the kills of one run it goes on.
        while killed < options.kills:
            process = subprocess.Popen(command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            target = chance.choice(STAGES)
            while process.poll() is None and not (run / f".{target}.part").exists():
                time.sleep(0.002)
            wait_s = chance.uniform(0.0, 1.0) * took_s[target]
            try:
                process.wait(timeout=wait_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                done = sorted(path.parent.name for path in run.glob("*/stage.json"))
                print(f"kill {killed}, {wait_s:.2f} s into {target}; finished stages: {', '.join(done) or 'none'}")
            else:
                break
        subprocess.run(command(run), check=True, capture_output=True)
        same = digests(run) == whole
        print(f"{run.name}: {'identical' if same else 'DIFFERENT'}")
        if not same:
            sys.exit(1)
    for name, digest in whole.items():
        print(f"{digest[:16]}  {name}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
