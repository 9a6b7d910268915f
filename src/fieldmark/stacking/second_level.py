"""The second level: trees that look over all models' shoulders, cell by cell, and judge no photo they learnt from."""

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
from fieldmark.stacking.trees import ROW_BLOCK, answers, grow, planted, put_right, thin

TABLE = "table.npy"


@dataclass(frozen=True, eq=False)
class SecondLevel:
    """What came of it.

    Attributes:
        proba: Out-of-fold probabilities: no image was judged by trees that know its labels, or features that do.
        judge: Judges new photos.
        importance: (column, share of all the gain), the weightiest first.
        recall_ceiling: Share of the true labels that were judged at all.
        n_judged: Cells judged.
    """

    proba: Float32[np.ndarray, "image label"]
    judge: StackedTrees
    importance: tuple[tuple[str, float], ...]
    recall_ceiling: float
    n_judged: int


def second_level(  # noqa: PLR0913 - options, all by keyword
    evidence: SecondLevelInputs,
    truth: Bool[np.ndarray, "image label"],
    fold: Int[np.ndarray, " image"],
    *,
    is_told: Bool[np.ndarray, "image label"] | None = None,
    by: Stacking = Stacking(),  # noqa: B008 - a frozen value
    label_groups: Int[np.ndarray, " label"] | None = None,
    seed: int = 0,
    n_threads: int = 1,
    scratch: Path | None = None,
    progress: Progress = QUIET,
) -> SecondLevel:
    """Judge every image's likely labels anew, by boosted trees that have not seen that image's labels.

    The models disagree, and each is wrong in its own way: one is too sure, one weak on dark photos, one never says
    "armour". Trees learn when to trust whom. For each fold they learn on the images of all other folds and judge the
    images of this one. The labels of an image reach its judge in no way, also not through the neighbours or
    frequencies that describe other images.

    Args:
        evidence: Of the known photos, with out-of-fold scores.
        truth: Their labels.
        fold: Their folds, 0 and up, whole images; those of the scores may be used again. At least three where the
            features ask the truth (share, reduced ImageNet, relevance), else two.
        is_told: Where the truth is known at all; other cells are judged and teach nothing. None: everywhere.
        by: All settings.
        label_groups: Group of each label (culture, tag), 0 and up.
        seed: Of drawing negatives and of the trees.
        n_threads: Threads of LightGBM; they change nothing but the time.
        scratch: Folder for the table while it is needed (4 bytes a cell and column); None keeps it in memory.
        progress: Told of each fold.

    Raises:
        ShapeError: Truth, folds or groups do not fit the scores.
        FieldmarkError: Folds are impossible, evidence is missing, or no cell is a candidate.
        RunError: The disk is full.

    Source:
        iMet 2019, 1st place, stage 5 (T33). Ours: what is told of neighbours, frequencies and ImageNet likeness is
        nested, so that nothing of the judged fold's truth is used; pruning and thinning as written in the modules.
    """
    refuse_truth(evidence, truth)
    if is_told is not None:
        refuse_truth(evidence, is_told)
    evidence.must_serve(by.features)
    told_features = by.features.share or by.features.imagenet == "reduced" or by.features.relevance is not None
    fold = _checked_folds(fold, evidence.n_images, least=3 if told_features else 2)
    groups = _checked_groups(label_groups, evidence.n_labels)
    cells = candidate_cells(evidence, by.candidates, truth=truth if by.candidates.unite_positives else None)
    projection = None
    if evidence.imagenet is not None and by.features.imagenet == "reduced":
        projection = Projection.of(evidence.imagenet, n_components=by.features.n_components)
    told = NeighbourLabels.of(evidence, truth, fold, by.features, is_told=is_told)
    names = column_names(evidence, by.features) + told.names
    file = None if scratch is None else scratch / TABLE
    try:
        table = tabulate(
            evidence, cells, by.features, label_groups=groups, projection=projection, file=file, progress=progress
        )
        where = cells.image, cells.label
        known = np.ones(len(cells), bool) if is_told is None else is_told[where]
        court = _Court(cells, table, told.ask(evidence, fold=fold), fold[cells.image], truth[where], known)
        proba, trees, rates = court.sit(by, names, seed=seed, n_threads=n_threads, progress=progress)
        del court, table
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
    judged = cells.only_judged()
    return SecondLevel(
        proba=scatter(judged, proba[cells.judged], evidence),
        judge=StackedTrees(
            by=by,
            models=evidence.models,
            label_groups=groups,
            told=told,
            projection=projection,
            trees=trees,
            rates=rates,
        ),
        importance=_importance(trees, names),
        recall_ceiling=recall_ceiling(cells, truth),
        n_judged=len(judged),
    )


@dataclass(frozen=True, eq=False)
class _Court:
    """The cells, their columns, and who may be told what."""

    cells: Cells
    table: Float32[np.ndarray, "cell column"]
    asked: NeighbourColumns
    fold: Int[np.ndarray, " cell"]
    truth: Bool[np.ndarray, " cell"]
    is_told: Bool[np.ndarray, " cell"]

    def sit(
        self, by: Stacking, names: tuple[str, ...], *, seed: int, n_threads: int, progress: Progress
    ) -> tuple[np.ndarray, tuple[str, ...], tuple[float, ...]]:
        """Out-of-fold probability of every judged cell; the trees of every fold and their rate of negatives."""
        proba = np.zeros(len(self.cells), np.float32)
        trees, rates = [], []
        categorical = [names.index(name) for name in CATEGORICAL if name in names]
        folds = self.asked.told.folds
        for one in progress.track(folds, total=len(folds), what="second level"):
            learnt = np.flatnonzero((self.fold != one) & self.is_told)
            if not len(learnt):
                raise FieldmarkError(
                    "There is no cell to learn from.",
                    got=f"no candidate in any fold but {one}, with least={by.candidates.least}",
                    fix="lower Candidates(least=...), or raise top_k.",
                )
            kept, rate = thin(self.truth[learnt], by.negatives, generator(seed, "negatives", one))
            learnt = learnt[kept]
            text = grow(
                self.rows(learnt, judge=one),
                self.truth[learnt],
                by=by.trees,
                categorical=categorical,
                seed=hash_seed(seed, "trees", one),
                n_threads=n_threads,
            )
            booster = planted(text)  # what is used is what would be read from the file
            for part in _pieces(np.flatnonzero((self.fold == one) & self.cells.judged)):
                proba[part] = put_right(answers(booster, self.rows(part, judge=one), n_threads=n_threads), rate)
            trees.append(text)
            rates.append(rate)
        return proba, tuple(trees), tuple(rates)

    def rows(self, some: Int[np.ndarray, " row"], *, judge: int) -> Float32[np.ndarray, "row column"]:
        """Whole rows of the table as the judge of one fold may see them."""
        n_plain = self.table.shape[1]
        whole = np.empty((len(some), n_plain + len(self.asked.told.names)), np.float32)
        for start in range(0, len(some), ROW_BLOCK):
            part = slice(start, start + ROW_BLOCK)
            whole[part, :n_plain] = self.table[some[part]]
        for own in self.asked.told.folds:
            here = np.flatnonzero(self.fold[some] == own)
            may_speak = [other for other in self.asked.told.folds if other not in {judge, own}]
            if len(here) and n_plain < whole.shape[1]:
                image, label = self.cells.image[some[here]], self.cells.label[some[here]]
                whole[here, n_plain:] = self.asked.columns(image, label, folds=may_speak)
        return whole


def _pieces(cells: np.ndarray) -> Iterator[np.ndarray]:
    """A few cells at once, in their order."""
    for start in range(0, len(cells), 4 * ROW_BLOCK):
        yield cells[start : start + 4 * ROW_BLOCK]


def _importance(trees: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Each booster's gain by column as shares, averaged."""
    gain = np.zeros(len(names))
    for text in trees:
        own = planted(text).feature_importance("gain")
        gain += own / max(own.sum(), np.finfo(np.float64).tiny) / len(trees)
    order = np.argsort(-gain, kind="stable")
    return tuple((names[column], float(gain[column])) for column in order)


def _checked_folds(fold: np.ndarray, n_images: int, *, least: int) -> np.ndarray:
    fold = np.asarray(fold)
    if fold.shape != (n_images,) or fold.dtype.kind not in "iu":
        raise ShapeError(
            "Every image needs its fold.",
            got=f"fold {fold.dtype} {fold.shape}, {n_images} images",
            fix="pass one whole number an image.",
        )
    mistakes, counts = [], np.bincount(fold[fold >= 0], minlength=1)
    if (fold < 0).any():
        mistakes.append(f"{int((fold < 0).sum())} images of no fold")
    if (counts == 0).any():
        mistakes.append(f"no image in fold {int(np.argmin(counts))}")
    if len(counts) < least:
        mistakes.append(f"{len(counts)} fold(s), at least {least} are needed")
    if mistakes:
        fixes = "use folds 0, 1, 2, ... none of them empty, and leave images without out-of-fold scores out"
        two = "; two folds are enough for Features(share=False, imagenet='off', relevance=None)" if least == 3 else ""
        raise FieldmarkError(
            "The second level cannot work with these folds.", got=several(mistakes), fix=fixes + two + "."
        )
    return fold.astype(np.int64)


def _checked_groups(groups: np.ndarray | None, n_labels: int) -> np.ndarray:
    if groups is None:
        return np.zeros(n_labels, np.int64)
    groups = np.asarray(groups)
    if groups.shape != (n_labels,) or groups.dtype.kind not in "iu" or (groups < 0).any():
        raise ShapeError(
            "Every label needs its group, a number from 0 up.",
            got=f"label_groups {groups.dtype} {groups.shape}, {n_labels} labels",
            fix="pass one whole number a label, e.g. 0 for culture and 1 for tag; None puts all into one group.",
        )
    return groups.astype(np.int64)
