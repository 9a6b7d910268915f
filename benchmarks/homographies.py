"""Claim: on a shortlist, the parameters of the homography add almost nothing to the number of its inliers.

    OMP_NUM_THREADS=1 python benchmarks/homographies.py [--n-same 1500] [--data humpback2018_100px] [--folder FOLDER]

The fourth place of Humpback 2018/19 used boosted trees to accept or reject a homography by its eight parameters; here,
a rule (``views_only``) can do so. Pairs are those of ``keypoints.py``: a photo of each animal with another photo of the
same animal, with a photo of a random other animal, and with a photo of a similar animal. The inliers of a pair are
counted in several ways: unchanged; 0 if the rule rejects the homography; with the rule as a feature beside matches,
inliers and share; 0 if trees on the eight parameters reject it (probability below one half); and with the log-odds of
the trees as a feature. Trees and weights are trained on pairs of other animals only (five parts by the animal of the
first photo; the log-odds used to train the weights are out-of-fold, too). The script prints the ROC-AUC of "the same
animal" with 95 % bootstrap intervals over pairs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import lightgbm
import numpy as np

from fieldmark.gallery.keypoint_store import KeypointStore
from fieldmark.gallery.matching import PointAgreement, agreement
from fieldmark.gallery.specs import KeypointMatching, KeypointMethod
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.open_set import roc_auc
from keypoints import DATA, KINDS, N_PARTS, SIZE_PX, chosen_pairs, embedded, photos, scored

TREES = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.05, "min_data_in_leaf": 20, "num_threads": 1}
ROUNDS = 150


def eight(one: PointAgreement) -> np.ndarray:
    """Return the eight parameters of the homography, with lengths in units of the longest side; NaN without one."""
    if one.homography is None:
        return np.full(8, np.nan)
    scaled = np.diag([1 / SIZE_PX, 1 / SIZE_PX, 1]) @ one.homography @ np.diag([SIZE_PX, SIZE_PX, 1])
    return (scaled / scaled[2, 2]).ravel()[:8]


def log_odds(views: np.ndarray, same: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the log-odds of ``queries`` by trees trained on ``views``; 0 for pairs without a homography."""
    there = np.isfinite(views).all(axis=1)
    if len(np.unique(same[there])) < 2:
        return np.zeros(len(queries))
    data = lightgbm.Dataset(views[there], same[there].astype(int))
    trees = lightgbm.train({**TREES, "seed": 0, "verbose": -1}, data, ROUNDS)
    predicted = np.asarray(trees.predict(queries, raw_score=True))
    return np.where(np.isfinite(queries).all(axis=1), predicted, 0.0)


def by_trees(views: np.ndarray, same: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the out-of-fold log-odds of each pair by trees."""
    made = np.zeros(len(same))
    for one in np.unique(part):
        made[part == one] = log_odds(views[part != one], same[part != one], views[part == one])
    return made


def nested(numbers: np.ndarray, views: np.ndarray, same: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return scores from the numbers and the trees' log-odds; the weights are trained on out-of-fold log-odds, too."""
    made = np.empty(len(same))
    outside = by_trees(views, same, part)
    for one in np.unique(part):
        mine, others = part == one, part != one
        odds = np.empty(len(same))
        odds[others] = by_trees(views[others], same[others], part[others])
        odds[mine] = outside[mine]
        made[mine] = scored(np.column_stack([numbers, odds]), same, part)[mine]
    return made


def counted(found: list[PointAgreement], accepted: np.ndarray) -> np.ndarray:
    """Return log(1 + matches), log(1 + inliers) and the share; inliers count only for accepted homographies."""
    matches = np.array([one.n_matches for one in found])
    inliers = np.array([int(one.inlier.sum()) for one in found]) * accepted
    return np.column_stack([np.log1p(matches), np.log1p(inliers), inliers / np.maximum(matches, 1)])


def compare(found: list[PointAgreement], kinds: np.ndarray, part: np.ndarray) -> None:
    """Print one table."""
    views = np.array([eight(one) for one in found])
    ruled = np.array([one.plausible for one in found])
    for left_out, words in ((0, "similar animals"), (-1, "random other animals")):
        mine = kinds != left_out
        same, views_here, part_here = kinds[mine] == 1, views[mine], part[mine]
        here = [one for one, wanted in zip(found, mine, strict=True) if wanted]
        there = np.isfinite(views_here).all(axis=1)
        trees = by_trees(views_here, same, part_here)
        print(
            f"  against {words}: {there.sum():,} of {len(here):,} pairs have a homography "
            f"({same[there].mean():.0%} same)"
        )
        print(f"    by themselves, of those: rule {_auc(ruled[mine][there] * 1.0, same[there])}, ", end="")
        print(f"trees {_auc(trees[there], same[there])}")
        plain = scored(counted(here, there), same, part_here)
        ways = {
            "not checked": plain,
            "rule": scored(counted(here, ruled[mine]), same, part_here),
            "rule as a number beside": scored(np.column_stack([counted(here, there), ruled[mine]]), same, part_here),
            "trees": scored(counted(here, there & (trees > 0)), same, part_here),
            "log-odds of trees beside": nested(counted(here, there), views_here, same, part_here),
            "rule, log-odds of trees beside": nested(counted(here, ruled[mine]), views_here, same, part_here),
        }
        for way, score in ways.items():

            def gain(
                at: np.ndarray, s: np.ndarray = score, t: np.ndarray = same, p: np.ndarray = ways["rule"]
            ) -> float:
                return roc_auc(s[at], t[at]) - roc_auc(p[at], t[at])

            over = interval(gain, n_queries=len(same), n_draws=500)
            print(
                f"    {way:<32} {_auc(score, same)}   over the rule {over.value:+.4f} "
                f"({over.low:+.4f} to {over.high:+.4f})"
            )


def _auc(score: np.ndarray, same: np.ndarray) -> str:
    return str(interval(lambda at: roc_auc(score[at], same[at]), n_queries=len(same), n_draws=500))


def agreements(name: str, spec: KeypointMethod, *, n: int, kept: Path) -> tuple[list[PointAgreement], np.ndarray]:
    """Return the keypoint agreement and the kind of each pair."""
    table = photos(name, most=10**9)
    files = [DATA / name / file for file in table["file"]]
    embedding = _kept(kept / f"{name}.npy", lambda: embedded(files))
    pairs, kinds = chosen_pairs(table["identity"].to_numpy(), embedding, n=n)
    store = KeypointStore(kept / name, spec)
    sizes = table.select("height", "width").rows()
    wanted = sorted(set(pairs.ravel().tolist()))
    points = {row: store.of(files[row], true_size=sizes[row]) for row in wanted}
    return [agreement(points[a], points[b], KeypointMatching(points=spec)) for a, b in pairs.tolist()], kinds


def _kept(path: Path, make) -> np.ndarray:
    if not path.exists():
        np.save(path, make())
    return np.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-same", type=int, default=1500, help="animals; three times as many pairs")
    parser.add_argument("--data", nargs="*", default=["humpback2018_100px"])
    parser.add_argument("--kinds", nargs="*", default=["SIFT", "XFeat"], choices=KINDS)
    parser.add_argument("--folder", type=Path, help="cache of keypoints and embeddings")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen.data:
            for kind in chosen.kinds:
                found, kinds = agreements(name, KINDS[kind], n=chosen.n_same, kept=chosen.folder or Path(scratch))
                n_same = int((kinds == 1).sum())
                print(f"\n{name}, {kind}: {n_same:,} pairs of one animal, as many random and similar pairs")
                compare(found, kinds, np.repeat(np.arange(n_same) % N_PARTS, 3))


if __name__ == "__main__":
    main()
