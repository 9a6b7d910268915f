"""Registries of parts from this library, other packages and scripts, and settings that hold a part."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest

from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.core.registry import OneOf, Registry
from fieldmark.core.spec import Spec, parse


class Shape(Spec):
    kind: str


class Circle(Shape):
    kind: Literal["circle"] = "circle"
    radius: float = 1.0


class Square(Shape):
    kind: Literal["square"] = "square"
    side: float = 1.0


SHAPES: Registry[type[Shape]] = Registry("fieldmark.tests.none", what="shape")
SHAPES.add("circle", Circle)
SHAPES.add("square", Square)


class Drawing(Spec):
    shapes: tuple[Annotated[Shape, OneOf(SHAPES, Shape)], ...]


def test_a_part_is_found_by_its_name_and_names_are_unique() -> None:
    parts: Registry[type[Shape]] = Registry("fieldmark.tests.none", what="shape")
    assert parts.add("circle", Circle) is Circle
    assert parts.add("circle", Circle) is Circle
    assert parts.find("circle") is Circle
    assert parts.find("square") is None
    with pytest.raises(FieldmarkError, match="already a shape of that name") as refused:
        parts.add("circle", Square)
    assert "Circle and" in str(refused.value.got)
    assert parts.brought_by("circle") is None


def test_a_notebook_cell_may_define_a_part_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: Registry[type[Shape]] = Registry("fieldmark.tests.none", what="shape")
    again = type("Circle", (Shape,), {"__module__": "__main__", "__qualname__": "Circle"})
    first = type("Circle", (Shape,), {"__module__": "__main__", "__qualname__": "Circle"})
    parts.add("circle", first)
    parts.add("circle", again)
    assert parts.find("circle") is again


def test_the_modules_of_the_home_package_are_imported_on_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "hut"
    (home / "below").mkdir(parents=True)
    (home / "__init__.py").write_text("PARTS = {}\n")
    (home / "below" / "__init__.py").write_text("")
    (home / "below" / "one.py").write_text("import hut\nhut.PARTS['one'] = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    parts: Registry[int] = Registry("fieldmark.tests.none", what="part", home="hut")
    assert "hut" not in sys.modules
    assert parts.names() == []
    try:
        assert sys.modules["hut"].PARTS == {"one": 1}
    finally:
        for name in ("hut", "hut.below", "hut.below.one"):
            sys.modules.pop(name, None)


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package that lists two parts, one of which cannot be imported."""
    (tmp_path / "outside_shapes.py").write_text("STAR = 'a star'\n")
    about = tmp_path / "outside_shapes-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-shapes\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(
        "[fieldmark.tests.shapes]\nstar = outside_shapes:STAR\nbroken = outside_shapes:NOTHING\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return "fieldmark.tests.shapes"


def test_other_packages_provide_parts_and_are_recorded(other_package: str) -> None:
    parts: Registry[str] = Registry(other_package, what="shape")
    assert parts.names() == ["broken", "star"]
    assert parts.find("star") == "a star"
    assert parts.brought_by("star") == "outside-shapes==1.2"
    with pytest.raises(PlanError, match="'broken' of another package cannot be loaded") as refused:
        parts.find("broken")
    assert "outside-shapes==1.2" in refused.value.fix


def test_settings_with_any_part_survive_json() -> None:
    drawing = Drawing(shapes=(Circle(radius=2.0), Square()))
    again = parse(Drawing, drawing.model_dump_json(), name="drawing")
    assert again == drawing
    assert [type(one) for one in again.shapes] == [Circle, Square]
    assert drawing.model_dump(mode="json")["shapes"][0] == {"kind": "circle", "radius": 2.0}


@pytest.mark.parametrize(
    ("shape", "location"),
    [
        ('{"kind": "star"}', "'circle', 'square'"),
        ('{"radius": 2}', "kind"),
        ('{"kind": "circle", "radius": "wide"}', "shapes.0.circle.radius"),
        ('{"kind": "circle", "raduis": 2}', "shapes.0.circle.raduis"),
        ("3", "shapes.0"),
    ],
)
def test_mistakes_are_reported_with_their_location(shape: str, location: str) -> None:
    with pytest.raises(PlanError) as refusal:
        parse(Drawing, f'{{"shapes": [{shape}]}}', name="drawing")
    assert location in str(refusal.value.got)
