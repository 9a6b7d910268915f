"""Soft targets for labels that people may have forgotten, from the predictions of a teacher network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from fieldmark.core.errors import FieldmarkError
from fieldmark.quality.labels.inputs import ROW_BLOCK, check_pair


def missing_filled(
    truth: Bool[np.ndarray, "image label"], teacher_proba: Float[np.ndarray, "image label"], *, times: float = 0.7
) -> Float32[np.ndarray, "image label"]:
    """Return training targets: given labels stay 1, the others get a fraction of the teacher's probability.

    A label that was not given may be absent from the image or just forgotten. The teacher raises the target of such
    a label above 0, but never lowers a given label.

    Args:
        truth: The given labels, 0 and 1.
        teacher_proba: Out-of-fold probabilities, because a teacher trained on an image repeats its labels. If the
            teacher was trained on all folds, the validation scores of its students are too high.
        times: Factor on the probabilities of the teacher, 0 (teacher not used) to 1.

    Returns:
        max(truth, times * teacher_proba).

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: ``teacher_proba`` has values outside 0 to 1, ``truth`` has values other than 0 and 1, or
            ``times`` is not between 0 and 1.

    Source:
        iMet 2019, 9th place.
    """
    teacher_proba, truth = check_pair(teacher_proba, truth, function="missing_filled()")
    if not 0 <= times <= 1:
        raise FieldmarkError(
            "Setting 'times' of missing_filled() must be between 0 and 1.", got=times, fix="use times=0.7."
        )
    targets = np.empty(truth.shape, np.float32)
    for start in range(0, len(truth), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        believed = np.float32(times) * teacher_proba[rows].astype(np.float32, copy=False)
        np.maximum(truth[rows].astype(np.float32), believed, out=targets[rows])
    return targets
