"""A local server that sends the bytes given by a test, and a client that sends requests to it."""

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
    """A server that sends ``replies`` in order, one per request; the last one is repeated.

    A number in a reply is a pause in seconds. None closes the connection.
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
    """Start the server, call ``job`` with a fetcher and the URL of the server, and return its result."""

    async def main() -> object:
        server = await asyncio.start_server(peer, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        try:
            async with Fetcher(fetching, aside=folder) as fetcher:
                return await job(fetcher, f"http{'s' if tls else ''}://127.0.0.1:{port}/a.jpg")
        finally:
            server.close()

    return asyncio.run(main())


def one(peer: Peer, folder: Path, **more) -> HttpAnswer | Failed:
    """Return the result of one request."""

    async def job(fetcher: Fetcher, url: str) -> HttpAnswer | Failed:
        try:
            return await fetcher.ask(url, key=7)
        except Failed as failed:
            return failed

    found = with_peer(peer, folder, job, **more)
    assert isinstance(found, HttpAnswer | Failed)
    return found
