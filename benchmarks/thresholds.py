"""Claim: thresholds for the whole iMet 2019 table take seconds: 15 s for two groups with limits, 20 s for each label.

Run ``OMP_NUM_THREADS=1 python benchmarks/thresholds.py [--rows N] [--data FOLDER]``. The labels are real
(``meta_imet2019``: 109,237 images, 1,103 labels, 3.2 per image). The scores of three models are simulated from them
(see ``simulated``) and averaged, so F2 compares the rules and does not measure a network. Every rule is timed without
and with five-fold cross-validation, in which each part is scored with thresholds fitted on the other four.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds
from fieldmark.decisions.specs import CountMatch, GlobalF2, GroupF2, LabelF2, Preset, Relative
from fieldmark.metrics.labels import f_beta_per_image

RULES = {
    "preset of the winner": Preset(),
    "relative, highest / 7": Relative(),
    "count match, 5.2 labels per image": CountMatch(),
    "one threshold": GlobalF2(),
    "one per group": GroupF2(limits=False),
    "one per group, least and most": GroupF2(),
    "one per label": LabelF2(limits=False),
    "one per label, without shrinkage": LabelF2(shrink=0, limits=False),
    "one per label, least and most": LabelF2(),
}


def imet(folder: Path) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Return the real label table: truth, label names, columns of the two groups."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        names = [row["attribute_name"] for row in csv.DictReader(file)]
    with (folder / "train.csv").open(encoding="utf-8") as file:
        ids = [row["attribute_ids"].split() for row in csv.DictReader(file)]
    truth = np.zeros((len(ids), len(names)), bool)
    truth[np.repeat(np.arange(len(ids)), [len(some) for some in ids]), [int(one) for some in ids for one in some]] = (
        True
    )
    groups = {
        group: np.array([column for column, name in enumerate(names) if name.startswith(f"{group}::")])
        for group in ("culture", "tag")
    }
    return truth, names, groups


def simulated(truth: np.ndarray, *, seed: int, n_models: int = 3) -> list[np.ndarray]:
    """Simulate probabilities of several models for real labels.

    Each label has a strength (1 to 3.8): the difference of its evidence between positive and negative images, in
    standard deviations. The models share the noise of a cell (correlation 0.8). Labels are confused with similar
    labels: each label has a position in 16 dimensions, and labels near the true labels of an image get more evidence.
    Evidence becomes log-odds by Bayes' rule with the frequency of the label. Each model then distorts every label by
    its own slope (0.7 to 1.1) and shift (standard deviation 0.6), similar to the effects of focal loss and sampling.
    """
    n_images, n_labels = truth.shape
    chance = np.random.default_rng(seed)
    frequency = (truth.sum(axis=0) + 0.5) / (n_images + 1)
    prior = np.log(frequency / (1 - frequency)).astype(np.float32)
    strength = chance.uniform(1.0, 3.8, n_labels).astype(np.float32)
    place = chance.standard_normal((n_labels, 16), dtype=np.float32) / 4
    shift = chance.normal(0, 0.6, (n_models, n_labels)).astype(np.float32)
    slope = chance.uniform(0.7, 1.1, (n_models, n_labels)).astype(np.float32)
    proba = [np.empty(truth.shape, np.float32) for _ in range(n_models)]
    for start in range(0, n_images, 2048):
        right = truth[start : start + 2048].astype(np.float32)
        scene = right @ place
        scene /= np.maximum(np.linalg.norm(scene, axis=1, keepdims=True), 1e-6)
        common = strength * right + 1.2 * scene @ place.T + 0.9 * chance.standard_normal(right.shape, np.float32)
        for model in range(n_models):
            evidence = common + 0.44 * chance.standard_normal(right.shape, np.float32)
            logit = slope[model] * (prior + strength * evidence - strength**2 / 2) + shift[model]
            proba[model][start : start + 2048] = 1 / (1 + np.exp(-logit))
    return proba


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a function and its CPU seconds over all threads."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    data = Path(os.environ.get("FIELDMARK_DATA", here.parent.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data / "meta_imet2019")
    parser.add_argument("--rows", type=int, help="number of images (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    choice = parser.parse_args()

    truth, names, groups = imet(choice.data)
    truth = truth[: choice.rows]
    models = simulated(truth, seed=choice.seed)
    proba = np.mean(models, axis=0)
    print(f"{truth.shape[0]:,} images x {truth.shape[1]:,} labels, {truth.sum() / len(truth):.2f} labels per image")

    options = {"groups": groups, "names": names}
    small = slice(0, 500)
    for rule in RULES.values():  # compiles, or loads compiled code from the cache
        fit_label_thresholds(rule, proba[small], truth[small], **options, parts=0)
    for number, one in enumerate(models, start=1):
        found, seconds = timed(lambda one=one: fit_label_thresholds(GlobalF2(), one, truth, **options, parts=0))
        print(f"model {number} alone, one threshold: F2 {found.fitted} in {seconds:.1f} CPU-s")
    del models
    before = peak_mib()

    print(f"\n{'mean of the three models':<40} {'CPU-s':>6} {'F2 fitted':>10} {'CPU-s':>6}  F2 crossed")
    for what, rule in RULES.items():
        alone, seconds = timed(lambda rule=rule: fit_label_thresholds(rule, proba, truth, **options, parts=0))
        crossed, more = timed(lambda rule=rule: fit_label_thresholds(rule, proba, truth, **options, parts=5))
        print(f"{what:<40} {seconds:6.1f} {alone.fitted.value:10.4f} {more:6.1f}  {crossed.crossed.value:.4f} ", end="")
        print(f"({crossed.crossed.low:.4f} to {crossed.crossed.high:.4f}), {crossed.mean_labels:.2f} labels per image")
        for name, group in alone.groups.items():  # for a rule per label: labels without their own threshold
            print(f"    {name}: above {group.at:.4f}, least {group.least}, most {group.most}")

    answer, seconds = timed(lambda: cut(crossed, proba, **options))
    print(f"\ncut: {seconds:.1f} CPU-s; ", end="")
    f, seconds = timed(lambda: f_beta_per_image(answer, truth))
    print(f"F2 of each image: {seconds:.1f} CPU-s, mean {f.mean():.4f}")
    grid = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    on_grid = max(f_beta_per_image(proba[:5000] > at, truth[:5000]).mean() for at in grid)
    exact = fit_label_thresholds(GlobalF2(), proba[:5000], truth[:5000], **options, parts=0)
    print(f"5,000 images: exact best threshold {exact.fitted.value:.6f}, best of 99 on a grid {on_grid:.6f}")
    print(f"memory: {before:,.0f} MiB before the searches, {peak_mib():,.0f} MiB at most")


if __name__ == "__main__":
    main()
