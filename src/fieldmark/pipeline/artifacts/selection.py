"""Which photos later trainings learn from: known ones that are left out, new ones with pseudo-labels."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from fieldmark.data.collection import Collection
from fieldmark.pipeline.artifacts.base import Artifact

DROPPED = "dropped.parquet"


class DroppedPhotos(Artifact):
    """The known photos that do not teach any more, with their errors, the largest first."""

    def write(self, images: list[str], error: Float32[np.ndarray, " photo"]) -> None:
        """Write ids and errors."""
        schema = {"image": pl.String, "error": pl.Float32}
        pl.DataFrame({"image": images, "error": error}, schema=schema).write_parquet(self.folder / DROPPED)

    def table(self) -> pl.DataFrame:
        """Ids (``image``) and errors (``error``)."""
        return pl.read_parquet(self.folder / DROPPED)

    def stays(self, known: Collection) -> Bool[np.ndarray, " photo"]:
        """Which known photos are not dropped."""
        return ~np.isin(np.array(known.images), self.table()["image"].to_numpy())


class PseudoLabels(Artifact):
    """For each fold the new photos that its models learn from: rows of the new photos, picked by that fold's models."""

    def write_rows(self, k: int, rows: Int64[np.ndarray, " picked"]) -> None:
        """Write the rows for the models of fold ``k``."""
        np.save(self.folder / f"picked{k}.npy", rows)

    def rows(self, k: int) -> Int64[np.ndarray, " picked"]:
        """The rows for the models of fold ``k``."""
        return np.load(self.folder / f"picked{k}.npy", allow_pickle=False)

    def any_fold(self) -> Int64[np.ndarray, " picked"]:
        """The rows that the models of any fold learn from."""
        found = [np.load(path, allow_pickle=False) for path in self.folder.glob("picked*.npy")]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


class LabelPseudoLabels(PseudoLabels):
    """New photos with the labels that models are confident of."""

    def write(self, k: int, rows: Int64[np.ndarray, " picked"], targets: Float32[np.ndarray, "picked label"]) -> None:
        """Write rows and targets (0 to 1, a column for each tag) for the models of fold ``k``."""
        self.write_rows(k, rows)
        np.save(self.folder / f"targets{k}.npy", targets)

    def targets(self, k: int) -> Float32[np.ndarray, "picked label"]:
        """The targets for the models of fold ``k``."""
        return np.load(self.folder / f"targets{k}.npy", allow_pickle=False)


class IdentityPseudoLabels(PseudoLabels):
    """New photos with the individuals that models are confident of."""

    def write(self, k: int, rows: Int64[np.ndarray, " picked"], classes: Int64[np.ndarray, " picked"]) -> None:
        """Write rows and the individual of each for the models of fold ``k``."""
        self.write_rows(k, rows)
        np.save(self.folder / f"classes{k}.npy", classes)

    def classes(self, k: int) -> Int64[np.ndarray, " picked"]:
        """The individual of each row for the models of fold ``k``."""
        return np.load(self.folder / f"classes{k}.npy", allow_pickle=False)
