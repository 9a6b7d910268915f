"""The kind *answer*: the contest's submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.pipeline.artifacts.submission import Submission
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage


@stage
class WriteSubmission(Stage):
    """Write what new photos show: ranked individuals, labels, or answers to questions.

    Attributes:
        reads_from: A stage that leaves predictions: rank, cut or settle.
    """

    output = Submission
    kind: Literal["write_submission"] = "write_submission"
    reads_from: Annotated[str, Ref(Predictions)]

    def fit(self, context: Context, folder: Path) -> str:
        """Write ``submission.csv`` in the contest's form for the new photos, if there are any.

        Names with blanks cannot stand in it: then ``answers.csv`` has a row for each photo and candidate.
        """
        if not context.n_new:
            return "no new photos to answer"
        return context.artifact(Predictions, self.reads_from).write_submission(folder, context)
