"""The pages of the documentation as tests read them: code blocks, links, and what a reader would type.

A fence with a title (```` ```csv title="whales.csv" ````) is a file that the reader writes. ``console``, ``python`` and
``pycon`` blocks are what the reader runs, one after the other, in one folder a page. Two comments direct a test:
``<!-- photos: a.jpg b.jpg -->`` before a block draws photos first, and ``<!-- not run: why -->`` leaves the block out.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[2]
RUN = ("console", "python", "pycon")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[\w-]*)(?P<rest>[^`\n]*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)
_DIRECTION = re.compile(r"<!-- (photos|not run): ((?:(?!-->).)*) -->\n\s*\Z", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fence of a page; ``line`` is that of its first backticks."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    photos: tuple[str, ...] = ()
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(HOME)}, line {self.line}"


@dataclass(frozen=True)
class Command:
    """What stands after ``$``, and what the page says comes of it."""

    typed: str
    output: str


def pages() -> list[Path]:
    """README.md and every page of the site."""
    return [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fences of a page in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for fence in _FENCE.finditer(text):
        before, directions = text[: fence.start()], {}
        while output := _DIRECTION.search(before):
            directions[output[1]] = output[2]
            before = before[: output.start()]
        title = _TITLE.search(fence["rest"])
        found.append(
            Block(
                page=page,
                line=text[: fence.start()].count("\n") + 1,
                language=fence["language"],
                title=title[1] if title else None,
                text=fence["text"],
                photos=tuple(directions.get("photos", "").split()),
                not_run=directions.get("not run"),
            )
        )
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block with what they print."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, _, output = part.partition("\n")
        yield Command(typed.strip(), output.rstrip())


def prose(page: Path) -> str:
    """A page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as the site makes them from its headings."""
    titles = re.findall(r"^#+ (.+?)(?: \{#([\w-]+)\})?$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"[`*]", "", title)).strip().lower() for title, _ in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain} | {anchor for _, anchor in titles if anchor}


def own_plan() -> str:
    """Return the example plan of docs/plans.md."""
    return next(block.text for block in blocks(HOME / "docs" / "plans.md") if block.title == "my_plan.toml")


class Reader:
    """Somebody who types what a page says, in a folder of their own (the current one)."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {"__name__": "a_page"}

    def follow(self, block: Block) -> list[str]:
        """Do what a block says; what differs from the page."""
        for photo in block.photos:
            draw(Path(photo))
        if block.title is not None:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.not_run is None and block.language == "console":
            return [wrong for command in commands(block) for wrong in self.type(command)]
        elif block.not_run is None and block.language == "pycon":
            return self._doctest(block)
        elif block.not_run is None and block.language == "python":
            exec(compile(block.text, str(block), "exec"), self.names)  # noqa: S102 - our own pages
        return []

    def type(self, command: Command) -> list[str]:
        """Run ``fieldmark ...`` (or ``fieldmark ... > FILE``) in this process; what differs from the page."""
        words = shlex.split(command.typed)
        words, file = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)
        if words[0] != "fieldmark":
            return [f"only fieldmark is run in console blocks, not: {command.typed}"]
        from fieldmark.cli.main import main

        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                status = main(words[1:])
            except SystemExit as end:
                status = int(end.code or 0)
        if file is not None:
            Path(file).write_text(said.getvalue(), encoding="utf-8")
        wanted = 1 if re.search(r"^  fix: ", command.output, flags=re.MULTILINE) else 0
        wrong = [] if status == wanted else [f"$ {command.typed}\nended with {status}:\n{said.getvalue()}"]
        if command.output and not doctest.OutputChecker().check_output(f"{command.output}\n", said.getvalue(), FLAGS):
            wrong.append(f"$ {command.typed}\nprinted\n{said.getvalue()}\nbut the page says\n{command.output}")
        return wrong

    def _doctest(self, block: Block) -> list[str]:
        test = doctest.DocTestParser().get_doctest(block.text, self.names, str(block), str(block.page), block.line)
        said: list[str] = []
        doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append, clear_globs=False)
        self.names.update(test.globs)
        return ["".join(said)] if said else []


def draw(photo: Path) -> None:
    """A small photo that no other name has."""
    import numpy as np
    from PIL import Image

    seed = np.frombuffer(str(photo).encode(), dtype=np.uint8)
    tiles = np.random.default_rng(seed).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    photo.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tiles).resize((128, 64)).save(photo, quality=90)
