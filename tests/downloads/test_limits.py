"""Hosts that never finish: every request ends within its limits of bytes and time, with its cause."""

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest

from downloads.peer import OK, QUICK, Peer, one, with_peer
from fieldmark.downloads.asking import Fetcher
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.connections import MAX_FRAMING, MAX_HEAD, READ_SIZE, Connection

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[str, Iterable[bytes]]] = {
    "interim answers": ("bad_answer, None", repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)),
    "empty lines": ("bad_answer, None", repeat(b"\r\n" * 2000)),
    "a status line": ("bad_answer, None", chain([b"HTTP/1.1 200 "], repeat(b"O" * 4096))),
    "headers": ("bad_answer, None", chain([HEAD], repeat(b"X-A: b\r\n" * 500))),
    "long headers": ("bad_answer, None", chain([HEAD], repeat(b"X-A: " + b"b" * 8000 + b"\r\n"))),
    "a header": ("bad_answer, None", chain([HEAD, b"X-A: "], repeat(b"b" * 4096))),
    "small chunks": ("bad_answer, 200", chain([CHUNKED], repeat(b"1\r\na\r\n" * 700))),
    "a chunk size": ("bad_answer, 200", chain([CHUNKED], repeat(b"0" * 4096))),
    "a chunk extension": ("bad_answer, 200", chain([CHUNKED, b"1;"], repeat(b"x" * 4096))),
    "chunk extensions": ("bad_answer, 200", chain([CHUNKED], repeat(b"4;" + b"x" * 400 + b"\r\naaaa\r\n"))),
    "trailers": ("bad_answer, 200", chain([CHUNKED, b"1\r\na\r\n0\r\n"], repeat(b"X-T: v\r\n" * 500))),
    "a trailer": ("bad_answer, 200", chain([CHUNKED, b"1\r\na\r\n0\r\nX-T: "], repeat(b"v" * 4096))),
    "a body": ("too_large, 200", chain([HEAD, b"\r\n"], repeat(bytes(4096)))),
    "a chunked body": ("too_large, 200", chain([CHUNKED], repeat(b"1000\r\n" + bytes(4096) + b"\r\n"))),
}  # fmt: skip
SLOW: dict[str, Callable[[], Iterable[bytes | float]]] = {
    "interim answers": lambda: cycle([b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.02]),
    "a header": lambda: chain([HEAD, b"X-A: "], cycle([b"b", 0.02])),
    "a body": lambda: chain([HEAD, b"Content-Length: 99999\r\n\r\n"], cycle([b"b", 0.02])),
    "small chunks": lambda: chain([CHUNKED], cycle([b"1\r\na\r\n", 0.02])),
    "trailers": lambda: chain([CHUNKED, b"1\r\na\r\n0\r\n"], cycle([b"X-T: v\r\n", 0.1])),
    "nothing": lambda: repeat(30.0),
}


@pytest.fixture
def n_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the data that the client reads."""
    sizes, true = [], Connection.data_received

    def counted(connection: Connection, data: bytes) -> None:
        sizes.append(len(data))
        true(connection, data)

    monkeypatch.setattr(Connection, "data_received", counted)
    return sizes


@pytest.mark.parametrize("endless", ENDLESS)
def test_endless_responses_end_after_few_bytes(endless: str, tmp_path: Path, n_read: list[int]) -> None:
    began = time.monotonic()
    expected, parts = ENDLESS[endless]
    found = one(Peer(parts), tmp_path)
    assert isinstance(found, Failed)
    assert f"{found.cause.name}, {found.status}" == expected
    assert time.monotonic() - began < 8
    most = QUICK.max_bytes if found.cause.name == "too_large" else MAX_HEAD + MAX_FRAMING
    assert 0 < sum(n_read) <= most + READ_SIZE
    assert not list(tmp_path.iterdir())


def test_unusual_but_valid_responses_are_accepted(tmp_path: Path) -> None:
    """Long headers, an interim response, many chunks of 256 bytes, an extension and trailers."""
    body = bytes(range(256)) * 3000
    chunks = b"".join(b"100\r\n" + body[at : at + 256] + b"\r\n" for at in range(0, len(body), 256))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    headers = b"Set-Cookie: " + b"c" * 30_000 + b"\r\n" + b"X-A: b\r\n" * 60
    head = interim + HEAD + headers + b"Transfer-Encoding: chunked\r\n\r\n"
    end = b"1;name=value\r\nz\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n"
    for reply in ((head + chunks + end,), (head[:-1], 0.05, head[-1:] + chunks, 0.05, end)):
        found = one(Peer(reply), tmp_path)
        assert found.status == 200
        assert found.body.read_bytes() == body + b"z"


def test_slow_responses_end_in_time_under_load(tmp_path: Path) -> None:
    """All run at once, in an event loop that is blocked repeatedly: limits are wall time."""
    fetching = QUICK.model_copy(update={"total_s": 1.5, "gap_s": 20.0})
    took: dict[str, tuple[str, float]] = {}

    async def job(kind: str, fetcher: Fetcher, url: str) -> None:
        began = time.monotonic()
        with pytest.raises(Failed) as caught:
            await fetcher.ask(url, key=1)
        took[kind] = (caught.value.cause.name, time.monotonic() - began)

    async def blocks() -> None:
        while True:
            time.sleep(0.3)
            await asyncio.sleep(0)

    async def main() -> None:
        servers = [await asyncio.start_server(Peer(parts()), "127.0.0.1", 0) for parts in SLOW.values()]
        blocking = asyncio.create_task(blocks())
        async with Fetcher(fetching, aside=tmp_path) as fetcher:
            urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.jpg" for server in servers]
            await asyncio.gather(*(job(kind, fetcher, url) for kind, url in zip(SLOW, urls, strict=True)))
        blocking.cancel()
        for server in servers:
            server.close()

    asyncio.run(main())
    assert {kind: cause for kind, (cause, _) in took.items()} == dict.fromkeys(SLOW, "too_slow")
    assert max(seconds for _, seconds in took.values()) < 1.5 + 2.5


def test_few_small_chunks_are_parsed_before_the_limit_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk costs time and memory, so the limit also applies to chunks that arrive at once."""
    parsed, true = [], Connection.fail

    def noted(connection: Connection, detail: str, **more) -> None:
        assert connection.body is not None
        parsed.append(connection.body.total_bytes)
        true(connection, detail, **more)

    monkeypatch.setattr(Connection, "fail", noted)
    one(Peer((CHUNKED + b"1\r\na\r\n" * 40_000,)), tmp_path)
    assert 3000 < parsed[0] < 6000


def test_silence_after_small_parts_ends_the_request(tmp_path: Path) -> None:
    """Small parts are read with pauses. The host does not count as silent during a pause, but afterwards."""
    parts = [part for _ in range(20) for part in (b"x", 0.01)]
    began = time.monotonic()
    found = one(
        Peer((HEAD + b"Content-Length: 999\r\n\r\n", *parts, 30.0)),
        tmp_path,
        fetching=QUICK.model_copy(update={"gap_s": 0.5}),
    )
    assert isinstance(found, Failed)
    assert (found.cause.name, found.status) == ("silent", 200)
    assert time.monotonic() - began < 8


def test_a_host_that_sends_data_rarely_is_not_silent(tmp_path: Path) -> None:
    """This holds in a long response, and after a pause between two responses."""
    parts = [part for _ in range(4) for part in (0.4, bytes(1000))]
    peer = Peer((HEAD + b"Content-Length: 4000\r\n\r\n", *parts), (0.5, OK))

    async def job(fetcher: Fetcher, url: str) -> list[bytes]:
        first = (await fetcher.ask(url, key=1)).body
        await asyncio.sleep(1.3)
        return [first, (await fetcher.ask(url, key=1)).body]

    assert with_peer(peer, tmp_path, job, fetching=QUICK.model_copy(update={"gap_s": 1.0})) == [bytes(4000), b"abc"]
    assert peer.n_connections == 1


def test_a_late_invalid_chunk_is_not_silence(tmp_path: Path) -> None:
    """aiohttp raises errors of its parser only while headers are awaited, not while a body is read."""
    began = time.monotonic()
    found = one(Peer((CHUNKED + b"1\r\na\r\n", 0.1, b"no number\r\n", 15.0)), tmp_path)
    assert isinstance(found, Failed)
    assert (found.cause.name, found.status) == ("bad_answer", 200)
    assert time.monotonic() - began < 8


def test_requests_work_after_an_endless_response(tmp_path: Path) -> None:
    peer = Peer(chain([CHUNKED], repeat(b"1\r\na\r\n" * 700)), (OK,))

    async def job(fetcher: Fetcher, url: str) -> list[object]:
        with pytest.raises(Failed):
            await fetcher.ask(url, key=1)
        return [(await fetcher.ask(url, key=1)).body for _ in range(2)]

    assert with_peer(peer, tmp_path, job) == [b"abc", b"abc"]
    assert peer.n_connections == 2
