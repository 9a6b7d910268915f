"""Check responses: hash and decode the bytes, optionally resize the photo, and write a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Self

from fieldmark.core.errors import ImageError
from fieldmark.core.files import disk_errors
from fieldmark.downloads.asking import HttpAnswer
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.names import place_of
from fieldmark.downloads.specs import Fetching
from fieldmark.images.containers import sniff
from fieldmark.images.reading import Limits, decode, opened
from fieldmark.images.reading import Photo as Picture
from fieldmark.images.thumbnails import thumbnail

_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script")
QUICK_BYTES, QUICK_PIXELS, QUICK_SCANS = 64 * 2**10, 2**20, 12
"""Limits of a small JPEG, which is decoded at once within milliseconds, because starting a thread task costs more."""
MAX_BATCH = 16
"""Maximum number of photos checked before notifying the event loop; a notification for each would be slow."""


@dataclass(frozen=True)
class CheckedPhoto:
    """A complete photo in a temporary file.

    Attributes:
        sha256: SHA-256 of the received bytes.
        n_bytes: Number of received bytes.
        width: Width of the received photo in pixels, after applying the EXIF orientation.
        height: Height of the received photo in pixels.
        file: Final path, relative to the folder of the download.
        aside: Path of the temporary file. It is a text, because creating a Path is as slow as hashing a photo.
        kept_sha256: SHA-256 of the stored file; differs from ``sha256`` if the photo was resized.
    """

    sha256: str
    n_bytes: int
    width: int
    height: int
    file: str
    aside: str
    kept_sha256: str


@dataclass(frozen=True)
class SniffedPhoto:
    """A response with a valid image header; the pixels are not yet decoded.

    Attributes:
        data: All bytes of the photo.
        digest: SHA-256 of the bytes.
        photo: Content of the image header.
        status: HTTP status of the response.
    """

    data: bytes
    digest: str
    photo: Picture
    status: int

    @property
    def is_quick(self) -> bool:
        """Whether decoding takes less time than starting a thread task."""
        return (
            self.photo.kind == "JPEG"
            and len(self.data) <= QUICK_BYTES
            and self.photo.width * self.photo.height <= QUICK_PIXELS
            and self.photo.n_scans <= QUICK_SCANS
        )


def is_small(answer: HttpAnswer) -> bool:
    """Whether reading the header of a response takes almost no time."""
    return isinstance(answer.body, bytes) and len(answer.body) <= QUICK_BYTES and not answer.packing


def recognised(answer: HttpAnswer, *, fetching: Fetching, wanted: str | None = None) -> SniffedPhoto:
    """Read the image header of a response and compute the hash.

    Args:
        answer: Response of a URL.
        fetching: Settings with the size limits.
        wanted: Required SHA-256, or None.

    Raises:
        Failed: The response is not a photo, is too large, or has another hash.
    """
    data = _unpacked(answer, fetching.max_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if wanted is not None and digest != wanted:
        raise Failed("another_picture", f"sha256 {digest}", status=answer.status)
    _reject_other_files(data, answer)
    with _as_failed(answer.status):
        return SniffedPhoto(data, digest, opened(data, limits=_limits(fetching)), answer.status)


def laid_aside(
    sniffed: SniffedPhoto, *, image: str, aside: Path, fetching: Fetching, known: frozenset[str] = frozenset()
) -> CheckedPhoto:
    """Decode a photo completely and write it to a temporary file in the folder ``aside``.

    Args:
        sniffed: The photo with its header.
        image: Image id.
        aside: Folder for temporary files.
        fetching: Settings with the size limits and the size to keep.
        known: SHA-256 of earlier photos of this URL. They are already stored, so they are neither decoded nor written
            again.

    Raises:
        Failed: The photo is damaged or incomplete.
        RunError: The disk is full or fails.
    """
    data, digest, kept, kind = sniffed.data, sniffed.digest, sniffed.data, sniffed.photo.kind
    is_new = digest not in known
    with _as_failed(sniffed.status):
        if is_new and fetching.resize_px is not None:
            kept = thumbnail(data, longest_px=fetching.resize_px, quality=fetching.quality, limits=_limits(fetching))
            kind = "JPEG"
        elif is_new:
            # Decodes in grey at an eighth of the size; all bytes are still read, so errors are found.
            decode(sniffed.photo, at_least=(1, 1), colour="grey")
    file = place_of(image, kind, version=len(known) + 1)
    temporary = f"{aside}/{file.rpartition('/')[2]}"
    if is_new:
        with disk_errors(aside), open(temporary, "wb") as written:  # noqa: PTH123 - no Path, see CheckedPhoto
            written.write(kept)
    return CheckedPhoto(
        sha256=digest,
        n_bytes=len(data),
        width=sniffed.photo.width,
        height=sniffed.photo.height,
        file=file,
        aside=temporary,
        kept_sha256=digest if kept is data else hashlib.sha256(kept).hexdigest(),
    )


def _limits(fetching: Fetching) -> Limits:
    return Limits(max_pixels=fetching.max_pixels, max_bytes=fetching.max_bytes)


@contextmanager
def _as_failed(status: int) -> Iterator[None]:
    """Convert an error of the image reader to a cause."""
    try:
        yield
    except ImageError as error:
        raise Failed(_fault(error), str(error.got).partition(": ")[2], status=status) from error


def _unpacked(answer: HttpAnswer, most_bytes: int) -> bytes:
    """Return the bytes of the body, decompressed if needed and limited to ``most_bytes``."""
    data = answer.body if isinstance(answer.body, bytes) else answer.body.read_bytes()
    if isinstance(answer.body, Path):
        answer.body.unlink(missing_ok=True)
    if answer.packing in {"", "identity"}:
        return data
    if answer.packing not in {"gzip", "x-gzip", "deflate"}:
        raise Failed("odd_packing", answer.packing, status=answer.status)
    for window in (47, -15):  # gzip or zlib by their headers; raw deflate, which some hosts send
        unpacker = zlib.decompressobj(window)
        try:
            found = unpacker.decompress(data, most_bytes + 1)
        except zlib.error:
            continue
        if len(found) > most_bytes:
            raise Failed("too_large", f"more than {most_bytes:,} bytes after decompression", status=answer.status)
        return found
    raise Failed("odd_packing", f"not valid {answer.packing}", status=answer.status)


def _reject_other_files(data: bytes, answer: HttpAnswer) -> None:
    """Reject data that does not start like an image.

    Raises:
        Failed: The data is empty, a web page, or another format.
    """
    if sniff(data) is not None:
        return
    if not data:
        raise Failed("empty", status=answer.status)
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    is_page = answer.content_type in {"text/html", "application/xhtml+xml"} and start[:1] == b"<"
    if is_page or start.startswith(_WEB_PAGE):
        raise Failed("web_page", _title(data), status=answer.status)
    raise Failed(
        "not_a_picture", f"starts with {data[:16]!r}, sent as {answer.content_type}"[:120], status=answer.status
    )


def _title(data: bytes) -> str:
    """Return the title of a web page."""
    _, tag, rest = data[: 16 * 2**10].partition(b"<title>")
    return " ".join(rest.partition(b"</title>")[0][:120].decode("utf-8", "replace").split()) if tag else ""


def _fault(error: ImageError) -> str:
    """Return the cause for an error of the image reader."""
    if "too large" in error.problem:
        return "too_many_pixels"
    return "truncated" if "truncated" in error.problem else "damaged"


class CheckingThreads:
    """Threads that check responses while the event loop continues.

    Args:
        n_workers: Number of threads.
    """

    def __init__(self, *, n_workers: int) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], CheckedPhoto], asyncio.Future[CheckedPhoto]] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"check-{at}", daemon=True) for at in range(n_workers)]

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    async def check(self, job: Callable[[], CheckedPhoto]) -> CheckedPhoto:
        """Run ``job`` in one of the threads and return its result.

        Raises:
            Failed: The job raised it.
        """
        future: asyncio.Future[CheckedPhoto] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    def _work(self) -> None:
        """Run jobs from the queue until it yields None."""
        is_open = True
        while is_open:
            done: list[tuple[asyncio.Future[CheckedPhoto], CheckedPhoto | BaseException]] = []
            while len(done) < MAX_BATCH:
                try:
                    item = self._jobs.get(block=not done)
                except Empty:
                    break
                if item is None:
                    is_open = False
                    break
                done.append((item[1], _result(item[0])))
            if done:
                self._loop.call_soon_threadsafe(_hand_over, done)


def _result(job: Callable[[], CheckedPhoto]) -> CheckedPhoto | BaseException:
    """Return the result of a job, or the exception it raised."""
    try:
        return job()
    except BaseException as error:  # raised again where the job is awaited
        return error


def _hand_over(done: list[tuple[asyncio.Future[CheckedPhoto], CheckedPhoto | BaseException]]) -> None:
    for future, result in done:
        if future.done():  # was cancelled
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
