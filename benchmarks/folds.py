"""Claim: multi-label folds at the size of iMet 2019 take one or two seconds and divide labels nearly optimally.

Run ``OMP_NUM_THREADS=1 python benchmarks/folds.py`` (``$FIELDMARK_DATA`` must hold ``meta_imet2019``, the contest's
label table; the comparison needs the extra ``bench``). The script prints the deviation from equal shares in five folds.
On 20,000 random photos of the table it compares our methods (iterative, greedy), the package iterative-stratification
and plain folds, each with three seeds. On the whole table it measures our methods, also with photos in groups, and the
smallest possible deviation. ``--package-at-full-size`` adds the package on the whole table (two to three minutes).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from fieldmark.data.folds import assign
from fieldmark.data.reading import read
from fieldmark.data.specs import Folds, PlainFolds, StratifiedFolds
from fieldmark.data.stratified import Deviation, deviation, least_deviation

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
N_FOLDS = 5
SEEDS = (0, 1, 2)
ITERATIVE = StratifiedFolds(n_folds=N_FOLDS)
GREEDY = StratifiedFolds(n_folds=N_FOLDS, method="greedy")


def ours(spec: Folds, truth: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    groups = np.arange(len(truth)) if groups is None else groups
    return assign(spec, classes=np.full(len(truth), -2), groups=groups, truth=truth, seed=seed)


def package(truth: np.ndarray, seed: int) -> np.ndarray:
    fold = np.empty(len(truth), dtype=np.int64)
    used = truth[:, truth.any(axis=0)]
    splits = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(used, used)
    for number, (_, held_out) in enumerate(splits):
        fold[held_out] = number
    return fold


def row(name: str, seconds: str, figures: Deviation) -> None:
    mean, worst, relative, empty, size = astuple(figures)
    print(f"  {name:<42} {seconds:>7} {mean:8.4f} {worst:7.1f} {relative:9.5f} {empty:6d} {size:7.1f}", flush=True)


def timed(name: str, truth: np.ndarray, split: Callable[[np.ndarray, int], np.ndarray], seed: int) -> None:
    start = time.process_time()
    fold = split(truth, seed)
    row(f"{name}, seed {seed}", f"{time.process_time() - start:.2f}", deviation(fold, truth))


def heading(truth: np.ndarray, what: str) -> None:
    print(f"\n{len(truth):,} photos x {truth.shape[1]:,} labels, {what}, {N_FOLDS} folds")
    print(f"  {'':<42} {'CPU-s':>7} {'mean':>8} {'worst':>7} {'relative':>9} {'empty':>6} {'size':>7}")
    row("least possible for single photos", "", least_deviation(truth, N_FOLDS))


def in_groups(n: int, photos_a_group: float) -> np.ndarray:
    """Return random groups of photos with the given mean number of photos per group."""
    return np.random.default_rng(0).integers(0, int(n / photos_a_group), n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package-at-full-size", action="store_true", help="two to three minutes more")
    chosen = parser.parse_args()

    truth = read(DATA / "meta_imet2019", check_files=False).truth
    some = truth[np.sort(np.random.default_rng(0).choice(len(truth), 20_000, replace=False))]
    heading(some, "a random part")
    for name, split in {
        "ours, iterative": partial(ours, ITERATIVE),
        "ours, greedy": partial(ours, GREEDY),
        "iterative-stratification": package,
        "plain folds": partial(ours, PlainFolds(n_folds=N_FOLDS)),
    }.items():
        for seed in SEEDS:
            timed(name, some, split, seed)
    heading(truth, "the whole table, float32")
    for seed in SEEDS:
        timed("ours, iterative", truth, partial(ours, ITERATIVE), seed)
    timed("ours, iterative, truth as bool", truth.astype(bool), partial(ours, ITERATIVE), 0)
    for each in (1.3, 3.0):
        groups = in_groups(len(truth), each)
        timed(f"ours, iterative, {each:g} photos per group", truth, partial(ours, ITERATIVE, groups=groups), 0)
    timed("ours, greedy", truth, partial(ours, GREEDY), 0)
    if chosen.package_at_full_size:
        timed("iterative-stratification", truth, package, 0)


if __name__ == "__main__":
    main()
