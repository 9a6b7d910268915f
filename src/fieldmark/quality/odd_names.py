"""Names of individuals that are perhaps slips: one name written in two ways, or a word that means "no name"."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

NO_NAMES = frozenset({"", "-", "--", "?", "#n/a", "n/a", "na", "nan", "nil", "none", "null", "no name"})
"""What spreadsheets and people write into a cell that has nothing to say."""


@dataclass(frozen=True)
class OddName:
    """A name to look at.

    Attributes:
        name: As the table has it.
        n_photos: How many photos bear it.
        other: The name it is nearly the same as; None: it looks like no name at all.
        n_other: How many photos bear that one.
    """

    name: str
    n_photos: int
    other: str | None = None
    n_other: int = 0

    @property
    def relation(self) -> str:
        """What is odd, in words between the two names."""
        return "looks like no name" if self.other is None else "is written nearly as"


def odd_names(n_photos: Mapping[str, int]) -> list[OddName]:
    """Names that differ from another in blanks, case or kind of letters only, and words that mean "no name".

    Two individuals may bear such names, so this is for a person to judge; nothing is changed.

    Args:
        n_photos: How many photos bear each name.

    Returns:
        Words that mean "no name" first, then slips, each beside the name of its kind that most photos bear.

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
    """A name without what the eye passes over: blanks around and doubled within, case, kinds of one letter."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
