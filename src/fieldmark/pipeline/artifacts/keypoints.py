"""A ranking by keypoint matching, with all compared pairs of photos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from fieldmark.core.files import write_json
from fieldmark.core.spec import read_spec
from fieldmark.data.collection import Collection
from fieldmark.gallery.fusion import Fusion
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

FUSION = "fusion.json"
MATCHES = "keypoint_matches.parquet"


@dataclass(frozen=True, eq=False)
class ShortlistMatches:
    """The keypoint matches of each query with each individual on its shortlist.

    Attributes:
        names: Class numbers of the individuals, the likeliest first; negative where the shortlist is shorter.
        numbers: Ranking score, log(1 + matches), log(1 + inliers), and inliers as a share of matches, for the photo
            with most inliers. -inf and zeros where there is no individual or no photo.
        photo: Row of that photo among the known photos; -1 if there is none.
        n_matches: Number of matches of that photo.
        n_inliers: Number of inliers of that photo.
    """

    names: Int64[np.ndarray, "query rank"]
    numbers: Float64[np.ndarray, "query rank number"]
    photo: Int64[np.ndarray, "query rank"]
    n_matches: Int64[np.ndarray, "query rank"]
    n_inliers: Int64[np.ndarray, "query rank"]


class KeypointRanking(Ranking):
    """A ranking, the weights that combine scores and keypoint matches, and a table of all compared pairs."""

    def write_fusion(self, fusion: Fusion) -> None:
        """Write the fusion weights."""
        write_json(self.folder / FUSION, fusion.model_dump(mode="json"))

    @cached_property
    def fusion(self) -> Fusion:
        """The fusion weights."""
        return read_spec(Fusion, self.folder / FUSION)

    def write_matches(self, validation: pl.DataFrame) -> None:
        """Write the compared pairs of the validation photos; see ``keypoint_pairs``."""
        validation.write_parquet(self.folder / MATCHES)

    def matches(self, part: Literal["validation", "new"]) -> pl.DataFrame:
        """Return the compared pairs of the validation or the new photos; see ``keypoint_pairs``."""
        return pl.read_parquet(self.folder / MATCHES).filter(pl.col("part") == part)

    def keep(self, value: RankedPhotos, context: Context) -> str:
        """Write the scores, candidates and compared pairs of the new photos."""
        if context.new is not None and isinstance(value.keypoints, ShortlistMatches):
            table = keypoint_pairs("new", context.new, value.keypoints, context.known)
            pl.concat([pl.read_parquet(self.folder / MATCHES), table]).write_parquet(self.folder / MATCHES)
        return super().keep(value, context)


def agreeing(counts: pl.DataFrame) -> dict[tuple[str, str], str]:
    """Return the best matching known photo of each image and identity, if it has at least one inlier.

    Args:
        counts: Table made by ``keypoint_pairs``.
    """
    fits = counts.filter(pl.col("inliers") > 0).select("image", "identity", "photo")
    return {(image, name): photo for image, name, photo in fits.iter_rows()}


def keypoint_pairs(part: str, queries: Collection, found: ShortlistMatches, known: Collection) -> pl.DataFrame:
    """Return a table with one row per query and individual.

    The columns are part, image, identity, photo (the best matching photo of that individual), matches and inliers.
    """
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
