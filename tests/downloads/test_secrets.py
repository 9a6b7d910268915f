"""Headers that a user gives, and passwords in addresses, reach the first host alone."""

import base64
from collections.abc import Iterator
from pathlib import Path

import aiohttp.web
import pytest

import fieldmark
from downloads.server import BadWeb, Names
from fieldmark.downloads.specs import Fetching

SECRETS = {"Cookie": "secret=1", "Authorization": "Bearer secret", "X-Api-Key": "secret", "proxy-authorization": "x"}
HARMLESS = {"Referer": "http://r.org/", "User-Agent": "mine/1"}


@pytest.fixture
def web() -> Iterator[BadWeb]:
    with BadWeb() as server:
        yield server


def get(url: str, folder: Path, headers: dict[str, str]) -> None:
    table = folder / "t.csv"
    table.write_text(f"image,url\na,{url}\n")
    fetching = Fetching(allow_private=True, headers=tuple(headers.items()))
    found = fieldmark.download(table, out=folder / "out", fetching=fetching, resolver=Names(["127.0.0.1"]))
    assert found.holdings.n_here == 1


def sent(headers: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: lower[name.lower()] for name in names if name.lower() in lower}


def test_no_secret_goes_to_another_host(web: BadWeb, tmp_path: Path) -> None:
    get(web.url("crossing", 1, host="first.example"), tmp_path, SECRETS | HARMLESS)
    first, second = web.headers
    assert (first["Host"], second["Host"]) == (f"first.example:{web.port}", f"other.example:{web.port}")
    assert sent(first, SECRETS | HARMLESS) == SECRETS | HARMLESS
    assert sent(second, SECRETS) == {}
    assert sent(second, HARMLESS) == HARMLESS


def test_a_redirect_within_the_host_keeps_them(web: BadWeb, tmp_path: Path) -> None:
    get(web.url("away", 1, host="first.example"), tmp_path, SECRETS)
    assert [sent(headers, SECRETS) for headers in web.headers] == [SECRETS] * 3


def test_robots_txt_gets_none(web: BadWeb, tmp_path: Path) -> None:
    """Neither of the first host nor of the one that it redirects to."""
    get(web.url("crossing", 1, host="me:word@first.example"), tmp_path, {"X-Api-Key": "secret", **HARMLESS})
    assert [headers["Host"].partition(":")[0] for headers in web.robots_headers] == ["first.example", "other.example"]
    for headers in web.robots_headers:
        assert sent(headers, SECRETS | {"Referer": ""}) == {}
        assert headers["User-Agent"].startswith("fieldmark/")


def test_a_robots_txt_that_redirects_gets_none(tmp_path: Path) -> None:
    class Moved(BadWeb):
        async def _robots(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
            self.robots_headers.append(dict(request.headers))
            if request.headers["Host"].startswith("first."):
                raise aiohttp.web.HTTPFound(f"http://third.example:{self.port}/robots.txt")
            return aiohttp.web.Response(text="")

    with Moved() as web:
        get(web.url("ok", 1, host="first.example"), tmp_path, SECRETS | HARMLESS)
        assert len(web.robots_headers) == 2
        for headers in web.robots_headers:
            assert sent(headers, SECRETS | {"Referer": ""}) == {}


def test_a_password_in_an_address_goes_to_its_host_unless_a_header_says_otherwise(web: BadWeb, tmp_path: Path) -> None:
    url = web.url("crossing", 1, host="me:wörd@first.example")
    get(url, tmp_path, {})
    first, second = web.headers
    assert first["Authorization"] == f"Basic {base64.b64encode('me:wörd'.encode()).decode()}"
    assert "Authorization" not in second
    again = tmp_path / "again"
    again.mkdir()
    get(url, again, {"authorization": "Bearer other"})
    assert web.headers[2]["Authorization"] == "Bearer other"
