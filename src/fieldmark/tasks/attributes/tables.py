"""Answers of runs for attributes as JSON, as a table for people, in the contest's form."""

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
    """The answers about a photo as JSON values; keys are added in later versions, never renamed.

    ``photo`` (as typed), ``answers`` (question to answer, of those that apply), and ``questions``, each with
    ``question``, ``answer``, ``proba`` (0 to 1), ``applies`` and ``others`` (answer and ``proba``).
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
        path: The file.
        found: The photos, in the order of their rows.
        form: ``people``: one row a photo and question, harmless in a spreadsheet. ``submission``: ``id,predicted``.
        vocabulary: Of the run.

    Source:
        The submission is that of the iMaterialist Challenge at FGVC4 2017.
    """
    told = [(one.image, reply) for one in found for reply in one.replies]
    if form == "people":
        write_answers_csv(path, rows_of(found), COLUMNS, for_people=True)
        return
    schema = {"image": pl.String, "question": pl.String, "answer": pl.String}
    answers = pl.DataFrame([(image, one.question, one.answer) for image, one in told], schema=schema, orient="row")
    write_text(path, question_submission(answers, vocabulary=vocabulary))


def rows_of(found: Sequence[Answered]) -> list[tuple[Any, ...]]:
    """One row a photo and question, its cells in the order of ``COLUMNS``."""
    return [
        (one.image, reply.question, reply.answer, rounded(reply.proba), reply.applies)
        for one in found
        for reply in one.replies
    ]
