"""Answers of runs of the identification task as JSON, as a table for people, and as a submission."""

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
    """Return an answer as JSON values. Later versions add keys, but never rename them.

    The keys are ``photo`` (as typed), ``is_new``, ``known_proba`` (probability that the individual is known, or null),
    ``right_proba`` (probability that the first name is right, or null) and ``matches``. Each match has ``place`` (from
    1), ``identity``, ``score``, ``is_new``, ``photo`` (most similar known photo, or null) and ``similarity`` (-1 to 1,
    or null). The answer contains no metadata of photos: no place, no time and no photographer.
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
        path: CSV file to write.
        found: Answers, in the order of the rows.
        form: ``people``: one row per photo and candidate, without cells that a spreadsheet would run as formulas.
            ``submission``: the columns ``Image`` and ``Id``; ``Id`` holds the names, best first, separated by blanks.
        root: Folder to which the paths of known photos are relative.

    Raises:
        DataError: A name contains a blank, so that the submission format would read it as two names.

    Source:
        The submission format is that of Kaggle Humpback Whale Identification 2018/19.
    """
    if form == "submission":
        split = sorted(
            {match.identity for one in found for match in one.matches if match.identity.split() != [match.identity]}
        )
        if split:
            raise DataError(
                "The submission format separates names by blanks, but some names contain blanks.",
                got=several(split),
                fix="use --format people.",
            )
        rows: list[tuple[Any, ...]] = [(one.image, " ".join(match.identity for match in one.matches)) for one in found]
        write_answers_csv(path, rows, ("Image", "Id"), for_people=False)
        return
    write_answers_csv(path, rows_of(found, root), COLUMNS, for_people=True)


def below(match: Match, root: Path) -> str | None:
    """Return the path of the most similar known photo relative to ``root``; None for "unknown"."""
    if match.photo is None:
        return None
    return str(match.photo.relative_to(root) if match.photo.is_relative_to(root) else match.photo)


def rows_of(found: Sequence[Identification], root: Path) -> list[tuple[Any, ...]]:
    """Return one row per photo and candidate, with the cells in the order of ``COLUMNS``."""
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
