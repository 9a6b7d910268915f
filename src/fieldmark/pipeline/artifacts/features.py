"""Image features of photos that do not depend on their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

STATISTICS, CLASSES, FEATURES = "statistics.npy", "imagenet.npy", "features.npy"


@dataclass(frozen=True)
class PhotoFeatures:
    """Image features of photos from statistics and a pretrained network.

    Attributes:
        statistics: Brightness, colourfulness and shape; 4 numbers per photo.
        classes: Probabilities of the 1,000 ImageNet classes.
        features: Pooled features of the pretrained network.
    """

    statistics: Float32[np.ndarray, "photo 4"]
    classes: Float32[np.ndarray, "photo class"]
    features: Float32[np.ndarray, "photo dim"]

    @property
    def unit(self) -> Float32[np.ndarray, "photo dim"]:
        """The features, scaled to unit length per row."""
        tiny = np.finfo(np.float32).tiny
        return self.features / np.maximum(np.linalg.norm(self.features, axis=1, keepdims=True), tiny)


class Features(Artifact):
    """Image features of the known and the new photos, in one folder each."""

    of_photos = True
    each_fold = True

    def write(self, known: PhotoFeatures) -> None:
        """Write the features of the known photos."""
        self._write("known", known)

    def known(self) -> PhotoFeatures:
        """Return the features of the known photos."""
        return self._read("known")

    def keep(self, value: PhotoFeatures, context: Context) -> str:
        """Write the features of the new photos."""
        self._write("new", value)
        return f"{context.n_new} new photos"

    def kept(self, context: Context) -> PhotoFeatures:
        """Return the features of the new photos."""
        del context
        return self._read("new")

    def _write(self, part: Literal["known", "new"], value: PhotoFeatures) -> None:
        place = self.folder / part
        place.mkdir(exist_ok=True)
        for name, array in ((STATISTICS, value.statistics), (CLASSES, value.classes), (FEATURES, value.features)):
            np.save(place / name, array)

    def _read(self, part: Literal["known", "new"]) -> PhotoFeatures:
        place: Path = self.folder / part
        return PhotoFeatures(*(np.load(place / name, allow_pickle=False) for name in (STATISTICS, CLASSES, FEATURES)))
