"""The base classes of all artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context


class Artifact:
    """The files that a stage writes into its folder.

    An artifact with results per photo (``of_photos``) also stores the results for the run's new photos. ``keep`` writes
    the result of ``Stage.apply``, and ``kept`` reads it.

    Args:
        folder: Folder of the stage.
    """

    of_photos: ClassVar[bool] = False
    """Whether the stage can be applied to photos."""
    each_fold: ClassVar[bool] = False
    """Whether one result contains the separate results of all folds."""

    reads_back: ClassVar[bool] = True
    """Whether ``kept`` returns what ``keep`` wrote. If False, the stage is applied again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the artifact in ``folder``."""
        return cls(folder)

    def keep(self, value: Any, context: Context) -> str:
        """Write the stage's result for the run's new photos. Return a remark for the log, or an empty string.

        Raises:
            TypeError: The artifact has no results per photo.
        """
        raise TypeError(f"{type(self).__name__} has no results per photo ({value!r} for {context.n_new} new photos)")

    def kept(self, context: Context) -> Any:
        """Return the stored result of ``Stage.apply`` for the run's new photos.

        Raises:
            TypeError: The artifact has no results per photo.
        """
        raise TypeError(f"{type(self).__name__} has no results per photo ({context.n_new} new photos)")


class Predictions(Artifact):
    """An artifact with predictions that can be the final result of a run."""

    of_photos = True

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write the predictions for the run's new photos into ``folder``, in the contest's format.

        Returns:
            A summary in one line.
        """
        raise NotImplementedError
