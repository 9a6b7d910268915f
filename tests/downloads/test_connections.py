"""Connections: valid and invalid responses, reused and broken connections, limits on bytes and time."""

import asyncio
import io
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from downloads.peer import OK, QUICK, Peer, one, with_peer
from downloads.server import drawn
from fieldmark.downloads import connections
from fieldmark.downloads.asking import Fetcher, HttpAnswer, Known
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.checking import is_small, laid_aside, recognised
from fieldmark.downloads.connections import Deadline

WHOLE = {
    "in pieces": (b"HTTP/1.1 200 O", 0.05, b"K\r\nContent-Le", 0.05, b"ngth: 3\r\n\r\na", 0.05, b"bc"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nab", 0.05, b"c", None),
    "of an old server": (b"HTTP/1.0 200 OK\r\n\r\nabc", None),
    "after an interim one": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nLink: x\r\n\r\n", OK),
    "with bare line ends": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",),
    "with odd bytes": (b'HTTP/1.1 200 \xff\r\nETag: "\xfc"\r\nContent-Length: 3\r\n\r\nabc',),
}
FAILED = {
    "truncated, 200": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", None),
    "truncated, 200, chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", None),
    "hung_up, None": (None,),
    "hung_up, None, in the head": (b"HTTP/1.1 200 OK\r\nContent-", None),
    "bad_answer, None": (b"SSH-2.0-OpenSSH_9.6\r\n",),
    "bad_answer, None, endless": (b"HTTP/1.1 200 OK\r\n", *[b"X-A: " + b"a" * 8000 + b"\r\n"] * 20),
    "bad_answer, 200": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",),
    "bad_answer, 200, two": (OK + OK,),
    "not_found, 404, and then nothing": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\nab", 15.0),
    "bad_answer, 302": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",),
    "too_large, 200": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n",),
    "too_large, 200, unsaid": (b"HTTP/1.1 200 OK\r\n\r\n", *[bytes(2**16)] * 17),
}


@pytest.mark.parametrize("shape", WHOLE)
def test_valid_responses(shape: str, tmp_path: Path) -> None:
    found = one(Peer(WHOLE[shape]), tmp_path)
    assert (found.status, found.body) == (200, b"abc")


@pytest.mark.parametrize("cause", FAILED)
def test_invalid_responses_have_their_cause(cause: str, tmp_path: Path) -> None:
    began = time.monotonic()
    found = one(Peer(FAILED[cause]), tmp_path)
    assert isinstance(found, Failed)
    assert f"{found.cause.name}, {found.status}" == ", ".join(cause.split(", ")[:2])
    assert time.monotonic() - began < 8
    assert not list(tmp_path.iterdir())


def test_an_unchanged_photo_has_no_body(tmp_path: Path) -> None:
    found = one(Peer((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9999999\r\n\r\n",)), tmp_path)
    assert (found.status, found.body) == (304, b"")


def test_a_connection_is_reused(tmp_path: Path) -> None:
    peer = Peer((OK,), (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",), (OK,))

    async def job(fetcher: Fetcher, url: str) -> list[object]:
        found: list[object] = []
        for _ in range(5):
            try:
                found.append((await fetcher.ask(url, key=1)).body)
            except Failed as failed:
                found.append(failed.cause.name)
        return found

    assert with_peer(peer, tmp_path, job) == [b"abc", "not_found", b"abc", b"abc", b"abc"]
    assert peer.n_connections == 1


def test_a_closed_idle_connection_causes_no_failure(tmp_path: Path) -> None:
    """The host closes the connection between two requests, or at the second request."""
    for first in ((OK, None), (OK,)):
        peer = Peer(first, *([] if None in first else [(None,)]), (OK,))

        async def job(fetcher: Fetcher, url: str) -> list[object]:
            return [(await fetcher.ask(url, key=1)).body for _ in range(3)]

        assert with_peer(peer, tmp_path, job) == [b"abc"] * 3
        assert peer.n_connections > 1


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"HTTP/1.1 200 OK\r\nX: y"])
def test_data_before_a_request_is_not_its_response(unasked: bytes, tmp_path: Path) -> None:
    """Bytes sent before a request must not be used as its response."""
    peer = Peer((OK, 0.05, unasked), (OK,))

    async def job(fetcher: Fetcher, url: str) -> list[object]:
        found = [(await fetcher.ask(url, key=1)).body]
        await asyncio.sleep(0.3)
        return [*found, (await fetcher.ask(url, key=1)).body]

    assert with_peer(peer, tmp_path, job) == [b"abc", b"abc"]
    assert peer.n_connections == 2


def test_the_number_of_idle_connections_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_S", 1.5)

    async def job(fetcher: Fetcher, url: str) -> tuple[int, int]:
        await asyncio.gather(*(fetcher.ask(url, key=at) for at in range(6)))
        await asyncio.sleep(0.6)
        n_idle = len(fetcher._connector.opened)
        await asyncio.sleep(3.0)
        return n_idle, len(fetcher._connector.opened)

    peer = Peer((0.1, OK))
    assert with_peer(peer, tmp_path, job, fetching=QUICK.model_copy(update={"n_at_once": 4})) == (4, 0)


def test_headers_of_a_host_cannot_add_lines_to_a_request(tmp_path: Path) -> None:
    peer = Peer((OK,))

    async def job(fetcher: Fetcher, url: str) -> None:
        await fetcher.ask(url, key=1, known=Known('"a"\r\nX-Evil: 1', "Fri, 31 Dec 1999 23:59:59 GMT"))
        await fetcher.ask(url.replace("a.jpg", "%0d%0aX-Evil:%201"), key=1)

    with_peer(peer, tmp_path, job)
    assert b"If-Modified-Since: Fri, 31 Dec 1999 23:59:59 GMT\r\n" in peer.heads[0]
    assert not [head for head in peer.heads if b"\nX-Evil" in head]


def test_a_long_body_is_written_to_disk(tmp_path: Path) -> None:
    body = bytes(range(256)) * 1500
    found = one(Peer((b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)), tmp_path)
    assert found.body == tmp_path / "7.part"
    assert found.body.read_bytes() == body


def test_slow_data_is_read_rarely_and_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_reads, true = 0, connections.Connection.data_received

    def counted(connection: connections.Connection, data: bytes) -> None:
        nonlocal n_reads
        n_reads += bool(data)  # aiohttp calls it without data to continue after a pause
        true(connection, data)

    monkeypatch.setattr(connections.Connection, "data_received", counted)
    drip = [part for _ in range(400) for part in (b"x", 0.01)]
    began = time.monotonic()
    found = one(
        Peer((b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", *drip)),
        tmp_path,
        fetching=QUICK.model_copy(update={"total_s": 2.0, "gap_s": 0.5}),
    )
    assert isinstance(found, Failed)
    assert found.cause.name == "too_slow"
    assert 1.9 < time.monotonic() - began < 4
    assert n_reads < 20


def test_a_response_in_many_small_parts_does_not_delay_the_next(tmp_path: Path) -> None:
    parts = [part for byte in b"abcdefghi" for part in (bytes([byte]), 0.01)]
    peer = Peer((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 0.01, *parts), (OK,))

    async def job(fetcher: Fetcher, url: str) -> float:
        began = time.monotonic()
        while (await fetcher.ask(url, key=1)).body != b"abc":
            began = time.monotonic()
        return time.monotonic() - began

    assert with_peer(peer, tmp_path, job) < connections.PAUSE_S / 2
    assert peer.n_connections == 1


def test_a_body_without_a_length_that_breaks_off_is_incomplete(tmp_path: Path) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(0.1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    found = one(resets, tmp_path)
    assert isinstance(found, Failed)
    assert (found.cause.name, found.status) == ("truncated", 200)


def test_a_blocked_event_loop_does_not_cause_a_timeout() -> None:
    """Data that arrived while the event loop was blocked for two seconds is still read."""

    async def main(hold: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with Deadline(1.0):
                await hold()
        except TimeoutError:
            return False
        return True

    async def busy() -> None:
        await asyncio.sleep(0.1)
        time.sleep(2.0)  # blocks the event loop
        await asyncio.sleep(0.1)

    async def waiting() -> None:
        await asyncio.sleep(4.0)

    assert asyncio.run(main(busy))
    assert not asyncio.run(main(waiting))


def test_encryption_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    subprocess.run(["openssl", *words.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*files)
    found = one(Peer((OK,)), tmp_path, tls=tls)
    assert isinstance(found, Failed)
    assert found.cause.name == "no_trust"
    true = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: true(cafile=files[0]))
    assert one(Peer((OK,)), tmp_path, tls=tls).body == b"abc"


def test_every_truncation_is_found_at_an_eighth_of_the_size(tmp_path: Path) -> None:
    """The decoder returns few pixels, but reads all bytes of baseline and progressive JPEGs."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(drawn(3, size=(288, 216)))) as photo:
        photo.save(file, "JPEG", progressive=True)
    for data in (drawn(3, size=(288, 216)), file.getvalue()):
        for length in range(700, len(data) - 2, max(1, len(data) // 60)):
            answer = HttpAnswer(200, data[:length], "", "image/jpeg", None, None)
            assert is_small(answer)
            with pytest.raises(Failed) as caught:
                laid_aside(recognised(answer, fetching=QUICK), image="a", aside=tmp_path, fetching=QUICK)
            assert caught.value.cause.name == "truncated"
    sniffed = recognised(HttpAnswer(200, data, "", "image/jpeg", None, None), fetching=QUICK)
    assert sniffed.is_quick
    kept = laid_aside(sniffed, image="a", aside=tmp_path, fetching=QUICK)
    assert Path(kept.aside).read_bytes() == data


def test_slow_photos_are_not_quick(tmp_path: Path) -> None:
    """Photos with many pixels in few bytes, compressed bodies and large bodies take long."""
    wide = recognised(HttpAnswer(200, drawn(0, size=(1200, 1000), quality=1), "", "", None, None), fetching=QUICK)
    assert len(wide.data) <= 2**16
    assert not wide.is_quick
    assert not is_small(HttpAnswer(200, b"x" * 100, "gzip", "", None, None))
    assert not is_small(HttpAnswer(200, bytes(2**17), "", "", None, None))
