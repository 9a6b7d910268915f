"""Other photos by which a run for attributes is evaluated."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import unseen


def evaluation_photos(
    photos: Collection, known: Collection, *, progress: Progress
) -> tuple[Collection, np.ndarray, np.ndarray]:
    """The photos by which a run that answers can be judged, their right answers, and which questions they tell.

    An answer that the run does not know counts as a wrong one of its own: the question is told, and nothing is right.

    Raises:
        DataError: None is left, or no column is one of the run's questions.
    """
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
    rows = unseen(photos, known, [one or None for one in anything], "answers", progress=progress)
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
