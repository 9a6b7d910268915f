"""The journal: kills at any time, missing files, folders with other content."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from downloads.server import BadWeb, drawn
from fieldmark.core.errors import RunError
from fieldmark.downloads.asking import Known
from fieldmark.downloads.checking import CheckedPhoto
from fieldmark.downloads.journal import ASIDE, FILE, Journal, Note
from fieldmark.downloads.names import place_of

URLS = {name: [(f"http://h.org/{name}.jpg", 0)] for name in ("a", "b", "c")}


def arrived(journal: Journal, name: str, content: bytes) -> Note:
    """Return the record of a photo in a temporary file."""
    (row,) = next(rows for rows in journal.to_ask("failed") if rows[0].image == name)
    file = place_of(name, "JPEG")
    aside = journal.aside / Path(file).name
    aside.write_bytes(content)
    return Note(row, 1.0, 1, 200, CheckedPhoto("0" * 64, len(content), 9, 9, file, str(aside), "0" * 64), Known())


def test_arrived_photos_are_moved_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed between the commit of the journal and the move of the file."""
    import fieldmark.downloads.journal as module

    with Journal(tmp_path / "out") as journal:
        journal.want(URLS)
        note = arrived(journal, "a", b"whole")
        (journal.aside / "7.part").write_bytes(b"half")

        def killed(path: Path, place: Path) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "_move", killed)
            with pytest.raises(KeyboardInterrupt):
                journal.note([note], visit=1, at=1.0)
        assert journal.rows("SELECT state FROM address WHERE image = 'a'") == [("arrived",)]
    with Journal(tmp_path / "out") as journal:
        assert (tmp_path / "out" / place_of("a", "JPEG")).read_bytes() == b"whole"
        assert {rows[0].image for rows in journal.to_ask("failed")} == {"b", "c"}
        assert [path.name for path in journal.aside.iterdir()] == ["lock"]


def test_a_photo_is_done_only_after_the_move(tmp_path: Path) -> None:
    with Journal(tmp_path / "out") as journal:
        journal.want(URLS)
        journal.note([arrived(journal, "a", b"whole")], visit=1, at=1.0)
        assert journal.rows("SELECT state FROM address WHERE image = 'a'") == [("arrived",)]
        journal.note([arrived(journal, "b", b"whole")], visit=1, at=1.0)
        assert journal.rows("SELECT state FROM address ORDER BY image") == [("done",), ("arrived",), ("waiting",)]
        journal.resolve()
        assert journal.rows("SELECT state FROM address ORDER BY image") == [("done",), ("done",), ("waiting",)]


def test_a_missing_photo_is_requested_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "out") as journal:
        journal.want(URLS)
        journal.note([arrived(journal, "a", b"whole")], visit=1, at=1.0)
        journal.resolve()
    (tmp_path / "out" / place_of("a", "JPEG")).unlink()
    with Journal(tmp_path / "out") as journal:
        assert {rows[0].image for rows in journal.to_ask("failed")} == {"a", "b", "c"}


def test_urls_removed_from_the_table_are_kept_but_not_requested(tmp_path: Path) -> None:
    with Journal(tmp_path / "out") as journal:
        journal.want(URLS)
        journal.want({"a": URLS["a"], "d": [("http://h.org/d.jpg", 0)]})
        assert {rows[0].image for rows in journal.to_ask("all")} == {"a", "d"}
        assert len(journal.rows("SELECT * FROM address")) == 4


def test_folders_with_other_content_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("dear diary")
    with pytest.raises(RunError) as caught:
        Journal(tmp_path)
    assert "--out" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_second_process_and_a_damaged_journal_are_rejected(tmp_path: Path) -> None:
    with Journal(tmp_path / "out"), pytest.raises(RunError) as caught:
        Journal(tmp_path / "out")
    assert "wait until it ends" in caught.value.fix
    for path in (tmp_path / "out").glob(f"{FILE}*"):
        path.write_bytes(b"rot" * 5000)
    with pytest.raises(RunError) as caught:
        Journal(tmp_path / "out")
    assert "--out" in caught.value.fix


@pytest.mark.slow
def test_three_kills_lose_no_complete_photo(tmp_path: Path) -> None:
    with BadWeb() as web:
        n, table, out = 600, tmp_path / "t.json", tmp_path / "out"
        images = [{"id": f"{at:04d}", "url": web.url("slowish", at)} for at in range(n)]
        table.write_text(json.dumps({"images": images}))
        command = [sys.executable, "-m", "fieldmark", "download", str(table), "--out", str(out), "--allow-private"]
        safe: set[str] = set()
        for kill in range(1, 4):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(list(out.glob("photos/*/*"))) < n * kill // 5:
                time.sleep(0.01)
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            now = {path.stem for path in out.glob("photos/*/*")}
            assert safe <= now
            for image in safe:
                assert web.asked[f"slowish/{int(image)}"] == before[f"slowish/{int(image)}"]
            safe, before = now, web.asked.copy()
        subprocess.run(command, check=True, capture_output=True)
        for image in safe:
            assert web.asked[f"slowish/{int(image)}"] == before[f"slowish/{int(image)}"]
        files = {path.stem: path for path in out.glob("photos/*/*")}
        assert len(files) == n
        assert all(path.read_bytes() == drawn(int(image)) for image, path in files.items())
        with sqlite3.connect(out / FILE) as db:
            assert db.execute("SELECT state, count(*) FROM address GROUP BY state").fetchall() == [("done", n)]
        db.close()
        assert [path.name for path in (out / ASIDE).iterdir()] == ["lock"]
