"""Claim: automatic boxes overlap the true boxes much better than the full frame; a few marked boxes are as good.

Run ``OMP_NUM_THREADS=1 python benchmarks/boxes.py`` (``$FIELDMARK_DATA`` must hold ``humpback2018_100px`` and
``meta_humpback2019``; needs the extra ``boxes``). The photos are a random sample of the 1,412 real flukes in a
contestant's table of boxes (earhian's; made by people and by a detector, so the truth is not perfect). For each finder
the script prints the median and mean overlap (IoU) with the table's box, the share above one half, the number of photos
without a result (the full frame then counts), and CPU seconds per photo. The trained finder is evaluated by five-fold
cross-validation, trained on all sampled photos and on a few of them. ``--thresholds`` shows the agreement of two
finders at other thresholds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.seeds import generator
from fieldmark.data.collection import Collection
from fieldmark.data.marks import Marks, boxes_of, marked, read_marks
from fieldmark.images.finding import FULL, FoundSubject, agreed, iou
from fieldmark.images.specs import FeatureNorm, GrabCut
from fieldmark.quality.regions.clicks import learn_clicks
from fieldmark.quality.regions.finding import find_subjects, true_sizes

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
FEW = 100


def flukes(n_photos: int, *, seed: int) -> tuple[Collection, Marks]:
    """Return real flukes with a box in the contestant's table."""
    folder = DATA / "humpback2018_100px"
    labels = pl.read_csv(folder / "labels.csv", schema_overrides={"image": pl.String})
    table = labels.select("image", "file", width="orig_width", height="orig_height")
    marks = read_marks(DATA / "meta_humpback2019" / "bboxs_earhian.csv")
    table = table.filter(pl.col("image").is_in(marks.table["image"].to_list()))
    rows = np.sort(generator(seed, "benchmark").permutation(len(table))[:n_photos])
    return Collection.of(table[rows], root=folder, name="flukes"), marks


def row(name: str, overlaps: np.ndarray, n_nothing: int, seconds: float | None) -> None:
    took = "" if seconds is None else f"{seconds / len(overlaps):9.3f}"
    above = (overlaps > 0.5).mean()
    print(
        f"  {name:<34}{np.median(overlaps):8.3f}{overlaps.mean():8.3f}{above:8.3f}{n_nothing:9d}{took}",
        flush=True,
    )


def overlaps(found: list[FoundSubject], truth: np.ndarray) -> np.ndarray:
    return np.array([iou(one.box or FULL, tuple(box)) for one, box in zip(found, truth.tolist(), strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300, help="number of photos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thresholds", action="store_true", help="agreement of two finders at other thresholds")
    chosen = parser.parse_args()

    photos, marks = flukes(chosen.photos, seed=chosen.seed)
    boxes = boxes_of(marked(photos, marks))
    if boxes is None:
        raise SystemExit("the table has no boxes")
    truth = boxes.astype(np.float64)
    truth[:, 2:] += truth[:, :2]
    truth /= np.tile(true_sizes(photos), 2)

    print(f"{len(photos)} real flukes\n  {'':<34}{'median':>8}{'mean':>8}{'> 0.5':>8}{'nothing':>9}{'CPU-s':>9}")
    row("full frame", overlaps([FoundSubject(None)] * len(photos), truth), len(photos), None)
    by_finder: dict[str, list[FoundSubject]] = {}
    for name, finder in {"GrabCut": GrabCut(), "feature norm and Otsu": FeatureNorm()}.items():
        began = time.process_time()
        by_finder[name] = find_subjects(photos, finder, n_workers=0)
        took = time.process_time() - began
        row(name, overlaps(by_finder[name], truth), sum(one.box is None for one in by_finder[name]), took)
    first, second = by_finder.values()
    for least in (0.1, 0.2, 0.3, 0.4, 0.5) if chosen.thresholds else (0.3,):
        both = [agreed(one, other, least_iou=least) for one, other in zip(first, second, strict=True)]
        row(f"agreed, least IoU {least}", overlaps(both, truth), sum(one.box is None for one in both), None)
        kept = np.array([one.box is not None for one in both])
        row("  of these, where both agree", overlaps(both, truth)[kept], 0, None)
    for n_clicks in (FEW, len(photos)):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            _, out_of_fold = learn_clicks(photos.take(np.arange(n_clicks)), marks, Path(folder), n_workers=0)
        predicted = [FoundSubject(tuple(box)) for box in out_of_fold.coordinates.tolist()]
        row(f"{n_clicks} clicks, five folds", overlaps(predicted, truth[:n_clicks]), 0, time.process_time() - began)


if __name__ == "__main__":
    main()
