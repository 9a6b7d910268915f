"""Photos by which a run may be judged: with a truth, and none that it has learnt from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from fieldmark.data.collection import Collection


def judging(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """The photos by which a run that tells individuals can be judged, and who is on them: a class, -1 for strangers.

    Raises:
        DataError: None is left, or no column names individuals.
    """
    names = _told(photos, "identity", "who is on the photos", "names")
    number = {name: at for at, name in enumerate(known.vocabulary.identities)}
    rows = _unseen(photos, known, names, "a name", progress=progress)
    truth = [number.get(names[row], -1) for row in rows]
    import numpy as np

    return photos.take(rows), np.array(truth, dtype=np.int64)


def judging_labels(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """The photos by which a run that tells labels can be judged, and which of its labels they have.

    Labels that the run does not know are told and then not looked at: it could not have given them.

    Raises:
        DataError: None is left, or no column holds labels.
    """
    labels = _told(photos, "labels", "what is on the photos", "labels")
    rows = _unseen(photos, known, labels, "labels", progress=progress)
    tags = set(known.vocabulary.tags)
    unheard = Counter(name for row in rows for name in labels[row] if name not in tags)
    if unheard:
        often = ", ".join(f"{name} ({n:,})" for name, n in unheard.most_common(3))
        progress.say(f"not judged: {len(unheard):,} labels that the run does not know, such as {often}")
    return photos.take(rows), known.vocabulary.truth([[name for name in labels[row] if name in tags] for row in rows])


def judging_answers(
    photos: Collection, known: Collection, *, progress: Progress
) -> tuple[Collection, np.ndarray, np.ndarray]:
    """The photos by which a run that answers can be judged, their right answers, and which questions they tell.

    An answer that the run does not know counts as a wrong one of its own: the question is told, and nothing is right.

    Raises:
        DataError: None is left, or no column is one of the run's questions.
    """
    import numpy as np
    import polars as pl

    questions = [one for one in known.vocabulary.questions if one.name in photos.table.columns]
    if not questions:
        raise DataError(
            "No column is one of the run's questions.",
            got=several(photos.table.columns),
            fix=f"name the columns as the run's table does: {several([q.name for q in known.vocabulary.questions])}.",
        )
    lists = {
        one.name: photos.table[one.name]
        if isinstance(photos.table[one.name].dtype, pl.List)
        else pl.Series([[cell] if cell else None for cell in photos.table[one.name].to_list()])
        for one in questions
    }
    anything = [any(cells) for cells in zip(*(column.to_list() for column in lists.values()), strict=True)]
    rows = _unseen(photos, known, [one or None for one in anything], "answers", progress=progress)
    truth = np.zeros((len(rows), len(known.vocabulary.question_of)), np.bool_)
    told = np.zeros((len(rows), len(known.vocabulary.questions)), np.bool_)
    column = {name: at for at, name in enumerate(known.vocabulary.answer_names)}
    number = {one.name: at for at, one in enumerate(known.vocabulary.questions)}
    unheard: Counter[str] = Counter()
    for name, cells in lists.items():
        for at, cell in enumerate(cells.gather(rows).to_list()):
            given = [column.get(f"{name}::{answer}") for answer in cell or []]
            told[at, number[name]] = bool(given)
            truth[at, [one for one in given if one is not None]] = True
            unheard[name] += given.count(None)
    if n_unheard := sum(unheard.values()):
        often = ", ".join(f"{name} ({n:,})" for name, n in unheard.most_common(3) if n)
        progress.say(f"never right: {n_unheard:,} answers that the run does not know, of {often}")
    return photos.take(rows), truth, told


def _told(photos: Collection, column: str, what: str, whose: str) -> list:
    """The truth of each photo as its table has it, None where it has none.

    Raises:
        DataError: The table has no such column.
    """
    if column not in photos.table.columns:
        raise DataError(
            f"No column says {what}.",
            got=several(photos.table.columns),
            fix=f"name it: --column {column}=NAME; `fieldmark predict` answers photos without {whose}.",
        )
    return photos.table[column].to_list()


def _unseen(photos: Collection, known: Collection, truth: list, what: str, *, progress: Progress) -> list[int]:
    """The rows with a truth whose files are not, byte for byte, among the known ones.

    Raises:
        DataError: There is none.
    """
    from fieldmark.data.twins import among

    seen = among(photos.paths, known.paths).tolist()
    if any(seen):
        progress.say(f"left out: {sum(seen):,} photos that the run knows already")
    rows = [row for row, given in enumerate(truth) if given is not None and not seen[row]]
    if not rows:
        raise DataError(
            "No photo is left to judge by.",
            got=f"{len(photos):,} photos, {sum(seen):,} of them known to the run, {truth.count(None):,} without {what}",
            fix=f"give photos with {what.removeprefix('a ')} that the run has not learnt from; "
            "without DATA its own are used.",
        )
    return rows
