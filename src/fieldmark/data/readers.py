"""Readers of tables of photos, by the name of the layout each understands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from fieldmark.core.registry import Registry
from fieldmark.data.drafts import Draft, Options

Read: TypeAlias = Callable[[Path, Options], Any]
"""From a path and the user's options to a table: a ``Draft``, or a polars or pandas frame with our column names."""


@dataclass(frozen=True)
class Reader:
    """What understands one layout.

    Attributes:
        read: Gives the table at a path.
        recognises: Whether a path looks like one of this layout; None: it must be named.
    """

    read: Read
    recognises: Callable[[Path], bool] | None = None

    def __call__(self, path: Path, options: Options) -> Any:
        """What ``read`` gives."""
        return self.read(path, options)

    @property
    def __wrapped__(self) -> Read:
        """The function itself, of which messages say where it comes from."""
        return self.read


READERS: Registry[Reader] = Registry("fieldmark.readers", what="layout", home="fieldmark.data.layouts")
"""All layouts by name; those of other packages are listed under the entry-point group ``fieldmark.readers``."""

ReadT = TypeVar("ReadT", bound=Callable[..., Draft | Any])


def reader(name: str, *, recognises: Callable[[Path], bool] | None = None) -> Callable[[ReadT], Reader]:
    """Decorator that makes a function the reader of the layout ``name``.

    It is called with a path, which exists, and the user's ``Options``, and returns a polars or pandas frame whose
    columns are named as ours (``image``, ``file``, ``identity``, ``labels``, ``group`` ...), or a ``Draft``.

    Args:
        name: As users give it: ``read(path, layout=name)``, ``--layout NAME``.
        recognises: Whether a path looks like one of this layout, asked where the user names none; None: never.

    Raises:
        FieldmarkError: Another layout has the name.
    """

    def register(read: ReadT) -> Reader:
        return READERS.add(name, Reader(read, recognises))

    return register
