"""The way of one photo from ``identify`` to the network, as docs/design.md draws it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import fieldmark
from fieldmark.models.sharing import Shared

HOME = Path(__file__).parents[2]
MOST_HOPS = 12


def drawn() -> list[tuple[str, str]]:
    """Module and function of each line of the drawing."""
    text = (HOME / "docs" / "design.md").read_text(encoding="utf-8")
    block = text.partition("<!-- begin path -->")[2].partition("<!-- end path -->")[0]
    return re.findall(r"^ *\d+ +(\S+) +(\w+)", block, flags=re.MULTILINE)


def walked(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Module and function of each frame of this package, from the innermost."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("fieldmark."):
            yield name.removeprefix("fieldmark.").replace(".", "/"), frame.f_code.co_name
        frame = frame.f_back


def test_a_photo_goes_the_way_that_is_drawn(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = []
    pooled = Shared.pooled

    def watched(self: Shared, *given: object) -> object:
        stacks.append(list(walked(sys._getframe(1))))
        return pooled(self, *given)

    monkeypatch.setattr(Shared, "pooled", watched)
    fieldmark.identify(trained / "run", next((trained / "whales").rglob("*.jpg")))
    way = stacks[0][::-1]
    modules = [module for place, (module, _) in enumerate(way) if place == 0 or way[place - 1][0] != module]
    assert [*modules, "models/sharing"] == [module for module, _ in drawn()]
    assert len(drawn()) <= MOST_HOPS
    functions = {(module, function) for module, function in way} | {("models/sharing", "pooled")}
    assert set(drawn()) <= functions
