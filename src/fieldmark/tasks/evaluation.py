"""Selection of photos for evaluating a run: photos with ground truth that the run was not trained on."""

from __future__ import annotations

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection


def truth_of(photos: Collection, column: str, what: str, whose: str) -> list:
    """Return the ground truth of each photo as it stands in the table, None for photos without it.

    Args:
        photos: Photos to evaluate on.
        column: Column that holds the ground truth, such as ``identity``.
        what: What the column says, for the error message, such as "which individual each photo shows".
        whose: Noun for its values, for the error message, such as "names".

    Raises:
        DataError: The table has no such column.
    """
    if column not in photos.table.columns:
        raise DataError(
            f"The column '{column}' is missing: it says {what}.",
            got=f"columns {several(photos.table.columns)}",
            fix=f"name the column: --column {column}=NAME. Use `fieldmark predict` for photos without {whose}.",
        )
    return photos.table[column].to_list()


def evaluation_rows(photos: Collection, known: Collection, truth: list, what: str, *, progress: Progress) -> list[int]:
    """Return the rows that have ground truth and whose files are not copies (equal bytes) of known photos.

    Args:
        photos: Photos to evaluate on.
        known: Known photos of the run.
        truth: Ground truth of each photo, None if it has none.
        what: Ground truth of one photo, for the error message, such as "a name".
        progress: Receives the number of photos that are left out.

    Raises:
        DataError: No such row exists.
    """
    from fieldmark.data.copies import among

    is_known = among(photos.paths, known.paths).tolist()
    if any(is_known):
        progress.say(f"left out: {sum(is_known):,} photos that the run already contains")
    rows = [row for row, given in enumerate(truth) if given is not None and not is_known[row]]
    if not rows:
        raise DataError(
            "DATA has no photo to evaluate the run on.",
            got=f"{len(photos):,} photos, {sum(is_known):,} of them known to the run, "
            f"{truth.count(None):,} without {what}",
            fix=f"pass photos with {what.removeprefix('a ')} that the run was not trained on, "
            "or leave DATA out to use the run's own photos.",
        )
    return rows
