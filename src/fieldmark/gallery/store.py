"""The gallery: embeddings of all known photos, for comparison with other photos only.

A network has been trained on the gallery photos, so the similarity of such a photo to itself means nothing. The store
therefore returns no embeddings. It compares photos, and leaves out the pair of a photo with itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int, Int64

from fieldmark.core.errors import DataError, FieldmarkError, RunError, ShapeError, several
from fieldmark.core.files import disk_errors, publish, read_json, write_json
from fieldmark.decisions import identities
from fieldmark.decisions.centroids import check_unit_length
from fieldmark.decisions.specs import Best, Centroid, IdentityScore, Reciprocal
from fieldmark.gallery import search
from fieldmark.gallery.candidates import CandidateFeatures, candidate_features
from fieldmark.gallery.reranking import Neighbourhoods

FORMAT = 1
EMBEDDING, ROWS, META = "embedding.npy", "rows.parquet", "meta.json"
COMPARED_AT_ONCE = 2**24  # similarities in memory at once: 64 MiB
PAIRS_AT_ONCE = 2**14  # pairs whose vectors are in memory at once: 160 MiB at dim 1,280

Embedded = Float[np.ndarray, "view query dim"]


class GalleryStore:
    """Known photos in one or several views (original, flipped ...), for comparison with queries.

    Two photos are compared view by view and the cosines are averaged. That mean equals the cosine of the concatenated
    views. So one row per photo is stored, and every search uses a single matrix.
    """

    def __init__(
        self, rows: Float32[np.ndarray, "image width"], images: Sequence[str], classes: np.ndarray, meta: dict
    ) -> None:
        self._rows = rows
        self._images = tuple(images)
        self._classes = np.asarray(classes, np.int64)
        self._classes.flags.writeable = False
        self._meta = meta
        self._row = {image: row for row, image in enumerate(self._images)}
        self._neighbourhoods: tuple[Reciprocal, Neighbourhoods] | None = None

    @classmethod
    def write(
        cls,
        folder: Path,
        embedding: Float[np.ndarray, "view image dim"],
        *,
        images: Sequence[str],
        classes: Int[np.ndarray, " image"],
        made_by: str = "",
    ) -> GalleryStore:
        """Write a gallery to disk in one atomic step, and open it.

        Args:
            folder: Target folder; must not exist.
            embedding: Embeddings of unit length, one matrix per view.
            images: Ids of the photos, all different.
            classes: Identity of each photo; -1 for unknown individuals.
            made_by: Fingerprint of the network and its preprocessing; ``open`` can check it.

        Raises:
            RunError: The folder exists or cannot be written.
            ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
            DataError: An id occurs twice.
            FieldmarkError: A class is below -1 or not a whole number.
        """
        embedding, classes = np.asarray(embedding), np.asarray(classes)
        if (
            embedding.ndim != 3
            or not embedding.size
            or not len(images) == len(np.atleast_1d(classes)) == embedding.shape[1]
        ):
            raise ShapeError(
                "A gallery needs one embedding per view, one id and one class for each photo.",
                got=f"embedding {embedding.shape}, {len(images)} images, classes {classes.shape}",
                fix="pass a (view, image, dim) array with at least one photo; use embedding[None] for a single view.",
            )
        _refuse_twice(images)
        identities.checked_identities(classes, n_classes=int(classes.max()) + 1 if classes.max() >= 0 else 1)
        if folder.exists():
            raise RunError(
                "The folder of the gallery already exists.",
                got=f"{folder}",
                fix="choose another folder or remove this one.",
            )
        rows = _side_by_side(embedding, what="embedding")
        temporary = folder.with_name(f".{folder.name}.tmp")
        meta = {
            "kind": "gallery",
            "format": FORMAT,
            "n_views": len(embedding),
            "dim": embedding.shape[2],
            "made_by": made_by,
        }
        with disk_errors(folder):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            np.save(temporary / EMBEDDING, rows, allow_pickle=False)
            pl.DataFrame(
                {"image": list(images), "class": classes}, schema={"image": pl.String, "class": pl.Int64}
            ).write_parquet(temporary / ROWS)
            write_json(temporary / META, meta)
            publish(temporary, folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, made_by: str | None = None) -> GalleryStore:
        """Open the gallery in ``folder``; embeddings stay on disk (memory-mapped).

        Args:
            folder: Folder written by ``write``.
            made_by: If given, the fingerprint of the network of the queries, to be checked.

        Raises:
            RunError: The folder is missing, is another kind of folder, is damaged, or was made with another network.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "gallery" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} has no gallery that this version can read.",
                got=json.dumps(meta)[:200],
                fix="embed the gallery again.",
            )
        if made_by is not None and made_by != meta["made_by"]:
            raise RunError(
                "Gallery and queries come from different networks, so their embeddings cannot be compared.",
                got=f"gallery {meta['made_by'] or '(not recorded)'}, queries {made_by}",
                fix="embed the gallery again with the network of the queries.",
            )
        try:
            table = pl.read_parquet(folder / ROWS)
            rows = np.load(folder / EMBEDDING, mmap_mode="r", allow_pickle=False)
            if rows.shape != (table.height, meta["n_views"] * meta["dim"]) or rows.dtype != np.float32:
                raise ValueError(  # noqa: TRY301 - one error for every kind of damage
                    f"embedding {rows.shape} {rows.dtype}, {table.height} rows, {meta}"
                )
            return cls(rows, table["image"].to_list(), table["class"].to_numpy(), meta)
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise RunError(f"The gallery in {folder} is damaged.", got=error, fix="embed the gallery again.") from error

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the photos."""
        return self._images

    @property
    def classes(self) -> Int64[np.ndarray, " image"]:
        """Identity of each photo; -1 for unknown individuals."""
        return self._classes

    @property
    def n_views(self) -> int:
        """Number of views per photo."""
        return int(self._meta["n_views"])

    @property
    def dim(self) -> int:
        """Length of one view's embedding."""
        return int(self._meta["dim"])

    @property
    def made_by(self) -> str:
        """Fingerprint of the network and its preprocessing; empty if it was not recorded."""
        return str(self._meta["made_by"])

    def __len__(self) -> int:
        return len(self._images)

    def without(self, images: Iterable[str]) -> GalleryStore:
        """Return the gallery without some photos, in memory; use it to evaluate validation photos.

        Ids that are not in the gallery are ignored.

        Raises:
            FieldmarkError: No photo would be left.
        """
        out = set(images)
        keep = np.array([image not in out for image in self._images])
        if not keep.any():
            raise FieldmarkError(
                "The gallery would be empty.",
                got=f"all {len(self)} photos of the gallery are left out",
                fix="leave out only the queries, or write a gallery that also contains other photos.",
            )
        images = [image for image in self._images if image not in out]
        return GalleryStore(self._rows[keep], images, self._classes[keep], self._meta)

    def compare(self, query: Embedded, query_images: Sequence[str] | None) -> Float32[np.ndarray, "query image"]:
        """Return the cosine of each query to each photo, averaged over the views; -inf for a photo with itself.

        Args:
            query: Embeddings of unit length in the gallery's views.
            query_images: Ids of the queries, so that none is compared with itself; None: none is in the gallery.

        Raises:
            ShapeError: Views, dim or number of queries do not match, or rows are not of length 1.
        """
        rows, own = self._queries(query, query_images)
        return self._compare(rows, own)

    def scores(
        self,
        query: Embedded,
        query_images: Sequence[str] | None,
        *,
        n_classes: int,
        by: IdentityScore | None = None,
        reciprocal: Reciprocal | None = None,
    ) -> Float32[np.ndarray, "query class"]:
        """Return the score of each identity for each query; -inf where there is no photo but the query's own.

        Args:
            query: Embeddings of unit length in the gallery's views.
            query_images: Ids of the queries; None: none of them is in the gallery.
            n_classes: Number of identities.
            by: How the similarities of an identity's photos become one score.
            reciprocal: Also use common neighbours (k-reciprocal re-ranking); not possible with centroids.

        Raises:
            ShapeError: As for ``compare``.
            FieldmarkError: ``by`` is a centroid, or ``reciprocal`` is given, and a query is in the gallery: its
                centroid, or neighbourhood, would contain it.
        """
        by = by or Best()
        rows, own = self._queries(query, query_images)
        if isinstance(by, Centroid) or reciprocal is not None:
            inside = [(query_images or ())[place] for place in np.flatnonzero(own != search.UNKNOWN).tolist()]
            if inside:
                what = "identity's centroid" if isinstance(by, Centroid) else "neighbours' neighbourhoods"
                raise FieldmarkError(
                    f"{len(inside)} queries are in the gallery: their {what} would contain them.",
                    got=several(inside),
                    fix="compare with gallery.without(query_images), or use Best() or MeanTop(m=3)"
                    + (" without reciprocal." if reciprocal is not None else "."),
                )
        if isinstance(by, Centroid):
            return identities.from_embeddings(rows, self._rows, self._classes, n_classes=n_classes, by=by)
        step = max(1, COMPARED_AT_ONCE // len(self))
        neighbourhoods = None if reciprocal is None else self._neighbourhoods_for(reciprocal)
        blocks = [
            identities.from_similarity(
                self._compare(rows[start : start + step], own[start : start + step])
                if neighbourhoods is None
                else neighbourhoods.likeness(rows[start : start + step]),
                self._classes,
                n_classes=n_classes,
                by=by,
            )
            for start in range(0, len(rows), step)
        ]
        return np.concatenate(blocks)

    def nearest(
        self, query: Embedded, query_images: Sequence[str] | None, *, k: int
    ) -> tuple[Int64[np.ndarray, "query rank"], Float32[np.ndarray, "query rank"]]:
        """Return the ``k`` other photos most similar to each query; see ``fieldmark.gallery.search.nearest_photos``."""
        rows, own = self._queries(query, query_images)
        return search.nearest_photos(rows, self._rows, k=k, own=own)

    def best_photos(
        self, query: Embedded, query_images: Sequence[str] | None, names: Int[np.ndarray, "query rank"]
    ) -> tuple[Int64[np.ndarray, "query rank"], Float32[np.ndarray, "query rank"]]:
        """Return each answered identity's photo most similar to the query; see ``search.best_photo_per_identity``."""
        rows, own = self._queries(query, query_images)
        return search.best_photo_per_identity(rows, self._rows, self._classes, names, own=own)

    def judged(
        self,
        query: Embedded,
        query_images: Sequence[str] | None,
        names: Int[np.ndarray, "query rank"],
        *,
        by: Callable[[Float32[np.ndarray, "pair dim"], Float32[np.ndarray, "pair dim"]], Float32[np.ndarray, " pair"]],
    ) -> Float32[np.ndarray, "query rank"]:
        """Score each candidate of each query with a function of pairs of photos, by the candidate's best photo.

        Args:
            query: Embeddings of unit length in the gallery's views.
            query_images: Ids of the queries, so that none is compared with itself; None: none is in the gallery.
            names: Candidates of each query, as ``decisions.ranking.top()`` returns them; a negative number is an empty
                place.
            by: The pair function: embeddings of two photos, in one view, to one number; views are averaged.

        Returns:
            The largest number over each candidate's photos; -inf at empty places, or where there is no other photo.

        Raises:
            ShapeError: As for ``compare``, or ``names`` does not have one row per query.
        """
        rows, own = self._queries(query, query_images)
        if np.ndim(names) != 2 or len(names) != len(rows):
            raise ShapeError(
                "names must have one row of candidates per query.",
                got=f"{len(rows)} queries, names {np.shape(names)}",
                fix="pass names as a (query, rank) array.",
            )
        photos = np.argsort(self._classes, kind="stable")
        first, last = (np.searchsorted(self._classes[photos], names, side=side) for side in ("left", "right"))
        counts = np.where(names >= 0, last - first, 0)
        best = np.full(names.shape, -np.inf, np.float32)
        step = max(1, PAIRS_AT_ONCE // max(1, int(counts.sum(axis=1).max(initial=0))))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            many = counts[some].ravel()
            cell = np.repeat(np.arange(len(many)), many)
            within = np.arange(len(cell)) - np.repeat(np.cumsum(many) - many, many)
            photo = photos[np.repeat(first[some].ravel(), many) + within]
            query_row = start + cell // names.shape[1]
            value = self._pair_scores(rows[query_row], self._rows[photo], by)
            value[own[query_row] == photo] = -np.inf
            np.maximum.at(best[some].reshape(-1), cell, value)
        return best

    def _pair_scores(self, query: np.ndarray, photo: np.ndarray, by: Callable[..., np.ndarray]) -> np.ndarray:
        """Return the pair function's output, averaged over views."""
        scale = np.float32(np.sqrt(self.n_views))
        views = [slice(view * self.dim, (view + 1) * self.dim) for view in range(self.n_views)]
        by_view = [by(query[:, view] * scale, photo[:, view] * scale) for view in views]
        return np.asarray(np.mean(by_view, axis=0), dtype=np.float32)

    def candidate_features(
        self,
        query: Embedded,
        query_images: Sequence[str] | None,
        *,
        trained_on: Iterable[str],
        n_photos: int = 100,
        n_components: int = 0,
    ) -> CandidateFeatures:
        """Describe the identities among each query's nearest photos by numbers, as input of a second level.

        A network has been trained on its training photos with their names. So its scores for them are higher than for
        any new photo. A second level that is trained on such scores is 90 % correct in training and useless afterwards.
        Such queries therefore raise an error here.

        Args:
            query: Embeddings of unit length in the gallery's views.
            query_images: Ids of the queries; None: none of them is in the gallery.
            trained_on: Ids of all photos that the network was trained on.
            n_photos: Number of nearest photos whose identities are candidates.
            n_components: Number of principal components for the difference of the two photos; 0: none.

        Raises:
            DataError: The network was trained on a query, or a query is in the gallery; the error lists all of them.
            ShapeError: As for ``compare``.
            FieldmarkError: ``n_photos`` is below 1.
        """
        rows, own = self._queries(query, query_images)
        training_photos, ids = set(trained_on), query_images or ()
        mistakes = [f"{image}: the network was trained on it" for image in ids if image in training_photos]
        mistakes += [f"{ids[place]}: in the gallery" for place in np.flatnonzero(own != search.UNKNOWN).tolist()]
        if mistakes:
            raise DataError(
                "A second level can only be trained on photos that the network was not trained on.",
                got=several(mistakes),
                fix="embed photos with the network of the fold that holds them out, and compare them with "
                "gallery.without(query_images).",
            )
        return candidate_features(rows, self._rows, self._classes, n_photos=n_photos, n_components=n_components)

    def _neighbourhoods_for(self, by: Reciprocal) -> Neighbourhoods:
        """Return the photos' neighbourhoods; they are cached for the same settings."""
        if self._neighbourhoods is None or self._neighbourhoods[0] != by:
            self._neighbourhoods = by, Neighbourhoods.of(self._rows, by)
        return self._neighbourhoods[1]

    def _queries(self, query: np.ndarray, query_images: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return one row per query, and its own row in the gallery (-1 if it is not there)."""
        query = np.asarray(query)
        n = len(query_images) if query_images is not None else query.shape[1] if query.ndim == 3 else 0
        if isinstance(query_images, str) or query.shape != (self.n_views, n, self.dim) or not n:
            raise ShapeError(
                "Queries must have the views and dim of the gallery, and one id each.",
                got=f"query {query.shape}, {n} ids; gallery of {self.n_views} view(s), dim {self.dim}",
                fix="pass a (view, query, dim) array and one id per query; use query[None] for a single view.",
            )
        if query_images is None:
            own = np.full(n, search.UNKNOWN, np.int64)
        else:
            own = np.array([self._row.get(image, search.UNKNOWN) for image in query_images], np.int64)
        return _side_by_side(query, what="query"), own

    def _compare(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        cosine = rows @ self._rows.T
        inside = np.flatnonzero(own != search.UNKNOWN)
        cosine[inside, own[inside]] = -np.inf
        return cosine


def _side_by_side(embedding: np.ndarray, *, what: str) -> Float32[np.ndarray, "image width"]:
    """Convert (view, image, dim) to (image, view * dim) of length 1; products are the mean cosines of the views."""
    for view in embedding:
        check_unit_length(view, what=what)
    n_views, n_images, dim = embedding.shape
    rows = np.moveaxis(embedding, 0, 1).reshape(n_images, n_views * dim)
    return np.ascontiguousarray(rows / np.float32(np.sqrt(n_views)), np.float32)


def _refuse_twice(images: Sequence[str]) -> None:
    if len(set(images)) == len(images):
        return
    checked: set[str] = set()
    twice = [image for image in images if image in checked or checked.add(image)]
    raise DataError("images contains an id twice.", got=several(twice), fix="pass each photo once.")
