"""Selection of other photos for evaluating a run of the tagging task."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import evaluation_rows, truth_of


def evaluation_photos(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """Return the photos to evaluate on, and their labels as a (photo, label) matrix.

    Labels that the run does not have are reported and then ignored, because the run cannot predict them.

    Raises:
        DataError: No photo is left, or the table has no column with labels.
    """
    labels = truth_of(photos, "labels", "what is on the photos", "labels")
    rows = evaluation_rows(photos, known, labels, "labels", progress=progress)
    tags = set(known.vocabulary.tags)
    unknown = Counter(name for row in rows for name in labels[row] if name not in tags)
    if unknown:
        often = ", ".join(f"{name} ({n:,})" for name, n in unknown.most_common(3))
        progress.say(f"ignored: {len(unknown):,} labels that the run does not have, such as {often}")
    return photos.take(rows), known.vocabulary.truth([[name for name in labels[row] if name in tags] for row in rows])
