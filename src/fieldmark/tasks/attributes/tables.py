"""Answers of runs of the attributes task as JSON, as a table for people, and as a submission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from fieldmark.core.files import write_text
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.reporting.submissions import question_submission
from fieldmark.tasks.attributes.results import Answered
from fieldmark.tasks.numbers import rounded

COLUMNS = ("image", "question", "answer", "proba", "applies")


def as_json(one: Answered) -> dict[str, Any]:
    """Return the answers about a photo as JSON values. Later versions add keys, but never rename them.

    The keys are ``photo`` (as typed), ``answers`` (question to answer, for questions that apply) and ``questions``.
    Each question has ``question``, ``answer``, ``proba`` (0 to 1), ``applies`` and ``others`` (``answer`` and
    ``proba``).
    """
    return {
        "photo": one.image,
        "answers": one.answer,
        "questions": [
            {
                "question": reply.question,
                "answer": reply.answer,
                "proba": rounded(reply.proba),
                "applies": reply.applies,
                "others": [{"answer": name, "proba": rounded(proba)} for name, proba in reply.others],
            }
            for reply in one.replies
        ],
    }


def write(
    path: Path, found: Sequence[Answered], *, form: Literal["submission", "people"], vocabulary: Vocabulary
) -> None:
    """Write the answers about photos as CSV.

    Args:
        path: CSV file to write.
        found: Answers about each photo, in the order of the rows.
        form: ``people``: one row per photo and question, without cells that a spreadsheet would run as formulas.
            ``submission``: the columns ``id`` and ``predicted``.
        vocabulary: Vocabulary of the run.

    Source:
        The submission format is that of the iMaterialist Challenge at FGVC4 2017.
    """
    if form == "people":
        write_answers_csv(path, rows_of(found), COLUMNS, for_people=True)
        return
    schema = {"image": pl.String, "question": pl.String, "answer": pl.String}
    rows = [(one.image, reply.question, reply.answer) for one in found for reply in one.replies]
    answers = pl.DataFrame(rows, schema=schema, orient="row")
    write_text(path, question_submission(answers, vocabulary=vocabulary))


def rows_of(found: Sequence[Answered]) -> list[tuple[Any, ...]]:
    """Return one row per photo and question, with the cells in the order of ``COLUMNS``."""
    return [
        (one.image, reply.question, reply.answer, rounded(reply.proba), reply.applies)
        for one in found
        for reply in one.replies
    ]
