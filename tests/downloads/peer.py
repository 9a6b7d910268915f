"""A server on the loopback that sends what a test says, byte by byte, and a client that asks it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from fieldmark.downloads.asking import Fetcher, HttpAnswer
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.specs import Fetching

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
QUICK = Fetching(allow_private=True, obey_robots=False, connect_s=10, gap_s=10, total_s=20, max_bytes=2**20)


class Peer:
    """A server that answers as the test says: ``replies`` in turn, one a question, the last one again and again.

    A reply that ends with None is followed by a hang-up.
    """

    def __init__(self, *replies: Iterable[bytes | float | None]) -> None:
        self.replies = list(replies)
        self.heads: list[bytes] = []
        self.n_connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                for part in reply:
                    if part is None:
                        return
                    if isinstance(part, float):
                        await asyncio.sleep(part)
                    else:
                        writer.write(part)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


def with_peer(
    peer: Peer,
    folder: Path,
    job: Callable[[Fetcher, str], Awaitable[object]],
    *,
    fetching: Fetching = QUICK,
    tls: ssl.SSLContext | None = None,
) -> object:
    """What ``job`` gives, which gets an asker and the peer's address."""

    async def main() -> object:
        server = await asyncio.start_server(peer, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        try:
            async with Fetcher(fetching, aside=folder) as asker:
                return await job(asker, f"http{'s' if tls else ''}://127.0.0.1:{port}/a.jpg")
        finally:
            server.close()

    return asyncio.run(main())


def one(peer: Peer, folder: Path, **more) -> HttpAnswer | Failed:
    """What comes of one question."""

    async def job(asker: Fetcher, url: str) -> HttpAnswer | Failed:
        try:
            return await asker.ask(url, key=7)
        except Failed as failed:
            return failed

    found = with_peer(peer, folder, job, **more)
    assert isinstance(found, HttpAnswer | Failed)
    return found
