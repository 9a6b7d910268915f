"""Atomic writing of files: write a temporary file, flush it to disk, rename it."""

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
"""Error numbers that mean a problem of the disk or the path, not of the program."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal. The file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert disk errors of the block into a ``RunError`` that names the path and the free space.

    Raises:
        RunError: The block could not write: the disk is full or fails, the path is missing, or access is denied.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FAULTS:
            raise
        at = path if path.exists() else next((parent for parent in path.parents if parent.exists()), Path())
        free = shutil.disk_usage(at).free / 2**20
        raise RunError(
            f"{path} cannot be written. Finished stages and files are unchanged.",
            got=f"{error.strerror or error} ({free:,.0f} MiB free)",
            fix="free some space or choose another folder, then run the same command again.",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically: a reader finds the old file or the new one, never a part.

    A missing folder is created.
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
    """Write text in UTF-8; see ``write_bytes``."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON with an indent of two spaces; see ``write_bytes``. NaN and infinity are not allowed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read the JSON value in ``path``.

    Raises:
        RunError: The file is missing or is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read.", got=error, fix="check the folder. If the run is damaged, train it again."
        ) from error


def publish(folder: Path, place: Path) -> None:
    """Flush every file of ``folder`` to disk, then rename the folder to ``place`` in one step."""
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
