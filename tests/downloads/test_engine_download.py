"""Complete downloads from a server with faulty URLs: photos, causes of failures, limits of requests."""

import asyncio
import io
import json
import sqlite3
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import fieldmark
from downloads.server import BadWeb, Names, drawn
from fieldmark.api.download import Downloaded
from fieldmark.core.files import sha256
from fieldmark.downloads.specs import Fetching, Mirror

QUICK = Fetching(
    allow_private=True,
    connect_s=10,
    gap_s=10,
    total_s=20,
    wait_s=0.02,
    max_bytes=2**20,
    max_pixels=5_000_000,
    n_a_host=32,
)


@pytest.fixture
def web() -> Iterator[BadWeb]:
    with BadWeb(patience_s=30) as server:
        yield server


class Here:
    """A folder with downloads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"

    def get(self, urls: dict[str, object], fetching: Fetching = QUICK, **more) -> Downloaded:
        table = self.folder / "table.json"
        table.write_text(json.dumps({"images": [{"id": image, "url": url} for image, url in urls.items()]}))
        return fieldmark.download(table, out=self.out, fetching=fetching, **more)

    def rows(self, what: str) -> dict[str, tuple]:
        with sqlite3.connect(self.out / "journal.sqlite") as db:
            found = {row[0]: row[1:] for row in db.execute(f"SELECT image, {what} FROM address")}  # noqa: S608 - fixed names
        db.close()
        return found

    def file(self, image: str) -> Path:
        return self.out / self.rows("file")[image][0]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


PLANNED = {
    "missing": ("gone", "not_found", 404),
    "gone": ("gone", "gone", 410),
    "forbidden": ("failed", "forbidden", 403),
    "soft": ("failed", "web_page", 200),
    "liar": ("failed", "not_a_picture", 200),
    "nothing": ("failed", "empty", 200),
    "truncated": ("failed", "truncated", 200),
    "short": ("failed", "truncated", 200),
    "broken": ("failed", "server_error", 500),
    "endless": ("failed", "too_large", 200),
    "huge": ("failed", "too_large", 200),
    "large": ("failed", "too_large", 200),
    "bomb": ("failed", "too_large", 200),
    "wide": ("failed", "too_many_pixels", 200),
    "loop_": ("failed", "redirect_loop", 302),
    "ok": ("done", None, 200),
    "flaky": ("done", None, 200),
    "flakier": ("done", None, 200),
    "away": ("done", None, 200),
    "packed": ("done", None, 200),
}


def test_every_url_has_its_result_and_a_second_run_requests_only_failures(web: BadWeb, here: Here) -> None:
    urls = {kind: web.url(kind, 1) for kind in PLANNED}
    urls |= {"far": web.url("away", 7), "odd": "ftp://example.org/a.jpg"}
    found = here.get(urls)
    results = here.rows("state, cause, status")
    assert results.pop("far") == ("failed", "too_many_redirects", 302)
    assert results.pop("odd")[:2] == ("gone", "bad_address")
    assert results == PLANNED
    assert (found.tally.n_new, found.holdings.n_here, found.holdings.n_wanted) == (5, 5, len(urls))
    assert found.holdings.causes == dict(Counter(cause for _, cause, _ in PLANNED.values() if cause)) | {
        "too_many_redirects": 1,
        "bad_address": 1,
    }
    assert here.file("ok").read_bytes() == drawn(1) == here.file("packed").read_bytes()
    tries = here.rows("tries")
    assert (tries["flaky"], tries["flakier"], tries["missing"], tries["broken"]) == ((2,), (3,), (1,), (3,))

    before = web.asked.copy()
    found = here.get(urls)
    again = {name.partition("/")[0] for name in web.asked - before} - {"robots.txt", "away"}
    assert again == {kind for kind, (state, _, _) in PLANNED.items() if state == "failed"}
    assert (found.tally.n_new, found.holdings.n_here) == (0, 5)
    before = web.asked.copy()
    here.get(urls, again="gone")
    assert {"missing/1", "gone/1"} <= set(web.asked - before)
    assert not list((here.out / ".aside").glob("*.*"))


def test_slow_answers_end_in_time(web: BadWeb, here: Here) -> None:
    began = time.monotonic()
    slow = QUICK.model_copy(update={"gap_s": 1.0, "total_s": 2.0, "tries": 1})
    here.get({kind: web.url(kind) for kind in ("drip", "silent", "hang")}, slow)
    assert here.rows("cause") == {"drip": ("too_slow",), "silent": ("silent",), "hang": ("silent",)}
    assert time.monotonic() - began < 15


def test_private_networks_are_never_requested(web: BadWeb, here: Here) -> None:
    """Not by IP address, by name, by redirect, or by a name whose DNS answer changes."""
    guarded = QUICK.model_copy(update={"allow_private": False})
    urls = {
        "number": web.url("ok"),
        "name": web.url("ok", host="inside.example"),
        "mapped": web.url("ok", host="[::ffff:127.0.0.1]"),
        "decimal": web.url("ok", host="2130706433"),
    }
    here.get(urls, guarded, resolver=Names(["127.0.0.1"]))
    assert {cause for (cause,) in here.rows("cause").values()} <= {"private_address", "bad_address"}
    assert {state for (state,) in here.rows("state").values()} == {"gone"}
    assert not web.asked


def test_redirects_are_checked_like_first_addresses(web: BadWeb, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this test the loopback counts as public, and 10.0.0.1 as private."""
    from fieldmark.downloads import addresses

    true = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda number: number == "127.0.0.1" or true(number))

    class Split(Names):
        async def resolve(self, host: str, port: int = 0, family: int = 2) -> list:
            self.answers = [["10.0.0.1"] if host == "inside.example" else ["127.0.0.1"]]
            return await super().resolve(host, port, family)

    guarded = QUICK.model_copy(update={"allow_private": False})
    urls = {f"inside{at}": web.url("inside", at) for at in range(3)}
    urls |= {"named": web.url("elsewhere"), "fine": web.url("crossing")}
    here.get(urls, guarded, resolver=Split(["127.0.0.1"]))
    causes = {image: cause for image, (cause,) in here.rows("cause").items()}
    assert causes == {
        "inside0": "private_address",
        "inside1": "private_address",
        "inside2": "bad_address",
        "named": "private_address",
        "fine": None,
    }


def test_robots_txt_is_obeyed(here: Here) -> None:
    with BadWeb(robots="User-agent: *\nDisallow: /soft\nDisallow: /ok/2\n") as web:
        urls = {"a": web.url("ok", 1), "b": web.url("ok", 2), "c": web.url("soft")}
        here.get(urls)
        assert here.rows("cause") == {"a": (None,), "b": ("robots",), "c": ("robots",)}
        assert web.asked == {"robots.txt": 1, "ok/1": 1}
        here.get(urls, QUICK.model_copy(update={"obey_robots": False}), again="gone")
        assert here.rows("cause") == {"a": (None,), "b": (None,), "c": ("web_page",)}


def test_retry_after_is_obeyed(web: BadWeb, here: Here) -> None:
    began = time.monotonic()
    here.get({"a": web.url("busy")})
    assert time.monotonic() - began > 0.9
    assert here.rows("state, tries") == {"a": ("done", 2)}


def test_a_host_that_asks_for_a_day_gets_no_more_requests(web: BadWeb, here: Here) -> None:
    urls = {str(at): web.url("peace", at) for at in range(40)}
    here.get(urls, QUICK.model_copy(update={"n_a_host": 1}))
    causes = Counter(cause for (cause,) in here.rows("cause").values())
    assert causes == {"server_error": 1, "not_asked": 39}
    assert {state for (state,) in here.rows("state").values()} == {"failed"}


def test_a_host_that_is_down_gets_few_requests(here: Here) -> None:
    urls = {str(at): f"http://127.0.0.1:9/{at}.jpg" for at in range(60)}
    found = here.get(urls, QUICK.model_copy(update={"n_a_host": 2, "tries": 1, "obey_robots": False}))
    causes = Counter(cause for (cause,) in here.rows("cause").values())
    assert causes["no_connection"] + causes["not_asked"] == 60
    assert causes["not_asked"] > 40
    assert found.tally.n_asked < 20


def test_requests_to_one_host_are_limited(web: BadWeb, here: Here) -> None:
    here.get({str(at): web.url("slowish", at) for at in range(30)}, QUICK.model_copy(update={"n_a_host": 3}))
    assert web.most_at_once == 3


def test_sent_headers(web: BadWeb, here: Here) -> None:
    here.get({"a": web.url("ok")})
    assert web.headers[-1]["User-Agent"].startswith("fieldmark/")
    assert web.headers[-1]["Accept-Encoding"] == "identity"
    sent = {"like_browser": True, "headers": (("Referer", "http://r.org/"), ("Cookie", "secret=1"))}
    here.get({"b": web.url("crossing", 1)}, QUICK.model_copy(update=sent), resolver=Names(["127.0.0.1"]))
    first, second = web.headers[-2:]
    assert "Mozilla" in second["User-Agent"]
    assert (first["Referer"], second["Referer"]) == ("http://r.org/", "http://r.org/")
    assert (first["Cookie"], "Cookie" in second) == ("secret=1", False)


def test_further_urls_are_tried_in_order(web: BadWeb, here: Here) -> None:
    mirrors = QUICK.model_copy(update={"mirrors": (Mirror(pattern="/gone/", replacement="/ok/"),)})
    urls = {"a": [web.url("missing", 1), web.url("ok", 2), web.url("ok", 3)], "b": [web.url("gone", 4)]}
    here.get(urls, mirrors)
    with sqlite3.connect(here.out / "journal.sqlite") as db:
        found = db.execute("SELECT image, place, mirror, state FROM address ORDER BY image, place").fetchall()
    db.close()
    assert found == [
        ("a", 0, 0, "gone"),
        ("a", 1, 0, "done"),
        ("a", 2, 0, "waiting"),
        ("b", 0, 0, "gone"),
        ("b", 1, 1, "done"),
    ]
    before = web.asked.copy()
    here.get(urls, mirrors)
    assert not web.asked - before


def test_again_all_finds_changed_and_lost_photos(web: BadWeb, here: Here) -> None:
    urls = {
        "same": web.url("ok"),
        "tagged": web.url("tagged", 1),
        "other": web.url("changed", 2),
        "dead": web.url("mortal", 3),
    }
    first = here.get(urls)
    assert first.holdings.survival.n_lost == 0
    again = here.get(urls, again="all")
    assert (again.tally.n_same, again.tally.n_changed, again.tally.n_new) == (2, 1, 0)
    assert web.asked["304"] == 1
    assert again.holdings.changed == ("other",)
    assert again.holdings.n_here == 4
    assert here.file("other").read_bytes() == drawn(2)
    assert here.file("other").with_name("other~v2.jpg").read_bytes() == drawn(100_002)
    lives = again.holdings.survival
    assert (lives.n_ever, lives.n_lost) == (4, 1)
    assert [(check.n_asked, check.n_alive, check.n_lost) for check in lives.checks] == [(4, 4, 0), (4, 3, 1)]
    here.get(urls, again="all")
    assert len(list(here.out.glob("photos/*/*"))) == 5
    assert "changed pictures at the same address" in again.page.read_text()


def test_the_share_lost_per_day_is_losses_by_observed_days(web: BadWeb, here: Here) -> None:
    urls = {str(at): web.url("ok", at) for at in range(9)} | {"dead": web.url("mortal")}
    here.get(urls)
    with sqlite3.connect(here.out / "journal.sqlite") as db:
        db.execute("UPDATE address SET alive_from = alive_from - 20 * 86400, alive_to = alive_to - 20 * 86400")
    db.close()
    assert here.get(urls, again="all").holdings.survival.a_day == pytest.approx(1 / 200, rel=1e-3)


def test_one_picture_with_two_ids_is_listed(web: BadWeb, here: Here) -> None:
    found = here.get({"b": web.url("ok", 1), "a": web.url("packed", 1), "c": web.url("ok", 2)})
    assert found.holdings.duplicates == (("a", "b"),)


def test_a_manifest_reproduces_and_verifies_a_download(web: BadWeb, here: Here, tmp_path: Path) -> None:
    urls = {"a": web.url("ok", 1), "b": web.url("changed", 2), "c": web.url("ok", 3)}
    here.get(urls)
    manifest = here.out / "manifest.csv"
    other = Here(tmp_path / "other")
    other.folder.mkdir()
    found = other.get(urls, manifest=manifest)
    assert (found.verdict.n_same, found.verdict.missing, found.verdict.other) == (2, ("b",), ())
    assert other.rows("cause")["b"] == ("another_picture",)
    other.file("a").write_bytes(b"rot")
    assert other.get(urls, manifest=manifest).verdict.other == ("a",)
    assert fieldmark.download(manifest, out=tmp_path / "third", fetching=QUICK).holdings.n_here == 3


def test_resized_photos(web: BadWeb, here: Here) -> None:
    here.get({"a": web.url("ok", 1)}, QUICK.model_copy(update={"resize_px": 48}))
    with Image.open(here.file("a")) as photo:
        assert photo.size == (48, 32)
    digest, kept, width = here.rows("sha256, kept_sha256, width")["a"]
    assert (sha256(here.file("a")), width) == (kept, 96)
    assert kept != digest


def test_shards_hold_each_photo_once(web: BadWeb, here: Here) -> None:
    packed = QUICK.model_copy(update={"n_a_shard": 2})
    urls = {name: web.url("ok", at) for at, name in enumerate(("a", "B.x", "c"))}
    found = here.get(urls, packed)
    assert [path.name for path in found.shards] == ["shard-000000.tar", "shard-000001.tar"]
    assert here.get(urls, packed).shards == ()
    (third,) = here.get(urls | {"d": web.url("ok", 9)}, packed).shards
    names, ids = [], []
    for path in sorted((here.out / "shards").iterdir()):
        with tarfile.open(path) as tar:
            for entry in tar:
                names.append(entry.name)
                content = tar.extractfile(entry).read()
                if entry.name.endswith(".json"):
                    ids.append(json.loads(content)["image"])
                else:
                    assert Image.open(io.BytesIO(content)).size == (96, 64)
    assert third.name == "shard-000002.tar"
    assert sorted(ids) == ["B.x", "a", "c", "d"]
    assert len(names) == len(set(names)) == 8
    assert all(name.count(".") == 1 for name in names)


def test_the_table_is_read_as_a_collection(web: BadWeb, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        f"id,url,labels\nA,{web.url('ok', 1)},red|blue\nb,{web.url('missing')},red\nc,{web.url('ok', 2)},blue\n"
    )
    found = fieldmark.download(table, out=tmp_path / "out", fetching=QUICK)
    collection = fieldmark.read(tmp_path / "out")
    assert collection.images == ["A", "c"]
    assert collection.table["labels"].to_list() == [["red", "blue"], ["blue"]]
    assert [path.read_bytes() for path in collection.paths] == [drawn(1), drawn(2)]
    assert found.table == tmp_path / "out" / "collection.parquet"
    assert "not_found" in (tmp_path / "out" / "failures.csv").read_text()


def test_passwords_are_only_in_the_journal(web: BadWeb, here: Here) -> None:
    url = web.url("ok", host="me:secret42@127.0.0.1")
    here.get({"a": url, "b": url.replace("/ok/", "/missing/")})
    assert "Authorization" in web.headers[-1]
    written = [path for path in here.out.rglob("*") if path.is_file() and not path.name.startswith("journal")]
    assert len(written) >= 5
    assert not [path for path in written if b"secret42" in path.read_bytes()]


def test_a_download_works_inside_a_running_event_loop(web: BadWeb, here: Here) -> None:
    async def notebook() -> Downloaded:
        return here.get({"a": web.url("ok")})

    assert asyncio.run(notebook()).holdings.n_here == 1
