from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.reporting.exports import harmless, write_answers_csv
from naughty_strings import NAUGHTY


def read_back(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_submission_is_exact_to_the_byte(tmp_path):
    path = tmp_path / "submission.csv"
    write_answers_csv(path, [("00a.jpg", "w_1 new_whale"), ("00b.jpg", "-w =x")], ("Image", "Id"), for_people=False)
    assert path.read_bytes() == b"Image,Id\n00a.jpg,w_1 new_whale\n00b.jpg,-w =x\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])  # noqa: RUF001 - the attack
def test_what_starts_like_a_formula_is_text_for_people_and_untouched_for_machines(start, tmp_path):
    name = f"{start}cmd|' /C calc'!A0"
    for for_people, expected in ((True, f"'{name}"), (False, name)):
        path = tmp_path / f"{for_people}.csv"
        write_answers_csv(path, [(name, 1)], (f"{start}image", "n"), for_people=for_people)
        head, row = read_back(path.read_bytes())
        assert row == [expected, "1"]
        assert head[0].startswith("'") == for_people


@pytest.mark.parametrize("cell", [-0.5, -3, 1e-7, "-0.5", "+3", "-1E5", 0, True])
def test_numbers_stay_numbers_for_people(cell):
    assert harmless(cell) == str(cell)


@pytest.mark.parametrize("cell", ["-1+1", "-", "+cmd", "-1.2.3", "+1 2", "=1"])
def test_what_only_looks_like_a_number_does_not(cell):
    assert harmless(cell) == f"'{cell}"


def test_nothing_is_an_empty_cell(tmp_path):
    write_answers_csv(tmp_path / "a.csv", [(None, "x")], ("a", "b"), for_people=False)
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n,x\n"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_from_a_machine_table(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_answers_csv(path, rows, ("a", "b"), for_people=False)
    assert read_back(path.read_bytes())[1:] == rows


def test_naughty_strings_come_back_through_another_reader(tmp_path):
    names = [text for text in NAUGHTY if "\x00" not in text]
    path = tmp_path / "a.csv"
    write_answers_csv(path, [(name, "x") for name in names], ("name", "b"), for_people=False)
    assert pl.read_csv(path, infer_schema=False)["name"].fill_null("").to_list() == names
    write_answers_csv(path, [(name, "x") for name in names], ("name", "b"), for_people=True)
    assert not [row for row in read_back(path.read_bytes()) if row[0][:1] in "=@" and row[0]]


def test_people_get_a_mark_that_spreadsheets_know_utf8_by(tmp_path):
    write_answers_csv(tmp_path / "a.csv", [("ü",)], ("a",), for_people=True)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_file_names_that_are_no_unicode_come_out_as_their_bytes(tmp_path):
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    write_answers_csv(tmp_path / "a.csv", [(name,)], ("a",), for_people=False)
    assert b"caf\xe9.jpg" in (tmp_path / "a.csv").read_bytes()
    write_answers_csv(tmp_path / "b.csv", [(name,)], ("a",), for_people=True)
    assert "caf\\udce9.jpg" in (tmp_path / "b.csv").read_text(encoding="utf-8-sig")


def test_half_a_character_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        write_answers_csv(tmp_path / "a.csv", [("\ud800",)], ("a",), for_people=False)
    assert "rename that photo" in caught.value.fix
    assert not (tmp_path / "a.csv").exists()


def test_uneven_rows_are_refused_all_at_once(tmp_path):
    with pytest.raises(DataError) as caught:
        write_answers_csv(tmp_path / "a.csv", [("x",), ("x", "y"), ("x", "y", "z")], ("a", "b"), for_people=False)
    assert caught.value.got == "row 1: 1 cells\nrow 3: 3 cells"
    assert "a, b" in caught.value.fix
    assert not (tmp_path / "a.csv").exists()
