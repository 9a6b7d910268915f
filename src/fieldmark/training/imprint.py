"""Imprinted weights: the class directions of a cosine head start at the mean embedding of their class."""

from __future__ import annotations

import math

import numpy as np
import torch

from fieldmark.core.errors import PlanError
from fieldmark.core.seeds import hash_seed
from fieldmark.models.heads import BatchNormNeck, CosineLogits, unit
from fieldmark.models.network import Network, freeze
from fieldmark.training.features import body
from fieldmark.training.lesson import Lesson
from fieldmark.training.specs import Phase
from fieldmark.training.work_directory import WorkDirectory

AT_ONCE = 64
SPREAD = 0.05
"""Length of the random vector that separates several directions of one class. The directions have length 1."""


def imprint(network: Network, lesson: Lesson, phase: Phase, *, at: WorkDirectory, seed: int) -> None:
    """Set the neck's statistics and the class directions from the embeddings of the untrained network.

    With thousands of individuals of one or two photos each, a softmax with random initial directions spends its first
    epochs on moving the directions to their classes, and disturbs the backbone meanwhile. Training would move the
    directions to the mean embeddings anyway.

    The length of a direction does not change the predictions, but a longer direction turns more slowly: each step of
    Adam changes each coordinate by about the learning rate. The directions therefore get a length at which their
    coordinates are around 1. With length 1, about thirty steps would undo the imprinting.

    Args:
        network: Network with a cosine head; changed in place. Classes without a photo keep their random direction.
        lesson: Photos and their classes. Each photo is used once, as in the first epoch.
        phase: First training phase. Features of its frozen stages may be cached.
        at: Work directory and device.
        seed: Random seed of the vectors that separate several directions of one class.

    Raises:
        PlanError: The head has no directions, or the lesson has no classes.

    Source:
        Qi, Brown and Lowe 2018, arXiv:1712.07136 (imprinted weights); for all classes at the start of training: ours.
    """
    head = network.head
    if not isinstance(head, CosineLogits) or lesson.classes is None:
        raise PlanError(
            "imprinted: only a cosine head for individuals can be imprinted.",
            got=f"head {network.net.head.kind}",
            fix='use head = {kind = "cosine", imprinted = true} and photos with identities.',
        )
    was_training = network.training
    freeze(network, phase.freeze)
    items = lesson.items[lesson.classes[lesson.items] >= 0]
    split = body(
        network, lesson.source, items=items, features=at.features, progress=at.progress, n_workers=at.n_workers
    )
    order = items[np.minimum(np.arange(-(-len(items) // AT_ONCE) * AT_ONCE), len(items) - 1)].reshape(-1, AT_ONCE)
    network.to(at.group.device).eval()
    with torch.no_grad():
        pictures = split.source.batches(order, epoch=0, n_workers=at.n_workers)
        batches = at.progress.track(pictures, total=len(order), what="imprint class directions")
        features = [split.above(split.below(batch.to(at.group.device))).feature.float() for batch in batches]
        feature = torch.cat(features)[: len(items)]
        if isinstance(network.neck, BatchNormNeck):
            norm = network.neck.norm
            norm.running_mean, norm.running_var = feature.mean(dim=0), feature.var(dim=0)
        embedding = torch.cat([unit(network.projection(network.neck(part))) for part in feature.split(4096)])
        classes = torch.from_numpy(lesson.classes[items]).to(embedding.device)
        total = torch.zeros(network.n_classes, embedding.shape[1], device=embedding.device)
        total.index_add_(0, classes, embedding)
        has_photos = total.norm(dim=1) > 0
        directions = head.directions.data.view(network.n_classes, head.n_centres, -1)
        chance = torch.Generator().manual_seed(hash_seed(seed, "imprint"))
        noise = torch.randn(directions.shape, generator=chance).to(directions)
        spread = SPREAD * noise / noise.norm(dim=2, keepdim=True) if head.n_centres > 1 else 0 * noise
        directions[has_photos] = (unit(total[has_photos])[:, None] + spread[has_photos]) * math.sqrt(
            directions.shape[2]
        )
    network.train(was_training)
