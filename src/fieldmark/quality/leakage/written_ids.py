"""Ids written in photos, beside what the table says: a leak where they agree, a hint or a mistake where they do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fieldmark.core.errors import FieldmarkError

Meaning = Literal["its name", "another name", "a name", "an id"]
LEAST_LETTERS = 4


@dataclass(frozen=True, slots=True)
class WrittenId:
    """An id written in a photo.

    Attributes:
        row: The photo.
        text: The line it was read in.
        found: Its letters and digits, in capitals.
        name: The known name that it is; empty if it is none.
        meaning: ``its name``: what the table says of the photo, so that a model may learn to read instead of to look.
            ``another name``: the table says otherwise. ``a name``: of a photo without one. ``an id``: it fits the
            pattern, and nobody is called so.
    """

    row: int
    text: str
    found: str
    name: str
    meaning: Meaning


def letters_and_digits(text: str) -> str:
    """The letters and digits of a text, in capitals: readers of text drop blanks and underscores, or make some up.

    Example:
        >>> plain("w_0a1b 2c3!")
        'W0A1B2C3'
    """
    return "".join(letter for letter in text.upper() if letter.isalnum())


def written_ids(
    lines: Sequence[Sequence[str]], names: Sequence[str], known: Iterable[str], *, pattern: str | None = None
) -> list[WrittenId]:
    """The ids among what was read in photos, in the order of photos.

    Args:
        lines: Of each photo, as read.
        names: What the table calls each photo; empty where it says nothing.
        known: All names there are; those of fewer than four letters and digits are not looked for.
        pattern: How ids look, as a regular expression over capitals and digits alone: ``HWC[0-9]{3}``. None: only known
            names are looked for.

    Raises:
        FieldmarkError: ``pattern`` is no regular expression.

    Source:
        Ours; catalogue numbers stand in the margin of many photos of the whale contests.
    """
    try:
        wanted = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise FieldmarkError(
            "The pattern of ids is no regular expression.", got=f"{pattern}: {error}", fix="for instance 'HWC[0-9]{3}'."
        ) from error
    of_plain = {letters_and_digits(name): name for name in known if len(letters_and_digits(name)) >= LEAST_LETTERS}
    told = re.compile("|".join(re.escape(one) for one in sorted(of_plain, key=len, reverse=True))) if of_plain else None
    found = []
    for row, (texts, own) in enumerate(zip(lines, names, strict=True)):
        seen: set[str] = set()
        for text in texts:
            hits = [
                hit[0]
                for search in (told, wanted)
                if search is not None
                for hit in search.finditer(letters_and_digits(text))
            ]
            for hit in hits:
                if hit and hit not in seen:
                    seen.add(hit)
                    name = of_plain.get(hit, "")
                    found.append(WrittenId(row, text, hit, name, _meaning(name, own)))
    return found


def _meaning(name: str, own: str) -> Meaning:
    if not name:
        return "an id"
    if not own:
        return "a name"
    return "its name" if name == own else "another name"
