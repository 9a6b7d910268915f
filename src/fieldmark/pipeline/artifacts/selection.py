"""Changes to the training photos of later stages: dropped known photos, and pseudo-labelled new photos."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from fieldmark.data.collection import Collection
from fieldmark.pipeline.artifacts.base import Artifact

DROPPED = "dropped.parquet"


class DroppedPhotos(Artifact):
    """The known photos that are left out of later training, with their errors, the largest first."""

    def write(self, images: list[str], error: Float32[np.ndarray, " photo"]) -> None:
        """Write the ids and errors of the dropped photos."""
        schema = {"image": pl.String, "error": pl.Float32}
        pl.DataFrame({"image": images, "error": error}, schema=schema).write_parquet(self.folder / DROPPED)

    def table(self) -> pl.DataFrame:
        """Return the ids (``image``) and errors (``error``) of the dropped photos."""
        return pl.read_parquet(self.folder / DROPPED)

    def stays(self, known: Collection) -> Bool[np.ndarray, " photo"]:
        """Return which known photos are not dropped."""
        return ~np.isin(np.array(known.images), self.table()["image"].to_numpy())


class PseudoLabels(Artifact):
    """For each fold, the rows of the new photos that are added to its training photos, picked by the fold's models."""

    def write_rows(self, k: int, rows: Int64[np.ndarray, " picked"]) -> None:
        """Write the rows for the models of fold ``k``."""
        np.save(self.folder / f"picked{k}.npy", rows)

    def rows(self, k: int) -> Int64[np.ndarray, " picked"]:
        """Return the rows for the models of fold ``k``."""
        return np.load(self.folder / f"picked{k}.npy", allow_pickle=False)

    def any_fold(self) -> Int64[np.ndarray, " picked"]:
        """Return the rows that are added to the training photos of any fold."""
        found = [np.load(path, allow_pickle=False) for path in self.folder.glob("picked*.npy")]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


class LabelPseudoLabels(PseudoLabels):
    """New photos with confidently predicted labels."""

    def write(self, k: int, rows: Int64[np.ndarray, " picked"], targets: Float32[np.ndarray, "picked label"]) -> None:
        """Write the rows and targets (0 to 1, one column per tag) for the models of fold ``k``."""
        self.write_rows(k, rows)
        np.save(self.folder / f"targets{k}.npy", targets)

    def targets(self, k: int) -> Float32[np.ndarray, "picked label"]:
        """Return the targets for the models of fold ``k``."""
        return np.load(self.folder / f"targets{k}.npy", allow_pickle=False)


class IdentityPseudoLabels(PseudoLabels):
    """New photos with confidently predicted individuals."""

    def write(self, k: int, rows: Int64[np.ndarray, " picked"], classes: Int64[np.ndarray, " picked"]) -> None:
        """Write the rows and their classes for the models of fold ``k``."""
        self.write_rows(k, rows)
        np.save(self.folder / f"classes{k}.npy", classes)

    def classes(self, k: int) -> Int64[np.ndarray, " picked"]:
        """Return the class (individual) of each row for the models of fold ``k``."""
        return np.load(self.folder / f"classes{k}.npy", allow_pickle=False)
