"""The calls from ``identify`` to the network for one photo, as docs/design.md lists them."""

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
MAX_CALLS = 12


def documented() -> list[tuple[str, str]]:
    """Return module and function of each line of the listing."""
    text = (HOME / "docs" / "design.md").read_text(encoding="utf-8")
    block = text.partition("<!-- begin path -->")[2].partition("<!-- end path -->")[0]
    return re.findall(r"^ *\d+ +(\S+) +(\w+)", block, flags=re.MULTILINE)


def frames(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Yield module and function of each frame of this package, from the innermost."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("fieldmark."):
            yield name.removeprefix("fieldmark.").replace(".", "/"), frame.f_code.co_name
        frame = frame.f_back


def test_the_calls_are_those_of_the_listing(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = []
    pooled = Shared.pooled

    def recorded(self: Shared, *given: object) -> object:
        stacks.append(list(frames(sys._getframe(1))))
        return pooled(self, *given)

    monkeypatch.setattr(Shared, "pooled", recorded)
    fieldmark.identify(trained / "run", next((trained / "whales").rglob("*.jpg")))
    calls = stacks[0][::-1]
    modules = [module for place, (module, _) in enumerate(calls) if place == 0 or calls[place - 1][0] != module]
    assert [*modules, "models/sharing"] == [module for module, _ in documented()]
    assert len(documented()) <= MAX_CALLS
    functions = {(module, function) for module, function in calls} | {("models/sharing", "pooled")}
    assert set(documented()) <= functions
