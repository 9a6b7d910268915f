"""Photos of a run that tags with their labels marked: examples, doubtful labels, photos left out and taken in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fieldmark.data.collection import Collection
from fieldmark.pipeline.artifacts.scores import ScoredPhotos
from fieldmark.pipeline.artifacts.selection import DroppedPhotos as DroppedPhotosArtifact
from fieldmark.pipeline.artifacts.selection import LabelPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.label_contents import (
    AddedPhotos,
    DroppedPhotosSection,
    LabelIssueRow,
    Mark,
    MarkedPhoto,
    MarkKind,
)
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted, number
from fieldmark.stages.labels.drop_noisy import DropNoisy
from fieldmark.stages.labels.pseudo_label import PseudoLabel
from fieldmark.stages.labels.score import Score
from fieldmark.tasks.tagging.issues import label_issues
from fieldmark.tasks.tagging.validation import OutOfFoldLabels, plain_thresholds

N_EXAMPLES = 16
N_ISSUES = 40
N_DROPPED = 24
N_ADDED = 12
MOST_ADDED = 8
"""Labels given to a photo that the table lacks; how many more there are is told."""
MOST_OTHERS = 8
"""Labels beside a doubtful one."""


def examples(judged: OutOfFoldLabels) -> tuple[tuple[MarkedPhoto, ...], tuple[MarkedPhoto, ...]]:
    """The photos whose answers are best (of equals, those with most labels) and worst; one of each group of photos."""
    wrong = _wrongness(judged)
    told = np.count_nonzero(judged.truth, axis=1) > 0
    best = np.lexsort((wrong, -judged.truth.sum(axis=1), -judged.f2))
    worst = np.lexsort((-wrong, judged.f2))
    return tuple(_shown(judged, best[told[best]])), tuple(_shown(judged, worst[told[worst]]))


def _wrongness(judged: OutOfFoldLabels, *, block: int = 4096) -> np.ndarray:
    """The sum over labels of |truth - probability|, photo by photo."""
    starts = range(0, len(judged.proba), block)
    parts = [np.abs(judged.truth[at : at + block] - judged.proba[at : at + block]).sum(axis=1) for at in starts]
    return np.concatenate(parts)


def _shown(judged: OutOfFoldLabels, rows: np.ndarray) -> Iterable[MarkedPhoto]:
    known, groups = judged.known, judged.known.groups
    seen: set[int] = set()
    for row in rows.tolist():
        if len(seen) == N_EXAMPLES:
            return
        if int(groups[row]) not in seen:
            seen.add(int(groups[row]))
            marks = _marks(judged, row, judged.proba[row], judged.answer[row])
            yield MarkedPhoto(known.images[row], picture(known, row), marks, f"F2 {number(float(judged.f2[row]))}")


def _marks(judged: OutOfFoldLabels, row: int, proba: np.ndarray, answer: np.ndarray) -> tuple[Mark, ...]:
    """A photo's labels: those found, those missed, those added; the likeliest first."""
    truth = judged.truth[row]
    kinds: dict[MarkKind, np.ndarray] = {"right": truth & answer, "missed": truth & ~answer, "extra": answer & ~truth}
    marks: list[Mark] = []
    for kind, columns in kinds.items():
        members = np.flatnonzero(columns)
        ordered = members[np.argsort(-proba[members], kind="stable")].tolist()
        marks += [Mark(judged.names[column], kind, float(proba[column])) for column in ordered]
    return _few(marks, most=int(truth.sum()) + MOST_ADDED)


def _few(marks: list[Mark], *, most: int) -> tuple[Mark, ...]:
    """The first marks, and how many more there are."""
    rest = len(marks) - most
    return tuple(marks) if rest <= 1 else (*marks[:most], Mark(f"and {rest} more", "plain"))


def dropped(context: Context, judged: OutOfFoldLabels) -> tuple[DroppedPhotosSection, ...]:
    """What each drop stage left out: the worst with pictures and with what its judge would have given them."""
    found = []
    row_of = {image: row for row, image in enumerate(judged.known.images)}
    for stage in context.plan.stages:
        if not isinstance(stage, DropNoisy):
            continue
        table = context.artifact(DroppedPhotosArtifact, stage.name).table()
        gone = list(table.iter_rows())
        worst = []
        if gone:
            proba = judged.scores(stage.judge)
            thresholds = plain_thresholds(judged, proba, judged.truth)
            rows = np.array([row_of[image] for image, _ in gone[:N_DROPPED]], dtype=np.int64)
            answers = judged.cut_by(thresholds, proba[rows])
            for (image, error), row, answer in zip(gone, rows.tolist(), answers, strict=False):
                marks = _marks(judged, row, proba[row], answer)
                worst.append(MarkedPhoto(image, picture(judged.known, row), marks, f"error {number(float(error))}"))
        others = tuple(Fact(image, f"error {number(float(error))}") for image, error in gone[N_DROPPED:])
        said = context.said(stage.name)
        found.append(DroppedPhotosSection(stage.name, said, len(gone), tuple(worst), others))
    return tuple(found)


def added(context: Context, judged: OutOfFoldLabels) -> tuple[AddedPhotos, ...]:
    """What each enlarge stage took in, with the surest photos of its first network."""
    found = []
    for stage in context.plan.stages:
        if not isinstance(stage, PseudoLabel) or context.new is None or not len(context.new):
            continue
        picked = context.artifact(LabelPseudoLabels, stage.name)
        rows, targets = picked.rows(0)[:N_ADDED], picked.targets(0)[:N_ADDED]
        scored: ScoredPhotos = context.of_new().value(stage.judge)
        proba = scored.mean.of(judged.names, 0)[rows]
        photos = tuple(
            _taken_in(judged, context.new, row, target, confidence)
            for row, target, confidence in zip(rows.tolist(), targets, proba, strict=True)
        )
        found.append(AddedPhotos(stage.name, context.said(stage.name), photos))
    return tuple(found)


def _taken_in(judged: OutOfFoldLabels, new: Collection, row: int, target: np.ndarray, proba: np.ndarray) -> MarkedPhoto:
    columns = np.flatnonzero(target >= 0.5)
    order = columns[np.argsort(-proba[columns], kind="stable")].tolist()
    marks = _few([Mark(judged.names[column], "plain", float(proba[column])) for column in order], most=2 * MOST_ADDED)
    return MarkedPhoto(new.images[row], picture(new, row), marks)


def label_issue_rows(context: Context, judged: OutOfFoldLabels) -> tuple[tuple[LabelIssueRow, ...], str]:
    """The most doubtful labels by the scores of the last score stage, and a sentence about them.

    Of copies of a picture that share a doubt, one is shown.
    """
    known, row_of = judged.known, {image: row for row, image in enumerate(judged.known.images)}
    chosen: dict[tuple[int, str], LabelIssueRow] = {}
    for cell in label_issues(context, most=4 * N_ISSUES):
        row = row_of[cell.image]
        key = (int(known.groups[row]), cell.label)
        if len(chosen) < N_ISSUES and key not in chosen:
            chosen[key] = LabelIssueRow(
                cell.image,
                cell.label,
                "missing" if cell.kind == "missing" else "wrong",
                cell.proba,
                cell.label_error_proba,
                picture(known, row),
                _others(judged, row, cell.label),
            )
    note = (
        f"The {counted(len(chosen), 'label')} most likely to be a mistake in the table, by the networks of "
        f"{context.plan.only(Score).name}, which have not seen the photo. The command “fieldmark issues” writes "
        "more of them as a table to decide on."
    )
    return tuple(chosen.values()), note if chosen else ""


def _others(judged: OutOfFoldLabels, row: int, label: str) -> tuple[str, ...]:
    """The other labels that the table has for a photo."""
    names = [judged.names[column] for column in np.flatnonzero(judged.truth[row]) if judged.names[column] != label]
    return tuple(names) if len(names) <= MOST_OTHERS else (*names[:MOST_OTHERS], f"{len(names) - MOST_OTHERS} more")
