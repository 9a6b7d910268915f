"""No file name in a table can point outside of the folder of photos, unless the user allows it."""

import os

import polars as pl
import pytest

from fieldmark.data.photos import MISSING, NOT_A_FILE, OUTSIDE, find_files, leaves, tidy, walk
from fieldmark.data.reading import survey

HOSTILE = [
    "../secret.jpg",
    "..",
    "../",
    "../../secret.jpg",
    "inside/../../secret.jpg",
    "inside/../../../etc/passwd",
    "./../secret.jpg",
    ".././secret.jpg",
    "inside/..",
    "inside/.. /../secret.jpg",
    "inside/../photo.jpg",
    "....//../secret.jpg",
    "..//secret.jpg",
    "..\\secret.jpg",
    "..\\..\\secret.jpg",
    "inside\\..\\..\\secret.jpg",
    ".\\..\\secret.jpg",
    "inside/..\\../secret.jpg",
    "\\..\\secret.jpg",
    "/secret.jpg",
    "//secret.jpg",
    "///etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "/./etc/passwd",
    "\\etc\\passwd",
    "\\\\server\\share\\secret.jpg",
    "//server/share/secret.jpg",
    "\\\\?\\C:\\secret.jpg",
    "\\\\.\\PhysicalDrive0",
    "//?/C:/secret.jpg",
    "C:\\secret.jpg",
    "C:/secret.jpg",
    "c:secret.jpg",
    "Z:",
    "~",
    "~/secret.jpg",
    "~root/secret.jpg",
    "~\\secret.jpg",
    "photo.jpg\x00.png",
    "\x00",
    "\x00/../secret.jpg",
    "photo\n.jpg",
    "photo\r.jpg",
    "\t../secret.jpg",
    "photo\x1b[2J.jpg",
    "photo\x7f.jpg",
    ".../../../secret.jpg",
    "link_out.jpg",
    "link_up/secret.jpg",
    "link_chain/link_up/secret.jpg",
    "link_absolute/passwd",
]

HARMLESS = [
    "photo.jpg",
    "inside/photo.jpg",
    "./photo.jpg",
    "inside//photo.jpg",
    "a..b.jpg",
    "..a.jpg",
    "x~.jpg",
    "é.jpg",
]


@pytest.fixture
def folder(tmp_path):
    """A folder of photos with links of all kinds, and a secret file outside of it."""
    root = tmp_path / "photos"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    for name in ("photo.jpg", "inside/photo.jpg", "a..b.jpg", "..a.jpg", "x~.jpg", "é.jpg"):
        (root / name).write_bytes(b"photo")
    (root / "link_out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "link_up").symlink_to(tmp_path)
    (root / "link_chain").symlink_to(root)
    (root / "link_absolute").symlink_to("/etc")
    (root / "link_in.jpg").symlink_to("inside/photo.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(root / "pipe.jpg")
    return root


def table_of(files, folder) -> None:
    pl.DataFrame({"image": [str(n) for n in range(len(files))], "file": files}).write_parquet(folder / "t.parquet")


def test_the_list_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 50


@pytest.mark.parametrize("check_files", [True, False])
def test_hostile_paths_are_refused(folder, check_files) -> None:
    names = HOSTILE if check_files else [name for name in HOSTILE if not name.startswith("link")]
    table_of(names, folder)
    found = survey(folder / "t.parquet", labelled=False, check_files=check_files)
    assert len(found.collection) == 0
    assert {mistake.problem for mistake in found.mistakes} == {OUTSIDE}
    assert sorted({mistake.row for mistake in found.mistakes}) == list(range(1, len(names) + 1))
    assert "allow_outside=True" in found.mistakes[0].fix


def test_no_folder_outside_is_listed(folder, monkeypatch) -> None:
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.realpath(path)) or scan(path))
    table_of(HOSTILE, folder)
    survey(folder / "t.parquet", labelled=False)
    assert listed
    assert all(path.startswith(str(folder)) for path in listed)


def test_harmless_names_are_found(folder) -> None:
    table_of([*HARMLESS, "link_in.jpg", "link_chain/photo.jpg"], folder)
    found = survey(folder / "t.parquet", labelled=False)
    assert not found.mistakes
    assert all(path.read_bytes() == b"photo" for path in found.collection.paths)


def test_the_user_may_allow_it(folder, tmp_path) -> None:
    outside = ["../secret.jpg", str(tmp_path / "secret.jpg"), "link_out.jpg", "link_up/secret.jpg"]
    table_of(outside, folder)
    found = survey(folder / "t.parquet", labelled=False, allow_outside=True)
    assert not found.mistakes
    assert all(path.read_bytes() == b"secret" for path in found.collection.paths)
    table_of(["photo\x00.jpg"], folder)
    assert survey(folder / "t.parquet", labelled=False, allow_outside=True).mistakes


def test_pipes_loops_and_folders_are_not_photos(folder) -> None:
    found = find_files(
        pl.Series(["pipe.jpg", "loop.jpg", "inside", "nothing.jpg", "no/where.jpg", "PHOTO.jpg"]), folder
    )
    problems = found["problem"].to_list()
    assert problems == [NOT_A_FILE, problems[1], NOT_A_FILE, MISSING, MISSING, MISSING]
    assert problems[1] in {NOT_A_FILE, MISSING}
    assert found["hint"].to_list()[-1] == "photo.jpg"


def test_a_name_too_long_is_missing(folder) -> None:
    assert find_files(pl.Series(["x" * 5000 + "/y.jpg", "x" * 5000]), folder)["problem"].to_list() == [MISSING, MISSING]


def test_tidy_normalises_separators() -> None:
    names = pl.Series(["a\\b.jpg", "./a.jpg", "a/./b//c.jpg", "././a"])
    assert tidy(names).to_list() == ["a/b.jpg", "a.jpg", "a/b/c.jpg", "a"]
    assert leaves(tidy(pl.Series(HARMLESS))).any() is False


def test_stems_find_their_photo_and_prefer_jpeg(tmp_path) -> None:
    for name in ("a.png", "a.jpg", "b.PNG", "c.txt", "d", "d.jpg", "e.v2.png"):
        (tmp_path / name).touch()
    found = find_files(pl.Series(["a", "b", "c", "d", "e.v2", "a.png"]), tmp_path, by_stem=True)
    assert found["file"].to_list() == ["a.jpg", "b.PNG", "c", "d", "e.v2.png", "a.png"]
    assert found["problem"].to_list() == [None, None, MISSING, None, None, None]


def test_walking_follows_no_links_and_skips_hidden_folders(folder) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "x.jpg").touch()
    found = dict(walk(folder))
    assert found["inside/photo.jpg"] is False
    assert found["link_up"] is True
    assert not any(path.startswith((".git", "link_up/")) for path in found)
