"""Is it a photo? Bytes are hashed, decoded, perhaps made smaller, and written aside; what takes long, in threads."""

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
"""A JPEG of no more is decoded within milliseconds: it is done at once, as handing it to a thread costs more."""
A_TURN = 16
"""So many pictures are checked before the event loop is told; waking it for each would cost more than it gains."""


@dataclass(frozen=True)
class CheckedPhoto:
    """A whole photo that lies aside.

    Attributes:
        sha256: Of the bytes as the address gave them.
        n_bytes: Likewise.
        width: In pixels, upright, as the address gave it.
        height: Likewise.
        file: Where it belongs below the folder of the download.
        aside: Path of where it lies now; no Path, as making one costs as much as hashing a photo.
        kept_sha256: Of the file as it is kept; differs where it was made smaller.
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
    """An answer that begins like a photo, its header understood and nothing decoded.

    Attributes:
        data: All of its bytes.
        digest: Their SHA-256.
        photo: What the header says.
        status: Of the answer.
    """

    data: bytes
    digest: str
    photo: Picture
    status: int

    @property
    def is_quick(self) -> bool:
        """Whether it is decoded in less time than it takes to wake up a thread for it, give or take."""
        return (
            self.photo.kind == "JPEG"
            and len(self.data) <= QUICK_BYTES
            and self.photo.width * self.photo.height <= QUICK_PIXELS
            and self.photo.n_scans <= QUICK_SCANS
        )


def is_small(answer: HttpAnswer) -> bool:
    """Whether an answer is looked at in no time."""
    return isinstance(answer.body, bytes) and len(answer.body) <= QUICK_BYTES and not answer.packing


def recognised(answer: HttpAnswer, *, fetching: Fetching, wanted: str | None = None) -> SniffedPhoto:
    """The header of the photo in an answer, and its hash.

    Args:
        answer: What an address gave.
        fetching: What is too much.
        wanted: The SHA-256 it must have.

    Raises:
        Failed: It is no photo, too large, or not the one wanted.
    """
    data = _unpacked(answer, fetching.max_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if wanted is not None and digest != wanted:
        raise Failed("another_picture", f"sha256 {digest}", status=answer.status)
    _refuse_others(data, answer)
    with _told(answer.status):
        return SniffedPhoto(data, digest, opened(data, limits=_limits(fetching)), answer.status)


def laid_aside(
    seen: SniffedPhoto, *, image: str, aside: Path, fetching: Fetching, known: frozenset[str] = frozenset()
) -> CheckedPhoto:
    """The photo, every pixel of it gone through the decoder, lying whole in the folder ``aside``.

    Args:
        seen: What was recognised.
        image: The id.
        aside: A folder for files not yet in their place.
        fetching: What is too much, and what size to keep.
        known: SHA-256 of the pictures that the address gave before, which lie in place already and are not decoded or
            written again.

    Raises:
        Failed: It is damaged or not whole.
        RunError: The disk is full or fails.
    """
    data, digest, kept, kind = seen.data, seen.digest, seen.data, seen.photo.kind
    is_new = digest not in known
    with _told(seen.status):
        if is_new and fetching.resize_px is not None:
            kept = thumbnail(data, longest_px=fetching.resize_px, quality=fetching.quality, limits=_limits(fetching))
            kind = "JPEG"
        elif is_new:
            # An eighth of the size in grey: all bits are still read, which is what finds faults.
            decode(seen.photo, at_least=(1, 1), colour="grey")
    file = place_of(image, kind, version=len(known) + 1)
    lies = f"{aside}/{file.rpartition('/')[2]}"
    if is_new:
        with disk_errors(aside), open(lies, "wb") as written:  # noqa: PTH123 - no Path, see Photo
            written.write(kept)
    return CheckedPhoto(
        sha256=digest,
        n_bytes=len(data),
        width=seen.photo.width,
        height=seen.photo.height,
        file=file,
        aside=lies,
        kept_sha256=digest if kept is data else hashlib.sha256(kept).hexdigest(),
    )


def _limits(fetching: Fetching) -> Limits:
    return Limits(max_pixels=fetching.max_pixels, max_bytes=fetching.max_bytes)


@contextmanager
def _told(status: int) -> Iterator[None]:
    """What the reader of pictures complains of becomes one cause."""
    try:
        yield
    except ImageError as error:
        raise Failed(_fault(error), str(error.got).partition(": ")[2], status=status) from error


def _unpacked(answer: HttpAnswer, most_bytes: int) -> bytes:
    """The bytes of the body, also where the host packed them though it was asked not to; never more than allowed."""
    data = answer.body if isinstance(answer.body, bytes) else answer.body.read_bytes()
    if isinstance(answer.body, Path):
        answer.body.unlink(missing_ok=True)
    if answer.packing in {"", "identity"}:
        return data
    if answer.packing not in {"gzip", "x-gzip", "deflate"}:
        raise Failed("odd_packing", answer.packing, status=answer.status)
    for window in (47, -15):  # gzip or zlib by their heads; bare deflate as some hosts send it
        unpacker = zlib.decompressobj(window)
        try:
            found = unpacker.decompress(data, most_bytes + 1)
        except zlib.error:
            continue
        if len(found) > most_bytes:
            raise Failed("too_large", f"more than {most_bytes:,} bytes when unpacked", status=answer.status)
        return found
    raise Failed("odd_packing", f"no {answer.packing} after all", status=answer.status)


def _refuse_others(data: bytes, answer: HttpAnswer) -> None:
    """Refuse what does not begin like a picture.

    Raises:
        Failed: It does not.
    """
    if sniff(data) is not None:
        return
    if not data:
        raise Failed("empty", status=answer.status)
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    is_page = answer.content_type in {"text/html", "application/xhtml+xml"} and start[:1] == b"<"
    if is_page or start.startswith(_WEB_PAGE):
        raise Failed("web_page", _title(data), status=answer.status)
    raise Failed("not_a_picture", f"begins {data[:16]!r}, said to be {answer.content_type}"[:120], status=answer.status)


def _title(data: bytes) -> str:
    """What a web page calls itself."""
    _, tag, rest = data[: 16 * 2**10].partition(b"<title>")
    return " ".join(rest.partition(b"</title>")[0][:120].decode("utf-8", "replace").split()) if tag else ""


def _fault(error: ImageError) -> str:
    """The cause that an error of the reader stands for."""
    if "too large" in error.problem:
        return "too_many_pixels"
    return "truncated" if "truncated" in error.problem else "damaged"


class CheckingThreads:
    """Threads that check answers, for an event loop that goes on meanwhile.

    Args:
        n_workers: How many threads.
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
        """What ``job`` gives, run in one of the threads.

        Raises:
            Failed: The job does.
        """
        future: asyncio.Future[CheckedPhoto] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    def _work(self) -> None:
        """Check what comes, until there comes None."""
        is_open = True
        while is_open:
            done: list[tuple[asyncio.Future[CheckedPhoto], CheckedPhoto | BaseException]] = []
            while len(done) < A_TURN:
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
    """What a job gives or raises; the event loop sorts failures from faults of ours."""
    try:
        return job()
    except BaseException as error:  # it is raised again where the job is awaited
        return error


def _hand_over(done: list[tuple[asyncio.Future[CheckedPhoto], CheckedPhoto | BaseException]]) -> None:
    for future, result in done:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
