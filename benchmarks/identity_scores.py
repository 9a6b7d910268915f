"""Claim: identity scores of a whole contest take seconds on one core.

Run ``OMP_NUM_THREADS=1 python benchmarks/identity_scores.py``. There are two cases: all test photos of Humpback 2018/19
against all training photos (7,960 x 15,697, 5,004 identities, embeddings of 512 numbers), and a long-tailed gallery of
8,000 identities with embeddings of the packaged backbone (1,686 x 16,000, 1,280 numbers). The embeddings are random,
because the speed does not depend on them.
"""

from __future__ import annotations

import resource
import time

import numpy as np

from fieldmark.decisions.identities import from_embeddings
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import Best, Centroid, MaxMap, MeanTop
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery.search import nearest_photos

CASES = [(7960, 15697, 5004, 512), (1686, 16000, 8000, 1280)]


def unit(chance: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Return random rows of length 1."""
    rows = chance.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def long_tail(chance: np.random.Generator, n: int, n_classes: int) -> np.ndarray:
    """Return classes: every class once, the rest by a power law."""
    weight = np.arange(1, n_classes + 1) ** -0.6
    more = chance.choice(n_classes, n - n_classes, p=weight / weight.sum())
    return chance.permutation(np.concatenate([np.arange(n_classes), more]))


def main() -> None:
    chance = np.random.default_rng(0)
    for n_queries, n_gallery, n_classes, dim in CASES:
        print(f"{n_queries:,} queries x {n_gallery:,} photos x {n_classes:,} identities, dim {dim}")
        query, gallery = unit(chance, n_queries, dim), unit(chance, n_gallery, dim)
        classes, truth = long_tail(chance, n_gallery, n_classes), chance.integers(-1, n_classes, n_queries)
        scores = from_embeddings(query, gallery, classes, n_classes=n_classes)
        functions = {
            "matrix product only": lambda q=query, g=gallery: q @ g.T,
            **{
                f"identities by {by.kind}": lambda q=query, g=gallery, c=classes, n=n_classes, by=by: from_embeddings(
                    q, g, c, n_classes=n, by=by
                )
                for by in (Best(), MeanTop(m=3), Centroid())
            },
            "rank, k=5": lambda s=scores: rank(s, unknown_at=0.1),
            "exact best threshold": lambda s=scores, t=truth: fit_unknown_threshold(MaxMap(), s, t),
            "5 nearest photos": lambda q=query, g=gallery: nearest_photos(q, g, k=5),
        }
        for what, function in functions.items():
            start = time.process_time()
            function()
            print(f"  {what:<28} {time.process_time() - start:6.2f} CPU-s")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
