"""Predictions as tables and JSON, from hand-written matches."""

import json
import math
from pathlib import Path

import pytest

from fieldmark.core.errors import DataError
from fieldmark.tasks.identification.results import Identification, Match
from fieldmark.tasks.identification.tables import as_json, write


def answer(*names: str, image: str = "a.jpg") -> Identification:
    matches = tuple(
        Match(place, name, 0.9 / place, is_new=name == "new", photo=Path(f"/known/in/{name}.jpg"), similarity=0.5)
        for place, name in enumerate(names, start=1)
    )
    return Identification(image=image, file=Path("/x/a.jpg"), matches=matches)


def test_a_submission_has_the_expected_bytes(tmp_path: Path) -> None:
    found = [answer("w_1", "new", image="=b.jpg"), answer("new", image="a.jpg")]
    write(tmp_path / "s.csv", found, form="submission", root=Path("/known"))
    assert (tmp_path / "s.csv").read_bytes() == b"Image,Id\n=b.jpg,w_1 new\na.jpg,new\n"


def test_names_with_spaces_do_not_fit_a_submission(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        write(tmp_path / "s.csv", [answer("Old Tom")], form="submission", root=Path("/known"))
    assert caught.value.fix == "use --format people."
    assert not (tmp_path / "s.csv").exists()


def test_a_table_for_people_disables_formulas_and_names_photos_as_their_table_does(tmp_path: Path) -> None:
    write(tmp_path / "p.csv", [answer("=cmd()", image="@a.jpg")], form="people", root=Path("/known"))
    _, row = (tmp_path / "p.csv").read_text(encoding="utf-8-sig").splitlines()
    assert row == "'@a.jpg,1,'=cmd(),False,0.9,in/=cmd().jpg,0.5,,"


def test_json_has_null_where_there_is_no_number() -> None:
    match = Match(1, "w", -math.inf, is_new=False, photo=None, similarity=math.nan)
    output = as_json(Identification("a.jpg", Path("a.jpg"), (match,)))
    assert json.loads(json.dumps(output, allow_nan=False))["matches"] == [
        {"place": 1, "identity": "w", "score": None, "is_new": False, "photo": None, "similarity": None}
    ]


def test_an_empty_answer_is_not_new() -> None:
    assert as_json(Identification("a.jpg", Path("a.jpg"), ())) == {
        "photo": "a.jpg",
        "is_new": False,
        "known_proba": None,
        "right_proba": None,
        "matches": [],
    }
