import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.core.errors import DataError, PlanError
from fieldmark.specimens.collections import CONTEST_COUNTS, Drawn, _photo_counts, draw_flukes
from fieldmark.specimens.files import scramble

SMALL = {
    "n_identities": 12,
    "n_unknown": 5,
    "n_test": 10,
    "share_unknown_test": 0.3,
    "n_near_duplicates": 4,
    "n_broken": 2,
    "size_px": (160, 80),
    "seed": 5,
}


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def grey(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=float)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw_flukes(tmp_path_factory.mktemp("drawn") / "flukes", **SMALL)


def test_tables_and_files_agree_and_have_the_requested_sizes(drawn: Drawn) -> None:
    train, truth = table(drawn.folder / "train.csv"), table(drawn.truth_file)
    n_known = int(_photo_counts(12, None, seed=5).sum())
    assert len(train) == n_known + 5 + 4 + 2
    assert {row["Image"] for row in train} == {file.name for file in (drawn.folder / "train").iterdir()}
    assert {row["Image"] for row in truth} == {file.name for file in (drawn.folder / "test").iterdir()}
    assert drawn.n_photos == len(train) + len(truth)
    assert len({row["Id"] for row in train} - {"new_whale"}) == 12
    assert Counter(row["Id"] == "new_whale" for row in truth) == {True: 3, False: 7}
    assert {row["Id"] for row in truth} <= {row["Id"] for row in train}
    assert all(re.fullmatch(r"[0-9a-f]{8}\.jpg", row["Image"]) for row in train + truth)
    assert all(re.fullmatch(r"w_[0-9a-f]{7}|new_whale", row["Id"]) for row in train + truth)
    for rows in (train, truth):
        assert [row["Image"] for row in rows] == sorted(row["Image"] for row in rows)
    assert "seed=5" in (drawn.folder / "README.txt").read_text(encoding="utf-8")


def test_the_sample_submission_has_five_guesses_for_every_test_photo(drawn: Drawn) -> None:
    rows = table(drawn.folder / "sample_submission.csv")
    assert [row["Image"] for row in rows] == [row["Image"] for row in table(drawn.truth_file)]
    known = {row["Id"] for row in table(drawn.folder / "train.csv")}
    for row in rows:
        guesses = row["Id"].split(" ")
        assert len(set(guesses)) == 5
        assert guesses[0] == "new_whale"
        assert set(guesses) <= known


def test_the_same_arguments_give_the_same_bytes_with_any_number_of_workers(drawn: Drawn, tmp_path: Path) -> None:
    again = draw_flukes(tmp_path / "again", **SMALL, n_workers=3)
    assert digests(again.folder) == digests(drawn.folder)
    other = draw_flukes(tmp_path / "other", **{**SMALL, "seed": 6})
    assert not set(digests(other.folder)) & {name for name in digests(drawn.folder) if name.endswith(".jpg")}


def test_photos_are_different_and_have_the_requested_size(drawn: Drawn) -> None:
    flaws = {row["Image"] for row in table(drawn.folder / "flaws.csv")}
    whole = [file for file in drawn.folder.rglob("*.jpg") if file.name not in flaws]
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in whole}) == len(whole)
    for file in whole:
        with Image.open(file) as picture:
            picture.load()
            assert picture.size == (160, 80)


def test_broken_files_are_listed_and_cannot_be_decoded(drawn: Drawn) -> None:
    broken = [row["Image"] for row in table(drawn.folder / "flaws.csv") if row["Flaw"] == "broken"]
    identity = {row["Image"]: row["Id"] for row in table(drawn.folder / "train.csv")}
    assert len(broken) == 2
    for name in broken:
        assert identity[name].startswith("w_")
        with Image.open(drawn.folder / "train" / name) as picture, pytest.raises(OSError, match="truncated"):
            picture.load()


def test_copies_are_similar_to_their_original_and_smaller(drawn: Drawn) -> None:
    copies = {row["Image"]: row["Of"] for row in table(drawn.folder / "flaws.csv") if row["Flaw"] == "copy"}
    identity = {row["Image"]: row["Id"] for row in table(drawn.folder / "train.csv")}
    assert len(copies) == len(set(copies.values())) == 4
    for copy, original in copies.items():
        files = [drawn.folder / "train" / name for name in (copy, original)]
        assert identity[copy] == identity[original]
        assert files[0].read_bytes() != files[1].read_bytes()
        with Image.open(files[0]) as small:
            assert small.width < 160
        others = [name for name in set(copies.values()) if name != original]
        to_others = [np.abs(grey(files[0]) - grey(drawn.folder / "train" / name)).mean() for name in others]
        near = np.abs(grey(files[0]) - grey(files[1])).mean()
        assert near < 4
        assert near < 0.3 * min(to_others)


def test_photo_counts_follow_the_contest() -> None:
    whole = Counter(_photo_counts(5004, None, seed=1).tolist())
    assert whole == dict(CONTEST_COUNTS)
    assert sum(photos * whales for photos, whales in CONTEST_COUNTS) == 25_361 - 9_664
    some = _photo_counts(100, None, seed=1)
    assert (some == 1).sum() == 41
    assert 25 <= (some == 2).sum() <= 27
    assert some.max() > 20
    assert not np.array_equal(some, _photo_counts(100, None, seed=2))


def test_a_fixed_number_of_photos(tmp_path: Path) -> None:
    drawn = draw_flukes(
        tmp_path,
        n_identities=3,
        photos_per_identity=2,
        n_unknown=0,
        n_test=0,
        n_near_duplicates=0,
        n_broken=0,
        size_px=(64, 32),
    )
    assert sorted(Counter(row["Id"] for row in table(tmp_path / "train.csv")).values()) == [2, 2, 2]
    assert drawn.n_photos == 6
    assert table(drawn.truth_file) == table(tmp_path / "flaws.csv") == []


def test_drawing_reports_its_progress(tmp_path: Path) -> None:
    class Recorder:
        tracked: list[tuple[int, int]]

        def say(self, text): ...

        def track(self, items, *, total, what):
            items = list(items)
            self.tracked = [(len(items), total)]
            yield from items

    recorder = Recorder()
    drawn = draw_flukes(
        tmp_path, n_identities=2, n_unknown=0, n_test=1, size_px=(64, 32), n_near_duplicates=0, progress=recorder
    )
    assert recorder.tracked == [(drawn.n_photos, drawn.n_photos)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 2**15), st.sampled_from([16, 28, 32]))
def test_scrambled_numbers_are_unique(key: int, first: int, n_bits: int) -> None:
    names = scramble(np.arange(first, first + 2000), key=key, n_bits=n_bits)
    assert len(np.unique(names)) == 2000
    assert names.min() >= 0
    assert names.max() < 1 << n_bits


def test_all_numbers_out_of_range_are_listed(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        draw_flukes(
            tmp_path, n_identities=0, share_unknown_test=1.5, size_px=(8, 160), n_near_duplicates=500, n_test=2.5
        )  # type: ignore[arg-type]
    assert "n_identities = 0" in str(refused.value.got)
    assert "n_identities from 1 to" in refused.value.fix
    assert "share_unknown_test from 0 to 1" in refused.value.fix
    assert "width from 64 to 4096" in refused.value.fix
    assert "n_near_duplicates from 0 to 40" in refused.value.fix
    assert "n_test from 0" in refused.value.fix
    assert list(tmp_path.iterdir()) == []


def test_too_many_photos_are_rejected_before_using_memory(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        draw_flukes(tmp_path, n_identities=1 << 28, photos_per_identity=1 << 20)
    assert "photos of known whales from 1 to" in refused.value.fix


def test_a_folder_with_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        draw_flukes(tmp_path, n_identities=2)
    assert f"{tmp_path.name}-2" in refused.value.fix
    assert "empty this one" in refused.value.fix
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
