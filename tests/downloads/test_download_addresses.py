"""URLs: allowed addresses, and protection of private networks."""

import asyncio

import pytest
from aiohttp import ThreadedResolver
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from downloads.server import Names
from fieldmark.downloads.addresses import (
    CheckedResolver,
    address,
    also_at,
    check_number,
    host_of,
    is_public,
    without_secrets,
)
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.specs import Mirror

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104 - must be rejected
    *("224.0.0.1", "255.255.255.255", "192.0.2.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:a00:1", "::127.0.0.1"),
    *("64:ff9b::10.0.0.1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1"),
)


@pytest.mark.parametrize("number", PRIVATE)
def test_private_ip_addresses_are_not_public(number: str) -> None:
    assert not is_public(number)


@pytest.mark.parametrize(
    "number", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_ip_addresses_are_public(number: str) -> None:
    assert is_public(number)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "127.1", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "[::1]", "[::ffff:7f00:1]", "127.0.0.1", "1.2.3"],
)
def test_private_ip_addresses_in_any_form_are_rejected(host: str) -> None:
    with pytest.raises(Failed) as caught:
        check_number(address(f"http://{host}/a.jpg"))
    assert caught.value.cause.name in {"private_address", "bad_address"}


def test_public_ip_addresses_and_names_are_allowed() -> None:
    for host in ("8.8.8.8", "example.org", "0xbad.example", "[2606:2800:220:1::1]"):
        check_number(address(f"http://{host}/a.jpg"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.org/a.jpg",
        "file:///etc/passwd",
        "/a.jpg",
        "",
        "http://",
        "javascript:alert(1)",
        "http://a b/",
        "data:,x",
        f"http://example.org/{'a' * 9000}",
    ],
)
def test_only_http_and_https_are_allowed(text: str) -> None:
    with pytest.raises(Failed) as caught:
        address(text)
    assert caught.value.cause.name == "bad_address"
    assert caught.value.cause.lasting


def test_a_redirect_may_be_relative_and_has_no_password() -> None:
    base = URL("http://me:secret@example.org/a/b.jpg")
    assert str(address("../c.jpg", base=base)) == "http://example.org/c.jpg"
    assert str(address("https://you:word@else.org/d.jpg#part", base=base)) == "https://else.org/d.jpg"
    with pytest.raises(Failed):
        address("file:///etc/passwd", base=base)


@given(
    st.text("abc123", min_size=6, max_size=9),
    st.sampled_from(["http://{}@h.org/x", "http://u:{}@h.org:80/x?q=1", "http://{}:@[::1"]),
)
@settings(max_examples=30)
def test_displayed_urls_have_no_password(secret: str, form: str) -> None:
    assert secret not in without_secrets(form.format(secret))


def test_mirrors_come_after_all_given_addresses_each_once() -> None:
    mirrors = (
        Mirror(pattern=r"^https?://old\.org/(.*)", replacement=r"https://new.org/\1"),
        Mirror(pattern="^", replacement="https://archive.org/"),
    )
    assert also_at(["http://old.org/a", "http://b.org/b", "http://old.org/a"], mirrors) == [
        ("http://old.org/a", 0),
        ("http://b.org/b", 0),
        ("https://new.org/a", 1),
        ("https://archive.org/http://old.org/a", 2),
        ("https://archive.org/http://b.org/b", 2),
    ]


def test_host_of_a_url() -> None:
    assert host_of("HTTP://u:p@Example.ORG:8080/a") == "example.org"
    assert host_of("http://[::1/a") == host_of("no address") == ""


def test_a_host_name_gives_only_public_ip_addresses() -> None:
    found = asyncio.run(CheckedResolver(Names(["10.0.0.1", "8.8.8.8"]), allow_private=False).resolve("a.org"))
    assert [one["host"] for one in found] == ["8.8.8.8"]
    with pytest.raises(Failed, match="private_address"):
        asyncio.run(CheckedResolver(Names(["10.0.0.1", "::1"]), allow_private=False).resolve("a.org"))
    found = asyncio.run(CheckedResolver(Names(["10.0.0.1"]), allow_private=True).resolve("a.org"))
    assert [one["host"] for one in found] == ["10.0.0.1"]


def test_few_ip_addresses_are_tried_ipv4_first() -> None:
    numbers = ["2606:2800:220:1::1", "8.8.8.8", "2606:2800:220:1::2", "8.8.8.8", "9.9.9.9", "1.1.1.1"]
    found = asyncio.run(CheckedResolver(Names(numbers), allow_private=False).resolve("a.org"))
    assert [one["host"] for one in found] == ["8.8.8.8", "9.9.9.9", "1.1.1.1"]
    found = asyncio.run(CheckedResolver(Names(numbers[:3]), allow_private=False).resolve("a.org"))
    assert [one["host"] for one in found] == ["8.8.8.8", "2606:2800:220:1::1", "2606:2800:220:1::2"]


@pytest.mark.parametrize("host", ["nothing.invalid", f"{'a' * 70}.org", "empty.org"])
def test_unknown_host_names(host: str) -> None:
    async def looked_up() -> None:
        inner = Names([]) if host == "empty.org" else ThreadedResolver()
        await CheckedResolver(inner, allow_private=False).resolve(host)

    with pytest.raises(Failed, match="no_host"):
        asyncio.run(looked_up())
