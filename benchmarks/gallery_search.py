"""Claim: the search for the five best of 5,004 identities (15,697 photos) takes at most 1 ms per query, of 7,960.

Run ``OMP_NUM_THREADS=1 python benchmarks/gallery_search.py`` (one core; ``--dim 1280`` is the width of the packaged
backbone, ``--peer-queries 796`` the number of queries for the other toolkit). The numbers of photos and identities are
those of Humpback 2018/19. Embeddings are simulated: one direction per identity, with noise.

The results are compared with a slow reference (every pair in float64, photo by photo) on some queries, and with the
other toolkit, wildlife-tools. Its package (0.0.9) contains only an older classifier. The two classifiers that its
authors publish now are therefore reimplemented here, also with torch:

* ``KnnClassifier(k)``: the whole cosine matrix, a copy of it as a tensor, ``topk(k)`` photos per query, then
  ``np.unique`` of their labels query by query. The result is one identity per query, not five.
* ``TopkClassifier(k)``, which returns k identities: the whole matrix, each row sorted completely (``topk`` of all
  photos), all labels in that order as a matrix, then a Python loop over each whole row that records each label at its
  first occurrence; the first k are the result.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fieldmark.decisions.identities import from_embeddings
from fieldmark.decisions.ranking import rank
from fieldmark.gallery.identities import Products, best_identities

N_QUERIES, N_PHOTOS, N_IDENTITIES = 7960, 15697, 5004


def drawn(chance: np.random.Generator, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return queries, gallery and its classes: every identity once, the rest by a power law."""
    weight = np.arange(1, N_IDENTITIES + 1) ** -0.6
    more = chance.choice(N_IDENTITIES, N_PHOTOS - N_IDENTITIES, p=weight / weight.sum())
    classes = chance.permutation(np.concatenate([np.arange(N_IDENTITIES), more]))
    centre = chance.standard_normal((N_IDENTITIES, dim), dtype=np.float32)
    shown = chance.integers(0, N_IDENTITIES, N_QUERIES)
    photos = [centre[of] + 2 * chance.standard_normal((len(of), dim), dtype=np.float32) for of in (shown, classes)]
    query, gallery = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in photos)
    return query, gallery, classes


def oracle(query: np.ndarray, gallery: np.ndarray, classes: np.ndarray, k: int) -> list[int]:
    """Return the best k identities of one query, computed photo by photo."""
    best: dict[int, float] = {}
    for photo, name in zip(gallery, classes.tolist(), strict=True):
        cosine = float(np.float32(np.dot(query.astype(np.float64), photo.astype(np.float64))))
        best[name] = max(best.get(name, -2.0), cosine)
    return sorted(best, key=lambda name: (-best[name], name))[:k]


def peer_matrix(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    import torch
    from torch.nn.functional import normalize

    a, b = torch.tensor(query), torch.tensor(gallery)
    return torch.matmul(normalize(a), normalize(b).T).numpy()


def peer_one_name(query: np.ndarray, gallery: np.ndarray, classes: np.ndarray, k: int) -> list[Any]:
    import torch

    value, index = torch.tensor(peer_matrix(query, gallery), dtype=torch.float32).topk(k=k, dim=1)
    answers = []
    for labels, similarity in zip(classes[index.numpy()], value.numpy(), strict=True):
        names, counts = np.unique(labels, return_counts=True)
        most = names[counts == counts.max()]
        answers.append(max(most, key=lambda name, of=labels, by=similarity: by[of == name].mean()))
    return answers


def peer_identities(query: np.ndarray, gallery: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    import torch

    matrix = torch.tensor(peer_matrix(query, gallery), dtype=torch.float32)
    _, index = matrix.topk(k=matrix.shape[1], dim=1)
    answers = []
    for row in np.array(classes[index.numpy()]):
        added, found = set(), []
        for label in row:
            if label not in added:
                added.add(label)
                found.append(label)
        answers.append(found[:k])
    return np.array(answers)


def timed(what: str, function: Callable[[], Any], n_queries: int) -> tuple[float, Any]:
    start = time.process_time()
    made = function()
    took = (time.process_time() - start) / n_queries * 1000
    print(f"{what:<46} {took:8.3f} CPU-ms per query ({n_queries:,} queries)")
    return took, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--peer-queries", type=int, default=796)
    parser.add_argument("--oracle-queries", type=int, default=40)
    options = parser.parse_args()
    import torch

    from fieldmark.training.products import ROUNDING, BfloatProducts

    torch.set_num_threads(1)
    torch.ones(8, 8).bfloat16() @ torch.ones(8, 8).bfloat16()  # the first product loads kernels
    query, gallery, classes = drawn(np.random.default_rng(0), options.dim)
    print(f"{N_QUERIES:,} queries x {N_PHOTOS:,} photos of {N_IDENTITIES:,} identities, dim {options.dim}")
    timed("the bare matrix product", lambda: query @ gallery.T, N_QUERIES)
    plain, exact = timed(
        "fieldmark best_identities, k=5, float32", lambda: best_identities(query, gallery, classes), N_QUERIES
    )
    products = Products(BfloatProducts, ROUNDING)
    mine, found = timed(
        "fieldmark best_identities, k=5, bfloat16",
        lambda: best_identities(query, gallery, classes, products=products),
        N_QUERIES,
    )
    print(f"  the same answers: {bool((found.identities == exact.identities).all())}")
    timed(
        "fieldmark all scores, then rank",
        lambda: rank(from_embeddings(query, gallery, classes, n_classes=N_IDENTITIES), unknown_at=None),
        N_QUERIES,
    )
    few = query[: options.peer_queries]
    one, _ = timed(
        "as wildlife-tools KnnClassifier(k=5), one identity", lambda: peer_one_name(few, gallery, classes, 5), len(few)
    )
    five, theirs = timed(
        "as wildlife-tools TopkClassifier(k=5)", lambda: peer_identities(few, gallery, classes, 5), len(few)
    )
    for kind, own in (("bfloat16", mine), ("float32", plain)):
        print(f"times faster, {kind}: {five / own:.1f} (TopkClassifier), {one / own:.1f} (KnnClassifier, one identity)")
    same = sum(
        oracle(query[row], gallery, classes, 5) == found.identities[row].tolist()
        for row in range(options.oracle_queries)
    )
    print(f"equal to the slow oracle: {same} of {options.oracle_queries}; to the peer: ", end="")
    print(f"{int((theirs == found.identities[: len(few)]).all(axis=1).sum())} of {len(few)}")


if __name__ == "__main__":
    main()
