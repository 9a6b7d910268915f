"""Checked inputs of the second level for some photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.images.statistics import STATISTICS
from fieldmark.stacking.specs import TableColumns

IMAGE_BLOCK = 2048
"""Images processed at once where a block of (image, label) is computed: 9 MB of float32 at 1,103 labels."""

Matrix = Float[np.ndarray, "image column"]


@dataclass(frozen=True, eq=False)
class SecondLevelInputs:
    """Inputs of the second level; every matrix has one row per image, in the same order.

    Attributes:
        scores: Probabilities (image, label) by model name; each from a network that was not trained on the image.
            Memory maps are supported: they are read in blocks.
        statistics: (image, statistic) matrix, from ``images.statistics.image_statistics()``.
        imagenet: (image, class) probabilities of the included backbone.
        embeddings: (image, dim) rows of length 1, for the similarity of photos.

    Raises:
        ShapeError: The matrices do not match in shape.
        FieldmarkError: There is no model, or scores are not probabilities.
    """

    scores: Mapping[str, Matrix]
    statistics: Matrix | None = None
    imagenet: Matrix | None = None
    embeddings: Matrix | None = None

    def __post_init__(self) -> None:
        if not self.scores:
            raise FieldmarkError("scores must hold at least one model.", got="no models", fix="pass one model or more.")
        parts = {f"scores of {name}": np.shape(matrix) for name, matrix in self.scores.items()}
        parts |= {name: np.shape(part) for name, part in self._parts().items() if part is not None}
        wide = {shape[1:] for name, shape in parts.items() if name.startswith("scores of ")}
        statistics_fit = self.statistics is None or np.shape(self.statistics)[1:] == (len(STATISTICS),)
        if {len(shape) for shape in parts.values()} != {2} or len({s[0] for s in parts.values()}) > 1 or len(wide) > 1:
            raise ShapeError(
                "All inputs must have the same images, and all scores the same labels.",
                got=several([f"{name} {shape}" for name, shape in parts.items()], most=10),
                fix="pass matrices with one row per image in the same order; scores are (image, label).",
            )
        if not self.n_labels or not statistics_fit:
            raise ShapeError(
                "scores need at least one label, and statistics the columns of image_statistics().",
                got=several([f"{name} {shape}" for name, shape in parts.items()], most=10),
                fix=f"pass {len(STATISTICS)} statistics per image: {', '.join(STATISTICS)}.",
            )
        self._refuse_odd_numbers()

    def _parts(self) -> dict[str, Matrix | None]:
        return {"statistics": self.statistics, "imagenet": self.imagenet, "embeddings": self.embeddings}

    def _refuse_odd_numbers(self) -> None:
        odd = []
        for name, matrix in self.scores.items():
            blocks = (matrix[rows] for rows in self.blocks())
            if not all(((block >= 0) & (block <= 1)).all() for block in blocks):
                odd.append(f"scores of {name}: not all within 0 and 1")
        for name, part in self._parts().items():
            if part is not None and not all(np.isfinite(part[rows]).all() for rows in self.blocks()):
                odd.append(f"{name}: NaN or infinite")
        if odd:
            raise FieldmarkError(
                "Some inputs of the second level are invalid.",
                got=several(odd),
                fix="pass probabilities (after the sigmoid), and repair or leave out photos with NaN.",
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order."""
        return tuple(self.scores)

    @property
    def n_images(self) -> int:
        """Number of rows of every matrix."""
        return len(next(iter(self.scores.values())))

    @property
    def n_labels(self) -> int:
        """Number of columns of the scores."""
        return next(iter(self.scores.values())).shape[1]

    def blocks(self) -> list[slice]:
        """Return the images in blocks."""
        return [slice(start, min(start + IMAGE_BLOCK, self.n_images)) for start in range(0, self.n_images, IMAGE_BLOCK)]

    def part(self, images: slice) -> SecondLevelInputs:
        """Return the inputs of some images."""
        some = {name: None if part is None else part[images] for name, part in self._parts().items()}
        return SecondLevelInputs({name: matrix[images] for name, matrix in self.scores.items()}, **some)

    def of_models(self, models: Sequence[str]) -> SecondLevelInputs:
        """Return the inputs with the scores of these models, in this order.

        Raises:
            KeyError: A model has no scores here.
        """
        return (
            self if tuple(models) == self.models else replace(self, scores={name: self.scores[name] for name in models})
        )

    def mean_of(self, images: slice | np.ndarray) -> Float32[np.ndarray, "image label"]:
        """Return the mean of the models' probabilities for some images."""
        total = np.zeros(np.shape(next(iter(self.scores.values()))[images]), np.float32)
        for matrix in self.scores.values():
            total += matrix[images]
        return total / np.float32(len(self.scores))

    def must_serve(self, features: TableColumns) -> None:
        """Refuse to go on where ``features`` ask for what is not here.

        Raises:
            FieldmarkError: Looks, ImageNet probabilities or embeddings are wanted and missing.
        """
        inputs = {
            "statistics": (features.statistics, "looks=False"),
            "imagenet": (features.imagenet != "off", "imagenet='off'"),
            "embeddings": (features.relevance is not None, "relevance=None"),
        }
        parts = self._parts()
        missing = [name for name, (used, _) in inputs.items() if used and parts[name] is None]
        if missing:
            disabled = ", ".join(inputs[name][1] for name in missing)
            raise FieldmarkError(
                "The settings of the second level use inputs that are missing.",
                got=f"no {', no '.join(missing)}",
                fix=f"pass them, or disable them: TableColumns({disabled}).",
            )
