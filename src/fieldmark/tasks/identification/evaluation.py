"""Other photos by which a run that identifies is evaluated."""

from __future__ import annotations

import numpy as np

from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import truth_of, unseen


def evaluation_photos(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """The photos by which a run that tells individuals can be judged, and who is on them: a class, -1 for unknown individuals.

    Raises:
        DataError: None is left, or no column names individuals.
    """
    names = truth_of(photos, "identity", "who is on the photos", "names")
    number = {name: at for at, name in enumerate(known.vocabulary.identities)}
    rows = unseen(photos, known, names, "a name", progress=progress)
    truth = [number.get(names[row], -1) for row in rows]
    return photos.take(rows), np.array(truth, dtype=np.int64)
