"""The stage *write_submission*: writes the submission file of a contest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.artifacts.submission import Submission
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage


@stage
class WriteSubmission(Stage):
    """Write the predictions for the new photos: ranked individuals, labels, or answers to questions.

    Attributes:
        reads_from: Stage with predictions, such as a ``rank``, ``threshold`` or ``resolve_hierarchy`` stage.
    """

    output = Submission
    kind: Literal["write_submission"] = "write_submission"
    reads_from: Annotated[str, Ref(Predictions)]

    def fit(self, context: Context, folder: Path) -> str:
        """Write ``submission.csv`` in the contest's format for the new photos, if there are any.

        The format does not allow names with spaces. With such names, ``answers.csv`` is written instead: one row per
        photo and candidate.
        """
        if not context.n_new:
            return "no new photos"
        return context.artifact(Predictions, self.reads_from).write_submission(folder, context)
