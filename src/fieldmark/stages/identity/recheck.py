"""The verb *recheck*: the first names of a ranking, looked at again point by point."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from fieldmark.core.files import write_json
from fieldmark.core.seeds import generator
from fieldmark.core.spec import Count, Spec, read
from fieldmark.data.collection import Collection
from fieldmark.decisions.specs import Calibration, Logistic, MaxMap, PerGroup, UnknownAt
from fieldmark.decisions.thresholds import find
from fieldmark.gallery.fusion import Fusion, fit, fit_by_part
from fieldmark.gallery.specs import Evidence
from fieldmark.gallery.store import GalleryStore
from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.quality.regions.finding import refuse_outside
from fieldmark.stages.apart import apart, gallery_apart
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.keypoints import KEPT, Looker, Rechecked, fused, try_out
from fieldmark.stages.identity.ranking import SCORES, new_scores_of, write_ranked
from fieldmark.stages.job import Job

FUSION = "fusion.json"
EVIDENCE = "evidence.parquet"
N_PARTS = 5


class Recheck(Spec):
    """Lay each photo beside photos of its likeliest individuals, and count the points that fit.

    An embedding says what a photo is like as a whole; points say that this very scar is on both. Looking for them takes
    a hundredth of a second a pair, so the ranking of a quicker judge makes a shortlist. What both say becomes one
    probability, by weights learnt from the validation photos; each validation photo is judged by weights learnt from
    others, never from its own copies.

    Attributes:
        reads_from: The rank, rescore or blend stage whose scores make the shortlist.
        embedded: The embed stage behind it (of a blend, any): which photos of an individual are most alike.
        on: The split stage.
        evidence: Which points, and when they agree.
        within: Whose masks and boxes points must lie in: the table's, or those of a boxes stage with this very finder.
        shortlist: Individuals a photo.
        photos: Photos an individual, at most: the most alike.
        unknown: How the threshold is found on the validation photos.
        k: How many answers a photo gets.
        per_group: Thresholds for each group of photos (a species); None: one for all.
        sure: How scores become probabilities of a right answer; None: they do not.
    """

    verb: Literal["recheck"] = "recheck"
    name: str
    reads_from: str
    embedded: str
    on: str
    evidence: Evidence = Evidence()
    within: Finder = TableBoxes()
    shortlist: Count = 10
    photos: Count = 2
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    per_group: PerGroup | None = None
    sure: Calibration | None = Logistic()

    def reads(self) -> tuple[str, ...]:
        """The ranking, what was embedded, and the split."""
        return (self.reads_from, self.embedded, self.on)

    def ready(self, known: Collection) -> None:
        """Look for points once: what is missing is missed before any training.

        Raises:
            FieldmarkError: OpenCV or weights are missing, or boxes mark nothing of their pictures.
        """
        try_out(self.evidence)
        refuse_outside(known, (self.within,))

    def run(self, job: Job, folder: Path) -> str:
        """Write scores, threshold and rankings as a rank stage does, the weights and all counts; say what it brought.

        Raises:
            FieldmarkError: OpenCV or weights are missing; or the validation photos have too few of the known.
        """
        known, place = job.known, job.run.stage(self.reads_from)
        looker = Looker(self.evidence, job.run.path / KEPT, within=self.within)
        rows = np.flatnonzero(read_folds(job, self.on) >= 0)
        scores = np.load(place / SCORES, allow_pickle=False)
        found = self._of_validation(job, looker, scores, rows)
        fusion, proba = self._judged(job, scores, found, rows)
        counts = [counted("validation", known.take(rows), found, known)]
        new_scores = new_scores_of(place, job)
        if job.new is not None and new_scores is not None:
            embedded = job.run.stage(self.embedded)
            embedding = np.load(embedded / "new0.npy", allow_pickle=False)
            found = self._of(job, looker, job.new, new_scores, embedding, GalleryStore.open(embedded / "gallery0"))
            new_scores = fused(new_scores, found, fusion)
            counts.append(counted("new", job.new, found, known))
        truth = judged_classes(job, self.on)[rows]
        told = truth >= -1
        before = find(self.unknown, scores[told], truth[told], k=self.k)
        decision = write_ranked(
            folder,
            job,
            by=self.name,
            rows=rows,
            truth=truth,
            scores=proba,
            new_scores=new_scores,
            unknown=self.unknown,
            k=self.k,
            per_group=self.per_group,
            sure=self.sure,
        )
        write_json(folder / FUSION, fusion.model_dump(mode="json"))
        table = pl.concat(counts)
        table.write_parquet(folder / EVIDENCE)
        reached = f"{decision.threshold.map_at_k:.4f}, {before.map_at_k:.4f} before"
        return f"{table.height:,} pairs laid side by side; validation MAP@{self.k} {reached}"

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by network ``k``, against photos that do not judge it; weights are those of all."""
        scores = apart(job, self.reads_from, k=k)
        if job.new is None or not len(job.new):
            return scores
        looker = Looker(self.evidence, job.run.path / KEPT, within=self.within)
        embedding = np.load(job.run.stage(self.embedded) / f"new{k}.npy", allow_pickle=False)
        gallery = gallery_apart(job, self.embedded, self.on, k=k)
        fusion: Fusion = read(Fusion, job.run.stage(self.name) / FUSION)
        return fused(scores, self._of(job, looker, job.new, scores, embedding, gallery), fusion)

    def _of_validation(
        self, job: Job, looker: Looker, scores: Float32[np.ndarray, "query identity"], rows: Int64[np.ndarray, " query"]
    ) -> Rechecked:
        """What is found about the photos of each fold among the photos of the others."""
        fold, place = read_folds(job, self.on), job.run.stage(self.embedded)
        order, found = [], []
        for k in range(int(fold.max()) + 1):
            mine = np.flatnonzero(fold[rows] == k)
            held = job.known.take(rows[mine])
            embedding = np.load(place / f"validation{k}.npy", allow_pickle=False)
            gallery = GalleryStore.open(place / f"gallery{k}").without(held.images)
            found.append(self._of(job, looker, held, scores[mine], embedding, gallery))
            order.append(mine)
        back = np.argsort(np.concatenate(order))
        return Rechecked(
            *(
                np.concatenate([getattr(one, name) for one in found])[back]
                for name in ("names", "numbers", "photo", "n_matches", "n_inliers")
            )
        )

    def _of(
        self,
        job: Job,
        looker: Looker,
        queries: Collection,
        scores: Float32[np.ndarray, "query identity"],
        embedding: Float32[np.ndarray, "view query dim"],
        gallery: GalleryStore,
    ) -> Rechecked:
        return looker.recheck(
            queries,
            scores,
            embedding,
            images=queries.images,
            gallery=gallery,
            known=job.known,
            shortlist=self.shortlist,
            n_photos=self.photos,
            progress=job.progress,
        )

    def _judged(
        self,
        job: Job,
        scores: Float32[np.ndarray, "query identity"],
        found: Rechecked,
        rows: Int64[np.ndarray, " query"],
    ) -> tuple[Fusion, Float32[np.ndarray, "query identity"]]:
        """The weights of all validation photos, and each photo's probabilities by the weights of the others."""
        groups, truth = job.known.groups[rows], judged_classes(job, self.on)[rows]
        distinct, at = np.unique(groups, return_inverse=True)
        part = (generator(job.seed, "recheck").permutation(len(distinct)) % N_PARTS)[at]
        there = (found.photo >= 0) & (truth >= -1)[:, None]  # of photos without a name nothing can be learnt
        numbers, same = found.numbers[there], (found.names == truth[:, None])[there]
        proba = np.empty_like(scores)
        for one, fusion in fit_by_part(numbers, same, np.broadcast_to(part[:, None], there.shape)[there]).items():
            mine = part == one
            proba[mine] = fused(scores[mine], _some(found, mine), fusion)
        return fit(numbers, same), proba


def _some(found: Rechecked, rows: np.ndarray) -> Rechecked:
    return Rechecked(
        found.names[rows], found.numbers[rows], found.photo[rows], found.n_matches[rows], found.n_inliers[rows]
    )


def agreeing(counts: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The known photo that each photo and name agree by, if any point fits; of a table that ``counted`` made."""
    fits = counts.filter(pl.col("inliers") > 0).select("image", "identity", "photo")
    return {(image, name): photo for image, name, photo in fits.iter_rows()}


def judged_counts(place: Path) -> pl.DataFrame:
    """The pairs of photos that a finished recheck stage laid side by side for photos that judge."""
    return pl.read_parquet(place / EVIDENCE).filter(pl.col("part") == "validation")


def counted(part: str, queries: Collection, found: Rechecked, known: Collection) -> pl.DataFrame:
    """One row a pair of photos: part, image, identity, photo (the best of that individual), matches, inliers."""
    query, place = np.nonzero(found.photo >= 0)
    images, names = np.array(known.images, dtype=object), known.vocabulary.identities
    return pl.DataFrame(
        {
            "part": [part] * len(query),
            "image": [queries.images[row] for row in query.tolist()],
            "identity": [names[one] for one in found.names[query, place].tolist()],
            "photo": images[found.photo[query, place]].tolist(),
            "matches": found.n_matches[query, place],
            "inliers": found.n_inliers[query, place],
        },
        schema={
            "part": pl.String,
            "image": pl.String,
            "identity": pl.String,
            "photo": pl.String,
            "matches": pl.Int64,
            "inliers": pl.Int64,
        },
    )
