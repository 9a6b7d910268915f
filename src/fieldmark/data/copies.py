"""Files with the same bytes: copies of one picture, whatever their names say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.files import sha256
from fieldmark.data.vocabulary import UNKNOWN


def same_bytes(paths: Sequence[Path]) -> list[list[int]]:
    """Groups of positions whose files have the same bytes, in the order of their first.

    Positions that name one and the same path are no near-duplicates of each other. Only files of equal size are read; a file
    that cannot be read is nobody's near-duplicate.
    """
    of_content: dict[str, list[int]] = defaultdict(list)
    for similar in _by_size(paths).values():
        if len(similar) > 1:
            for at in similar:
                if content := _digest(paths[at]):
                    of_content[content].append(at)
    found = [similar for similar in of_content.values() if len({paths[at] for at in similar}) > 1]
    return sorted(found, key=lambda similar: similar[0])


def among(paths: Sequence[Path], others: Sequence[Path]) -> Bool[np.ndarray, " image"]:
    """Which of the files are, byte for byte, one of the ``others``, whatever they are called there."""
    rows, theirs = _by_size(paths), _by_size(others)
    found = np.zeros(len(paths), dtype=np.bool_)
    for size in rows.keys() & theirs.keys():
        contents = {_digest(others[at]) for at in theirs[size]} - {""}
        found[rows[size]] = [_digest(paths[at]) in contents for at in rows[size]]
    return found


def named_unknowns(paths: Sequence[Path], classes: Int64[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
    """Which photos of the unknown identity are copies of a photo that has a name: their label is wrong."""
    wrong = np.zeros(len(paths), dtype=np.bool_)
    for similar in same_bytes(paths):
        of_duplicates = classes[similar]
        if (of_duplicates >= 0).any():
            wrong[similar] = of_duplicates == UNKNOWN
    return wrong


def _by_size(paths: Sequence[Path]) -> dict[int, list[int]]:
    """Positions by the size of their file."""
    of_size: dict[int, list[int]] = defaultdict(list)
    for at, path in enumerate(paths):
        with suppress(OSError):
            of_size[path.stat().st_size].append(at)
    return of_size


def _digest(path: Path) -> str:
    """The SHA-256 of a file, empty if it cannot be read."""
    try:
        return sha256(path)
    except OSError:
        return ""
