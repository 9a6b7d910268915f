"""What all artifacts have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context


class Artifact:
    """The files that a stage leaves in its folder.

    An artifact that tells something of each photo (``of_photos``) also keeps what the stage says of the run's new
    photos: ``keep`` writes what ``Stage.apply`` gave for them, ``kept`` reads it back.

    Args:
        folder: Of the stage.
    """

    of_photos: ClassVar[bool] = False
    """Whether the stage can be applied to photos."""
    each_fold: ClassVar[bool] = False
    """Whether what it says of photos holds each fold's word, so that one value serves all folds."""

    reads_back: ClassVar[bool] = True
    """Whether ``kept`` gives back what ``keep`` wrote; else the stage is applied again where it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The artifact that lies in ``folder``."""
        return cls(folder)

    def keep(self, value: Any, context: Context) -> str:
        """Write what the stage says of the run's new photos; give a remark for the run's log, or nothing.

        Raises:
            TypeError: The artifact says nothing of photos.
        """
        raise TypeError(f"{type(self).__name__} says nothing of photos ({value!r} of {context.n_new})")

    def kept(self, context: Context) -> Any:
        """What ``keep`` wrote, as ``Stage.apply`` gave it.

        Raises:
            TypeError: The artifact says nothing of photos.
        """
        raise TypeError(f"{type(self).__name__} says nothing of photos ({context.n_new})")


class Predictions(Artifact):
    """An artifact that can be a run's last word on its new photos."""

    of_photos = True

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write the answers to the run's new photos in the contest's form into ``folder``; say what was written."""
        raise NotImplementedError
