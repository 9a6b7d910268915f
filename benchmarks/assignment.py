"""Claim: hard negatives for the contest's 13,624 whale photos take less than one CPU-minute; nearly as hard ones, 10 s.

Run ``OMP_NUM_THREADS=1 python benchmarks/assignment.py`` (2.5 GB of memory; ``--photos 4000`` for less). The script
draws unit vectors with the contest's histogram of photos per individual (two photos or more), in families of similar
individuals. It then finds a hard negative for every photo by the exact assignment, and by an assignment among each
photo's 32 nearest neighbours. It prints CPU seconds of the set-up (all cosines and the cost matrix; or all cosines, the
nearest neighbours and their graph) and of two successive assignments. It also prints the mean similarity of the
negatives, and the loss of the second form against the first.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from fieldmark.training.assignment import AllOpponents, NearestOpponents, Opponents

HISTOGRAM = {2: 1285, 3: 568, 4: 273, 5: 172, 6: 136, 7: 86, 8: 76, 9: 62}
"""Number of photos to number of individuals; 273 more individuals have 10 to 73 photos."""
N_LARGE, LARGEST, ALL = 273, 73, 13_624


def photos_each(n_photos: int) -> np.ndarray:
    """Return the number of photos of each individual, in the proportions of the contest."""
    rng = np.random.default_rng(0)
    sizes = np.repeat(list(HISTOGRAM), list(HISTOGRAM.values()))
    left = ALL - sizes.sum() - 10 * N_LARGE
    large = np.minimum(10 + rng.multinomial(left, rng.dirichlet(np.full(N_LARGE, 1.3))), LARGEST)
    while (lacking := ALL - sizes.sum() - large.sum()) > 0:
        free = np.flatnonzero(large < LARGEST)
        large[rng.choice(free, min(lacking, len(free)), replace=False)] += 1
    sizes = rng.permutation(np.concatenate([sizes, large]))
    return sizes[: np.searchsorted(sizes.cumsum(), n_photos) + 1]


def drawn(sizes: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors of photos around individuals, which belong to families of similar individuals."""
    rng = np.random.default_rng(1)
    family = rng.integers(0, len(sizes) // 12 + 1, len(sizes))
    centres = rng.normal(size=(family.max() + 1, dim))[family] + 0.7 * rng.normal(size=(len(sizes), dim))
    classes = np.repeat(np.arange(len(sizes)), sizes)
    vectors = (centres[classes] + 0.9 * rng.normal(size=(len(classes), dim))).astype(np.float32)
    order = rng.permutation(len(classes))
    vectors, classes = vectors[order], classes[order]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=ALL)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--noise", type=float, default=0.0, help="in units of similarity; 0.25 to 1 in the source")
    chosen = parser.parse_args()
    vectors, classes = drawn(photos_each(chosen.photos), chosen.dim)
    print(f"{len(classes):,} photos of {classes.max() + 1:,} individuals, dim {chosen.dim}, noise {chosen.noise:g}")
    print(f"{'':<14}{'set-up s':>10}{'solve s':>9}{'again s':>9}{'similarity':>11}{'again':>9}{'GB':>7}")

    def timed(name: str, make: type, **settings: int) -> float:
        began = time.process_time()
        rng = np.random.default_rng(2)
        given = vectors @ vectors.T if make is AllOpponents else vectors
        opponents: Opponents = make(given, classes, noise=chosen.noise, rng=rng, **settings)
        seconds, similar = [time.process_time() - began], []
        for _ in range(2):
            began = time.process_time()
            opponent = opponents.draw()
            seconds.append(time.process_time() - began)
            assert (classes[opponent] != classes).all()
            assert len(np.unique(opponent)) == len(classes)
            similar.append(float(np.einsum("pd,pd->p", vectors, vectors[opponent]).mean()))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name:<14}{seconds[0]:10.1f}{seconds[1]:9.1f}{seconds[2]:9.1f}{similar[0]:11.6f}{similar[1]:9.5f}{memory:7.2f}",
            flush=True,
        )
        return similar[0]

    near = timed("32 nearest", NearestOpponents, k=32, n_draws=5)
    best = timed("exact", AllOpponents)
    print(f"similarity of the nearest form: {(best - near) / best:.5%} below that of the exact form")


if __name__ == "__main__":
    main()
