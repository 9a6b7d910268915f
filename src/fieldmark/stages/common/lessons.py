"""What a network is given to learn from: items, truth and how it is watched, for individuals and for labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.seeds import hash_seed
from fieldmark.data.twins import named_strangers
from fieldmark.data.vocabulary import UNKNOWN, UNLABELLED, Vocabulary
from fieldmark.stages.common.split import classes_by, teaches
from fieldmark.stages.identity.recruit import recruits_of
from fieldmark.stages.job import Job

if TYPE_CHECKING:
    from fieldmark.models.network import Network
    from fieldmark.stages.common.train import Train
    from fieldmark.training.loop import Lesson, Watch
    from fieldmark.training.opinions import Opinions
    from fieldmark.training.ranks import Ranks


AT_ONCE = 1024
"""Strangers that teachers are asked about together: each answer is a probability for every individual."""


@dataclass(frozen=True)
class Extra:
    """New photos that a network learns from beside the known ones: rows of ``job.new`` and their targets, 0-1."""

    rows: Int64[np.ndarray, " extra"]
    targets: Float32[np.ndarray, "extra label"]


def identity_lesson(stage: Train, job: Job, *, k: int, fold: np.ndarray) -> Lesson:
    """Individuals for network ``k``: items are the photos, then (with recruits) the new ones; all mirrored follow."""
    from fieldmark.pipeline.networks import label_source
    from fieldmark.training.loop import Lesson

    known = job.known
    strangers = (known.classes == UNKNOWN) & stage.unknowns & ~named_strangers(known.paths, known.classes)
    items = np.flatnonzero(teaches(job, fold, k=k) & ((known.classes >= 0) | strangers))
    parts, classes = [known], known.classes
    if stage.enlarged is not None and job.new is not None and len(job.new):
        rows, names = recruits_of(job, stage.enlarged, k=k)
        of_new = np.full(len(job.new), UNLABELLED, dtype=np.int64)
        of_new[rows] = names
        items = np.concatenate([items, len(known) + np.sort(rows)])
        parts, classes = [known, job.new], np.concatenate([classes, of_new])
    images = [image for part in parts for image in part.images]
    n = len(images)
    if stage.flip_identity or stage.mirrored:
        shift = len(known.vocabulary.identities) if stage.flip_identity else 0
        classes = np.concatenate([classes, np.where(classes >= 0, classes + shift, classes)])
        items = np.concatenate([items, items + n])
    return Lesson(
        source=label_source(
            parts,
            stage.preprocess,
            augment=stage.augment,
            versions=stage.versions,
            seed=hash_seed(job.seed, stage.name),
        ),
        items=items,
        sampler=stage.sampler,
        losses=stage.losses,
        classes=classes,
        taught=_taught(stage, job, k=k, items=items[classes[items] == UNKNOWN], n_items=len(classes)),
        names=lambda item: images[item % n] + (" mirrored" if item >= n else ""),
        flip_identity=stage.flip_identity,
        n_photos=n,
    )


def _taught(stage: Train, job: Job, *, k: int, items: np.ndarray, n_items: int) -> Opinions | None:
    """What the networks ``k`` of other stages say of the strangers among known photos, mirrored ones as such.

    Strangers are all known photos, as new ones teach only as individuals; item ``i + n`` is item ``i`` mirrored.
    """
    from fieldmark.pipeline.networks import saved_nets
    from fieldmark.training.opinions import Opinions

    if not stage.taught or not len(items):
        return None
    mirrored = stage.flip_identity or stage.mirrored
    n = n_items // (2 if mirrored else 1)
    rows = items[items < n]
    blocks = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    nets = [saved_nets(job.run.stage(name), device=job.device)[k] for name in stage.taught]

    def views() -> Iterator[np.ndarray]:
        for block in blocks:
            said = [net.competing(job.known.take(block), flip=mirrored, n_workers=job.n_workers) for net in nets]
            yield from np.asarray(np.mean(said, axis=0, dtype=np.float32))

    order = [view for block in blocks for view in ((block, block + n) if mirrored else (block,))]
    return Opinions.of(np.concatenate(order), views(), n_items=n_items)


def label_lesson(
    stage: Train,
    job: Job,
    *,
    k: int,
    fold: np.ndarray,
    kept: np.ndarray,
    truth: Float32[np.ndarray, "image label"],
    extra: Extra | None,
) -> Lesson:
    """Labels for network ``k``: items are the known photos, then the new ones; all of them mirrored follow.

    Without augmentation the mirrored photos are items of their own, so that features of a frozen backbone can be
    kept; with one, mirroring is the augmentation's own business.

    Args:
        stage: The train stage.
        job: Known and new photos.
        k: The fold that is held back.
        fold: Of each known photo.
        kept: Which known photos may teach at all.
        truth: Targets of the known photos for the columns this network answers.
        extra: New photos with targets for the same columns.
    """
    from fieldmark.pipeline.networks import label_source
    from fieldmark.training.loop import Lesson

    new = job.visible
    n, n_new = len(job.known), len(new) if new is not None else 0
    items = np.flatnonzero(teaches(job, fold, k=k) & kept)
    targets = np.zeros((n + n_new, truth.shape[1]), dtype=np.float32)
    targets[:n] = truth
    if extra is not None and len(extra.rows):
        targets[n + extra.rows] = extra.targets
        items = np.concatenate([items, n + extra.rows])
    if stage.augment.kind == "none":
        items = np.concatenate([items, items + n + n_new])
    images = [*job.known.images, *(new.images if new is not None else ())]
    return Lesson(
        source=label_source(
            (job.known, new),
            stage.preprocess,
            augment=stage.augment,
            versions=stage.versions,
            seed=hash_seed(job.seed, stage.name),
        ),
        items=items,
        sampler=stage.sampler,
        losses=stage.losses,
        truth=targets,
        names=lambda item: images[item % len(images)] + (" mirrored" if item >= len(images) else ""),
    )


def identity_watch(stage: Train, job: Job, *, k: int, fold: np.ndarray, group: Ranks) -> Watch | None:
    """MAP@5 among identities on this fold's validation photos of individuals it learns, by the head's logits."""
    from fieldmark.pipeline.networks import photo_source
    from fieldmark.training.embed import embed

    known = job.known
    rows = np.flatnonzero((fold == k) & (classes_by(known, fold) >= 0))
    if stage.net.head.kind in {"embedding", "pair"} or not len(rows) or not stage.training.legs:
        return None
    source = photo_source(known.take(rows), stage.preprocess)
    truth, n_identities = known.classes[rows], len(known.vocabulary.identities)

    def watch(network: Network) -> dict[str, float]:
        seen = embed(network, source, device=group.device, n_workers=job.n_workers, logits=True)
        if (logits := seen.logits) is None:  # the head gives none; there is nothing to watch
            return {}
        own = np.take_along_axis(logits[0], truth[:, None], axis=1)
        place = (logits[0][:, :n_identities] > own).sum(axis=1) + 1
        return {"validation map5 (known)": float(np.where(place <= 5, 1 / place, 0.0).mean())}

    return watch


def answer_watch(stage: Train, job: Job, *, k: int, fold: np.ndarray, group: Ranks) -> Watch | None:
    """The share of this fold's validation questions that the head's likeliest answer is right for."""
    from fieldmark.decisions.settling import likeliest
    from fieldmark.pipeline.networks import photo_source
    from fieldmark.training.embed import embed

    known, columns = job.known, columns_of(stage.groups, job.known.vocabulary)
    rows = np.flatnonzero((fold == k) & known.present)
    if not len(rows) or not stage.training.legs or stage.training.spares_backbone:
        return None  # a head alone is trained in seconds, and looking would take longer than learning
    source = photo_source(known.take(rows), stage.preprocess)
    truth = known.truth[np.ix_(rows, columns)] > 0
    numbers, question_of = np.unique(known.vocabulary.question_of[columns], return_inverse=True)
    told = known.told[np.ix_(rows, numbers)]

    def watch(network: Network) -> dict[str, float]:
        seen = embed(network, source, device=group.device, n_workers=job.n_workers, logits=True)
        if (logits := seen.logits) is None:  # the head gives none; there is nothing to watch
            return {}
        right = np.take_along_axis(truth, likeliest(logits[0], question_of), axis=1)
        return {"validation right": float(right[told].mean())}

    return watch


def columns_of(groups: Sequence[str], vocabulary: Vocabulary) -> Int64[np.ndarray, " column"]:
    """The columns of the labels in these groups, in column order; of all labels if none is named."""
    if not groups:
        return np.arange(len(vocabulary.tags), dtype=np.int64)
    return np.array(sorted(column for group in groups for column in vocabulary.groups[group]), dtype=np.int64)
