"""The verb *stack_identities*: boosted trees judge the individuals among a photo's nearest neighbours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.files import write_json
from fieldmark.core.spec import Count, Spec
from fieldmark.decisions.calibrated import parts
from fieldmark.decisions.specs import Calibration, Isotonic, MaxMap, PerGroup, UnknownAt
from fieldmark.gallery.rivals import COLUMNS, Rivals
from fieldmark.gallery.store import GalleryStore
from fieldmark.stacking.specs import IdentityStacking
from fieldmark.stages.apart import gallery_apart
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.embed import head_proba, new_head_proba
from fieldmark.stages.identity.rank import said
from fieldmark.stages.identity.ranking import write_ranked
from fieldmark.stages.job import Job

if TYPE_CHECKING:
    from fieldmark.stacking.identity_trees import IdentityTrees

TREES = "trees"
IMPORTANCE = "importance.json"
HEAD = ("head", "head's rank")
"""Columns of the head's own opinion: its probability, and the candidate's place by it among the rivals."""


class StackIdentities(Spec):
    """The second level for individuals; its probability also tells strangers.

    Trees learn from validation photos only, as described by the network that has not seen them, and each photo is
    judged by trees that have not seen it either. Numbers of training photos are refused where they would be made.

    Attributes:
        reads_from: The embed stage.
        on: Its split stage.
        settings: Of candidates, columns and trees.
        unknown: How the threshold is found on the validation photos.
        k: How many answers a photo gets.
        per_group: Thresholds for each group of photos; None: one for all.
        sure: How scores become probabilities; None: they do not.
    """

    verb: Literal["stack_identities"] = "stack_identities"
    name: str
    reads_from: str
    on: str
    settings: IdentityStacking = IdentityStacking()
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    per_group: PerGroup | None = None
    sure: Calibration | None = Isotonic()

    def reads(self) -> tuple[str, ...]:
        """The embed stage and the split."""
        return (self.reads_from, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write what a rank stage writes, the trees, and what they went by."""
        from fieldmark.stacking.identity_trees import grow_identity_trees

        known, fold = job.known, read_folds(job, self.on)
        rows = np.flatnonzero(fold >= 0)
        truth = judged_classes(job, self.on)[rows]
        n_threads, n_classes = os.cpu_count() or 1, len(known.vocabulary.identities)
        described = [self._validation(job, fold, k) for k in range(int(fold.max()) + 1)]
        whose = [np.flatnonzero(fold == k)[one.query] for k, one in enumerate(described)]
        row, name = np.concatenate(whose), np.concatenate([one.identity for one in described])
        part = np.full(len(known), -1)
        part[rows] = parts(truth, known.groups[rows], n_parts=self.settings.n_parts)
        grown = grow_identity_trees(
            np.concatenate([one.table for one in described]),
            known.classes[row] == name,
            part[row],
            names=described[0].names,
            by=self.settings,
            seed=job.seed,
            n_threads=n_threads,
        )
        scores = np.full((len(rows), n_classes), -np.inf, np.float32)
        scores[np.searchsorted(rows, row), name] = grown.proba
        (folder / TREES).mkdir(exist_ok=True)
        grown.trees.save(folder / TREES)
        write_json(folder / IMPORTANCE, [{"column": column, "share": share} for column, share in grown.importance])
        new_scores = None
        if job.new is not None and len(job.new):
            new_scores = self._new(job, folder, n_networks=len(described), n_threads=n_threads)
        decision = write_ranked(
            folder,
            job,
            by=self.name,
            rows=rows,
            truth=truth,
            scores=scores,
            new_scores=new_scores,
            unknown=self.unknown,
            k=self.k,
            per_group=self.per_group,
            sure=self.sure,
        )
        there = truth >= 0
        reached = np.isfinite(scores[there, truth[there]]).mean() if there.any() else 1.0
        return f"{len(row):,} candidates judged; they hold {reached:.1%} of the right names; {said(decision)}"

    def _validation(self, job: Job, fold: np.ndarray, k: int) -> Rivals:
        """The candidates of the photos held back from network k."""
        known, place = job.known, job.run.stage(self.reads_from)
        mine = [known.images[row] for row in np.flatnonzero(fold == k)]
        taught = [known.images[row] for row in np.flatnonzero(fold != k)]
        query = np.load(place / f"validation{k}.npy", allow_pickle=False)
        gallery = GalleryStore.open(place / f"gallery{k}").without(mine)
        return rivals_of(self.settings, gallery, query, mine, trained_on=taught, proba=head_proba(place, mine))

    def _new(self, job: Job, folder: Path, *, n_networks: int, n_threads: int) -> Float32[np.ndarray, "photo identity"]:
        """New photos by all networks, in the mean."""
        from fieldmark.stacking.identity_trees import IdentityTrees

        if job.new is None:
            raise TypeError("there are new photos where this is asked")
        place, trees = job.run.stage(self.reads_from), IdentityTrees.load(folder / TREES)
        galleries = [GalleryStore.open(place / f"gallery{k}") for k in range(n_networks)]
        return mean_of([self._by(job, trees, k=k, gallery=one, n_threads=n_threads) for k, one in enumerate(galleries)])

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by network ``k``, against photos that do not judge it; trees are those of all."""
        from fieldmark.stacking.identity_trees import IdentityTrees

        trees = IdentityTrees.load(job.run.stage(self.name) / TREES)
        gallery = gallery_apart(job, self.reads_from, self.on, k=k)
        return self._by(job, trees, k=k, gallery=gallery, n_threads=os.cpu_count() or 1)

    def _by(
        self, job: Job, trees: IdentityTrees, *, k: int, gallery: GalleryStore, n_threads: int
    ) -> Float32[np.ndarray, "photo identity"]:
        place, images = job.run.stage(self.reads_from), [] if job.new is None else job.new.images
        query, proba = np.load(place / f"new{k}.npy", allow_pickle=False), new_head_proba(place, k=k)
        found = rivals_of(self.settings, gallery, query, images, trained_on=gallery.images, proba=proba)
        told = trees.judge(found.table, found.names, n_threads=n_threads)
        return scattered(found, told, len(job.known.vocabulary.identities))


def rivals_of(
    settings: IdentityStacking,
    gallery: GalleryStore,
    query: Float32[np.ndarray, "view query dim"],
    images: Sequence[str],
    *,
    trained_on: Sequence[str],
    proba: Float32[np.ndarray, "query identity"] | None,
) -> Rivals:
    """The candidates with the columns that the settings ask for, and the head's opinion where there is one."""
    n_components = 0 if settings.columns == "likeness" else settings.n_components
    found = gallery.rivals(query, images, trained_on=trained_on, n_photos=settings.n_photos, n_components=n_components)
    table, names = found.table, found.names
    if settings.columns == "embedding":
        table, names = table[:, len(COLUMNS) :], names[len(COLUMNS) :]
    elif proba is not None:
        of = proba[found.query, found.identity]
        order = np.lexsort((-of, found.query))
        place = np.empty(len(order), np.float32)
        place[order] = np.arange(len(order)) - np.searchsorted(found.query[order], found.query[order]) + 1
        table, names = np.concatenate([table, of[:, None], place[:, None]], axis=1), (*names, *HEAD)
    table = np.ascontiguousarray(table, np.float32)
    return Rivals(found.query, found.identity, found.photo, table, names, found.n_queries)


def scattered(
    found: Rivals, proba: Float32[np.ndarray, " rival"], n_classes: int
) -> Float32[np.ndarray, "query identity"]:
    """Candidates' probabilities as a matrix; -inf for everybody else."""
    scores = np.full((found.n_queries, n_classes), -np.inf, np.float32)
    scores[found.query, found.identity] = proba
    return scores


def mean_of(judged: Sequence[Float32[np.ndarray, "query identity"]]) -> Float32[np.ndarray, "query identity"]:
    """The mean over networks; who is no candidate for one of them has probability 0 there."""
    total = np.zeros(judged[0].shape, np.float32)
    there = np.zeros(total.shape, bool)
    for one in judged:
        total += np.where(np.isfinite(one), one, 0) / np.float32(len(judged))
        there |= np.isfinite(one)
    return np.where(there, total, -np.inf).astype(np.float32)
