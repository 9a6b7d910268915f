"""The second level: boosted trees that combine the predictions of all models per cell, cross-fitted over folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator, hash_seed
from fieldmark.stacking.candidates import Cells, candidate_cells, recall_ceiling, refuse_truth, scatter
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.neighbour_columns import NeighbourColumns, NeighbourLabels
from fieldmark.stacking.specs import Stacking
from fieldmark.stacking.stacked_trees import StackedTrees
from fieldmark.stacking.table import CATEGORICAL, Projection, column_names, tabulate
from fieldmark.stacking.trees import ROW_BLOCK, corrected, load_booster, predict_cells, sample_negatives, train_trees

TABLE = "table.npy"


@dataclass(frozen=True, eq=False)
class SecondLevel:
    """Result of the training.

    Attributes:
        proba: Out-of-fold probabilities: the trees for an image were trained without its labels, and so were their
            input columns.
        judge: The fitted second level, for new photos.
        importance: (column, share of the total gain), largest first.
        recall_ceiling: Share of the true labels among the scored cells.
        n_judged: Number of scored cells.
    """

    proba: Float32[np.ndarray, "image label"]
    judge: StackedTrees
    importance: tuple[tuple[str, float], ...]
    recall_ceiling: float
    n_judged: int


def second_level(  # noqa: PLR0913 - options, all by keyword
    inputs: SecondLevelInputs,
    truth: Bool[np.ndarray, "image label"],
    fold: Int[np.ndarray, " image"],
    *,
    is_labelled: Bool[np.ndarray, "image label"] | None = None,
    by: Stacking = Stacking(),  # noqa: B008 - a frozen value
    label_groups: Int[np.ndarray, " label"] | None = None,
    seed: int = 0,
    n_threads: int = 1,
    scratch: Path | None = None,
    progress: Progress = QUIET,
) -> SecondLevel:
    """Train boosted trees that predict every image's candidate labels from all models, out-of-fold.

    The models disagree, and each has its own errors: one is overconfident, one is weak on dark photos, one never
    predicts "armour". The trees learn when each model is reliable. For each fold they are trained on the images of all
    other folds and predict the images of this one. The labels of an image never reach its own trees, not even through
    the neighbours or frequencies that describe other images.

    Args:
        inputs: Inputs of the known photos, with out-of-fold scores.
        truth: Labels of the known photos.
        fold: Folds of the known photos, from 0, whole images; the folds of the scores may be used again. At least three
            folds if the features use labels (share, reduced ImageNet, relevance), otherwise two.
        is_labelled: Which cells of the truth are labelled; other cells are scored but not used for training. None: all.
        by: All settings.
        label_groups: Group of each label (culture, tag), from 0.
        seed: Random seed for drawing negatives and for the trees.
        n_threads: Number of LightGBM threads; they only change the duration.
        scratch: Folder for the temporary table (4 bytes per cell and column); None: in memory.
        progress: Reports each fold.

    Raises:
        ShapeError: Truth, folds or groups do not match the scores.
        FieldmarkError: Folds are invalid, inputs are missing, or no cell is a candidate.
        RunError: The disk is full.

    Source:
        iMet 2019, 1st place, stage 5 (T33). Ours: the columns from neighbours, frequencies and ImageNet similarity are
        nested, so that they use no labels of the predicted fold; candidates and sampling of negatives as described in
        the modules.
    """
    refuse_truth(inputs, truth)
    if is_labelled is not None:
        refuse_truth(inputs, is_labelled)
    inputs.must_serve(by.features)
    uses_labels = by.features.share or by.features.imagenet == "reduced" or by.features.relevance is not None
    fold = _checked_folds(fold, inputs.n_images, least=3 if uses_labels else 2)
    groups = _checked_groups(label_groups, inputs.n_labels)
    cells = candidate_cells(inputs, by.candidates, truth=truth if by.candidates.unite_positives else None)
    projection = None
    if inputs.imagenet is not None and by.features.imagenet == "reduced":
        projection = Projection.of(inputs.imagenet, n_components=by.features.n_components)
    neighbours = NeighbourLabels.of(inputs, truth, fold, by.features, is_labelled=is_labelled)
    names = column_names(inputs, by.features) + neighbours.names
    file = None if scratch is None else scratch / TABLE
    try:
        table = tabulate(
            inputs, cells, by.features, label_groups=groups, projection=projection, file=file, progress=progress
        )
        where = cells.image, cells.label
        labelled = np.ones(len(cells), bool) if is_labelled is None else is_labelled[where]
        cross_fitting = _CrossFitting(
            cells, table, neighbours.columns_for(inputs, fold=fold), fold[cells.image], truth[where], labelled
        )
        proba, trees, rates = cross_fitting.run(by, names, seed=seed, n_threads=n_threads, progress=progress)
        del cross_fitting, table
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
    scored = cells.only_scored()
    return SecondLevel(
        proba=scatter(scored, proba[cells.scored], inputs),
        judge=StackedTrees(
            by=by,
            models=inputs.models,
            label_groups=groups,
            neighbours=neighbours,
            projection=projection,
            trees=trees,
            rates=rates,
        ),
        importance=_importance(trees, names),
        recall_ceiling=recall_ceiling(cells, truth),
        n_judged=len(scored),
    )


@dataclass(frozen=True, eq=False)
class _CrossFitting:
    """The cells with their columns, and the cross-fitting over folds."""

    cells: Cells
    table: Float32[np.ndarray, "cell column"]
    neighbours: NeighbourColumns
    fold: Int[np.ndarray, " cell"]
    truth: Bool[np.ndarray, " cell"]
    is_labelled: Bool[np.ndarray, " cell"]

    def run(
        self, by: Stacking, names: tuple[str, ...], *, seed: int, n_threads: int, progress: Progress
    ) -> tuple[np.ndarray, tuple[str, ...], tuple[float, ...]]:
        """Return the out-of-fold probability of every scored cell, and the trees and sampling rate of every fold."""
        proba = np.zeros(len(self.cells), np.float32)
        trees, rates = [], []
        categorical = [names.index(name) for name in CATEGORICAL if name in names]
        folds = self.neighbours.known.folds
        for one in progress.track(folds, total=len(folds), what="second level"):
            training = np.flatnonzero((self.fold != one) & self.is_labelled)
            if not len(training):
                raise FieldmarkError(
                    "There is no candidate cell to train on.",
                    got=f"no candidate in any fold but {one}, with least={by.candidates.least}",
                    fix="lower Candidates(least=...), or raise top_k.",
                )
            kept, rate = sample_negatives(self.truth[training], by.negatives, generator(seed, "negatives", one))
            training = training[kept]
            text = train_trees(
                self.rows(training, model=one),
                self.truth[training],
                by=by.trees,
                categorical=categorical,
                seed=hash_seed(seed, "trees", one),
                n_threads=n_threads,
            )
            booster = load_booster(text)  # the same model as one loaded from the file
            for part in _pieces(np.flatnonzero((self.fold == one) & self.cells.scored)):
                proba[part] = corrected(predict_cells(booster, self.rows(part, model=one), n_threads=n_threads), rate)
            trees.append(text)
            rates.append(rate)
        return proba, tuple(trees), tuple(rates)

    def rows(self, some: Int[np.ndarray, " row"], *, model: int) -> Float32[np.ndarray, "row column"]:
        """Return full rows of the table, with the columns that the model of one fold may use."""
        n_plain = self.table.shape[1]
        whole = np.empty((len(some), n_plain + len(self.neighbours.known.names)), np.float32)
        for start in range(0, len(some), ROW_BLOCK):
            part = slice(start, start + ROW_BLOCK)
            whole[part, :n_plain] = self.table[some[part]]
        for own in self.neighbours.known.folds:
            here = np.flatnonzero(self.fold[some] == own)
            allowed = [other for other in self.neighbours.known.folds if other not in {model, own}]
            if len(here) and n_plain < whole.shape[1]:
                image, label = self.cells.image[some[here]], self.cells.label[some[here]]
                whole[here, n_plain:] = self.neighbours.columns(image, label, folds=allowed)
        return whole


def _pieces(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the cells in pieces, in order."""
    for start in range(0, len(cells), 4 * ROW_BLOCK):
        yield cells[start : start + 4 * ROW_BLOCK]


def _importance(trees: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Return the gain of each column as a share, averaged over the models."""
    gain = np.zeros(len(names))
    for text in trees:
        own = load_booster(text).feature_importance("gain")
        gain += own / max(own.sum(), np.finfo(np.float64).tiny) / len(trees)
    order = np.argsort(-gain, kind="stable")
    return tuple((names[column], float(gain[column])) for column in order)


def _checked_folds(fold: np.ndarray, n_images: int, *, least: int) -> np.ndarray:
    fold = np.asarray(fold)
    if fold.shape != (n_images,) or fold.dtype.kind not in "iu":
        raise ShapeError(
            "fold must hold one whole number per image.",
            got=f"fold {fold.dtype} {fold.shape}, {n_images} images",
            fix="pass one whole number per image, from 0.",
        )
    mistakes, counts = [], np.bincount(fold[fold >= 0], minlength=1)
    if (fold < 0).any():
        mistakes.append(f"{int((fold < 0).sum())} images without a fold")
    if (counts == 0).any():
        mistakes.append(f"no image in fold {int(np.argmin(counts))}")
    if len(counts) < least:
        mistakes.append(f"{len(counts)} fold(s), at least {least} are needed")
    if mistakes:
        fix = "use folds 0, 1, 2, ... none of them empty, and leave images without out-of-fold scores out"
        two = "; two are enough for TableColumns(share=False, imagenet='off', relevance=None)" if least == 3 else ""
        raise FieldmarkError("fold is not valid for the second level.", got=several(mistakes), fix=fix + two + ".")
    return fold.astype(np.int64)


def _checked_groups(groups: np.ndarray | None, n_labels: int) -> np.ndarray:
    if groups is None:
        return np.zeros(n_labels, np.int64)
    groups = np.asarray(groups)
    if groups.shape != (n_labels,) or groups.dtype.kind not in "iu" or (groups < 0).any():
        raise ShapeError(
            "label_groups must hold one whole number of at least 0 per label.",
            got=f"label_groups {groups.dtype} {groups.shape}, {n_labels} labels",
            fix="pass for example 0 for culture and 1 for tag; None puts all labels into one group.",
        )
    return groups.astype(np.int64)
