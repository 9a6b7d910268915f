"""Answers as others take them: JSON lines, a table for people, the contest's form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fieldmark.core.errors import DataError, several

if TYPE_CHECKING:
    from fieldmark.data.vocabulary import Vocabulary
    from fieldmark.tasks.attributes.results import Answered
    from fieldmark.tasks.identification.results import Identification, Match
    from fieldmark.tasks.tagging.results import Tagged

TAGS = ("image", "label", "proba", "given")
PEOPLE = (
    "image",
    "place",
    "identity",
    "is_new",
    "score",
    "most_alike_photo",
    "similarity",
    "known_proba",
    "right_proba",
)


def as_json(one: Identification) -> dict[str, Any]:
    """An answer as JSON values; keys are added in later versions, never renamed.

    ``photo`` (as typed), ``is_new``, ``known_proba`` (that the animal is one we know, or null), ``right_proba`` (that
    the first name is right, or null), and ``matches``, each with ``place`` (1 is first), ``identity``, ``score``,
    ``is_new``, ``photo`` (the most alike known photo, or null) and ``similarity`` (-1 to 1, or null). No other word of
    the photo gets out: neither where nor when nor by whom it was taken.
    """
    return {
        "photo": one.image,
        "is_new": one.is_new,
        "known_proba": _rounded(one.known_proba),
        "right_proba": _rounded(one.right_proba),
        "matches": [
            {
                "place": match.place,
                "identity": match.identity,
                "score": _finite(match.score),
                "is_new": match.is_new,
                "photo": None if match.photo is None else str(match.photo),
                "similarity": _finite(match.similarity),
            }
            for match in one.matches
        ],
    }


def write_answers(
    path: Path, found: Sequence[Identification], *, form: Literal["submission", "people"], root: Path
) -> None:
    """Write answers as CSV.

    Args:
        path: The file.
        found: The answers, in the order of their rows.
        form: ``people``: one row a photo and place, harmless in a spreadsheet. ``submission``: ``Image,Id`` with the
            names separated by blanks, best first, exactly as they are.
        root: Known photos are named as they lie below this folder.

    Raises:
        DataError: A name has a blank in it, so that the contest's form would read it as two.

    Source:
        The submission is that of Kaggle Humpback Whale Identification 2018/19.
    """
    from fieldmark.reporting.exports import write_answers_csv

    if form == "submission":
        split = sorted(
            {match.identity for one in found for match in one.matches if match.identity.split() != [match.identity]}
        )
        if split:
            raise DataError(
                "The contest's form separates names by blanks, and some names have blanks.",
                got=several(split),
                fix="use --format people.",
            )
        rows: list[tuple[Any, ...]] = [(one.image, " ".join(match.identity for match in one.matches)) for one in found]
        write_answers_csv(path, rows, ("Image", "Id"), for_people=False)
        return
    rows = [
        (
            one.image,
            match.place,
            match.identity,
            match.is_new,
            _rounded(match.score),
            below(match, root),
            _rounded(match.similarity),
            _rounded(one.known_proba),
            _rounded(one.right_proba),
        )
        for one in found
        for match in one.matches
    ]
    write_answers_csv(path, rows, PEOPLE, for_people=True)


def tags_as_json(one: Tagged) -> dict[str, Any]:
    """The labels of a photo as JSON values; keys are added in later versions, never renamed.

    ``photo`` (as typed), ``given`` (the labels it is given), and ``labels``, the likeliest first, each with ``label``,
    ``group`` (empty without one), ``proba`` (0 to 1) and ``given``.
    """
    return {
        "photo": one.image,
        "given": list(one.answer),
        "labels": [
            {"label": tag.label, "group": tag.group, "proba": _rounded(tag.proba), "given": tag.given}
            for tag in one.tags
        ],
    }


def write_tags(
    path: Path, found: Sequence[Tagged], *, form: Literal["submission", "people"], vocabulary: Vocabulary
) -> None:
    """Write the labels of photos as CSV.

    Args:
        path: The file.
        found: The photos, in the order of their rows.
        form: ``people``: one row a photo and label, harmless in a spreadsheet. ``submission``: ``id,attribute_ids``
            with the numbers of the given labels.
        vocabulary: Of the run; a label's number is its place there.

    Source:
        The submission is that of Kaggle iMet Collection 2019.
    """
    from fieldmark.reporting.exports import write_answers_csv

    if form == "people":
        rows = [(one.image, tag.label, _rounded(tag.proba), tag.given) for one in found for tag in one.tags]
        write_answers_csv(path, rows, TAGS, for_people=True)
        return
    import polars as pl

    from fieldmark.core.files import write_text
    from fieldmark.stages.common.answer import label_submission

    given = [(one.image, label) for one in found for label in one.answer]
    answers = pl.DataFrame(given, schema={"image": pl.String, "label": pl.String}, orient="row")
    write_text(path, label_submission(answers, images=[one.image for one in found], labels=vocabulary.tags))


REPLIES = ("image", "question", "answer", "proba", "applies")


def replies_as_json(one: Answered) -> dict[str, Any]:
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
                "proba": _rounded(reply.proba),
                "applies": reply.applies,
                "others": [{"answer": name, "proba": _rounded(proba)} for name, proba in reply.others],
            }
            for reply in one.replies
        ],
    }


def write_replies(
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
    from fieldmark.reporting.exports import write_answers_csv

    told = [(one.image, reply) for one in found for reply in one.replies]
    if form == "people":
        rows = [(image, one.question, one.answer, _rounded(one.proba), one.applies) for image, one in told]
        write_answers_csv(path, rows, REPLIES, for_people=True)
        return
    import polars as pl

    from fieldmark.core.files import write_text
    from fieldmark.stages.common.answer import question_submission

    schema = {"image": pl.String, "question": pl.String, "answer": pl.String}
    answers = pl.DataFrame([(image, one.question, one.answer) for image, one in told], schema=schema, orient="row")
    write_text(path, question_submission(answers, vocabulary=vocabulary))


def below(match: Match, root: Path) -> str | None:
    """The most alike known photo as its table names it."""
    if match.photo is None:
        return None
    return str(match.photo.relative_to(root) if match.photo.is_relative_to(root) else match.photo)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
