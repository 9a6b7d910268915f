"""User headers and passwords in URLs are sent only to the first host."""

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


def get(url: str, folder: Path, headers: dict[str, str], *more: str) -> None:
    table = folder / "t.csv"
    table.write_text("\n".join(["image,url", *(f"{at},{one}" for at, one in enumerate((url, *more))), ""]))
    fetching = Fetching(allow_private=True, headers=tuple(headers.items()), n_a_host=1)
    found = fieldmark.download(table, out=folder / "out", fetching=fetching, resolver=Names(["127.0.0.1"]))
    assert found.holdings.n_here == 1 + len(more)


def sent(headers: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: lower[name.lower()] for name in names if name.lower() in lower}


def test_secrets_are_not_sent_to_another_host(web: BadWeb, tmp_path: Path) -> None:
    get(web.url("crossing", 1, host="first.example"), tmp_path, SECRETS | HARMLESS)
    first, second = web.headers
    assert (first["Host"], second["Host"]) == (f"first.example:{web.port}", f"other.example:{web.port}")
    assert sent(first, SECRETS | HARMLESS) == SECRETS | HARMLESS
    assert sent(second, SECRETS) == {}
    assert sent(second, HARMLESS) == HARMLESS


def test_a_redirect_within_the_host_keeps_headers(web: BadWeb, tmp_path: Path) -> None:
    get(web.url("away", 1, host="first.example"), tmp_path, SECRETS)
    assert [sent(headers, SECRETS) for headers in web.headers] == [SECRETS] * 3


def test_cookies_of_hosts_are_not_stored(tmp_path: Path) -> None:
    class Setting(BadWeb):
        async def _ok(self, request: aiohttp.web.Request, number: int, time: int) -> aiohttp.web.StreamResponse:
            return self._jpeg(self.photo(number), **{"Set-Cookie": "seen=1"})

    with Setting() as web:
        get(web.url("ok", 1, host="first.example"), tmp_path, {}, web.url("ok", 2, host="first.example"))
        assert ["Cookie" in headers for headers in web.headers] == [False, False]


def test_robots_txt_requests_have_no_user_headers(web: BadWeb, tmp_path: Path) -> None:
    """This holds for the first host and for the host of a redirect."""
    get(web.url("crossing", 1, host="me:word@first.example"), tmp_path, {"X-Api-Key": "secret", **HARMLESS})
    assert [headers["Host"].partition(":")[0] for headers in web.robots_headers] == ["first.example", "other.example"]
    for headers in web.robots_headers:
        assert sent(headers, SECRETS | {"Referer": ""}) == {}
        assert headers["User-Agent"].startswith("fieldmark/")


def test_redirected_robots_txt_requests_have_no_user_headers(tmp_path: Path) -> None:
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


def test_a_password_in_a_url_is_sent_to_its_host_unless_a_header_replaces_it(web: BadWeb, tmp_path: Path) -> None:
    url = web.url("crossing", 1, host="me:wörd@first.example")
    get(url, tmp_path, {})
    first, second = web.headers
    assert first["Authorization"] == f"Basic {base64.b64encode('me:wörd'.encode()).decode()}"
    assert "Authorization" not in second
    again = tmp_path / "again"
    again.mkdir()
    get(url, again, {"authorization": "Bearer other"})
    assert web.headers[2]["Authorization"] == "Bearer other"
