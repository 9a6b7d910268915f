"""Words of addresses, real and malicious."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpu import least_cpu_s
from fieldmark.stacking.url_words import LONGEST, url_text
from naughty_strings import NAUGHTY


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "http://assets.shop.example/v1/style/Nike-Men-Blue-T20-Jersey_12975d4d66eefad43ba02dea5787cce4_images.jpg",
            "assets shop example v 1 style nike men blue t 20 jersey images",
        ),
        ("https://www.shop.example/RedMaxiDress.JPG", "shop example red maxi dress"),
        ("http://shop.example/red%20maxi%2520dress+10.png?token=secret#top", "shop example red maxi dress 10"),
        ("//cdn.example:8080/a_b/LEDLamp", "cdn example a b led lamp"),
        ("shop.example/schuhe/gr%C3%BCn", "shop example schuhe grün"),
        ("http://user:password@shop.example/shoe", "shop example shoe"),
        ("http://x.example/550e8400-e29b-41d4-a716-446655440000/heel", "x example heel"),
        ("http://x.example/1163/20171122334455/2017", "x example 1163 2017"),
        ("http://x.example/aB3dE6gH9kL2mN5/decade/facade", "x example decade facade"),
        ("http://x.example/deadbeefdeadbeef/5fffe34e/41XyZ9Qw7Lr2", "x example"),
        ("http://[::1]:80/boots", "1 boots"),
        ("http://x.example/", "x example"),
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUg", ""),
        ("JavaScript:alert(1)", ""),
        ("", ""),
        ("   ", ""),
        ("\x00\ud800%ff%fe", ""),
        ("http://", ""),
        ("http://[broken/dress", "broken dress"),
    ],
)
def test_words_of_addresses(url, words):
    assert url_text(url) == words


def test_unusual_strings_are_processed():
    for text in NAUGHTY:
        assert isinstance(url_text(text), str)
        assert url_text(f"http://x.example/shoe?{text}#{text}") == "x example shoe"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_anything_gives_words_between_single_blanks(text):
    words = url_text(text)
    assert words == " ".join(words.split())
    assert not any(sign in words for sign in "/?#%.:@-_")


def test_private_parts_are_left_out():
    words = url_text("https://me:hunter2@x.example:443/p/a@b/dress?email=a%40b.example&session=abcdef#secret")
    assert not {"me", "hunter", "443", "email", "session", "secret"} & set(words.split())
    assert "dress" in words.split()


def test_very_long_and_often_escaped_addresses_are_fast():
    urls = ("a" * 10**7, "%25" * 10**6 + "41", "http://" + "a." * 10**6, "-" * 10**6, "aA" * 10**6, "f0" * 10**6)
    assert all(len(url_text(url)) <= 2 * LONGEST for url in urls)
    assert least_cpu_s(lambda: [url_text(url) for url in urls]) < 1
