"""Training data of one fold's network: items, ground truth and the validation metric, for identities and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.seeds import hash_seed
from fieldmark.data.collection import Collection
from fieldmark.data.copies import named_unknowns
from fieldmark.data.vocabulary import UNKNOWN, UNLABELLED, Vocabulary
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.artifacts.selection import DroppedPhotos, IdentityPseudoLabels, LabelPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.stages.common.questions import labelled_answers

if TYPE_CHECKING:
    from fieldmark.models.network import Network
    from fieldmark.stages.common.train import Train
    from fieldmark.training.loop import Lesson, Watch
    from fieldmark.training.ranks import Ranks
    from fieldmark.training.sparse_proba import SparseProba


AT_ONCE = 1024
"""Photos of unknown individuals per teacher batch. Each teacher output is one probability per known individual."""


def identity_lesson(stage: Train, context: Context, *, k: int) -> Lesson:
    """Return the training data of network ``k`` for identification.

    The items are the known photos, then the new photos with pseudo-labels, then the mirrored copies of all of them.
    """
    from fieldmark.quality.regions.sources import label_source
    from fieldmark.training.loop import Lesson

    known, folds = context.known, context.artifact(Folds, stage.on)
    unknown = (known.classes == UNKNOWN) & stage.unknowns & ~named_unknowns(known.paths, known.classes)
    items = np.flatnonzero(folds.teaches(known, k=k) & ((known.classes >= 0) | unknown))
    parts, classes = [known], known.classes
    if stage.enlarged is not None and context.new is not None and len(context.new):
        picked = context.artifact(IdentityPseudoLabels, stage.enlarged)
        rows = picked.rows(k)
        new_classes = np.full(len(context.new), UNLABELLED, dtype=np.int64)
        new_classes[rows] = picked.classes(k)
        items = np.concatenate([items, len(known) + np.sort(rows)])
        parts, classes = [known, context.new], np.concatenate([classes, new_classes])
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
            seed=hash_seed(context.seed, stage.name),
        ),
        items=items,
        sampler=stage.sampler,
        losses=stage.losses,
        classes=classes,
        taught=_taught(stage, context, k=k, items=items[classes[items] == UNKNOWN], n_items=len(classes)),
        names=lambda item: images[item % n] + (" mirrored" if item >= n else ""),
        flip_identity=stage.flip_identity,
        n_photos=n,
    )


def _taught(stage: Train, context: Context, *, k: int, items: np.ndarray, n_items: int) -> SparseProba | None:
    """Return the teachers' mean probabilities for the known photos of unknown individuals, or None without teachers.

    The teachers are the networks of fold ``k`` of other stages. Item ``i + n`` is item ``i`` mirrored, and its teachers
    predict the mirrored photo. New photos are not among the items: a pseudo-label always names an individual.
    """
    from fieldmark.training.sparse_proba import SparseProba

    if not stage.taught or not len(items):
        return None
    mirrored = stage.flip_identity or stage.mirrored
    n = n_items // (2 if mirrored else 1)
    rows = items[items < n]
    blocks = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    nets = [context.artifact(Models, name).nets(context.device)[k] for name in stage.taught]

    def views() -> Iterator[np.ndarray]:
        for block in blocks:
            photos = context.known.take(block)
            proba = [net.competing(photos, flip=mirrored, n_workers=context.n_workers) for net in nets]
            yield from np.asarray(np.mean(proba, axis=0, dtype=np.float32))

    order = [view for block in blocks for view in ((block, block + n) if mirrored else (block,))]
    return SparseProba.of(np.concatenate(order), views(), n_items=n_items)


def label_lesson(stage: Train, context: Context, *, k: int) -> Lesson:
    """Return the training data of network ``k`` for labels.

    The items are the known photos, then the new photos with pseudo-labels. Without augmentation the mirrored photos are
    separate items, so that the features of a frozen backbone can be cached. With augmentation no mirrored items are
    added, because the augmentation itself mirrors photos at random.
    """
    from fieldmark.quality.regions.sources import label_source
    from fieldmark.training.loop import Lesson

    known, new = context.known, visible(context.new)
    columns = columns_of(stage.groups, known.vocabulary)
    n, n_new = len(known), len(new) if new is not None else 0
    teaches = context.artifact(Folds, stage.on).teaches(known, k=k)
    if stage.trusted is not None:
        teaches &= context.artifact(DroppedPhotos, stage.trusted).stays(known)
    items = np.flatnonzero(teaches)
    targets = np.zeros((n + n_new, len(columns)), dtype=np.float32)
    targets[:n] = _targets(stage, context)[:, columns]
    if stage.enlarged is not None:
        picked = context.artifact(LabelPseudoLabels, stage.enlarged)
        if len(rows := picked.rows(k)):
            targets[n + rows] = picked.targets(k)[:, columns]
            items = np.concatenate([items, n + rows])
    if stage.augment.kind == "none":
        items = np.concatenate([items, items + n + n_new])
    images = [*known.images, *(new.images if new is not None else ())]
    return Lesson(
        source=label_source(
            (known, new),
            stage.preprocess,
            augment=stage.augment,
            versions=stage.versions,
            seed=hash_seed(context.seed, stage.name),
        ),
        items=items,
        sampler=stage.sampler,
        losses=stage.losses,
        truth=targets,
        names=lambda item: images[item % len(images)] + (" mirrored" if item >= len(images) else ""),
    )


def _targets(stage: Train, context: Context) -> Float32[np.ndarray, "photo label"]:
    """Return the training targets of the known photos.

    Missing labels are filled in where the stage asks for it. Questions without an answer in the table are NaN.
    """
    known = context.known
    truth = known.truth
    if stage.filled is not None:
        from fieldmark.quality.labels.distill import missing_filled

        proba = context.artifact(LabelScores, stage.filled).known(known)
        truth = missing_filled(truth, proba, times=stage.fill_times)
    if stage.learns_answers:
        truth = np.where(labelled_answers(known), truth, np.nan).astype(np.float32)
    return truth


def visible(new: Collection | None) -> Collection | None:
    """Return the new photos that have an image file."""
    return new if new is None or new.present.all() else new.take(new.present)


def identity_watch(stage: Train, context: Context, *, k: int, group: Ranks) -> Watch | None:
    """Return a function that measures MAP@5 of the head's logits on this fold's validation photos.

    Only photos of individuals that the network is trained on are counted. None if there is nothing to measure.
    """
    from fieldmark.quality.regions.sources import photo_source
    from fieldmark.training.embed import embed_photos

    known, folds = context.known, context.artifact(Folds, stage.on)
    rows = np.flatnonzero((folds.fold == k) & (folds.classes(known) >= 0))
    if stage.net.head.kind in {"embedding", "pair"} or not len(rows) or not stage.training.phases:
        return None
    source = photo_source(known.take(rows), stage.preprocess)
    truth, n_identities = known.classes[rows], len(known.vocabulary.identities)

    def watch(network: Network) -> dict[str, float]:
        outputs = embed_photos(network, source, device=group.device, n_workers=context.n_workers, logits=True)
        if (logits := outputs.logits) is None:  # the head has no logits: nothing to measure
            return {}
        own = np.take_along_axis(logits[0], truth[:, None], axis=1)
        place = (logits[0][:, :n_identities] > own).sum(axis=1) + 1
        return {"validation map5 (known)": float(np.where(place <= 5, 1 / place, 0.0).mean())}

    return watch


def answer_watch(stage: Train, context: Context, *, k: int, group: Ranks) -> Watch | None:
    """Return a function that measures the accuracy of the head's likeliest answers on this fold's validation photos.

    Only questions that the table answers are counted. None if there is nothing to measure.
    """
    from fieldmark.decisions.hierarchy import likeliest
    from fieldmark.quality.regions.sources import photo_source
    from fieldmark.training.embed import embed_photos

    known, columns = context.known, columns_of(stage.groups, context.known.vocabulary)
    rows = np.flatnonzero((context.artifact(Folds, stage.on).fold == k) & known.present)
    if not len(rows) or not stage.training.phases or stage.training.spares_backbone:
        return None  # training a head alone takes seconds; measuring would take longer than training
    source = photo_source(known.take(rows), stage.preprocess)
    truth = known.truth[np.ix_(rows, columns)] > 0
    numbers, question_of = np.unique(known.vocabulary.question_of[columns], return_inverse=True)
    has_answer = known.has_answer[np.ix_(rows, numbers)]

    def watch(network: Network) -> dict[str, float]:
        outputs = embed_photos(network, source, device=group.device, n_workers=context.n_workers, logits=True)
        if (logits := outputs.logits) is None:  # the head has no logits: nothing to measure
            return {}
        right = np.take_along_axis(truth, likeliest(logits[0], question_of), axis=1)
        return {"validation right": float(right[has_answer].mean())}

    return watch


def columns_of(groups: Sequence[str], vocabulary: Vocabulary) -> Int64[np.ndarray, " column"]:
    """Return the columns of the labels in these groups, in column order. Without groups, return all columns."""
    if not groups:
        return np.arange(len(vocabulary.tags), dtype=np.int64)
    return np.array(sorted(column for group in groups for column in vocabulary.groups[group]), dtype=np.int64)
