"""Features of photos that no label of these photos went into."""

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
    """What can be said of photos before anything is learnt from them.

    Attributes:
        looks: Brightness, colourfulness and shape.
        classes: Probabilities of the 1,000 ImageNet classes.
        features: Pooled features of the pretrained network.
    """

    statistics: Float32[np.ndarray, "photo 4"]
    classes: Float32[np.ndarray, "photo class"]
    features: Float32[np.ndarray, "photo dim"]

    @property
    def unit(self) -> Float32[np.ndarray, "photo dim"]:
        """The features, every row at length 1."""
        tiny = np.finfo(np.float32).tiny
        return self.features / np.maximum(np.linalg.norm(self.features, axis=1, keepdims=True), tiny)


class Features(Artifact):
    """Image features of the known photos and of the new ones, in a folder each."""

    of_photos = True
    each_fold = True

    def write(self, known: PhotoFeatures) -> None:
        """Write those of the known photos."""
        self._write("known", known)

    def known(self) -> PhotoFeatures:
        """Those of the known photos."""
        return self._read("known")

    def keep(self, value: PhotoFeatures, context: Context) -> str:
        """Write those of the new photos."""
        self._write("new", value)
        return f"{context.n_new} new photos"

    def kept(self, context: Context) -> PhotoFeatures:
        """Those of the new photos."""
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
