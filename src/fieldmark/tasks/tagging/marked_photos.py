"""Photos with marked labels for the page of the tagging task: examples, label issues, removed and added photos."""

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
"""Maximum number of extra labels shown per photo; the page states how many more there are."""
MOST_OTHERS = 8
"""Maximum number of other labels shown with a label issue."""


def examples(oof: OutOfFoldLabels) -> tuple[tuple[MarkedPhoto, ...], tuple[MarkedPhoto, ...]]:
    """Return the photos with the highest F2 (of equals, those with most labels) and those with the lowest.

    Each group of photos gives one example.
    """
    wrong = _absolute_error(oof)
    has_labels = np.count_nonzero(oof.truth, axis=1) > 0
    best = np.lexsort((wrong, -oof.truth.sum(axis=1), -oof.f2))
    worst = np.lexsort((-wrong, oof.f2))
    return tuple(_shown(oof, best[has_labels[best]])), tuple(_shown(oof, worst[has_labels[worst]]))


def _absolute_error(oof: OutOfFoldLabels, *, block: int = 4096) -> np.ndarray:
    """Return the sum over labels of |truth - probability| for each photo."""
    starts = range(0, len(oof.proba), block)
    parts = [np.abs(oof.truth[at : at + block] - oof.proba[at : at + block]).sum(axis=1) for at in starts]
    return np.concatenate(parts)


def _shown(oof: OutOfFoldLabels, rows: np.ndarray) -> Iterable[MarkedPhoto]:
    known, groups = oof.known, oof.known.groups
    shown_groups: set[int] = set()
    for row in rows.tolist():
        if len(shown_groups) == N_EXAMPLES:
            return
        if int(groups[row]) not in shown_groups:
            shown_groups.add(int(groups[row]))
            marks = _marks(oof, row, oof.proba[row], oof.answer[row])
            yield MarkedPhoto(known.images[row], picture(known, row), marks, f"F2 {number(float(oof.f2[row]))}")


def _marks(oof: OutOfFoldLabels, row: int, proba: np.ndarray, answer: np.ndarray) -> tuple[Mark, ...]:
    """Return the labels of a photo: right, missed, then extra; in each group the most probable first."""
    truth = oof.truth[row]
    kinds: dict[MarkKind, np.ndarray] = {"right": truth & answer, "missed": truth & ~answer, "extra": answer & ~truth}
    marks: list[Mark] = []
    for kind, columns in kinds.items():
        members = np.flatnonzero(columns)
        ordered = members[np.argsort(-proba[members], kind="stable")].tolist()
        marks += [Mark(oof.names[column], kind, float(proba[column])) for column in ordered]
    return _few(marks, most=int(truth.sum()) + MOST_ADDED)


def _few(marks: list[Mark], *, most: int) -> tuple[Mark, ...]:
    """Return the first marks, followed by the number of other marks."""
    rest = len(marks) - most
    return tuple(marks) if rest <= 1 else (*marks[:most], Mark(f"and {rest} more", "plain"))


def dropped(context: Context, oof: OutOfFoldLabels) -> tuple[DroppedPhotosSection, ...]:
    """Return the photos that each ``drop_noisy`` stage removed, those with the largest errors with pictures.

    The marks show the labels that the scores used by the stage would have given.
    """
    found = []
    row_of = {image: row for row, image in enumerate(oof.known.images)}
    for stage in context.plan.stages:
        if not isinstance(stage, DropNoisy):
            continue
        table = context.artifact(DroppedPhotosArtifact, stage.name).table()
        gone = list(table.iter_rows())
        worst = []
        if gone:
            proba = oof.scores(stage.judge)
            thresholds = plain_thresholds(oof, proba, oof.truth)
            rows = np.array([row_of[image] for image, _ in gone[:N_DROPPED]], dtype=np.int64)
            answers = oof.labels_above(thresholds, proba[rows])
            for (image, error), row, answer in zip(gone, rows.tolist(), answers, strict=False):
                marks = _marks(oof, row, proba[row], answer)
                worst.append(MarkedPhoto(image, picture(oof.known, row), marks, f"error {number(float(error))}"))
        others = tuple(Fact(image, f"error {number(float(error))}") for image, error in gone[N_DROPPED:])
        said = context.said(stage.name)
        found.append(DroppedPhotosSection(stage.name, said, len(gone), tuple(worst), others))
    return tuple(found)


def added(context: Context, oof: OutOfFoldLabels) -> tuple[AddedPhotos, ...]:
    """Return the photos that each ``pseudo_label`` stage added, the most confident of the first fold with pictures."""
    found = []
    for stage in context.plan.stages:
        if not isinstance(stage, PseudoLabel) or context.new is None or not len(context.new):
            continue
        picked = context.artifact(LabelPseudoLabels, stage.name)
        rows, targets = picked.rows(0)[:N_ADDED], picked.targets(0)[:N_ADDED]
        scored: ScoredPhotos = context.of_new().value(stage.judge)
        proba = scored.mean.of(oof.names, 0)[rows]
        photos = tuple(
            _added_photo(oof, context.new, row, target, probas)
            for row, target, probas in zip(rows.tolist(), targets, proba, strict=True)
        )
        found.append(AddedPhotos(stage.name, context.said(stage.name), photos))
    return tuple(found)


def _added_photo(oof: OutOfFoldLabels, new: Collection, row: int, target: np.ndarray, proba: np.ndarray) -> MarkedPhoto:
    columns = np.flatnonzero(target >= 0.5)
    order = columns[np.argsort(-proba[columns], kind="stable")].tolist()
    marks = _few([Mark(oof.names[column], "plain", float(proba[column])) for column in order], most=2 * MOST_ADDED)
    return MarkedPhoto(new.images[row], picture(new, row), marks)


def label_issue_rows(context: Context, oof: OutOfFoldLabels) -> tuple[tuple[LabelIssueRow, ...], str]:
    """Return the most probable label issues by the last ``score`` stage, and a note about them.

    If copies of a picture have the same issue, one copy is returned.
    """
    known, row_of = oof.known, {image: row for row, image in enumerate(oof.known.images)}
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
                _others(oof, row, cell.label),
            )
    note = (
        f"The {counted(len(chosen), 'label')} of the table most likely to be wrong or missing, by the out-of-fold "
        f"scores of {context.plan.only(Score).name}. The command “fieldmark issues” lists more labels and writes a "
        "file for corrections."
    )
    return tuple(chosen.values()), note if chosen else ""


def _others(oof: OutOfFoldLabels, row: int, label: str) -> tuple[str, ...]:
    """Return the other labels of a photo in the table."""
    names = [oof.names[column] for column in np.flatnonzero(oof.truth[row]) if oof.names[column] != label]
    return tuple(names) if len(names) <= MOST_OTHERS else (*names[:MOST_OTHERS], f"{len(names) - MOST_OTHERS} more")
