"""Labels that people forgot, lent by a teacher."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from fieldmark.core.errors import FieldmarkError
from fieldmark.quality.labels.inputs import ROW_BLOCK, check_pair


def missing_filled(
    truth: Bool[np.ndarray, "image label"], teacher_proba: Float[np.ndarray, "image label"], *, times: float = 0.7
) -> Float32[np.ndarray, "image label"]:
    """Targets to train on: what people gave stays 1, what they did not becomes what a teacher half believes.

    A label that nobody gave may be wrong for the image or just forgotten. The teacher's word softens the no, and
    never denies a given label.

    Args:
        truth: The given labels, 0 and 1.
        teacher_proba: Out-of-fold probabilities: a teacher that has seen the image repeats its labels. Scores of
            students measured against the same folds flatter them where the teacher was trained on all.
        times: How much of the teacher is believed, 0 (nothing) to 1.

    Returns:
        max(truth, times * teacher_proba).

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: A value is no probability or no truth, or ``times`` is not between 0 and 1.

    Source:
        iMet 2019, 9th place.
    """
    teacher_proba, truth = check_pair(teacher_proba, truth, who="missing_filled()")
    if not 0 <= times <= 1:
        raise FieldmarkError(
            "missing_filled() believes a share of the teacher.", got=times, fix="use a number from 0 to 1, such as 0.7."
        )
    targets = np.empty(truth.shape, np.float32)
    for start in range(0, len(truth), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        believed = np.float32(times) * teacher_proba[rows].astype(np.float32, copy=False)
        np.maximum(truth[rows].astype(np.float32), believed, out=targets[rows])
    return targets
