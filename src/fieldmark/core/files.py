"""Files that are whole or not there: write aside, flush to disk, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldmark.core.errors import RunError

FAULTS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}
"""What goes wrong with a place, and not with the program."""


def sha256(path: Path) -> str:
    """The hex SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a failing one into three lines that name the path and the free space.

    Raises:
        RunError: The block could not write: no room, no right, no such place, a failing disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FAULTS:
            raise
        at = path if path.exists() else next((parent for parent in path.parents if parent.exists()), Path())
        free = shutil.disk_usage(at).free / 2**20
        raise RunError(
            f"{path} cannot be written; what was finished before is untouched.",
            got=f"{error.strerror or error} ({free:,.0f} MiB free)",
            fix="free some space or choose another folder, then run the same command again.",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader (or a kill) sees the old file or the new one, never a part.

    The folder is made where missing.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As ``write_bytes``, for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """As ``write_bytes``, for JSON with two blanks of indent; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in ``path``.

    Raises:
        RunError: The file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read.", got=error, fix="check the folder; a damaged run must be trained again."
        ) from error


def publish(folder: Path, place: Path) -> None:
    """Flush every file of ``folder`` to disk, then rename the folder to ``place`` in one move."""
    with disk_errors(place):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        folder.rename(place)
        descriptor = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
