"""Keypoints of photos matched with those of the individuals on their shortlists."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator
from fieldmark.data.collection import Collection
from fieldmark.data.marks import boxes_of, masks_of
from fieldmark.decisions.ranking import top
from fieldmark.gallery.fusion import Fusion
from fieldmark.gallery.keypoint_store import KeypointStore
from fieldmark.gallery.keypoints import Keypoints, Size, find_keypoints
from fieldmark.gallery.matching import PointAgreement, agreement
from fieldmark.gallery.opencv import opencv
from fieldmark.gallery.shortlist import UNKNOWN, similar_photos
from fieldmark.gallery.specs import KeypointMatching
from fieldmark.gallery.store import GalleryStore
from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.pipeline.artifacts.keypoints import ShortlistMatches
from fieldmark.quality.regions.finding import source_name

KEPT = ".keypoints"
"""Folder in a run where points of photos are kept; whoever removes it loses time and nothing else."""
N_NUMBERS = 4
BLOCK = 256


class KeypointComparer:
    """Compares photos of collections point by point.

    Args:
        evidence: Which points, and what counts.
        kept: Where points are kept; None keeps nothing.
        within: Whose boxes and masks points must lie in; what is not in the tables of photos is left aside.
    """

    def __init__(self, matching: KeypointMatching, kept: Path | None, *, within: Finder = TableBoxes()) -> None:  # noqa: B008 - a frozen value
        self.matching = matching
        self._store = KeypointStore(kept, matching.points)
        self._source = source_name(within)
        self._told: list[tuple[Collection, tuple[np.ndarray | None, list[str | None]]]] = []

    def points(self, photos: Collection, row: int) -> Keypoints:
        """The points of a photo, within its mask or box if it has one, in its true shape if the table tells it.

        Raises:
            ImageError: The photo cannot be read.
        """
        file = photos.root / photos.table["file"][row]
        boxes, masks = self._marks(photos)
        box = None if boxes is None or not np.isfinite(boxes[row]).all() else boxes[row].tolist()
        corners = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
        return self._store.of(file, true_size=true_size(photos, row), box=corners, mask=masks[row])

    def _marks(self, photos: Collection) -> tuple[np.ndarray | None, list[str | None]]:
        """Boxes and masks of all photos of a collection; read from its table once."""
        for known, marks in self._told:
            if known is photos:
                return marks
        marks = boxes_of(photos, self._source), masks_of(photos, self._source)
        self._told.append((photos, marks))
        return marks

    def agreement(self, query: Collection, row: int, known: Collection, other: int) -> PointAgreement:
        """How well a photo agrees with a known one."""
        return agreement(self.points(query, row), self.points(known, other), self.matching)

    def recheck(
        self,
        queries: Collection,
        scores: Float32[np.ndarray, "query identity"],
        embedding: Float32[np.ndarray, "view query dim"],
        *,
        gallery: GalleryStore,
        known: Collection,
        shortlist: int,
        n_photos: int,
        progress: Progress = QUIET,
    ) -> ShortlistMatches:
        """Compare each query with the most similar photos of its likeliest individuals.

        Args:
            queries: The photos.
            scores: Who is likely; -inf: nobody to compare with.
            embedding: Of the queries, in the gallery's views.
            gallery: Photos to compare with; no query is among them.
            known: The collection they are of.
            shortlist: Individuals a query.
            n_photos: Photos an individual, at most.
            progress: Told as queries are done.
        """
        names = top(scores, k=shortlist)[0]
        row_of = {image: row for row, image in enumerate(known.images)}
        rows = np.array([row_of[image] for image in gallery.images] + [UNKNOWN], np.int64)
        made = ShortlistMatches(
            names=names,
            numbers=np.zeros((*names.shape, N_NUMBERS)),
            photo=np.full(names.shape, UNKNOWN, np.int64),
            n_matches=np.zeros(names.shape, np.int64),
            n_inliers=np.zeros(names.shape, np.int64),
        )
        made.numbers[:, :, 0] = -np.inf
        photos = np.empty((*names.shape, n_photos), np.int64)
        for start in range(0, len(queries), BLOCK):
            at = slice(start, start + BLOCK)
            similar = gallery.compare(embedding[:, at], None)
            photos[at] = rows[similar_photos(similar, gallery.classes, names[at], n_photos=n_photos)]
        for query in progress.track(range(len(queries)), total=len(queries), what="keypoints"):
            mine = self.points(queries, query)
            for place in np.flatnonzero(names[query] >= 0).tolist():
                made.numbers[query, place, 0] = scores[query, names[query, place]]
                self._best(made, mine, known, query, place, photos[query, place])
        return made

    def _best(
        self, made: ShortlistMatches, mine: Keypoints, known: Collection, query: int, place: int, photos: np.ndarray
    ) -> None:
        """Note the best agreement of one query and one individual."""
        best: tuple[int, int] = (-1, -1)
        for photo in photos[photos != UNKNOWN].tolist():
            one = agreement(mine, self.points(known, photo), self.matching)
            if (one.n_inliers, one.n_matches) > best:
                best = (one.n_inliers, one.n_matches)
                made.photo[query, place] = photo
                made.n_inliers[query, place], made.n_matches[query, place] = best
                made.numbers[query, place, 1:] = numbers_of(one)


def try_out(matching: KeypointMatching) -> None:
    """Lay a picture of noise beside itself: all that looking for points takes is then known to be there.

    Raises:
        FieldmarkError: OpenCV or weights are missing.
    """
    opencv()
    noise = generator(0, "points tried out").integers(0, 256, (64, 64, 3), dtype=np.uint8)
    points = find_keypoints(matching.points, noise)
    agreement(points, points, matching)


def numbers_of(one: PointAgreement) -> tuple[float, float, float]:
    """What a fusion is told of an agreement: log(1 + matches), log(1 + inliers), inliers as a share of matches."""
    return math.log1p(one.n_matches), math.log1p(one.n_inliers), one.inlier_share


def fused(
    scores: Float32[np.ndarray, "query identity"], found: ShortlistMatches, fusion: Fusion
) -> Float32[np.ndarray, "query identity"]:
    """The probability of each individual, keypoints counted; who was not looked at counts as without any match.

    As no weight is negative, nobody off the shortlist can overtake who is on it. -inf stays -inf.
    """
    plain = np.zeros((*scores.shape, 1))
    plain[:, :, 0] = scores
    bare = fusion.model_copy(update={"weights": fusion.weights[:1]})
    made = np.where(scores > -np.inf, bare.proba(plain), -np.inf).astype(np.float32)
    query, place = np.nonzero(found.names >= 0)
    made[query, found.names[query, place]] = fusion.proba(found.numbers[query, place])
    return made


def true_size(photos: Collection, row: int) -> Size | None:
    """Height and width a photo once had, where the table tells."""
    if not {"width", "height"} <= set(photos.table.columns):
        return None
    height, width = photos.table["height"][row], photos.table["width"][row]
    return None if height is None or width is None else (int(height), int(width))
