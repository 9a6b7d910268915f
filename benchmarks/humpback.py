"""Real whales: the baseline, the recipe, and what each of its switches is worth at one equal, shorter budget.

    python benchmarks/humpback.py main --runs runs       the baseline and the recipe at small size; the submission
    python benchmarks/humpback.py switches --runs runs   the recipe at --effort, then with every switch off once
    python benchmarks/humpback.py table --runs runs      the tables of what is finished

Nothing here looks at the challenge part's answers: numbers are of the validation part (one photo of each of 512
individuals and 230 photos of strangers, groups of identical files kept together).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from fieldmark.core.files import read_json
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.decide.ranking import rank
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.ranking import average_precision
from fieldmark.recipes.shelf import SHELF
from fieldmark.stages.engine import execute, open_run
from fieldmark.stages.plan import Plan
from fieldmark.stages.reporting import Judged, report

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "humpback2018_100px"
SWITCHES = ("flip_identity", "triplet", "unknowns", "staged", "tta", "centroids")
COLUMNS = ("MAP@5", "top-1 of known", "MAP@5 of known", "AUC known/new", "false matches")


class Lines:
    """Progress as plain lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, text: str) -> None:  # noqa: D102 - the protocol's
        print(f"{time.monotonic() - self.began:7.0f} s  {text}", flush=True)

    def track(self, items, *, total, what):  # noqa: D102 - the protocol's
        del total, what
        yield from items


def photos() -> tuple[Collection, Collection]:
    """The photos with identities, and those of the challenge."""
    known = read(DATA / "labels.csv", unknown="new_whale")
    return known, read(DATA / "challenge.csv", labelled=False)


def run(name: str, plan: Plan, folder: Path, *, seed: int, with_new: bool, reuse: Path | None) -> None:
    known, new = photos()
    began = time.monotonic()
    kept = folder / "features"
    execute(
        plan,
        known,
        folder / name,
        new=new if with_new else None,
        seed=seed,
        progress=Lines(),
        features=kept,
        reuse=reuse,
    )
    report(open_run(folder / name))
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def table(folder: Path, names: list[str]) -> None:
    print("| run | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for name in names:
        path = folder / name / "metrics.json"
        if path.exists():
            found = {row["name"]: row for row in read_json(path)}
            cells = [f"{found[c]['value']:.3f} ({found[c]['low']:.3f}-{found[c]['high']:.3f})" for c in COLUMNS]
            print(f"| {name} | " + " | ".join(cells) + " |")


def worth(folder: Path, names: list[str]) -> None:
    """How much MAP@5 each run lacks to the first, photo by photo."""
    print("\n| run | difference in MAP@5 (95 %) | of known individuals (95 %) |\n|---|---|---|")
    found = {name: judged_photos(folder / name) for name in names if (folder / name / "metrics.json").exists()}
    for name in list(found)[1:]:
        cells = []
        for with_all, without in zip(found[names[0]], found[name], strict=True):
            ends = interval(without - with_all)
            cells.append(f"{ends.value:+.3f} ({ends.low:+.3f} to {ends.high:+.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |")


def judged_photos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Average precision at 5 of each validation photo, and of each known one with nobody called new."""
    judged = Judged(open_run(folder))
    known, k = judged.truth >= 0, judged.rank.k
    answers = rank(judged.scores, unknown_at=judged.unknown_at, k=k)
    named = rank(judged.scores[known], unknown_at=None, k=k)
    return average_precision(answers, judged.truth, k=k), average_precision(named, judged.truth[known], k=k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("main", "switches", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--effort", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own choice")
    parser.add_argument("--only", nargs="*", help="names of runs, to do a part")
    options = parser.parse_args()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    classify, nearest = SHELF["humpback-classify"], SHELF["humpback-nearest"]
    mains = {"nearest": nearest(), "classify": classify()}
    short = {"short": classify(effort=options.effort)}
    short |= {f"short, no {switch}": classify(effort=options.effort, **{switch: False}) for switch in SWITCHES}
    if options.what == "table":
        table(options.runs, list(mains))
        table(options.runs, list(short))
        worth(options.runs, list(short))
        return
    for name, plan in (mains if options.what == "main" else short).items():
        if not options.only or name in options.only:
            late = name.removeprefix("short, no ") in {"tta", "centroids"}
            reuse = options.runs / "short" if late else None
            run(name, plan, options.runs, seed=options.seed, with_new=options.what == "main", reuse=reuse)
    table(options.runs, list(mains if options.what == "main" else short))
    if options.what == "switches":
        worth(options.runs, list(short))


if __name__ == "__main__":
    main()
