"""Selection of other photos for evaluating a run of the identification task."""

from __future__ import annotations

import numpy as np

from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import evaluation_rows, truth_of


def evaluation_photos(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """Return the photos to evaluate on, and the class of each: the number of its identity, -1 for unknown individuals.

    An individual that is not one of the run's identities is unknown.

    Raises:
        DataError: No photo is left, or the table has no column with identities.
    """
    names = truth_of(photos, "identity", "which individual each photo shows", "names")
    number = {name: at for at, name in enumerate(known.vocabulary.identities)}
    rows = evaluation_rows(photos, known, names, "a name", progress=progress)
    truth = [number.get(names[row], -1) for row in rows]
    return photos.take(rows), np.array(truth, dtype=np.int64)
