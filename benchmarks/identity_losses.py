"""Claim: losses with margins take about as long as plain cross-entropy, also with 10,008 classes (5,004 and flips).

Run ``OMP_NUM_THREADS=1 python benchmarks/identity_losses.py`` (the comparison needs the extra ``bench``). The script
prints the CPU seconds of one forward and backward pass from embeddings through head and loss: plain cross-entropy, each
margin, ArcFaceLoss of pytorch-metric-learning, and the aligned triplet loss. The affinity loss is measured without
regulariser, with a sample of 512 centres, with all centres in closed form, and (``--pairs``) with all pairs of centres.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fieldmark.losses.affinities import affinity, centre_spread
from fieldmark.losses.aligned import local_triplet
from fieldmark.losses.margins import arcface, combined, cosface, elastic
from fieldmark.losses.softmax import cross_entropy
from fieldmark.losses.triplet import batch_hard_triplet
from fieldmark.models.heads import Affinities, CosineLogits

SCALE = 30.0


def seconds(step: Callable[[], Tensor], times: int) -> float:
    """Return the shortest CPU time of a pass, because other programs may be running."""
    spent = []
    for _ in range(times + 1):  # the first pass also allocates memory
        start = time.process_time()
        step().backward()
        spent.append(time.process_time() - start)
    return min(spent[1:])


def all_pairs(centres: Tensor) -> Tensor:
    """Return the regulariser in the form of the paper, over every pair of centres."""
    lengths = centres.square().sum(dim=1)
    squared = lengths[:, None] + lengths[None] - 2 * centres @ centres.T
    return squared[torch.triu(torch.ones_like(squared, dtype=torch.bool), diagonal=1)].var(correction=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=10008)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--centres", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--pairs", action="store_true", help="also compute all pairs of centres (gigabytes)")
    options = parser.parse_args()
    torch.manual_seed(0)
    feature = torch.randn(options.batch, options.width, requires_grad=True)
    classes = torch.randint(0, options.classes, (options.batch,))
    chance = torch.Generator().manual_seed(0)
    head = CosineLogits(options.width, options.classes, scale=SCALE)
    centred = Affinities(options.width, options.classes, centres=options.centres, sigma=None)
    stripes = torch.randn(options.batch, 8, 512, requires_grad=True)

    def logits() -> Tensor:
        return head(normalize(feature, dim=1))

    def near(regular: Callable[[Tensor], Tensor | float] = lambda _: 0.0) -> Tensor:
        value = affinity(centred(feature), classes, flip_identity=True)
        return value + regular(centred.centres.flatten(0, 1))

    flips = {"flip_identity": True}
    steps: dict[str, Callable[[], Tensor]] = {
        "cross-entropy": lambda: cross_entropy(logits(), classes),
        "cross-entropy, mirror left out": lambda: cross_entropy(logits(), classes, **flips),
        "arcface, mirror left out": lambda: arcface(logits(), classes, scale=SCALE, **flips),
        "cosface, mirror left out": lambda: cosface(logits(), classes, scale=SCALE, **flips),
        "combined, mirror left out": lambda: combined(logits(), classes, scale=SCALE, **flips),
        "elastic, mirror left out": lambda: elastic(logits(), classes, scale=SCALE, chance=chance, **flips),
        "batch-hard triplet": lambda: batch_hard_triplet(normalize(feature, dim=1), classes % 12),
        "aligned triplet, 8 stripes of 512": lambda: local_triplet(normalize(stripes, dim=2), classes % 12),
        f"affinity, {options.centres} centres a class": near,
        "affinity, spread of 512 centres": lambda: near(lambda w: centre_spread(w, sample=512, chance=chance)),
        "affinity, spread of all centres": lambda: near(centre_spread),
    }
    if options.pairs:
        steps["affinity, all pairs formed"] = lambda: near(all_pairs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pytorch_metric_learning.losses import ArcFaceLoss
    except ImportError:
        print("pytorch-metric-learning is not installed (extra bench)")
    else:
        peer = ArcFaceLoss(options.classes, options.width, margin=28.6, scale=SCALE)
        steps["arcface, pytorch-metric-learning"] = lambda: peer(feature, classes)
    print(
        f"{options.classes} classes, width {options.width}, batch {options.batch}, {torch.get_num_threads()} thread(s)"
    )
    for name, step in steps.items():
        print(f"  {name:<36} {seconds(step, options.times):7.3f} CPU s", flush=True)


if __name__ == "__main__":
    main()
