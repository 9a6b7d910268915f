"""Compare ids written in photos with the table. An equal id is a leak; another id is a hint or a mistake."""

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
        row: Row of the photo.
        text: Line of text that contains the id.
        found: Letters and digits of the id, in capitals.
        name: Known name with these letters and digits; empty if there is none.
        meaning: ``its name``: the name of the photo in the table, so a model may learn to read it. ``another name``:
            the table has a different name. ``a name``: the photo has no name in the table. ``an id``: the text
            matches the pattern, but is not a known name.
    """

    row: int
    text: str
    found: str
    name: str
    meaning: Meaning


def letters_and_digits(text: str) -> str:
    """Return the letters and digits of a text, in capitals. Text recognisers often drop or add spaces and underscores.

    Example:
        >>> letters_and_digits("w_0a1b 2c3!")
        'W0A1B2C3'
    """
    return "".join(letter for letter in text.upper() if letter.isalnum())


def written_ids(
    lines: Sequence[Sequence[str]], names: Sequence[str], known: Iterable[str], *, pattern: str | None = None
) -> list[WrittenId]:
    """Return the ids in the text read from photos, in the order of photos.

    Args:
        lines: Recognised lines of text of each photo.
        names: Name of each photo in the table; empty if it has none.
        known: All known names. Names with fewer than four letters and digits are not searched.
        pattern: Regular expression for ids, over capitals and digits only, such as ``HWC[0-9]{3}``. With None, only
            known names are searched.

    Raises:
        FieldmarkError: ``pattern`` is not a regular expression.

    Source:
        Ours; many photos of the whale contests have a catalogue number in the margin.
    """
    try:
        wanted = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise FieldmarkError(
            "Setting 'pattern' is not a regular expression.",
            got=f"{pattern}: {error}",
            fix="use, for example, 'HWC[0-9]{3}'.",
        ) from error
    of_plain = {letters_and_digits(name): name for name in known if len(letters_and_digits(name)) >= LEAST_LETTERS}
    known_names = (
        re.compile("|".join(re.escape(one) for one in sorted(of_plain, key=len, reverse=True))) if of_plain else None
    )
    found = []
    for row, (texts, own) in enumerate(zip(lines, names, strict=True)):
        found_here: set[str] = set()
        for text in texts:
            hits = [
                hit[0]
                for search in (known_names, wanted)
                if search is not None
                for hit in search.finditer(letters_and_digits(text))
            ]
            for hit in hits:
                if hit and hit not in found_here:
                    found_here.add(hit)
                    name = of_plain.get(hit, "")
                    found.append(WrittenId(row, text, hit, name, _meaning(name, own)))
    return found


def _meaning(name: str, own: str) -> Meaning:
    if not name:
        return "an id"
    if not own:
        return "a name"
    return "its name" if name == own else "another name"
