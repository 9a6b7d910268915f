"""Selection of other photos for evaluating a run of the attributes task."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import evaluation_rows


def evaluation_photos(
    photos: Collection, known: Collection, *, progress: Progress
) -> tuple[Collection, np.ndarray, np.ndarray]:
    """Return the photos to evaluate on, their right answers, and which questions have a label.

    An answer in the table that is not one of the run's answers counts as an error: the question has a label, and no
    predicted answer is right.

    Args:
        photos: Photos to choose from.
        known: Known photos of the run.
        progress: Receives the number of answers that the run does not have.

    Returns:
        The photos; a (photo, answer) matrix of right answers; a (photo, question) matrix of questions with a label.

    Raises:
        DataError: No photo is left, or no column is one of the run's questions.
    """
    questions = [one for one in known.vocabulary.questions if one.name in photos.table.columns]
    if not questions:
        raise DataError(
            "The table of DATA has no column with a question of the run.",
            got=f"columns {several(photos.table.columns)}",
            fix=f"rename columns to the run's questions: {several([q.name for q in known.vocabulary.questions])}.",
        )
    lists = {
        one.name: photos.table[one.name]
        if isinstance(photos.table[one.name].dtype, pl.List)
        else pl.Series([[cell] if cell else None for cell in photos.table[one.name].to_list()])
        for one in questions
    }
    anything = [any(cells) for cells in zip(*(column.to_list() for column in lists.values()), strict=True)]
    rows = evaluation_rows(photos, known, [one or None for one in anything], "answers", progress=progress)
    truth = np.zeros((len(rows), len(known.vocabulary.question_of)), np.bool_)
    labelled = np.zeros((len(rows), len(known.vocabulary.questions)), np.bool_)
    column = {name: at for at, name in enumerate(known.vocabulary.answer_names)}
    number = {one.name: at for at, one in enumerate(known.vocabulary.questions)}
    unknown: Counter[str] = Counter()
    for name, cells in lists.items():
        for at, cell in enumerate(cells.gather(rows).to_list()):
            given = [column.get(f"{name}::{answer}") for answer in cell or []]
            labelled[at, number[name]] = bool(given)
            truth[at, [one for one in given if one is not None]] = True
            unknown[name] += given.count(None)
    if n_unknown := sum(unknown.values()):
        often = ", ".join(f"{name} ({n:,})" for name, n in unknown.most_common(3) if n)
        progress.say(f"counted as errors: {n_unknown:,} answers that the run does not have, of {often}")
    return photos.take(rows), truth, labelled
