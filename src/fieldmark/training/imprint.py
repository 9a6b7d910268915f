"""Class directions that begin where the photos of the class are, instead of anywhere."""

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
APART = 0.05
"""Length of what is added to tell several directions of one class apart; they have length 1."""


def imprint(network: Network, lesson: Lesson, phase: Phase, *, at: WorkDirectory, seed: int) -> None:
    """Set the neck's statistics and each class's direction from what the network sees before it has learnt anything.

    With thousands of individuals of one or two photos each, a softmax that begins with random directions spends its
    first epochs finding out where everybody is, and pulls the backbone about meanwhile. Their mean embedding is where
    training would bring them anyway.

    Only where a direction points counts, but the longer it is the slower it turns: each step of Adam changes every
    number of it by about the learning rate. So directions get the length at which their numbers are around 1; at
    length 1 some thirty steps would undo what was set here.

    Args:
        network: With a cosine head; changed in place. Classes without a photo keep their random direction.
        lesson: Its photos and their classes; each is shown once, as in the first epoch.
        phase: The first one: what it freezes may be kept from other runs.
        at: Where to compute.
        seed: Of what tells several directions of a class apart.

    Raises:
        PlanError: The head has no directions, or the lesson no classes.

    Source:
        Qi, Brown and Lowe 2018, arXiv:1712.07136 (imprinted weights); for all classes at the start of training: ours.
    """
    head = network.head
    if not isinstance(head, CosineLogits) or lesson.classes is None:
        raise PlanError(
            "Only a cosine head that learns individuals can be imprinted.",
            got=f"head {network.net.head.kind}",
            fix='use head = {kind = "cosine", imprinted = true} and photos with identities.',
        )
    was_training = network.training
    freeze(network, phase.freeze)
    items = lesson.items[lesson.classes[lesson.items] >= 0]
    way = body(network, lesson.source, items=items, features=at.features, progress=at.progress, n_workers=at.n_workers)
    order = items[np.minimum(np.arange(-(-len(items) // AT_ONCE) * AT_ONCE), len(items) - 1)].reshape(-1, AT_ONCE)
    network.to(at.group.device).eval()
    with torch.no_grad():
        pictures = way.source.batches(order, epoch=0, n_workers=at.n_workers)
        batches = at.progress.track(pictures, total=len(order), what="a first look at everybody")
        seen = [way.above(way.below(batch.to(at.group.device))).feature.float() for batch in batches]
        feature = torch.cat(seen)[: len(items)]
        if isinstance(network.neck, BatchNormNeck):
            norm = network.neck.norm
            norm.running_mean, norm.running_var = feature.mean(dim=0), feature.var(dim=0)
        embedding = torch.cat([unit(network.projection(network.neck(part))) for part in feature.split(4096)])
        classes = torch.from_numpy(lesson.classes[items]).to(embedding.device)
        total = torch.zeros(network.n_classes, embedding.shape[1], device=embedding.device)
        total.index_add_(0, classes, embedding)
        met = total.norm(dim=1) > 0
        directions = head.directions.data.view(network.n_classes, head.n_centres, -1)
        chance = torch.Generator().manual_seed(hash_seed(seed, "imprint"))
        noise = torch.randn(directions.shape, generator=chance).to(directions)
        apart = APART * noise / noise.norm(dim=2, keepdim=True) if head.n_centres > 1 else 0 * noise
        directions[met] = (unit(total[met])[:, None] + apart[met]) * math.sqrt(directions.shape[2])
    network.train(was_training)
