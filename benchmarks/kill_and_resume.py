"""Ten `kill -9` at random times of a toy run, each followed by the same command; the results must be identical.

The first run is not killed and measures the time of each stage. Each further run is killed three times, at random times
(from the printed seed) after the start of a stage: twice in the training, then in any unfinished stage. It is then
completed and compared with the first run.
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
from collections import Counter
from pathlib import Path

from fieldmark.core.files import read_json

WATCHED = (
    "net/fold0/weights.safetensors",
    "features/scores/values.npy",
    "ranking/validation.npy",
    "submission/submission.csv",
)


ORDER = ("split", "net", "features", "ranking", "submission")
TRAINING = "net"
KILLS_A_RUN = 3


def digests(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in WATCHED}


def killed(command: list[str], target: str, *, wait_s: float) -> bool:
    """Run the command and kill it ``wait_s`` seconds after the start of the stage; False if it ended before that."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or ():
        # The stage and its kind, as in "net: train ..."; not "net: already finished (...)".
        if line.startswith(f"{target}: ") and line.rstrip().endswith("..."):
            break
    try:
        process.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    process.communicate()
    return False


def at_work(run: Path) -> str:
    """Return the first unfinished stage of the plan."""
    return next((name for name in ORDER if not (run / name / "stage.json").exists()), "the report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fieldmark-kill-"))
    from fieldmark.specimens.collections import draw_flukes

    draw_flukes(folder / "flukes", n_identities=24, n_unknown=16, n_test=12, seed=3)

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
    took_s = {name: read_json(folder / "whole" / name / "stage.json")["took_s"] for name in ORDER}
    print(f"run without kills: {time.monotonic() - began:.1f} s; random seed {options.seed}")
    chance = random.Random(options.seed)  # noqa: S311 - times, not secrets
    fell: Counter[str] = Counter()
    number = 0
    while fell.total() < options.kills:
        run = folder / f"killed{number}"
        number += 1
        for turn in range(min(KILLS_A_RUN, options.kills - fell.total())):
            left = [name for name in ORDER if not (run / name / "stage.json").exists()]
            if not left:
                break
            target = TRAINING if turn < 2 and TRAINING in left else chance.choice(left)
            if killed(command(run), target, wait_s=0.8 * chance.random() * took_s[target]):
                fell[at_work(run)] += 1
                done = sorted(path.parent.name for path in run.glob("*/stage.json"))
                print(
                    f"kill {fell.total()} in {at_work(run)}; finished stages: {', '.join(done) or 'none'}", flush=True
                )
        subprocess.run(command(run), check=True, capture_output=True)
        same = digests(run) == whole
        print(f"{run.name}: {'identical' if same else 'DIFFERENT'}", flush=True)
        if not same:
            sys.exit(1)
    print("kills: " + ", ".join(f"{count} in {name}" for name, count in fell.most_common()))
    for name, digest in whole.items():
        print(f"{digest[:16]}  {name}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
