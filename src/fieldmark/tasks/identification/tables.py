"""Answers of runs that identify as JSON, as a table for people, in the contest's form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fieldmark.core.errors import DataError, several
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.tasks.identification.results import Identification, Match
from fieldmark.tasks.numbers import finite, rounded

COLUMNS = (
    "image",
    "place",
    "identity",
    "is_new",
    "score",
    "most_similar_photo",
    "similarity",
    "known_proba",
    "right_proba",
)


def as_json(one: Identification) -> dict[str, Any]:
    """An answer as JSON values; keys are added in later versions, never renamed.

    ``photo`` (as typed), ``is_new``, ``known_proba`` (that the animal is one we know, or null), ``right_proba`` (that
    the first name is right, or null), and ``matches``, each with ``place`` (1 is first), ``identity``, ``score``,
    ``is_new``, ``photo`` (the most similar known photo, or null) and ``similarity`` (-1 to 1, or null). No other word of
    the photo gets out: neither where nor when nor by whom it was taken.
    """
    return {
        "photo": one.image,
        "is_new": one.is_new,
        "known_proba": rounded(one.known_proba),
        "right_proba": rounded(one.right_proba),
        "matches": [
            {
                "place": match.place,
                "identity": match.identity,
                "score": finite(match.score),
                "is_new": match.is_new,
                "photo": None if match.photo is None else str(match.photo),
                "similarity": finite(match.similarity),
            }
            for match in one.matches
        ],
    }


def write(path: Path, found: Sequence[Identification], *, form: Literal["submission", "people"], root: Path) -> None:
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
    write_answers_csv(path, rows_of(found, root), COLUMNS, for_people=True)


def below(match: Match, root: Path) -> str | None:
    """The most similar known photo as its table names it."""
    if match.photo is None:
        return None
    return str(match.photo.relative_to(root) if match.photo.is_relative_to(root) else match.photo)


def rows_of(found: Sequence[Identification], root: Path) -> list[tuple[Any, ...]]:
    """One row a photo and candidate, its cells in the order of ``COLUMNS``; known photos as their table names them."""
    return [
        (
            one.image,
            match.place,
            match.identity,
            match.is_new,
            rounded(match.score),
            below(match, root),
            rounded(match.similarity),
            rounded(one.known_proba),
            rounded(one.right_proba),
        )
        for one in found
        for match in one.matches
    ]
