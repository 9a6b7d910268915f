"""The journal of a download: the result of every URL, in one SQLite file that stays valid after a kill.

A photo is written to a temporary file and flushed, recorded as ``arrived`` (committed to disk), renamed to its final
path, and then recorded as ``done``. After a kill, opening the journal moves all arrived photos to their final paths.
Therefore no complete photo is requested twice, and every ``done`` photo is complete at its final path.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fieldmark.core.errors import RunError
from fieldmark.core.files import disk_errors
from fieldmark.downloads.addresses import host_of
from fieldmark.downloads.asking import Known
from fieldmark.downloads.checking import CheckedPhoto
from fieldmark.downloads.names import PHOTOS
from fieldmark.downloads.specs import Again

FILE = "journal.sqlite"
ASIDE = ".aside"
State = Literal["waiting", "arrived", "done", "failed", "gone"]
"""``failed``: the next run tries again. ``gone``: only a run with ``--again gone`` tries again."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS address (
    key INTEGER PRIMARY KEY,
    image TEXT NOT NULL,
    url TEXT NOT NULL,
    place INTEGER NOT NULL,              -- order among the URLs of the image
    mirror INTEGER NOT NULL,             -- 0: given in the table; else number of the mirror rule
    host TEXT NOT NULL,
    wanted INTEGER NOT NULL,             -- whether the last table contains it
    state TEXT NOT NULL DEFAULT 'waiting',
    cause TEXT, detail TEXT, status INTEGER,
    file TEXT, sha256 TEXT, kept_sha256 TEXT, n_bytes INTEGER, width INTEGER, height INTEGER,
    etag TEXT, last_modified TEXT, shard TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    first_at REAL, last_at REAL,         -- first and last request
    alive_from REAL, alive_to REAL,      -- first and last time it returned the photo
    lost_at REAL,                        -- first request that no longer returned the photo
    UNIQUE (image, url)
);
CREATE TABLE IF NOT EXISTS version (     -- different photos that a URL returned later
    key INTEGER NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
    file TEXT NOT NULL, sha256 TEXT NOT NULL, n_bytes INTEGER, width INTEGER, height INTEGER,
    PRIMARY KEY (key, number)
);
CREATE TABLE IF NOT EXISTS visit (       -- one row per run
    number INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, again TEXT NOT NULL,
    asked INTEGER NOT NULL DEFAULT 0, alive INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS address_image ON address (image);
"""


_ARRIVED = """
UPDATE address SET state = 'arrived', cause = NULL, detail = NULL, lost_at = NULL, status = ?1,
    file = ?2, sha256 = ?3, kept_sha256 = ?4, n_bytes = ?5, width = ?6, height = ?7, etag = ?8, last_modified = ?9,
    alive_from = ?10, alive_to = ?10, last_at = ?10, first_at = coalesce(first_at, ?10), tries = tries + ?11
WHERE key = ?12
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A URL to request.

    Attributes:
        key: Number of the URL in the journal.
        image: Image id.
        url: The URL.
        host: Host of the URL, in lower case.
        known: Headers of the last response with a photo; None if there was none.
        digests: SHA-256 of the photos that the URL returned before.
    """

    key: int
    image: str
    url: str
    host: str
    known: Known | None = None
    digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Note:
    """The result of requesting a URL.

    Attributes:
        row: The URL.
        at: Time of the result, in seconds since 1970.
        tries: Number of requests in this run.
        status: HTTP status, if there was one.
        photo: The photo in its temporary file, or None.
        known: Headers for the next conditional request.
        cause: Name of the cause, if there is no photo.
        detail: Description of the failure.
        lasting: Whether the failure is permanent.
    """

    row: Row
    at: float
    tries: int
    status: int | None = None
    photo: CheckedPhoto | None = None
    known: Known = field(default_factory=Known)
    cause: str | None = None
    detail: str = ""
    lasting: bool = False


class Journal:
    """The journal of a download folder. Only one process at a time can open it.

    Args:
        folder: Folder of the download; created if it does not exist.

    Attributes:
        folder: Folder of the download.
        aside: Folder for temporary files.

    Raises:
        RunError: Another process uses the folder, the journal is damaged, or the folder holds other files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside = folder / ASIDE
        if folder.exists() and not (folder / FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(
                f"Folder {folder} holds other files and no download.",
                got=folder,
                fix="use a new or empty folder for --out.",
            )
        with disk_errors(folder):
            self.aside.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.aside / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise RunError(
                f"Folder {folder} is used by another download.",
                got=folder,
                fix="wait until it ends, or use another folder for --out.",
            ) from error
        try:
            self._db = sqlite3.connect(folder / FILE, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._repair()
        except sqlite3.DatabaseError as error:
            os.close(self._lock)
            raise RunError(
                f"Folder {folder} has a journal that cannot be read.",
                got=error,
                fix=f"restore {folder / FILE} from a backup, or start again with another folder for --out.",
            ) from error
        self._placed: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        os.close(self._lock)

    def rows(self, question: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of an SQL query."""
        return self._db.execute(question, values).fetchall()

    def want(self, urls: Mapping[str, Iterable[tuple[str, int]]]) -> None:
        """Record the URLs of a table: for each image its URLs in order, each with the number of its mirror rule."""
        entries = [
            (image, url, place, mirror, host_of(url))
            for image, each in urls.items()
            for place, (url, mirror) in enumerate(each)
        ]
        with self._transaction():
            self._db.execute("UPDATE address SET wanted = 0")
            self._db.executemany(
                "INSERT INTO address (image, url, place, mirror, host, wanted) VALUES (?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (image, url) DO UPDATE SET place = excluded.place, mirror = excluded.mirror, wanted = 1",
                entries,
            )

    def to_ask(self, again: Again) -> list[list[Row]]:
        """Return the URLs to request, grouped by photo and in order.

        Args:
            again: ``failed``: URLs of missing photos without a permanent failure. ``gone``: also URLs with a permanent
                failure. ``all``: also the URL of each stored photo.
        """
        states = {"failed": ("waiting", "failed")}.get(again, ("waiting", "failed", "gone"))
        found: dict[str, list[Row]] = {}
        here = {image for (image,) in self.rows("SELECT image FROM address WHERE state = 'done'")}
        marks = ", ".join("?" * len(states))
        question = (
            f"SELECT key, image, url, host FROM address WHERE wanted AND state IN ({marks}) ORDER BY image, place"  # noqa: S608 - marks only
        )
        for key, image, url, host in self._db.execute(question, states):
            if image not in here:
                found.setdefault(image, []).append(Row(key, image, url, host))
        if again == "all":
            for row in self._kept():
                found[row.image] = [row]
        return list(found.values())

    def _kept(self) -> Iterable[Row]:
        """Yield the URLs of the stored photos, with the headers of their last responses."""
        others: dict[int, set[str]] = {}
        for key, digest in self.rows("SELECT key, sha256 FROM version"):
            others.setdefault(key, set()).add(digest)
        columns = "key, image, url, host, etag, last_modified, sha256"
        question = f"SELECT {columns} FROM address WHERE wanted AND state = 'done'"  # noqa: S608 - our own names
        for key, image, url, host, etag, last_modified, digest in self.rows(question):
            yield Row(key, image, url, host, Known(etag, last_modified), frozenset({digest, *others.get(key, ())}))

    def begin(self, again: Again, *, at: float) -> int:
        """Record the start of a run and return its number."""
        with self._transaction():
            made = self._db.execute("INSERT INTO visit (began, again) VALUES (?, ?)", (at, again))
        return int(made.lastrowid or 0)

    def note(self, notes: Sequence[Note], *, visit: int, at: float) -> None:
        """Move photos from temporary files to their final paths, and record photos and failures permanently.

        Raises:
            RunError: The disk is full or fails.
        """
        new = [note for note in notes if note.photo is not None and note.photo.sha256 not in note.row.digests]
        with disk_errors(self.folder):
            flush([note.photo.aside for note in new if note.photo is not None])
        with self._transaction():
            self._mark_placed()
            for note in notes:
                self._enter(note)
            asked = sum(note.tries > 0 for note in notes)
            alive = sum(note.cause is None for note in notes)
            lost = sum(note.tries > 0 and note.cause is not None and note.row.known is not None for note in notes)
            self._db.execute(
                "UPDATE visit SET ended = ?, asked = asked + ?, alive = alive + ?, lost = lost + ? WHERE number = ?",
                (at, asked, alive, lost, visit),
            )
        with disk_errors(self.folder):
            for note in new:
                if note.photo is not None:
                    _move(note.photo.aside, f"{self.folder}/{note.photo.file}")
        self._placed += [note.row.key for note in new if note.row.known is None]

    def resolve(self) -> None:
        """Record the last moved photos as ``done``."""
        if self._placed:
            with disk_errors(self.folder):
                flush(sorted((self.folder / PHOTOS).glob("*")))
            with self._transaction():
                self._mark_placed()

    def packed(self, shard: str, keys: Sequence[int]) -> None:
        """Record that photos are also in a shard."""
        with self._transaction():
            self._db.executemany("UPDATE address SET shard = ? WHERE key = ?", [(shard, key) for key in keys])

    def _enter(self, note: Note) -> None:
        """Write one result to the tables."""
        row, photo = note.row, note.photo
        if photo is not None and row.known is None:
            facts = (photo.file, photo.sha256, photo.kept_sha256, photo.n_bytes, photo.width, photo.height)
            headers = (note.known.etag, note.known.last_modified)
            self._db.execute(_ARRIVED, (note.status, *facts, *headers, note.at, note.tries, row.key))
            return
        if note.tries == 0:  # not requested: the record of a stored photo does not change
            if row.known is None:
                self._set(row.key, state="failed", cause=note.cause, detail=note.detail)
            return
        times = {"last_at": note.at, "status": note.status}
        if note.cause is not None:
            state = {} if row.known is not None else {"state": "gone" if note.lasting else "failed"}
            self._set(row.key, cause=note.cause, detail=note.detail, **times, **state)
            if row.known is not None:
                self._db.execute("UPDATE address SET lost_at = coalesce(lost_at, ?) WHERE key = ?", (note.at, row.key))
        else:
            headers = {"etag": note.known.etag, "last_modified": note.known.last_modified}
            self._set(row.key, cause=None, detail=None, alive_to=note.at, lost_at=None, **headers, **times)
            if photo is not None and photo.sha256 not in row.digests:
                facts = (photo.file, photo.sha256, photo.n_bytes, photo.width, photo.height)
                self._db.execute(
                    "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (row.key, len(row.digests) + 1, note.at, *facts),
                )
        self._db.execute(
            "UPDATE address SET tries = tries + ?, first_at = coalesce(first_at, ?) WHERE key = ?",
            (note.tries, note.at, row.key),
        )

    def _set(self, key: int, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE address SET {names} WHERE key = ?", (*values.values(), key))  # noqa: S608 - our own names

    def _mark_placed(self) -> None:
        self._db.executemany("UPDATE address SET state = 'done' WHERE key = ?", [(key,) for key in self._placed])
        self._placed.clear()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _repair(self) -> None:
        """Repair after a kill: move arrived photos, request missing photos again, and delete other temporary files."""
        leftover = {path.name: path for path in self.aside.iterdir() if path.name != "lock"}
        kept = self.rows("SELECT key, file FROM address WHERE state IN ('arrived', 'done')")
        with disk_errors(self.folder):
            for _, file in (*kept, *self.rows("SELECT key, file FROM version")):
                path = leftover.pop(Path(file).name, None)
                if path is not None:
                    _move(str(path), f"{self.folder}/{file}")
            for path in leftover.values():
                path.unlink(missing_ok=True)
        there = {
            f"{PHOTOS}/{subfolder.name}/{entry.name}"
            for subfolder in sorted((self.folder / PHOTOS).glob("*"))
            for entry in os.scandir(subfolder)
        }
        with self._transaction():
            self._db.execute("UPDATE address SET state = 'done' WHERE state = 'arrived'")
            lost = [(key,) for key, file in kept if file not in there]
            self._db.executemany("UPDATE address SET state = 'waiting' WHERE key = ?", lost)


class _Transaction:
    """A database transaction: committed at the end, rolled back after an error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def flush(paths: Sequence[Path | str]) -> None:
    """Flush files or folders to disk before they are recorded.

    Many files are flushed by one ``sync``, because flushing each file costs ten times the CPU time of writing it.
    """
    if len(paths) > 8 and sys.platform == "linux":  # elsewhere sync() does not wait for the disk
        os.sync()
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move(path: str, place: str) -> None:
    """Rename a file to its final path; create its folder if needed."""
    try:
        os.replace(path, place)  # noqa: PTH105 - avoids creating a million Path objects
    except FileNotFoundError:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)  # noqa: PTH105
