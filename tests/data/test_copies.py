"""Identical files under different names."""

from pathlib import Path

import numpy as np
import pytest

from fieldmark.data.copies import among, named_unknowns, same_bytes


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files 0, 2 and 4 have the same bytes; 1 and 5 have the same size but other bytes; 3 does not exist."""
    contents = {"a": b"one", "b": b"two", "c": b"one", "e": b"one", "f": b"six"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in "abcdef"]


def test_copies_have_the_same_bytes_and_come_in_the_order_of_the_table(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "b2").write_bytes(b"two")
    assert same_bytes([*files, tmp_path / "b2"]) == [[0, 2, 4], [1, 6]]


def test_a_path_given_twice_is_not_a_copy_of_itself(files: list[Path]) -> None:
    assert same_bytes([files[1], files[1]]) == []


def test_files_that_cannot_be_read_have_no_copies(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    assert same_bytes([tmp_path / "folder", tmp_path / "other", tmp_path / "gone"]) == []


def test_renamed_copies_are_found(files: list[Path], tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "a").write_bytes(b"new")
    (later / "renamed").write_bytes(b"two")
    assert among([later / "a", later / "renamed", later / "lost"], files).tolist() == [False, True, False]


def test_an_unknown_individual_with_a_named_copy_is_found(files: list[Path]) -> None:
    # 0 and 4 are labelled unknown but are copies of 2 (individual 7); 1 and 5 are really unknown individuals
    classes = np.array([-1, -1, 7, 3, -1, -1])
    assert named_unknowns(files, classes).tolist() == [True, False, False, False, True, False]


def test_unknowns_that_are_copies_of_unknowns_stay(files: list[Path]) -> None:
    assert not named_unknowns(files, np.full(6, -1)).any()
