"""Claim: at full size the second level takes minutes and bounded memory, and is better than the mean of the models.

    python benchmarks/second_level.py                the whole table of iMet 2019, 109,237 images x 1,103 labels
    python benchmarks/second_level.py --rows 5000    a random part of its images

Labels and folds are real (iMet 2019 training table; the five folds of one of its competitors). There are no images, so
all outputs of networks are simulated from the labels, in the same way for every fold:

* Scores of three models. The signal of a label has normal noise, and the models share two thirds of it. The strength of
  the signal differs between labels and is lower for rare ones; two models are weak on one label group each. 12 % of the
  labels of a photo have no signal, and labels of the same family have a small one. Dark photos and tall photos have
  weaker signals. Probabilities follow Bayes' rule for a model that knows the frequency of a label, but not the strength
  of its signal. One model is then made too confident, one too little, and one predicts rare labels too low.
* Image statistics: brightness and aspect, which determine the difficulty of a photo, and two random numbers.
* An independent second view: a photo is the sum of directions of its labels, with much noise. The embedding (1,280
  numbers) and 1,000 ImageNet probabilities are computed from it.

The gain therefore shows that the method finds existing information, and not how much information real scores contain.
``--views scores`` measures the gain from scores and image statistics alone.

F2 is the mean over images with one threshold for all labels. The threshold is fitted on one half of the images and
applied to the other half, both ways.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.seeds import generator
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.second_level import second_level
from fieldmark.stacking.specs import Candidates, Negatives, Stacking, TableColumns, Trees

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "meta_imet2019"
MODELS = ("senet154", "pnasnet5", "seresnext101")
N_LABELS, N_CULTURES = 1103, 398
BLOCK = 4096
DIM, N_CLASSES, LATENT = 1280, 1000, 64
THRESHOLDS = np.geomspace(0.01, 0.8, 60).astype(np.float32)


def real_table(n_rows: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and folds of some or all real images."""
    with gzip.open(DATA / "folds_nurmau_5fold.csv.gz") as file:
        table = pl.read_csv(file.read())
    if n_rows is not None:
        table = table.sample(n_rows, seed=0)
    truth = np.zeros((table.height, N_LABELS), bool)
    for row, labels in enumerate(table["attribute_ids"].str.split(" ").to_list()):
        truth[row, [int(label) for label in labels]] = True
    return truth, table["fold"].to_numpy().astype(np.int64)


def simulate(folder: Path, truth: np.ndarray) -> None:
    """Write the simulated scores of three models and all other inputs as .npy files; see the module docstring."""
    n_images = len(truth)
    chance = generator("second level", "world")
    count = truth.sum(axis=0)
    share = (count + 0.5) / (n_images + 1)
    family = np.arange(N_LABELS) // 4  # alphabetical neighbours within a group
    commonness = np.log10(np.maximum(share * 109_237, 3))[None]
    sight = 2.2 + 0.42 * commonness + chance.normal(0, 0.35, (len(MODELS), N_LABELS))
    for model, weak in enumerate((slice(0, 0), slice(0, N_CULTURES), slice(N_CULTURES, None))):
        sight[model, weak] -= 0.5
    directions = chance.normal(size=(N_LABELS, LATENT)) / np.sqrt(LATENT)
    directions += (chance.normal(size=(N_LABELS, LATENT)) / np.sqrt(LATENT))[family]
    to_classes = chance.normal(size=(LATENT, N_CLASSES)).astype(np.float32)
    to_embedding = np.linalg.qr(chance.normal(size=(DIM, LATENT)))[0].T.astype(np.float32)
    bright, tall = generator("second level", "bright").beta(2, 2, n_images), chance.random(n_images) < 0.45
    statistics = np.stack([bright, chance.gamma(4, 10, n_images), 300 + 50 * chance.random(n_images), tall], axis=1)
    np.save(folder / "statistics.npy", statistics.astype(np.float32))
    ease = (0.55 + 0.7 * bright) * np.where(tall, 0.9, 1.05)
    widths = dict.fromkeys(MODELS, N_LABELS) | {"imagenet": N_CLASSES, "embeddings": DIM}
    new = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(n_images, width))
        for name, width in widths.items()
    }
    bias = np.log(share / (1 - share))
    believed = sight.mean(axis=1)
    temperature, shy = (1.6, 0.6, 1.0), (0.0, 0.0, 0.1)
    for start in range(0, n_images, BLOCK):
        rows = slice(start, start + BLOCK)
        chance, labels = generator("second level", start), truth[rows]
        visible = labels & (chance.random(labels.shape) > 0.12)
        related = np.zeros((len(labels), family.max() + 1), np.float32)
        np.maximum.at(related, (np.nonzero(visible)[0], family[np.nonzero(visible)[1]]), 1)
        signal = np.where(visible, 1, 0.35 * related[:, family]).astype(np.float32) * ease[rows, None].astype(
            np.float32
        )
        together = chance.standard_normal(labels.shape, np.float32) * np.float32(0.65**0.5)
        for model, name in enumerate(MODELS):
            own = chance.standard_normal(labels.shape, np.float32) * np.float32(0.35**0.5)
            x = sight[model].astype(np.float32) * signal + together + own
            logits = bias * (1 + shy[model]) + believed[model] * (x - believed[model] / 2)
            new[name][rows] = 1 / (1 + np.exp(-temperature[model] * logits))
        n_each = np.maximum(1, labels.sum(axis=1, keepdims=True))
        latent = labels @ directions / n_each**0.5 + chance.normal(size=(len(labels), LATENT)) * 3.0 / np.sqrt(LATENT)
        latent = (latent / np.linalg.norm(latent, axis=1, keepdims=True)).astype(np.float32)
        new["embeddings"][rows] = latent @ to_embedding
        heat = np.exp(3 * latent @ to_classes)
        new["imagenet"][rows] = heat / heat.sum(axis=1, keepdims=True)


def cut_f2(proba: np.ndarray, truth: np.ndarray, threshold: float) -> np.ndarray:
    """Return F2 of each image at one threshold."""
    return np.concatenate(
        [f_beta_per_image(proba[s : s + BLOCK] > threshold, truth[s : s + BLOCK]) for s in range(0, len(proba), BLOCK)]
    )


def cross_fitted_f2(proba: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return F2 of each image, with the threshold of the other half, and the two thresholds."""
    half = np.arange(len(truth)) % 2
    f2 = np.stack([cut_f2(proba, truth, threshold) for threshold in THRESHOLDS])
    best = [int(f2[:, half != side].mean(axis=1).argmax()) for side in (0, 1)]
    return np.where(half == 0, f2[best[0]], f2[best[1]]), [float(THRESHOLDS[index]) for index in best]


class Lines:
    """Progress as plain lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, text: str) -> None:  # noqa: D102 - the protocol's
        print(f"{time.monotonic() - self.began:7.0f} s  {text}", flush=True)

    def track(self, items, *, total, what):  # noqa: D102 - the protocol's
        for number, item in enumerate(items, start=1):
            if total < 20 or number == 1:
                self.say(f"{what} {number} of {total}")
            yield item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="number of images (default: all)")
    parser.add_argument("--views", choices=("all", "scores"), default="all", help="with or without the second view")
    parser.add_argument("--top-k", type=int, default=Candidates().top_k)
    parser.add_argument("--rounds", type=int, default=Trees().n_rounds)
    parser.add_argument("--leaves", type=int, default=Trees().num_leaves)
    parser.add_argument("--rate", type=float, default=Trees().learning_rate)
    parser.add_argument("--negatives", type=float, default=Negatives().per_positive)
    parser.add_argument("--least", type=float, default=Candidates().least)
    parser.add_argument("--unite", action="store_true", help="add true labels to the training candidates")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="folder for the simulated scores and the table")
    parser.add_argument("--simulate-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    truth, fold = real_table(options.rows)
    if options.simulate_only:
        simulate(options.scratch, truth)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        # In a separate process, so that its memory is not counted.
        again = [sys.executable, __file__, "--simulate-only", "--scratch", str(folder)]
        subprocess.run(again + (["--rows", str(options.rows)] if options.rows else []), check=True)
        measure(options, folder, truth, fold)


def measure(options: argparse.Namespace, folder: Path, truth: np.ndarray, fold: np.ndarray) -> None:
    loaded = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    inputs = SecondLevelInputs(
        {name: loaded[name] for name in MODELS}, loaded["statistics"], loaded["imagenet"], loaded["embeddings"]
    )
    features = TableColumns() if options.views == "all" else TableColumns(imagenet="off", relevance=None)
    by = Stacking(
        candidates=Candidates(top_k=options.top_k, least=options.least, unite_positives=options.unite),
        negatives=Negatives(per_positive=options.negatives),
        features=features,
        trees=Trees(n_rounds=options.rounds, num_leaves=options.leaves, learning_rate=options.rate),
    )
    groups = (np.arange(N_LABELS) >= N_CULTURES).astype(np.int64)
    print(f"{len(truth):,} images x {N_LABELS:,} labels, {truth.sum():,} true; {fold.max() + 1} folds; {by}")
    wall, cpu = time.monotonic(), time.process_time()
    found = second_level(
        inputs, truth, fold, by=by, label_groups=groups, n_threads=options.threads, scratch=folder, progress=Lines()
    )
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nscores to out-of-fold probabilities: {wall / 60:.1f} min, {cpu / 60:.1f} CPU-min, peak {peak:.2f} GiB")
    n_each = found.n_judged / len(truth)
    print(f"{found.n_judged:,} cells scored, {n_each:.1f} per image; recall ceiling {found.recall_ceiling:.4f}")
    f2 = {}
    contestants = {name: loaded[name] for name in MODELS}
    contestants |= {"mean of the models": inputs.mean_of(slice(None)), "second level": found.proba}
    for name, proba in contestants.items():
        f2[name], thresholds = cross_fitted_f2(proba, truth)
        print(f"  {name:<20} F2 {interval(f2[name])}  thresholds {thresholds[0]:.3f}, {thresholds[1]:.3f}")
    print(f"  {'gain over the mean':<20} F2 {interval(f2['second level'] - f2['mean of the models'])}")
    print(f"digest of the probabilities: {hashlib.sha256(found.proba.tobytes()).hexdigest()[:16]}")
    print("importance: " + "; ".join(f"{name} {share:.3f}" for name, share in found.importance[:15]))


if __name__ == "__main__":
    main()
