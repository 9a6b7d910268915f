"""A ranking by matching keypoints, with the pairs of photos that were compared."""

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
    """What matching keypoints found out about each query and each individual on its shortlist.

    Attributes:
        names: Individuals, the likeliest first; below 0: nobody.
        numbers: Ranking's score, log(1 + matches), log(1 + inliers), inliers as a share of matches; of the photo with
            most inliers. -inf and zeros where there is nobody or no photo.
        photo: That photo's row among the known photos; -1 where there is none.
        n_matches: Its matches.
        n_inliers: Its inliers.
    """

    names: Int64[np.ndarray, "query rank"]
    numbers: Float64[np.ndarray, "query rank number"]
    photo: Int64[np.ndarray, "query rank"]
    n_matches: Int64[np.ndarray, "query rank"]
    n_inliers: Int64[np.ndarray, "query rank"]


class KeypointRanking(Ranking):
    """A ranking, the weights by which scores and keypoints were fused, and a table of all pairs of photos compared."""

    def write_fusion(self, fusion: Fusion) -> None:
        """Write the weights."""
        write_json(self.folder / FUSION, fusion.model_dump(mode="json"))

    @cached_property
    def fusion(self) -> Fusion:
        """The weights."""
        return read_spec(Fusion, self.folder / FUSION)

    def write_matches(self, validation: pl.DataFrame) -> None:
        """Write the pairs of validation photos; see ``counted``."""
        validation.write_parquet(self.folder / MATCHES)

    def matches(self, part: Literal["validation", "new"]) -> pl.DataFrame:
        """The pairs of validation or new photos; see ``counted``."""
        return pl.read_parquet(self.folder / MATCHES).filter(pl.col("part") == part)

    def keep(self, value: RankedPhotos, context: Context) -> str:
        """Write scores, candidates and pairs of the new photos."""
        if context.new is not None and isinstance(value.keypoints, ShortlistMatches):
            table = keypoint_pairs("new", context.new, value.keypoints, context.known)
            pl.concat([pl.read_parquet(self.folder / MATCHES), table]).write_parquet(self.folder / MATCHES)
        return super().keep(value, context)


def agreeing(counts: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The known photo that each photo and name agree by, if any point fits; of a table that ``counted`` made."""
    fits = counts.filter(pl.col("inliers") > 0).select("image", "identity", "photo")
    return {(image, name): photo for image, name, photo in fits.iter_rows()}


def keypoint_pairs(part: str, queries: Collection, found: ShortlistMatches, known: Collection) -> pl.DataFrame:
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
