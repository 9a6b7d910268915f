"""The gallery: embeddings of all known photos, to be compared with other photos only.

A network knows the photos it was trained on; how similar such a photo is to itself says nothing. The store therefore
hands out no embeddings: it compares, and leaves out the pair of a photo with itself.
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
from fieldmark.gallery.reranking import Neighbourhoods
from fieldmark.gallery.rivals import Rivals, describe_rivals

FORMAT = 1
EMBEDDING, ROWS, META = "embedding.npy", "rows.parquet", "meta.json"
COMPARED_AT_ONCE = 2**24  # similarities held at once: 64 MiB
JUDGED_AT_ONCE = 2**14  # pairs whose vectors are held at once: 160 MiB at dim 1,280

Embedded = Float[np.ndarray, "view query dim"]


class GalleryStore:
    """Known photos in one or several views (as they are, mirrored ...), ready to be compared with queries.

    Two photos are compared view by view and the cosines averaged. That mean is the cosine of the views laid side by
    side, so one row a photo is stored and every search is a plain one.
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
        """Put a gallery on disk, in one move, and open it.

        Args:
            folder: Where; must not exist.
            embedding: Embeddings of length 1, a matrix a view.
            images: Ids of the photos, all different.
            classes: Identity of each photo; -1 for unknown individuals.
            made_by: Fingerprint of the network and its preprocessing; ``open`` can insist on it.

        Raises:
            RunError: The folder exists or cannot be written.
            ShapeError: The arrays do not fit, are empty, or rows are not of length 1.
            DataError: An id occurs twice.
            FieldmarkError: A class is below -1 or no whole number.
        """
        embedding, classes = np.asarray(embedding), np.asarray(classes)
        if (
            embedding.ndim != 3
            or not embedding.size
            or not len(images) == len(np.atleast_1d(classes)) == embedding.shape[1]
        ):
            raise ShapeError(
                "A gallery needs an embedding of each photo in each view, its id and its class.",
                got=f"embedding {embedding.shape}, {len(images)} images, classes {classes.shape}",
                fix="pass (view, image, dim), with embedding[None] for a single view, and at least one photo.",
            )
        _refuse_twice(images)
        identities.checked_identities(classes, n_classes=int(classes.max()) + 1 if classes.max() >= 0 else 1)
        if folder.exists():
            raise RunError(
                "A gallery is written once.", got=f"{folder} exists", fix="choose another folder or remove this one."
            )
        rows = _side_by_side(embedding, what="embedding")
        aside = folder.with_name(f".{folder.name}.tmp")
        meta = {
            "kind": "gallery",
            "format": FORMAT,
            "n_views": len(embedding),
            "dim": embedding.shape[2],
            "made_by": made_by,
        }
        with disk_errors(folder):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            np.save(aside / EMBEDDING, rows, allow_pickle=False)
            pl.DataFrame(
                {"image": list(images), "class": classes}, schema={"image": pl.String, "class": pl.Int64}
            ).write_parquet(aside / ROWS)
            write_json(aside / META, meta)
            publish(aside, folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, made_by: str | None = None) -> GalleryStore:
        """The gallery in ``folder``; embeddings stay on disk (memory-mapped).

        Args:
            folder: Where ``write`` put it.
            made_by: If given, the fingerprint of the network the queries come from.

        Raises:
            RunError: It is not there, is another kind of folder, is damaged, or comes from another network.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "gallery" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} holds no gallery that this version reads.",
                got=json.dumps(meta)[:200],
                fix="embed the gallery again.",
            )
        if made_by is not None and made_by != meta["made_by"]:
            raise RunError(
                "Gallery and queries come from different networks: their embeddings cannot be compared.",
                got=f"gallery {meta['made_by'] or '(not noted)'}, queries {made_by}",
                fix="embed the gallery again with the network of the queries.",
            )
        try:
            table = pl.read_parquet(folder / ROWS)
            rows = np.load(folder / EMBEDDING, mmap_mode="r", allow_pickle=False)
            if rows.shape != (table.height, meta["n_views"] * meta["dim"]) or rows.dtype != np.float32:
                raise ValueError(  # noqa: TRY301 - one way out for every kind of damage
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
        """Views of each photo."""
        return int(self._meta["n_views"])

    @property
    def dim(self) -> int:
        """Length of one view's embedding."""
        return int(self._meta["dim"])

    @property
    def made_by(self) -> str:
        """Fingerprint of the network and its preprocessing; empty if it was not noted."""
        return str(self._meta["made_by"])

    def __len__(self) -> int:
        return len(self._images)

    def without(self, images: Iterable[str]) -> GalleryStore:
        """The gallery less some photos, held in memory: what validation photos are to be compared with.

        Ids that are not in the gallery are left out all the same.

        Raises:
            FieldmarkError: No photo would be left.
        """
        out = set(images)
        keep = np.array([image not in out for image in self._images])
        if not keep.any():
            raise FieldmarkError(
                "Nothing would be left to compare with.",
                got=f"all {len(self)} photos of the gallery are left out",
                fix="leave out the queries only, or write a gallery with other photos too.",
            )
        images = [image for image in self._images if image not in out]
        return GalleryStore(self._rows[keep], images, self._classes[keep], self._meta)

    def compare(self, query: Embedded, query_images: Sequence[str] | None) -> Float32[np.ndarray, "query image"]:
        """How similar each query is to each photo: cosines, averaged over the views; -inf for a photo with itself.

        Args:
            query: Embeddings of length 1 in the gallery's views.
            query_images: Ids of the queries, so that none is compared with itself; None: none is in the gallery.

        Raises:
            ShapeError: Views, dim or number of queries do not fit, or rows are not of length 1.
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
        """How similar each query is to each identity, its own photo left out; -inf where no other photo is left.

        Args:
            query: Embeddings of length 1 in the gallery's views.
            query_images: Ids of the queries; None: none of them is in the gallery.
            n_classes: How many identities there are.
            by: How an identity's photos become one score.
            reciprocal: Count neighbours in common as likeness too; not for centroids, which have none.

        Raises:
            ShapeError: As for ``compare``.
            FieldmarkError: ``by`` is a centroid, or neighbours count, and a query is in the gallery (its centroid, or
                neighbourhood, would contain it).
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
        around = None if reciprocal is None else self._around(reciprocal)
        blocks = [
            identities.from_similarity(
                self._compare(rows[start : start + step], own[start : start + step])
                if around is None
                else around.likeness(rows[start : start + step]),
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
        """The ``k`` other photos most similar each query; see ``fieldmark.gallery.search.nearest_photos``."""
        rows, own = self._queries(query, query_images)
        return search.nearest_photos(rows, self._rows, k=k, own=own)

    def best_photos(
        self, query: Embedded, query_images: Sequence[str] | None, names: Int[np.ndarray, "query rank"]
    ) -> tuple[Int64[np.ndarray, "query rank"], Float32[np.ndarray, "query rank"]]:
        """Each answered identity's photo most similar the query; see ``search.best_photo_per_identity``."""
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
        """How a judge of pairs finds each query and each of its candidates: by the candidate's photo it likes best.

        Args:
            query: Embeddings of length 1 in the gallery's views.
            query_images: Ids of the queries, so that none is compared with itself; None: none is in the gallery.
            names: Candidates of each query, as ``decide.ranking.top()`` gives them; -1 or less is nobody.
            by: The judge: embeddings of two photos, in one view, to one number; views are averaged.

        Returns:
            The largest number over each candidate's photos; -inf where there is nobody, or no other photo of him.

        Raises:
            ShapeError: As for ``compare``, or ``names`` has no row a query.
        """
        rows, own = self._queries(query, query_images)
        if np.ndim(names) != 2 or len(names) != len(rows):
            raise ShapeError(
                "Each query needs a row of candidates.",
                got=f"{len(rows)} queries, names {np.shape(names)}",
                fix="pass names as (query, rank).",
            )
        photos = np.argsort(self._classes, kind="stable")
        first, last = (np.searchsorted(self._classes[photos], names, side=side) for side in ("left", "right"))
        counts = np.where(names >= 0, last - first, 0)
        best = np.full(names.shape, -np.inf, np.float32)
        step = max(1, JUDGED_AT_ONCE // max(1, int(counts.sum(axis=1).max(initial=0))))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            many = counts[some].ravel()
            cell = np.repeat(np.arange(len(many)), many)
            within = np.arange(len(cell)) - np.repeat(np.cumsum(many) - many, many)
            photo = photos[np.repeat(first[some].ravel(), many) + within]
            asked = start + cell // names.shape[1]
            value = self._judged(rows[asked], self._rows[photo], by)
            value[own[asked] == photo] = -np.inf
            np.maximum.at(best[some].reshape(-1), cell, value)
        return best

    def _judged(self, query: np.ndarray, photo: np.ndarray, by: Callable[..., np.ndarray]) -> np.ndarray:
        """The mean over views of what the judge says of pairs of rows."""
        scale = np.float32(np.sqrt(self.n_views))
        views = [slice(view * self.dim, (view + 1) * self.dim) for view in range(self.n_views)]
        said = [by(query[:, view] * scale, photo[:, view] * scale) for view in views]
        return np.asarray(np.mean(said, axis=0), dtype=np.float32)

    def rivals(
        self,
        query: Embedded,
        query_images: Sequence[str] | None,
        *,
        trained_on: Iterable[str],
        n_photos: int = 100,
        n_components: int = 0,
    ) -> Rivals:
        """The identities among each query's nearest photos, described in numbers, for a second level to judge.

        A network has seen its training photos with their names: what it says of them looks surer than anything it will
        say of a new photo. A judge that learns from such numbers is 90 % right while learning and useless after. So
        they are refused here, where they would be made.

        Args:
            query: Embeddings of length 1 in the gallery's views.
            query_images: Ids of the queries; None: none of them is in the gallery.
            trained_on: Ids of all photos that the network was trained on.
            n_photos: Nearest photos whose identities are candidates.
            n_components: Principal components of which the difference of the two photos is told; 0: none.

        Raises:
            DataError: The network was trained on a query, or a query is in the gallery; all are told at once.
            ShapeError: As for ``compare``.
            FieldmarkError: ``n_photos`` is below 1.
        """
        rows, own = self._queries(query, query_images)
        seen, ids = set(trained_on), query_images or ()
        mistakes = [f"{image}: the network was trained on it" for image in ids if image in seen]
        mistakes += [f"{ids[place]}: in the gallery" for place in np.flatnonzero(own != search.UNKNOWN).tolist()]
        if mistakes:
            raise DataError(
                "A second level can only learn from photos that the network has not seen.",
                got=several(mistakes),
                fix="describe photos by the network of the fold that holds them back, and compare them with "
                "gallery.without(query_images).",
            )
        return describe_rivals(rows, self._rows, self._classes, n_photos=n_photos, n_components=n_components)

    def _around(self, by: Reciprocal) -> Neighbourhoods:
        """The photos' neighbourhoods, found once for the same settings."""
        if self._neighbourhoods is None or self._neighbourhoods[0] != by:
            self._neighbourhoods = by, Neighbourhoods.of(self._rows, by)
        return self._neighbourhoods[1]

    def _queries(self, query: np.ndarray, query_images: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """One row a query, and its own row in the gallery (-1 if it is not there)."""
        query = np.asarray(query)
        n = len(query_images) if query_images is not None else query.shape[1] if query.ndim == 3 else 0
        if isinstance(query_images, str) or query.shape != (self.n_views, n, self.dim) or not n:
            raise ShapeError(
                "Queries must be embedded as the gallery is, and each needs its id.",
                got=f"query {query.shape}, {n} ids; gallery of {self.n_views} view(s), dim {self.dim}",
                fix="pass (view, query, dim) in the gallery's views, query[None] for a single one, and one id a query.",
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
    """(view, image, dim) to (image, view * dim) of length 1, whose products are the mean cosines of the views."""
    for view in embedding:
        check_unit_length(view, what=what)
    n_views, n_images, dim = embedding.shape
    rows = np.moveaxis(embedding, 0, 1).reshape(n_images, n_views * dim)
    return np.ascontiguousarray(rows / np.float32(np.sqrt(n_views)), np.float32)


def _refuse_twice(images: Sequence[str]) -> None:
    if len(set(images)) == len(images):
        return
    known: set[str] = set()
    twice = [image for image in images if image in known or known.add(image)]
    raise DataError("Some photos are in the gallery twice.", got=several(twice), fix="give each photo once.")
