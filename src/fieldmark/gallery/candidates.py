"""Candidate identities of a query, described by numbers: the input of the second level."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.errors import FieldmarkError
from fieldmark.decisions.centroids import centroids
from fieldmark.decisions.specs import Centroid
from fieldmark.gallery.search import nearest_photos

COLUMNS = (
    "first",
    "second",
    "third",
    "sum of three",
    "centroid",
    "rank",
    "among nearest",
    "photos",
    "behind first",
    "before next",
    "best of query",
    "spread of query",
    "candidates",
)
"""Names of the columns. For an identity: cosines of its three photos most similar to the query (NaN where it has
fewer) and their sum; the cosine to its robust centroid; its rank among the candidates (1 is first); its number of
photos among the nearest, and in total; the distance of its best cosine to that of the first candidate, and to that of
the next one. For the query: its best cosine, the standard deviation over its nearest photos, and the number of
candidates."""
PAIRS_AT_ONCE = 2**15


@dataclass(frozen=True, slots=True)
class CandidateFeatures:
    """One row per query and candidate, in the order of queries, the most similar candidate first.

    Attributes:
        query: Row of the query.
        identity: Class of the candidate.
        photo: Gallery row of the candidate's photo that is most similar to the query.
        table: The numbers.
        names: Column names.
        n_queries: Number of queries.
    """

    query: Int64[np.ndarray, " candidate"]
    identity: Int64[np.ndarray, " candidate"]
    photo: Int64[np.ndarray, " candidate"]
    table: Float32[np.ndarray, "candidate column"]
    names: tuple[str, ...]
    n_queries: int


def candidate_features(
    query: Float32[np.ndarray, "query dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    classes: Int64[np.ndarray, " gallery"],
    *,
    n_photos: int,
    n_components: int = 0,
) -> CandidateFeatures:
    """Describe the identities among each query's ``n_photos`` nearest photos.

    Use ``GalleryStore.candidate_features``, which checks that the network was not trained on the queries.

    Args:
        query: One embedding per row, of unit length; none of them of a photo in the gallery.
        gallery: One embedding per photo, of unit length.
        classes: The identity of each photo; -1 for unknown individuals, which are never candidates.
        n_photos: Number of nearest photos whose identities are candidates.
        n_components: Number of principal components of the gallery for the difference of the two photos.

    Raises:
        FieldmarkError: ``n_photos`` is below 1.

    Source:
        Happywhale 2022, 7th place (T43); the query's own columns are ours.
    """
    if n_photos < 1:
        raise FieldmarkError("n_photos must be 1 or more.", got=f"n_photos={n_photos}", fix="use n_photos=100.")
    index, cosine = nearest_photos(query, gallery, k=min(n_photos, len(gallery)))
    n_classes = max(int(classes.max(initial=-1)) + 1, 1)
    query_row, place = np.nonzero(classes[index] >= 0)
    near = classes[index[query_row, place]]
    pair, first, many = np.unique(query_row * n_classes + near, return_index=True, return_counts=True)
    row, name = np.divmod(pair, n_classes)
    # The nearest photos are sorted, best first, so the first occurrence is the identity's most similar photo.
    best, photo = cosine[query_row[first], place[first]], index[query_row[first], place[first]]
    order = np.lexsort((name, -best, row))
    row, name, best, photo, many = (column[order] for column in (row, name, best, photo, many))
    three, centre = _likeness(query, gallery, classes, row, name, n_classes=n_classes)
    of_query = np.searchsorted(row, row)
    n_candidates = np.bincount(row, minlength=len(query))[row]
    behind = np.append(best[1:], np.nan)
    behind[np.append(row[1:] != row[:-1], True)] = np.nan  # there is no next candidate
    columns = [
        *three.T,
        np.nansum(three, axis=1),
        centre,
        np.arange(len(row)) - of_query + 1,
        many,
        np.bincount(classes[classes >= 0], minlength=n_classes)[name],
        best[of_query] - best,
        best - behind,
        best[of_query],
        cosine.std(axis=1)[row],
        n_candidates,
    ]
    table = np.stack(columns, axis=1).astype(np.float32) if len(row) else np.zeros((0, len(COLUMNS)), np.float32)
    names = COLUMNS
    if n_components:
        differences = _differences(query, gallery, row, photo, n_components=n_components)
        table = np.concatenate([table, differences], axis=1)
        names = (*COLUMNS, *(f"component {number + 1}" for number in range(differences.shape[1])))
    return CandidateFeatures(row, name, photo, table, names, len(query))


def _likeness(
    query: np.ndarray, gallery: np.ndarray, classes: np.ndarray, row: np.ndarray, name: np.ndarray, *, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines of each candidate's three most similar photos (NaN where it has fewer), and of its centroid."""
    photos = np.argsort(classes, kind="stable")
    begin = np.searchsorted(classes[photos], np.arange(n_classes + 1))
    centre = centroids(gallery, classes, n_classes=n_classes, by=Centroid())
    three, to_centre = np.full((len(row), 3), np.nan, np.float32), np.empty(len(row), np.float32)
    counts = (begin[1:] - begin[:-1])[name]
    for start in _steps(counts):
        some = slice(*start)
        many = counts[some]
        cell = np.repeat(np.arange(len(many)), many)
        within = np.arange(len(cell)) - np.repeat(np.cumsum(many) - many, many)
        of = photos[begin[name[some]][cell] + within]
        value = np.einsum("pd,pd->p", gallery[of], query[row[some]][cell])
        order = np.lexsort((-value, cell))
        keep = within < 3  # after sorting, the places within a cell hold its values best first
        three[some][cell[keep], within[keep]] = value[order][keep]
        to_centre[some] = np.einsum("pd,pd->p", centre[name[some]], query[row[some]])
    return three, to_centre


def _steps(counts: np.ndarray) -> list[tuple[int, int]]:
    """Split rows into pieces of about ``PAIRS_AT_ONCE`` photos."""
    ends = np.cumsum(counts)
    bounds = np.unique(
        np.searchsorted(ends, np.arange(PAIRS_AT_ONCE, int(ends[-1]) if len(ends) else 0, PAIRS_AT_ONCE))
    )
    edges = [0, *(int(bound) + 1 for bound in bounds), len(counts)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def _differences(
    query: np.ndarray, gallery: np.ndarray, row: np.ndarray, photo: np.ndarray, *, n_components: int
) -> Float32[np.ndarray, "candidate component"]:
    """Return the absolute difference of the query and the candidate's best photo in each principal component."""
    centred = gallery - gallery.mean(axis=0)
    value, direction = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    width = min(n_components, len(value))
    basis = direction[:, ::-1][:, :width].astype(np.float32)
    return np.abs((query @ basis)[row] - (gallery @ basis)[photo])
