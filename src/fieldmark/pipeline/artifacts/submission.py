"""The submission file of a contest."""

from __future__ import annotations

from pathlib import Path

from fieldmark.pipeline.artifacts.base import Artifact
from fieldmark.reporting.submissions import SUBMISSION


class Submission(Artifact):
    """The predictions for the run's new photos, in the contest's format if it allows them."""

    @property
    def file(self) -> Path | None:
        """The submission file; None without new photos, or if the format does not allow some names."""
        path = self.folder / SUBMISSION
        return path if path.exists() else None
