"""The verb *rescore*: the first names of a ranking, looked at again by a pair head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json, write_json
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.spec import Count, Fraction, Spec
from fieldmark.data.collection import Collection
from fieldmark.decisions.ranking import top
from fieldmark.decisions.specs import Calibration, Logistic, MaxMap, UnknownAt
from fieldmark.decisions.thresholds import find
from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.apart import apart, gallery_apart
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.ranking import SCORES, new_scores_of, write_ranked
from fieldmark.stages.job import Job

if TYPE_CHECKING:
    from fieldmark.pipeline.networks import SavedNet
    from fieldmark.stages.engine import Opened

RESCORING = "rescoring.json"
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
"""Weights of the pair head that are tried."""


class Rescore(Spec):
    """Let a pair head look at each photo beside its likeliest individuals, and mix what it says with the ranking.

    An embedding is made of one photo alone; a pair head sees what two photos have in common, but must be asked about
    each pair. So the ranking of a quicker judge makes a shortlist. An individual is as likely as the photo of his that
    the pair head likes best; of those who are not on the shortlist it thinks nothing (0).

    Attributes:
        reads_from: The rank stage whose scores make the shortlist; any network may be behind it.
        of: The train stage with the pair heads.
        embedded: The embed stage of that train stage.
        on: The split stage of all of them.
        shortlist: Individuals a photo; None: everybody.
        weight: Of the pair head's probability; the ranking's own score has the rest. 1: the pair head alone; None: what
            serves validation photos best.
        unknown: How the threshold is found on the validation photos.
        k: How many answers a photo gets.
        sure: How scores become probabilities; None: they do not.
    """

    verb: Literal["rescore"] = "rescore"
    name: str
    reads_from: str
    of: str
    embedded: str
    on: str
    shortlist: Count | None = 20
    weight: Fraction | None = None
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    sure: Calibration | None = Logistic()

    def reads(self) -> tuple[str, ...]:
        """The rank stage, the networks, what they embedded, and the split."""
        return (self.reads_from, self.of, self.embedded, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write scores, threshold, rankings and the weight, as a rank stage does; say what it brought."""
        place = job.run.stage(self.reads_from)
        rows = np.flatnonzero(read_folds(job, self.on) >= 0)
        truth = judged_classes(job, self.on)[rows]
        told = truth >= -1
        scores, new_scores = np.load(place / SCORES, allow_pickle=False), new_scores_of(place, job)
        judged = self._of_validation(job, scores, rows)
        weight = self._best_weight(scores[told], judged[told], truth[told]) if self.weight is None else self.weight
        before = find(self.unknown, scores[told], truth[told], k=self.k).map_at_k
        write_json(folder / RESCORING, {"weight": weight, "map_before": before})
        decision = write_ranked(
            folder,
            job,
            by=self.name,
            rows=rows,
            truth=truth,
            scores=mix(scores, judged, weight=weight),
            new_scores=None if new_scores is None else mix(new_scores, self._of_new(job, new_scores), weight=weight),
            unknown=self.unknown,
            k=self.k,
            sure=self.sure,
        )
        return (
            f"the pair head weighs {weight:g}; validation MAP@{self.k} {_told(decision.threshold.map_at_k)}, "
            f"{_told(before)} before"
        )

    def _of_validation(
        self, job: Job, scores: Float32[np.ndarray, "query identity"], rows: Int64[np.ndarray, " query"]
    ) -> Float32[np.ndarray, "query identity"]:
        """What the pair head of each fold says of the photos held back from it."""
        fold, images, place = read_folds(job, self.on), job.known.images, job.run.stage(self.embedded)
        judged = np.zeros_like(scores)
        for k, net in enumerate(self._nets(job)):
            mine = fold[rows] == k
            held = [images[row] for row in np.flatnonzero(fold == k)]
            judged[mine] = pair_scores(
                np.load(place / f"validation{k}.npy", allow_pickle=False),
                held,
                scores[mine],
                gallery=GalleryStore.open(place / f"gallery{k}").without(held),
                by=judge(net),
                shortlist=self.shortlist,
            )
        return judged

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by network ``k``, against photos that do not judge it; the weight is that of all."""
        scores, images = apart(job, self.reads_from, k=k), [] if job.new is None else job.new.images
        query = np.load(job.run.stage(self.embedded) / f"new{k}.npy", allow_pickle=False)
        gallery, by = gallery_apart(job, self.embedded, self.on, k=k), judge(self._nets(job)[k])
        told = pair_scores(query, images, scores, gallery=gallery, by=by, shortlist=self.shortlist)
        weight = float(read_json(job.run.stage(self.name) / RESCORING)["weight"])
        return mix(scores, told, weight=weight)

    def _of_new(self, job: Job, scores: Float32[np.ndarray, "query identity"]) -> Float32[np.ndarray, "query identity"]:
        """What all pair heads say of new photos, in the mean."""
        place, images = job.run.stage(self.embedded), job.new.images if job.new is not None else []
        judged = np.zeros_like(scores)
        for k, net in enumerate(nets := self._nets(job)):
            query, gallery = (
                np.load(place / f"new{k}.npy", allow_pickle=False),
                GalleryStore.open(place / f"gallery{k}"),
            )
            told = pair_scores(query, images, scores, gallery=gallery, by=judge(net), shortlist=self.shortlist)
            judged += told / len(nets)
        return judged

    def _nets(self, job: Job) -> list[SavedNet]:
        from fieldmark.pipeline.networks import saved_nets

        return saved_nets(job.run.stage(self.of), device=job.device)

    def _best_weight(self, scores: np.ndarray, judged: np.ndarray, truth: np.ndarray) -> float:
        """The weight of highest MAP@k on validation photos, the threshold being the best for it; of equals the least.

        One number is chosen among 21 on hundreds of photos: it can hardly fit their noise.
        """
        reached = [find(self.unknown, mix(scores, judged, weight=one), truth, k=self.k).map_at_k for one in WEIGHTS]
        return WEIGHTS[int(np.argmax([0.0 if one is None else one for one in reached]))]


def judge(net: SavedNet) -> Callable[[np.ndarray, np.ndarray], Float32[np.ndarray, " pair"]]:
    """A network's pair head as a function of arrays: the probability that two embeddings are of one individual.

    Raises:
        PlanError: The network has none.
    """
    import torch

    pair = net.network.pair
    if pair is None:
        raise PlanError(
            "The network has no pair head to judge pairs by.",
            got=f"a {net.network.net.head.kind} head",
            fix='name a train stage with head = {kind = "pair"}.',
        )

    def by(first: np.ndarray, second: np.ndarray) -> Float32[np.ndarray, " pair"]:
        with torch.no_grad():
            logits = pair(torch.from_numpy(first).to(net.device), torch.from_numpy(second).to(net.device))
        return torch.sigmoid(logits).cpu().numpy()

    return by


def pair_scores(
    query: Float32[np.ndarray, "view query dim"],
    images: list[str],
    scores: Float32[np.ndarray, "query identity"],
    *,
    gallery: GalleryStore,
    by: Callable[[np.ndarray, np.ndarray], Float32[np.ndarray, " pair"]],
    shortlist: int | None,
) -> Float32[np.ndarray, "query identity"]:
    """What a judge of pairs says of each query and the individuals on its shortlist; 0 for all others.

    Args:
        query: Embeddings in the gallery's views.
        images: Their ids.
        scores: Who is likely; -inf: nobody to compare with.
        gallery: Photos of the individuals.
        by: The judge: 0 to 1.
        shortlist: So many of the likeliest; None: all.
    """
    names = top(scores, k=shortlist or scores.shape[1])[0]
    best = gallery.judged(query, images, names, by=by)
    judged = np.zeros(scores.shape, np.float32)
    at, place = np.nonzero(best > -np.inf)
    judged[at, names[at, place]] = best[at, place]
    return judged


def mix(
    scores: Float32[np.ndarray, "query identity"], judged: Float32[np.ndarray, "query identity"], *, weight: float
) -> Float32[np.ndarray, "query identity"]:
    """The weighted mean of both; who had no score (-inf) still has none.

    Who is off the shortlist had a lower score and is judged 0: he cannot overtake anybody on it.
    """
    there = scores > -np.inf
    mixed = np.full(scores.shape, -np.inf, np.float32)
    mixed[there] = (1 - weight) * scores[there] + weight * judged[there]
    return mixed


def rescored(
    stage: Rescore,
    opened: Opened,
    photos: Collection,
    scores: Float32[np.ndarray, "query identity"],
    *,
    images: list[str],
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Float32[np.ndarray, "query identity"]:
    """The scores of photos that were not in the run, as the finished stage has them for new photos.

    Args:
        stage: As in the plan.
        opened: The run.
        photos: Any.
        scores: Of the stage whose scores it reads.
        images: What to call the photos: no id of the gallery.
        device: Where to compute.
        n_workers: Threads that read ahead.
        progress: Told as batches end.
    """
    from fieldmark.pipeline.networks import saved_nets

    flip = any(isinstance(one, Embed) and one.flip for one in opened.plan.stages if one.name == stage.embedded)
    nets, place = saved_nets(opened.run.stage(stage.of), device=device), opened.run.stage(stage.embedded)
    judged = np.zeros_like(scores)
    for k, net in enumerate(nets):
        query = net.look(photos, flip=flip, n_workers=n_workers, progress=progress, what="photos").embedding
        gallery = GalleryStore.open(place / f"gallery{k}", made_by=net.sha256)
        told = pair_scores(query, images, scores, gallery=gallery, by=judge(net), shortlist=stage.shortlist)
        judged += told / len(nets)
    return mix(scores, judged, weight=float(read_json(opened.run.stage(stage.name) / RESCORING)["weight"]))


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
