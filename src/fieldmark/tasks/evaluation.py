"""Photos by which a run may be evaluated: with ground truth, and none that it was trained on."""

from __future__ import annotations

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection


def truth_of(photos: Collection, column: str, what: str, whose: str) -> list:
    """The truth of each photo as its table has it, None where it has none.

    Raises:
        DataError: The table has no such column.
    """
    if column not in photos.table.columns:
        raise DataError(
            f"No column says {what}.",
            got=several(photos.table.columns),
            fix=f"name it: --column {column}=NAME; `fieldmark predict` answers photos without {whose}.",
        )
    return photos.table[column].to_list()


def unseen(photos: Collection, known: Collection, truth: list, what: str, *, progress: Progress) -> list[int]:
    """The rows with a truth whose files are not, byte for byte, among the known ones.

    Raises:
        DataError: There is none.
    """
    from fieldmark.data.copies import among

    seen = among(photos.paths, known.paths).tolist()
    if any(seen):
        progress.say(f"left out: {sum(seen):,} photos that the run knows already")
    rows = [row for row, given in enumerate(truth) if given is not None and not seen[row]]
    if not rows:
        raise DataError(
            "No photo is left to judge by.",
            got=f"{len(photos):,} photos, {sum(seen):,} of them known to the run, {truth.count(None):,} without {what}",
            fix=f"give photos with {what.removeprefix('a ')} that the run has not learnt from; "
            "without DATA its own are used.",
        )
    return rows
