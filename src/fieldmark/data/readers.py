"""Registry of readers: one for each layout of photo tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from fieldmark.core.registry import Registry
from fieldmark.data.drafts import Draft, Options

Read: TypeAlias = Callable[[Path, Options], Any]
"""Type of a reader function. It takes a path and options and returns a ``Draft``, or a polars or pandas frame."""


@dataclass(frozen=True)
class Reader:
    """A reader of one layout.

    Attributes:
        read: Function that reads the table at a path.
        recognises: Function that checks whether a path has this layout; None: the user must name the layout.
    """

    read: Read
    recognises: Callable[[Path], bool] | None = None

    def __call__(self, path: Path, options: Options) -> Any:
        """Read the table at ``path``."""
        return self.read(path, options)

    @property
    def __wrapped__(self) -> Read:
        """The function itself; messages name its module."""
        return self.read


READERS: Registry[Reader] = Registry("fieldmark.readers", what="layout", home="fieldmark.data.layouts")
"""All readers by layout name. Other packages add readers with the entry-point group ``fieldmark.readers``."""

ReadT = TypeVar("ReadT", bound=Callable[..., Draft | Any])


def reader(name: str, *, recognises: Callable[[Path], bool] | None = None) -> Callable[[ReadT], Reader]:
    """Decorator that registers a function as the reader of the layout ``name``.

    The function takes an existing path and the ``Options`` of the user. It returns a ``Draft``, or a polars or pandas
    frame with the column names of a collection (``image``, ``file``, ``identity``, ``labels``, ``group`` ...).

    Args:
        name: Name of the layout, for ``read(path, layout=name)`` and ``--layout NAME``.
        recognises: Function that checks whether a path has this layout, used if the user names none; None: the layout
            is never recognised automatically.

    Raises:
        FieldmarkError: Another layout has this name.
    """

    def register(read: ReadT) -> Reader:
        return READERS.add(name, Reader(read, recognises))

    return register
