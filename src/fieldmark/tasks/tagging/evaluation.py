"""Other photos by which a run that tags is evaluated."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fieldmark.core.progress import Progress
from fieldmark.data.collection import Collection
from fieldmark.tasks.evaluation import truth_of, unseen


def evaluation_photos(photos: Collection, known: Collection, *, progress: Progress) -> tuple[Collection, np.ndarray]:
    """The photos by which a run that tells labels can be judged, and which of its labels they have.

    Labels that the run does not know are told and then not looked at: it could not have given them.

    Raises:
        DataError: None is left, or no column holds labels.
    """
    labels = truth_of(photos, "labels", "what is on the photos", "labels")
    rows = unseen(photos, known, labels, "labels", progress=progress)
    tags = set(known.vocabulary.tags)
    unheard = Counter(name for row in rows for name in labels[row] if name not in tags)
    if unheard:
        often = ", ".join(f"{name} ({n:,})" for name, n in unheard.most_common(3))
        progress.say(f"not judged: {len(unheard):,} labels that the run does not know, such as {often}")
    return photos.take(rows), known.vocabulary.truth([[name for name in labels[row] if name in tags] for row in rows])
