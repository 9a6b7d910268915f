"""The fitted second level: judges new photos, goes into a folder and comes back."""

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
from fieldmark.stacking.trees import answers, planted, put_right

FORMAT = 2
META, ARRAYS = "stacked_trees.json", "stacked_trees.safetensors"
AT_ONCE = 8192
"""New photos judged at once: their tables stay below some hundred megabytes."""


@dataclass(frozen=True, eq=False)
class StackedTrees:
    """The trees of all folds and what they need to look at a new photo.

    Attributes:
        by: Settings it was made with.
        models: Names of the models whose scores it reads, in their order.
        label_groups: Group of each label.
        told: What the known photos tell. With ``relevance`` it holds their embeddings.
        projection: For ImageNet probabilities in their reduced form.
        trees: One LightGBM text a fold.
        rates: Share of the wrong cells that each learnt from.
    """

    by: Stacking
    models: tuple[str, ...]
    label_groups: Int[np.ndarray, " label"]
    told: NeighbourLabels
    projection: Projection | None
    trees: tuple[str, ...]
    rates: tuple[float, ...]

    def judge(self, evidence: SecondLevelInputs, *, n_threads: int = 1) -> Float32[np.ndarray, "image label"]:
        """Probabilities of new photos: the mean over the trees of all folds, told by all known photos.

        Args:
            evidence: Of photos that are not among the known ones, from the same models. The models are found by name.
            n_threads: Threads of LightGBM.

        Raises:
            FieldmarkError: It is of other models, or something is missing.
            ShapeError: It is of other labels, or of another backbone.
        """
        self._check(evidence)
        evidence = evidence.of_models(self.models)
        boosters = [planted(text) for text in self.trees]
        dense = np.empty((evidence.n_images, evidence.n_labels), np.float32)
        for start in range(0, evidence.n_images, AT_ONCE):
            images = slice(start, min(start + AT_ONCE, evidence.n_images))
            part = evidence.part(images)
            asked = self.told.ask(part)
            cells = candidate_cells(part, self.by.candidates)
            plain = tabulate(part, cells, self.by.features, label_groups=self.label_groups, projection=self.projection)
            told = asked.columns(cells.image, cells.label, folds=self.told.folds)
            table = np.concatenate([plain, told], axis=1)
            self._check_width(table.shape[1], boosters[0].num_feature())
            proba = np.zeros(len(cells), np.float32)
            for booster, rate in zip(boosters, self.rates, strict=True):
                proba += put_right(answers(booster, table, n_threads=n_threads), rate) / np.float32(len(boosters))
            dense[images] = scatter(cells, proba, part)
        return dense

    def save(self, folder: Path) -> None:
        """Write ``stacked_trees.json``, the arrays, and one text of trees a fold, into an existing folder.

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
        """The judge that ``save`` wrote.

        Raises:
            RunError: It is not there, of another version, or damaged.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "second_level" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} holds no second level that this version reads.",
                got=str(meta)[:200],
                fix="run the stage that trains the second level again.",
            )
        # LightGBM's reader trusts its text, so nothing is given to it that is not byte for byte what was written.
        try:
            wrong = [name for name, digest in meta["sha256"].items() if sha256(folder / name) != digest]
            if wrong:
                raise ValueError(f"not as written: {', '.join(wrong)}")  # noqa: TRY301 - one way out for all damage
            trees = tuple((folder / f"fold-{one}.txt").read_text(encoding="utf-8") for one in range(len(meta["rates"])))
            by: Stacking = parse(Stacking, json.dumps(meta["by"]), name=str(folder / META))
            return cls._of(meta, by, load_file(folder / ARRAYS), trees)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
            raise RunError(
                f"The second level in {folder} is damaged.",
                got=error,
                fix="run the stage that trains the second level again.",
            ) from error

    def _check(self, evidence: SecondLevelInputs) -> None:
        if set(evidence.models) != set(self.models):
            raise FieldmarkError(
                "The second level reads the scores of the models it was trained with, and no others.",
                got=f"{', '.join(evidence.models)}; trained with {', '.join(self.models)}",
                fix="pass the scores of the same models under the same names.",
            )
        if evidence.n_labels != len(self.label_groups):
            raise ShapeError(
                "The scores are of other labels than the second level was trained with.",
                got=f"{evidence.n_labels} labels; trained with {len(self.label_groups)}",
                fix="pass one column a label, in the vocabulary's order.",
            )
        evidence.must_serve(self.by.features)

    def _check_width(self, n_columns: int, n_learnt: int) -> None:
        if n_columns != n_learnt:
            raise ShapeError(
                "The evidence makes another table than the second level was trained with.",
                got=f"{n_columns} columns; trained with {n_learnt}",
                fix="pass ImageNet probabilities of the same backbone as for the known photos.",
            )

    def _arrays(self) -> dict[str, np.ndarray]:
        told, projection = self.told, self.projection
        image, label = np.nonzero(told.truth)
        unlabelled = None if told.is_told is None else np.argwhere(~told.is_told).astype(np.int32)
        arrays = {
            "label_groups": self.label_groups,
            "fold": told.fold,
            "n_told": told.n_told,
            "n_with": told.n_with,
            "truth_image": image.astype(np.int32),
            "truth_label": label.astype(np.int32),
            "mass": told.mass,
            "all_mass": told.all_mass,
            "unlabelled_mass": told.unlabelled_mass,
            "unlabelled": unlabelled,
            "embeddings": told.embeddings,
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
        is_told = None if "unlabelled" not in arrays else np.ones_like(truth)
        if is_told is not None:
            is_told[tuple(arrays["unlabelled"].T)] = False
        told = NeighbourLabels(
            n_told=arrays["n_told"],
            n_with=arrays["n_with"],
            mass=arrays.get("mass"),
            all_mass=arrays.get("all_mass"),
            unlabelled_mass=arrays.get("unlabelled_mass"),
            embeddings=arrays.get("embeddings"),
            truth=truth,
            is_told=is_told,
            fold=arrays["fold"],
            by=by.features.relevance,
            share=by.features.share,
        )
        projection = Projection(arrays["mean"], arrays["components"]) if "mean" in arrays else None
        return cls(by, tuple(meta["models"]), arrays["label_groups"], told, projection, trees, tuple(meta["rates"]))
