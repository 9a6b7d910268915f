"""Real landmarks: ten landmarks of real flukes, a finder trained on them, and a table for all photos.

    python benchmarks/landmarks.py --out clicks.csv
    fieldmark boxes .../humpback2018_100px/labels.csv --clicks clicks.csv --save finder --out marks.csv
    python benchmarks/humpback.py switches --short 3 --marks marks.csv --only "reidentify, aligned"

A contestant marked ten landmarks on 1,000 photos of the contest of 2018/19 (``meta_humpback2019``). Some of these
photos are also in ``humpback2018_100px``; they are found by hash and aspect ratio. The first command writes their
landmarks, in px of the true size, with the boxes of another contestant, and prints the mean position of the landmarks
in the boxes. The second command trains a finder and prints its errors (five-fold cross-validation).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.data.reading import read
from fieldmark.images.hashes import hashes

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
NAMES = (
    "left_low",
    "left_tip",
    "left_middle",
    "notch",
    "right_middle",
    "right_tip",
    "right_low",
    "right_root",
    "root",
    "left_root",
)
"""Names of the contestant's landmarks 0 to 9."""
WITHIN = 6
LEAST_SIMILAR = 0.02
"""Largest relative difference of the aspect ratios of two photos that count as the same."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("clicks.csv"))
    options = parser.parse_args()
    folder = DATA / "meta_humpback2019"
    there = (
        pl.read_csv(folder / "phash_size.csv")
        .join(pl.read_csv(folder / "keypoints_pudae_1000.csv"), left_on="Image", right_on="filename")
        .join(pl.read_csv(folder / "bounding_boxes_radek_duchaaiki.csv"), on="Image")
    )
    bits = np.array([int(one, 16) for one in there["phash"]], np.uint64)
    known = read(DATA / "humpback2018_100px" / "labels.csv", unknown="new_whale")
    sizes = known.table.select("width", "height").iter_rows()
    rows = []
    for image, mine, (width, height) in zip(known.images, hashes(known.paths).phash, sizes, strict=True):
        far = np.bitwise_count(bits ^ mine)
        one = there.row(int(far.argmin()), named=True)
        by = (width / one["width"], height / one["height"])
        if far.min() > WITHIN or abs(by[0] / by[1] - 1) > LEAST_SIMILAR:
            continue
        rows.append({"image": image} | {name: one[name] * by[name[0] == "y"] for name in ("x0", "y0", "x1", "y1")})
        for number, name in enumerate(NAMES):
            x, y = one[f"{number}_x"], one[f"{number}_y"]
            given = x is not None and y is not None
            rows[-1] |= {f"x_{name}": x * by[0] if given else None, f"y_{name}": y * by[1] if given else None}
    clicks = pl.DataFrame(rows)
    clicks.write_csv(options.out)
    print(f"{len(clicks)} photos: {options.out}")
    for name in NAMES:
        x = (pl.col(f"x_{name}") - pl.col("x0")) / (pl.col("x1") - pl.col("x0"))
        y = (pl.col(f"y_{name}") - pl.col("y0")) / (pl.col("y1") - pl.col("y0"))
        print(f"{name:<14}", *(f"{clicks.select(one.median()).item():.3f}" for one in (x, y)))


if __name__ == "__main__":
    main()
