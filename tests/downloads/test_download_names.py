"""File names from ids: valid on every file system, and unique."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.downloads.names import place_of, stem

NASTY = [
    "../x",
    "/etc/passwd",
    "CON",
    "con",
    "nul.jpg",
    "com1",
    "a/b",
    "a\\b",
    "x" * 5000,
    ".",
    "..",
    "-rf",
    "~",
    "a b",
    "A",
    "a",
    "é",
    "\x00",
    "a\n",
    "a.",
    "a:b",
    "$(x)",
    "雪",
    "=1+1",
]
SAFE = re.compile(r"photos/[0-9a-f]{2}/[a-z0-9_~.-]{1,80}\.jpg")
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


@pytest.mark.parametrize("image", NASTY)
def test_unsafe_ids_get_safe_names(image: str) -> None:
    found = place_of(image, "JPEG")
    assert SAFE.fullmatch(found)
    name = found.rpartition("/")[2]
    assert not name.startswith((".", "-"))
    assert not DEVICE.match(name)


@given(st.lists(st.text(max_size=12), unique=True, max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_two_ids_share_a_name_on_a_disk_that_ignores_case(images: list[str]) -> None:
    names = {stem(image).casefold() for image in images}
    assert len(names) == len(images)
    assert all(SAFE.fullmatch(place_of(image, "JPEG")) for image in images)


def test_plain_ids_are_unchanged_and_versions_are_numbered() -> None:
    assert stem("0042_1-a.b") == "0042_1-a.b"
    assert place_of("0042", "PNG").endswith("/0042.png")
    assert place_of("0042", "JPEG", version=2).endswith("/0042~v2.jpg")
