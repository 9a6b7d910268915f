"""Find names that may be typing mistakes: one name with two spellings, or a word that means "no name"."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

NO_NAMES = frozenset({"", "-", "--", "?", "#n/a", "n/a", "na", "nan", "nil", "none", "null", "no name"})
"""Words that spreadsheets and people write into an empty cell."""


@dataclass(frozen=True)
class OddName:
    """A name to check.

    Attributes:
        name: Name as written in the table.
        n_photos: Number of photos with the name.
        other: Nearly equal name; None if the name is a word that means "no name".
        n_other: Number of photos with the other name.
    """

    name: str
    n_photos: int
    other: str | None = None
    n_other: int = 0

    @property
    def relation(self) -> str:
        """Relation between the two names, in words."""
        return "looks like no name" if self.other is None else "has nearly the same spelling as"


def odd_names(n_photos: Mapping[str, int]) -> list[OddName]:
    """Return names that differ only in spaces, case or Unicode form, and words that mean "no name".

    Two individuals may really have such names, so a person must decide. The table is not changed.

    Args:
        n_photos: Number of photos of each name.

    Returns:
        Words that mean "no name" first, then spelling variants, each with the most frequent name of the same spelling.

    Example:
        >>> [(one.name, one.other) for one in odd_names({"Ursula": 4, "ursula ": 1, "NaN": 2})]
        [('NaN', None), ('ursula ', 'Ursula')]
    """
    kinds: dict[str, list[str]] = {}
    for name in n_photos:
        kinds.setdefault(plain(name), []).append(name)
    found = [OddName(name, n_photos[name]) for word in sorted(NO_NAMES & kinds.keys()) for name in kinds[word]]
    for word, names in sorted(kinds.items()):
        if len(names) > 1 and word not in NO_NAMES:
            usual, *others = sorted(names, key=lambda name: (-n_photos[name], name))
            found += [OddName(name, n_photos[name], usual, n_photos[usual]) for name in others]
    return found


def plain(name: str) -> str:
    """Return a name in lower case and Unicode form NFKC, with single spaces only."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
