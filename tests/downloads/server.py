"""A local server with faulty URLs: every kind of failure, and counts of the requests."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from threading import Event, Thread
from types import TracebackType
from typing import Self

import numpy as np
from aiohttp import web
from aiohttp.abc import AbstractResolver
from PIL import Image

PAGE = b"<!DOCTYPE html><html><head><title>Page not found</title></head><body>Sorry</body></html>"


def drawn(number: int, *, size: tuple[int, int] = (96, 64), quality: int = 85) -> bytes:
    """Return a different JPEG for each number."""
    chance = np.random.default_rng(number)
    coarse = Image.fromarray(chance.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(size)
    file = io.BytesIO()
    coarse.save(file, "JPEG", quality=quality)
    return file.getvalue()


@cache
def bomb() -> bytes:
    """Return a few kilobytes that decompress to twenty megabytes."""
    return gzip.compress(bytes(20 * 2**20), 1)


@cache
def wide() -> bytes:
    """Return a small JPEG with twelve million pixels."""
    return drawn(0, size=(4000, 3000), quality=20)


class BadWeb:
    """A server in a thread; ``url("truncated", 7)`` is the URL of photo 7, which is sent truncated.

    Args:
        photo: Returns the bytes of a photo by its number.
        patience_s: Duration of a slow response in seconds.
        robots: Text of robots.txt; None if the file does not exist.
    """

    def __init__(
        self, photo: Callable[[int], bytes] = drawn, *, patience_s: float = 20.0, robots: str | None = None
    ) -> None:
        self.photo = photo
        self.patience_s = patience_s
        self.robots = robots
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.robots_headers: list[dict[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.port = 0
        self._ready = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        bomb(), wide()
        logging.getLogger("aiohttp.server").setLevel(
            logging.CRITICAL
        )  # hides errors about clients that disconnect early
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def serve(self) -> None:
        """Serve in this process until it is killed; print the port."""
        self._thread.start()
        assert self._ready.wait(10)
        sys.stdout.write(f"{self.port}\n")
        sys.stdout.flush()
        self._thread.join()

    def url(self, kind: str, number: int = 0, *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{kind}/{number}.jpg"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._cut = asyncio.Event()
        app = web.Application()
        app.router.add_get("/robots.txt", self._robots)
        app.router.add_get("/asked.json", self._counts)
        app.router.add_get("/{kind}/{number}.jpg", self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        self._cut.set()
        await runner.cleanup()

    async def _robots(self, request: web.Request) -> web.Response:
        self.asked["robots.txt"] += 1
        self.robots_headers.append(dict(request.headers))
        return web.Response(text=self.robots) if self.robots is not None else web.Response(status=404)

    async def _counts(self, request: web.Request) -> web.Response:
        return web.json_response(self.asked)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind, number = request.match_info["kind"], int(request.match_info["number"])
        name = f"{kind}/{number}"
        self.asked[name] += 1
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer: Callable[[web.Request, int, int], Awaitable[web.StreamResponse]] = getattr(self, f"_{kind}")
            return await answer(request, number, self.asked[name])
        finally:
            self.at_once -= 1

    def _jpeg(self, content: bytes, **headers: str) -> web.Response:
        return web.Response(body=content, content_type="image/jpeg", headers=headers)

    async def _ok(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(self.photo(number))

    async def _slowish(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return self._jpeg(self.photo(number))

    async def _missing(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=404, text="no such photo")

    async def _gone(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=410)

    async def _forbidden(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=403)

    async def _soft(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(body=PAGE, content_type="text/html")

    async def _liar(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(b"this is text and not a picture at all\n" * 20)

    async def _nothing(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(b"")

    async def _truncated(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        content = self.photo(number)
        return self._jpeg(content[: len(content) * 2 // 3])

    async def _short(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        content = self.photo(number)
        return await self._raw(request, content[: len(content) // 2], length=len(content))

    async def _flaky(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=503) if time <= 1 else self._jpeg(self.photo(number))

    async def _flakier(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=503) if time <= 2 else self._jpeg(self.photo(number))

    async def _broken(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=500)

    async def _busy(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        if time <= 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        return self._jpeg(self.photo(number))

    async def _peace(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "86400"})

    async def _drip(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return await self._raw(request, self.photo(number), every_s=0.05)

    async def _silent(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return await self._raw(request, self.photo(number)[:200], length=9000, then_wait=True)

    async def _hang(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        await self._wait(self.patience_s)
        return web.Response(status=500)

    async def _endless(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            for _ in range(10_000):
                await response.write(bytes(2**16))
        except ConnectionError:
            pass
        return response

    async def _huge(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return await self._raw(request, b"\xff\xd8", length=10**10)

    async def _large(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(self.photo(number) + bytes(3 * 2**20))

    async def _wide(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(wide())

    async def _away(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        if number > 0:
            raise web.HTTPFound(f"/away/{number - 1}.jpg")
        raise web.HTTPFound("/ok/0.jpg")

    async def _loop_(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        raise web.HTTPFound(f"/loop_/{1 - number}.jpg")

    async def _inside(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        targets = ("http://10.0.0.1/secret.jpg", "http://[::ffff:169.254.169.254]/latest", "file:///etc/passwd")
        raise web.HTTPFound(targets[number])

    async def _elsewhere(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        raise web.HTTPFound(f"http://inside.example:{self.port}/ok/{number}.jpg")

    async def _crossing(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        raise web.HTTPFound(f"http://other.example:{self.port}/ok/{number}.jpg")

    async def _packed(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(gzip.compress(self.photo(number)), **{"Content-Encoding": "gzip"})

    async def _bomb(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(bomb(), **{"Content-Encoding": "gzip"})

    async def _changed(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(self.photo(number if time == 1 else number + 100_000))

    async def _tagged(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == '"one"':
            self.asked["304"] += 1
            return web.Response(status=304)
        return self._jpeg(self.photo(number), ETag='"one"')

    async def _mortal(self, request: web.Request, number: int, time: int) -> web.StreamResponse:
        return self._jpeg(self.photo(number)) if time == 1 else web.Response(status=404)

    async def _raw(
        self,
        request: web.Request,
        content: bytes,
        *,
        length: int | None = None,
        every_s: float = 0.0,
        then_wait: bool = False,
    ) -> web.StreamResponse:
        """Send raw bytes: with a wrong length, one by one, or without the rest."""
        transport = request.transport
        assert transport is not None
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {length or len(content)}\r\n\r\n"
        transport.write(head.encode())
        if every_s:
            for at in range(min(len(content), int(self.patience_s / every_s))):
                if transport.is_closing() or self._cut.is_set():
                    break
                transport.write(content[at : at + 1])
                await self._wait(every_s)
        else:
            transport.write(content)
        if then_wait:
            await self._wait(self.patience_s)
        transport.close()
        return web.Response()

    async def _wait(self, seconds: float) -> None:
        """Wait for some seconds or until the server stops."""
        try:
            await asyncio.wait_for(self._cut.wait(), seconds)
        except TimeoutError:
            return


class Names(AbstractResolver):
    """A DNS resolver that returns given lists of IP addresses in order."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list:
        self.asked += 1
        numbers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {"hostname": host, "host": one, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for one in numbers
        ]

    async def close(self) -> None:
        pass
