"""Keypoint matching of photos with the individuals on their shortlists."""

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
"""Folder in a run that caches the keypoints of photos. It can be deleted: the keypoints are then computed again."""
N_NUMBERS = 4
BLOCK = 256


class KeypointComparer:
    """Compares photos by their keypoints.

    Args:
        matching: Keypoint method, and rules for counting matches.
        kept: Folder that caches keypoints; None: no cache.
        within: Finder whose boxes and masks limit the keypoints. Photos without them in their table are not limited.
    """

    def __init__(self, matching: KeypointMatching, kept: Path | None, *, within: Finder = TableBoxes()) -> None:  # noqa: B008 - a frozen value
        self.matching = matching
        self._store = KeypointStore(kept, matching.points)
        self._source = source_name(within)
        self._marks_read: list[tuple[Collection, tuple[np.ndarray | None, list[str | None]]]] = []

    def points(self, photos: Collection, row: int) -> Keypoints:
        """Return the keypoints of a photo, limited to its mask or box, at its original size if the table has it.

        Raises:
            ImageError: The photo cannot be read.
        """
        file = photos.root / photos.table["file"][row]
        boxes, masks = self._marks(photos)
        box = None if boxes is None or not np.isfinite(boxes[row]).all() else boxes[row].tolist()
        corners = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
        return self._store.of(file, true_size=true_size(photos, row), box=corners, mask=masks[row])

    def _marks(self, photos: Collection) -> tuple[np.ndarray | None, list[str | None]]:
        """Return the boxes and masks of all photos of a collection. The table is read once."""
        for known, marks in self._marks_read:
            if known is photos:
                return marks
        marks = boxes_of(photos, self._source), masks_of(photos, self._source)
        self._marks_read.append((photos, marks))
        return marks

    def agreement(self, query: Collection, row: int, known: Collection, other: int) -> PointAgreement:
        """Return the keypoint matches of a photo with a known photo."""
        return agreement(self.points(query, row), self.points(known, other), self.matching)

    def compare(
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
        """Match the keypoints of each query with the most similar photos of its highest-ranked individuals.

        Args:
            queries: Query photos.
            scores: Score of each individual; -inf if there is no photo to compare with.
            embedding: Embeddings of the queries, in the gallery's views.
            gallery: Known photos to compare with, without the queries.
            known: Collection of the gallery's photos.
            shortlist: Number of individuals per query.
            n_photos: Largest number of photos per individual.
            progress: Progress reporter.
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
        """Write the matches of one query with the best photo of one individual into ``made``."""
        best: tuple[int, int] = (-1, -1)
        for photo in photos[photos != UNKNOWN].tolist():
            one = agreement(mine, self.points(known, photo), self.matching)
            if (one.n_inliers, one.n_matches) > best:
                best = (one.n_inliers, one.n_matches)
                made.photo[query, place] = photo
                made.n_inliers[query, place], made.n_matches[query, place] = best
                made.numbers[query, place, 1:] = numbers_of(one)


def try_out(matching: KeypointMatching) -> None:
    """Match a noise image with itself, to check that all packages and weights are installed.

    Raises:
        FieldmarkError: OpenCV or weights are missing.
    """
    opencv()
    noise = generator(0, "points tried out").integers(0, 256, (64, 64, 3), dtype=np.uint8)
    points = find_keypoints(matching.points, noise)
    agreement(points, points, matching)


def numbers_of(one: PointAgreement) -> tuple[float, float, float]:
    """Return the fusion features of a match: log(1 + matches), log(1 + inliers), and inliers as a share of matches."""
    return math.log1p(one.n_matches), math.log1p(one.n_inliers), one.inlier_share


def fused(
    scores: Float32[np.ndarray, "query identity"], found: ShortlistMatches, fusion: Fusion
) -> Float32[np.ndarray, "query identity"]:
    """Return the probability of each individual, from its score and its keypoint matches.

    Individuals off the shortlist count as having no match. No weight is negative, so they cannot overtake those on the
    shortlist. -inf stays -inf.
    """
    plain = np.zeros((*scores.shape, 1))
    plain[:, :, 0] = scores
    bare = fusion.model_copy(update={"weights": fusion.weights[:1]})
    made = np.where(scores > -np.inf, bare.proba(plain), -np.inf).astype(np.float32)
    query, place = np.nonzero(found.names >= 0)
    made[query, found.names[query, place]] = fusion.proba(found.numbers[query, place])
    return made


def true_size(photos: Collection, row: int) -> Size | None:
    """Return the original height and width of a photo in pixels; None if the table does not have them."""
    if not {"width", "height"} <= set(photos.table.columns):
        return None
    height, width = photos.table["height"][row], photos.table["width"][row]
    return None if height is None or width is None else (int(height), int(width))
