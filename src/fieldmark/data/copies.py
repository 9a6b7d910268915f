"""Detection of identical files: copies of one photo under different names."""

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
    """Groups of positions whose files have the same bytes, ordered by the first position.

    Positions with the same path are not copies of each other. Only files of equal size are read. A file that cannot be
    read has no copies.
    """
    of_content: dict[str, list[int]] = defaultdict(list)
    for same_size in _by_size(paths).values():
        if len(same_size) > 1:
            for at in same_size:
                if content := _digest(paths[at]):
                    of_content[content].append(at)
    found = [copies for copies in of_content.values() if len({paths[at] for at in copies}) > 1]
    return sorted(found, key=lambda copies: copies[0])


def among(paths: Sequence[Path], others: Sequence[Path]) -> Bool[np.ndarray, " image"]:
    """Whether each file has the same bytes as one of the ``others``. Names do not matter."""
    rows, theirs = _by_size(paths), _by_size(others)
    found = np.zeros(len(paths), dtype=np.bool_)
    for size in rows.keys() & theirs.keys():
        contents = {_digest(others[at]) for at in theirs[size]} - {""}
        found[rows[size]] = [_digest(paths[at]) in contents for at in rows[size]]
    return found


def named_unknowns(paths: Sequence[Path], classes: Int64[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
    """Whether each photo of an unknown individual is a copy of a photo with a name. Its label is wrong then."""
    wrong = np.zeros(len(paths), dtype=np.bool_)
    for copies in same_bytes(paths):
        of_copies = classes[copies]
        if (of_copies >= 0).any():
            wrong[copies] = of_copies == UNKNOWN
    return wrong


def _by_size(paths: Sequence[Path]) -> dict[int, list[int]]:
    """Positions by file size."""
    of_size: dict[int, list[int]] = defaultdict(list)
    for at, path in enumerate(paths):
        with suppress(OSError):
            of_size[path.stat().st_size].append(at)
    return of_size


def _digest(path: Path) -> str:
    """The SHA-256 of a file; empty if it cannot be read."""
    try:
        return sha256(path)
    except OSError:
        return ""
