"""The file that a contest takes."""

from __future__ import annotations

from pathlib import Path

from fieldmark.pipeline.artifacts.base import Artifact
from fieldmark.reporting.submissions import SUBMISSION


class Submission(Artifact):
    """The answers to the run's new photos, in the contest's form if they fit into it."""

    @property
    def file(self) -> Path | None:
        """The submission; None where there were no new photos, or names that do not fit into it."""
        path = self.folder / SUBMISSION
        return path if path.exists() else None
