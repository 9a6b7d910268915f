from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Fraction, Spec, fingerprint, read_spec


class Brew(Spec):
    kind: Literal["brew"] = "brew"
    cups: tuple[int, ...] = (1,)
    milk: Fraction = 0.5


def test_a_spec_cannot_be_changed_and_refuses_unknown_names() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Brew().milk = 0.1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Brew(sugar=1)  # type: ignore[call-arg]


def test_toml_reads_into_the_same_value_as_python(tmp_path: Path) -> None:
    path = tmp_path / "brew.toml"
    path.write_text("cups = [2, 3]\nmilk = 0.25\n", encoding="utf-8")
    assert read_spec(Brew, path) == Brew(cups=(2, 3), milk=0.25)


def test_all_mistakes_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "brew.toml"
    path.write_text('cups = "three"\nmilk = 2.0\nsugar = 1\n', encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        read_spec(Brew, path)
    assert "3 mistake(s)" in caught.value.problem
    assert all(name in str(caught.value.got) for name in ("cups", "milk", "sugar"))
    assert "fieldmark plan" in caught.value.fix


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "brew.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError) as caught:
        read_spec(Brew, path)
    assert "in UTF-8" in caught.value.fix


def test_fingerprints_depend_on_the_content() -> None:
    assert Brew().fingerprint() == Brew(milk=0.5).fingerprint()
    assert Brew().fingerprint() != Brew(milk=0.6).fingerprint()
    assert fingerprint([1, 2]) != fingerprint([2, 1])
