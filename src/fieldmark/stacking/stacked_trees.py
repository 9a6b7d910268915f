"""The fitted second level: predicts new photos, can be saved and loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.core.files import disk_errors, read_json, sha256, write_json, write_text
from fieldmark.core.spec import parse
from fieldmark.stacking.candidates import candidate_cells, scatter
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.neighbour_columns import NeighbourLabels
from fieldmark.stacking.specs import Stacking
from fieldmark.stacking.table import Projection, tabulate
from fieldmark.stacking.trees import corrected, load_booster, predict_cells

FORMAT = 2
META, ARRAYS = "stacked_trees.json", "stacked_trees.safetensors"
AT_ONCE = 8192
"""New photos predicted at once; limits their tables to a few hundred megabytes."""


@dataclass(frozen=True, eq=False)
class StackedTrees:
    """The trees of all folds with everything they need for a new photo.

    Attributes:
        by: Settings of the training.
        models: Names of the models whose scores are the input, in order.
        label_groups: Group of each label.
        neighbours: Labels of the known photos. With ``relevance`` it includes their embeddings.
        projection: For ImageNet probabilities in their reduced form.
        trees: One LightGBM model text per fold.
        rates: Share of the negative cells that each fold's trees were trained on.
    """

    by: Stacking
    models: tuple[str, ...]
    label_groups: Int[np.ndarray, " label"]
    neighbours: NeighbourLabels
    projection: Projection | None
    trees: tuple[str, ...]
    rates: tuple[float, ...]

    def judge(self, inputs: SecondLevelInputs, *, n_threads: int = 1) -> Float32[np.ndarray, "image label"]:
        """Return the probabilities of new photos: the mean over the trees of all folds, with all known photos.

        Args:
            inputs: Inputs of photos that are not among the known ones, from the same models. Models are matched by
                name.
            n_threads: Number of LightGBM threads.

        Raises:
            FieldmarkError: The inputs are from other models, or an input is missing.
            ShapeError: The inputs have other labels, or are from another backbone.
        """
        self._check(inputs)
        inputs = inputs.of_models(self.models)
        boosters = [load_booster(text) for text in self.trees]
        dense = np.empty((inputs.n_images, inputs.n_labels), np.float32)
        for start in range(0, inputs.n_images, AT_ONCE):
            images = slice(start, min(start + AT_ONCE, inputs.n_images))
            part = inputs.part(images)
            columns = self.neighbours.columns_for(part)
            cells = candidate_cells(part, self.by.candidates)
            plain = tabulate(part, cells, self.by.features, label_groups=self.label_groups, projection=self.projection)
            from_labels = columns.columns(cells.image, cells.label, folds=self.neighbours.folds)
            table = np.concatenate([plain, from_labels], axis=1)
            self._check_width(table.shape[1], boosters[0].num_feature())
            proba = np.zeros(len(cells), np.float32)
            for booster, rate in zip(boosters, self.rates, strict=True):
                proba += corrected(predict_cells(booster, table, n_threads=n_threads), rate) / np.float32(len(boosters))
            dense[images] = scatter(cells, proba, part)
        return dense

    def save(self, folder: Path) -> None:
        """Write ``stacked_trees.json``, the arrays, and one model text per fold into an existing folder.

        Raises:
            RunError: The disk is full or cannot be written.
        """
        write_each = {f"fold-{one}.txt": text for one, text in enumerate(self.trees)}
        for name, text in write_each.items():
            write_text(folder / name, text)
        with disk_errors(folder):
            save_file(self._arrays(), folder / ARRAYS)
        write_json(
            folder / META,
            {
                "kind": "second_level",
                "format": FORMAT,
                "by": self.by.model_dump(mode="json"),
                "models": list(self.models),
                "rates": list(self.rates),
                "sha256": {name: sha256(folder / name) for name in (ARRAYS, *write_each)},
            },
        )

    @classmethod
    def load(cls, folder: Path) -> StackedTrees:
        """Load the second level that ``save`` wrote.

        Raises:
            RunError: It is missing, of another version, or damaged.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "second_level" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} has no second level that this version can read.",
                got=str(meta)[:200],
                fix="run the stage that trains the second level again.",
            )
        # LightGBM's parser does not check its input, so it only gets files that are byte-identical to those written.
        try:
            wrong = [name for name, digest in meta["sha256"].items() if sha256(folder / name) != digest]
            if wrong:
                raise ValueError(f"changed: {', '.join(wrong)}")  # noqa: TRY301 - one error for all damage
            trees = tuple((folder / f"fold-{one}.txt").read_text(encoding="utf-8") for one in range(len(meta["rates"])))
            by: Stacking = parse(Stacking, json.dumps(meta["by"]), name=str(folder / META))
            return cls._of(meta, by, load_file(folder / ARRAYS), trees)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
            raise RunError(
                f"The second level in {folder} is damaged.",
                got=error,
                fix="run the stage that trains the second level again.",
            ) from error

    def _check(self, inputs: SecondLevelInputs) -> None:
        if set(inputs.models) != set(self.models):
            raise FieldmarkError(
                "The second level needs the scores of exactly the models it was trained with.",
                got=f"{', '.join(inputs.models)}; trained with {', '.join(self.models)}",
                fix="pass the scores of the same models under the same names.",
            )
        if inputs.n_labels != len(self.label_groups):
            raise ShapeError(
                "The scores have other labels than the second level was trained with.",
                got=f"{inputs.n_labels} labels; trained with {len(self.label_groups)}",
                fix="pass one column per label, in the vocabulary's order.",
            )
        inputs.must_serve(self.by.features)

    def _check_width(self, n_columns: int, n_trained: int) -> None:
        if n_columns != n_trained:
            raise ShapeError(
                "The inputs give another number of columns than the second level was trained with.",
                got=f"{n_columns} columns; trained with {n_trained}",
                fix="pass ImageNet probabilities of the same backbone as for the known photos.",
            )

    def _arrays(self) -> dict[str, np.ndarray]:
        known, projection = self.neighbours, self.projection
        image, label = np.nonzero(known.truth)
        unlabelled = None if known.is_labelled is None else np.argwhere(~known.is_labelled).astype(np.int32)
        arrays = {
            "label_groups": self.label_groups,
            "fold": known.fold,
            "n_labelled": known.n_labelled,
            "n_with": known.n_with,
            "truth_image": image.astype(np.int32),
            "truth_label": label.astype(np.int32),
            "mass": known.mass,
            "all_mass": known.all_mass,
            "unlabelled_mass": known.unlabelled_mass,
            "unlabelled": unlabelled,
            "embeddings": known.embeddings,
            "mean": None if projection is None else projection.mean,
            "components": None if projection is None else projection.components,
        }
        return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}

    @classmethod
    def _of(
        cls, meta: dict[str, Any], by: Stacking, arrays: dict[str, np.ndarray], trees: tuple[str, ...]
    ) -> StackedTrees:
        truth = np.zeros((len(arrays["fold"]), len(arrays["label_groups"])), bool)
        truth[arrays["truth_image"], arrays["truth_label"]] = True
        is_labelled = None if "unlabelled" not in arrays else np.ones_like(truth)
        if is_labelled is not None:
            is_labelled[tuple(arrays["unlabelled"].T)] = False
        neighbours = NeighbourLabels(
            n_labelled=arrays["n_labelled"],
            n_with=arrays["n_with"],
            mass=arrays.get("mass"),
            all_mass=arrays.get("all_mass"),
            unlabelled_mass=arrays.get("unlabelled_mass"),
            embeddings=arrays.get("embeddings"),
            truth=truth,
            is_labelled=is_labelled,
            fold=arrays["fold"],
            by=by.features.relevance,
            share=by.features.share,
        )
        projection = Projection(arrays["mean"], arrays["components"]) if "mean" in arrays else None
        return cls(
            by, tuple(meta["models"]), arrays["label_groups"], neighbours, projection, trees, tuple(meta["rates"])
        )
