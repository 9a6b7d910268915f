"""Claim: keypoint matches add information to an embedding; both combined separate pairs better than either alone.

    python benchmarks/keypoints.py [--n-same 150] [--most 1500] [--data DATA] [--folder FOLDER]

The pairs of real photos are those of a shortlist that is re-ranked. For each of ``n-same`` animals, one query photo is
paired with its most similar other photo of the same animal, with a random photo of another animal, and with a photo of
a similar animal: a random one of the ten most similar animals by the embedding, and its most similar photo. Each photo
is resized to 320 px. Copies of a file are left out. Flukes (``humpback2018_100px``) are files of 100 x 100 px, resized
to their true aspect ratio. Lions (``liondata``) are crops of 67-254 px; two crops of one animal may show different
parts of it.

The rows are the cosine of a frozen EfficientNet-Lite0 (ImageNet, 224 px), each kind of keypoints by its combined
numbers (matches, inliers, share), and the embedding with keypoints. All weights are fitted on pairs of other animals
(five parts, by the animal of the first photo). The script prints the ROC-AUC with 95 % bootstrap intervals over pairs,
and times in CPU-seconds of one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from sklearn.isotonic import IsotonicRegression

from fieldmark.core.seeds import generator
from fieldmark.gallery.fusion import fit_by_part
from fieldmark.gallery.keypoint_store import KeypointStore
from fieldmark.gallery.matching import agreement
from fieldmark.gallery.specs import Akaze, KeypointMatching, KeypointMethod, Sift, Xfeat
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Preprocess
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.open_set import roc_auc
from fieldmark.models.backbone import data_config
from fieldmark.models.network import build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net
from fieldmark.stages.identity.keypoints import numbers_of
from fieldmark.training.embed import embed_photos

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIZE_PX = 320
KINDS = {
    "SIFT": Sift(size_px=SIZE_PX),
    "AKAZE": Akaze(size_px=SIZE_PX),
    "XFeat": Xfeat(size_px=SIZE_PX),
    "XFeat + LighterGlue": Xfeat(size_px=SIZE_PX, matcher="lighterglue", most=512),
}
N_PARTS, N_SIMILAR = 5, 10
INLIERS = 1
"""Index of the inliers among the numbers of a pair."""


def photos(name: str, *, most: int) -> pl.DataFrame:
    """Return file, identity and true size of photos of animals with two photos or more, without copies."""
    table = pl.read_csv(DATA / name / "labels.csv").filter(pl.col("identity") != "new_whale")
    by = "sha1" if "sha1" in table.columns else "sha1_source"
    sizes = ("orig_height", "orig_width") if "orig_width" in table.columns else ("height", "width")
    table = table.unique(by, keep="first", maintain_order=True)
    table = table.filter(pl.len().over("identity") > 1).sort("identity", maintain_order=True).head(most)
    table = table.filter(pl.len().over("identity") > 1)
    return table.select("file", "identity", height=pl.col(sizes[0]), width=pl.col(sizes[1]))


def embedded(paths: list[Path]) -> np.ndarray:
    backbone = Backbone()
    config = data_config(backbone.name)
    network = build(Net(backbone=backbone, head=EmbeddingHead(), neck="none"), n_classes=1, seed=0)
    preprocess = Preprocess(height_px=224, width_px=224, mean=config.mean, std=config.std)
    return embed_photos(network, PhotoSource(paths, preprocess), device=torch.device("cpu")).embedding[0]


def chosen_pairs(identity: np.ndarray, embedding: np.ndarray, *, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows and their kinds: 1 the same animal, 0 random other animal, -1 similar animal."""
    chance = generator(0, "keypoint pairs")
    members = {name: np.flatnonzero(identity == name) for name in np.unique(identity)}
    several = [name for name, rows in members.items() if len(rows) > 1]
    rows, kinds = [], []
    for name in chance.permutation(several)[:n]:  # each animal once, so that all have equal weight
        first = int(chance.choice(members[name]))
        cosine = embedding @ embedding[first]
        others = {one: float(cosine[its].max()) for one, its in members.items() if one != name}
        similar = sorted(others, key=lambda one: -others[one])[:N_SIMILAR]
        unknowns = np.flatnonzero(identity != name)

        def nearest(its: np.ndarray, first: int = first, cosine: np.ndarray = cosine) -> int:
            its = its[its != first]
            return int(its[np.argmax(cosine[its])])

        rows += [(first, nearest(members[name])), (first, int(chance.choice(unknowns)))]
        rows += [(first, nearest(members[similar[int(chance.integers(len(similar)))]]))]
        kinds += [1, 0, -1]
    return np.array(rows), np.array(kinds)


def match_numbers(
    files: list[Path], table: pl.DataFrame, pairs: np.ndarray, spec: KeypointMethod, kept: Path
) -> np.ndarray:
    """Return the three numbers of each pair, and print the time per image and per pair."""
    store, wanted = KeypointStore(kept, spec), sorted(set(pairs.ravel().tolist()))
    began = time.thread_time()
    points = {row: store.of(files[row], true_size=(table["height"][row], table["width"][row])) for row in wanted}
    middle = time.thread_time()
    counted = KeypointMatching(points=spec)
    found = [agreement(points[a], points[b], counted) for a, b in pairs.tolist()]
    ended = time.thread_time()
    print(
        f"    {1e3 * (middle - began) / len(wanted):6.1f} ms per image, {1e3 * (ended - middle) / len(pairs):6.2f} ms "
        f"per pair, {np.mean([len(one) for one in points.values()]):.0f} points",
        flush=True,
    )
    return np.array([numbers_of(one) for one in found])


def scored(numbers: np.ndarray, same: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the out-of-fold log-odds of each pair by logistic weights."""
    logit = np.empty(len(same))
    for one, fusion in fit_by_part(numbers, same, part).items():
        proba = fusion.proba(numbers[part == one])
        logit[part == one] = np.log(proba) - np.log1p(-proba)
    return logit


def isotonic_mean(numbers: np.ndarray, same: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the mean of out-of-fold isotonic probabilities of each number, as in WildFusion."""
    score = np.empty(len(same))
    for one in np.unique(part):
        curves = [
            IsotonicRegression(out_of_bounds="clip").fit(column[part != one], same[part != one]) for column in numbers.T
        ]
        each = [curve.predict(column[part == one]) for curve, column in zip(curves, numbers.T, strict=True)]
        score[part == one] = np.mean(each, axis=0)
    return score


def row(
    name: str,
    numbers: np.ndarray,
    kinds: np.ndarray,
    part: np.ndarray,
    cosine: np.ndarray,
    by: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] = scored,
) -> None:
    """Print one row of the table; each column is fitted and scored on its own kinds of pairs."""
    intervals = []
    for left_out in (0, -1):
        mine = kinds != left_out
        same, plain = kinds[mine] == 1, cosine[mine]
        score = plain if numbers is cosine else by(numbers[mine], same, part[mine])

        def gain(at: np.ndarray, s: np.ndarray = score, t: np.ndarray = same, p: np.ndarray = plain) -> float:
            return roc_auc(s[at], t[at]) - roc_auc(p[at], t[at])

        def auc(at: np.ndarray, s: np.ndarray = score, t: np.ndarray = same) -> float:
            return roc_auc(s[at], t[at])

        intervals += [interval(one, n_queries=len(same), n_draws=500) for one in (auc, gain)]
    similar, similar_gain, random, random_gain = intervals
    print(f"  {name:<32} {random!s:<22}  {similar!s:<22}  {random_gain!s:<24}  {similar_gain!s}", flush=True)


def compare(name: str, *, n: int, most: int, kept: Path) -> None:
    table = photos(name, most=most)
    files = [DATA / name / file for file in table["file"]]
    identity = table["identity"].to_numpy()
    embedding = embedded(files)
    pairs, kinds = chosen_pairs(identity, embedding, n=n)
    n_same = int((kinds == 1).sum())
    print(f"\n{name}: {len(files):,} photos; {n_same} pairs of one animal, as many random and similar pairs")
    part = np.repeat(np.arange(n_same) % N_PARTS, 3)
    cosine = (embedding[pairs[:, 0]] * embedding[pairs[:, 1]]).sum(axis=1, dtype=np.float64)
    by_kind = {}
    for kind, spec in KINDS.items():
        print(f"  {kind}")
        by_kind[kind] = match_numbers(files, table, pairs, spec, kept / name)
    names = ("random animal", "similar animal", "gain, random", "gain, similar")
    print(f"  {'ROC-AUC against':<32} " + "  ".join(f"{one:<22}" for one in names))
    row("embedding", cosine, kinds, part, cosine)
    for kind, numbers in by_kind.items():
        row(kind, numbers, kinds, part, cosine)
    for kind, numbers in by_kind.items():
        row(f"embedding + {kind}", np.column_stack([cosine, numbers]), kinds, part, cosine)
    row("embedding + SIFT + XFeat", np.column_stack([cosine, by_kind["SIFT"], by_kind["XFeat"]]), kinds, part, cosine)
    inliers = [cosine, *(by_kind[kind][:, INLIERS] for kind in ("SIFT", "XFeat"))]
    row("the same, isotonic, averaged", np.column_stack(inliers), kinds, part, cosine, by=isotonic_mean)
    row("the same, inliers by weights", np.column_stack(inliers), kinds, part, cosine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-same", type=int, default=150, help="pairs of one animal; three times as many in all")
    parser.add_argument(
        "--most", type=int, default=1500, help="number of embedded photos, from which similar animals are taken"
    )
    parser.add_argument("--data", nargs="*", default=["humpback2018_100px", "liondata"])
    parser.add_argument("--folder", type=Path, help="cache of keypoints; times then include only reading them")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen.data:
            compare(name, n=chosen.n_same, most=chosen.most, kept=chosen.folder or Path(scratch))


if __name__ == "__main__":
    main()
