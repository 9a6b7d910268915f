"""The words of the project: terms of the field everywhere, and none of the words that they replaced.

``docs/glossary.md`` defines the terms. A retired word fails here as a part of an identifier, in a string, a comment, a
docstring or on a page. ``ALLOWED`` lists the few places where such a word has another, ordinary meaning.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from blocks import HOME, pages

INSTEAD = {
    "stranger strangers nobody": "unknown individual",
    "told tell tells untold": "labelled, has_label, given, stored; a command prints or reports",
    "voice voices opinion opinions": "model, ensemble member, prediction",
    "expert experts": "model",
    "blend blends blended blending": "ensemble, average",
    "cutoff cutoffs": "threshold",
    "settle settles settled settling": "resolve (a hierarchy)",
    "enlarge recruit recruits recruited": "pseudo-label",
    "lend lends lent lending": "label transfer",
    "doubt doubts doubtful doubted": "label issue",
    "twin twins twinning": "near-duplicate",
    "rescore recheck": "re-rank",
    "afterthought afterthoughts": "post-processing",
    "leg legs": "phase",
    "workshop deck decks pile piles": "work directory, batch, sampler",
    "misfit misfits": "incompatible",
    "sureness surety": "confidence",
    "clue clues": "side feature",
    "verb verbs": "stage kind, command",
    "door doors": "command, entry point",
    "rooms": "packages",
    "alike": "similar, equal",
    "rival rivals": "candidate, hard negative",
    "hark whence wherefore lest": "plain words",
}
"""Words, and what to write in their place."""

PHRASES = {
    "turned away": "false rejections",
    "nobody we know": "unknown individual",
    "has a say": "counts",
    "have a say": "count",
    "half a say": "half the weight",
    "second thoughts": "post-processing",
    "think again": "post-processing",
    "wrong names": "false matches",
    "has not seen": "was not trained on",
    "have not seen": "were not trained on",
    "had not seen": "was not trained on",
    "has not learnt from": "was not trained on",
}

ALLOWED = {
    ("leg", "specimens/garments.py"),  # of trousers
    ("legs", "specimens/garments.py"),
    ("leg", "specimens/test_garments.py"),
    ("legs", "specimens/test_garments.py"),
    ("cutoffs", "decisions/label_thresholds.py"),  # parts of random seeds: other text would change measured numbers
    ("recheck", "identity/rerank_keypoints.py"),
    ("strangers", "benchmarks/species.py"),
    ("rivals", "stacking/identity_trees.py"),
}
"""Word and end of the path: another meaning, or part of a seed."""

RETIRED = {word: instead for words, instead in INSTEAD.items() for word in words.split()}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TEXT = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}


@cache
def sources() -> tuple[Path, ...]:
    """Every file of code, of pages and of templates, this one left out."""
    code = [path for top in ("src", "tests", "benchmarks") for path in sorted((HOME / top).rglob("*.py"))]
    templates = sorted((HOME / "src").rglob("*.html"))
    return tuple(
        path for path in (*code, *templates, *pages(), HOME / "CHANGELOG.md") if path != Path(__file__).resolve()
    )


def found(text: str, *, name: str) -> list[str]:
    """The retired words in a file's text, each with its line."""
    if name.endswith(".py"):
        return [one for line, words in _code(text) for one in _retired(words, name=name, line=line)]
    if name.endswith(("labbook.md", "CHANGELOG.md")):  # commands of earlier dates stand there as they were typed
        text = re.sub(r"`[^`]*`", "``", text)
    return [one for line, words in enumerate(text.splitlines(), 1) for one in _retired(words, name=name, line=line)]


def _code(text: str) -> Iterator[tuple[int, str]]:
    """The line and the words of each identifier, string and comment."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], " ".join(_PART.findall(token.string))
        elif token.type in _TEXT:
            for number, line in enumerate(token.string.split("\n")):
                yield token.start[0] + number, line


def _retired(text: str, *, name: str, line: int) -> Iterator[str]:
    lower = text.lower()
    for phrase, instead in PHRASES.items():
        if phrase in lower:
            yield f"{name}:{line}: {phrase!r}: write {instead}"
    for part in re.findall(r"[A-Za-z_]+", text):
        for word in _PART.findall(part):
            low = word.lower()
            if low in RETIRED and not any(low == known and name.endswith(end) for known, end in ALLOWED):
                yield f"{name}:{line}: {word!r}: write {RETIRED[low]}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(HOME)))
def test_no_retired_word_is_used(path: Path) -> None:
    name = str(path.relative_to(HOME))
    wrong = found(path.read_text(encoding="utf-8"), name=name)
    if path.suffix == ".py":
        wrong += _retired(path.stem, name=name, line=0)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "n_strangers = 3"),
        ("a.py", "class BlendRule: ..."),
        ("a.py", 'X = """Voices of the\nsecond leg."""'),
        ("a.py", "x = 1  # the deck"),
        ("a.py", "y = f'{x} doubts'"),
        ("page.md", "Photos of nobody we know."),
        ("page.html", "<p>turned away</p>"),
    ],
)
def test_a_planted_word_is_found(name: str, text: str) -> None:
    assert found(text, name=name)


def test_the_glossary_defines_what_to_write() -> None:
    glossary = (HOME / "docs" / "glossary.md").read_text(encoding="utf-8").lower()
    for term in (
        "unknown individual",
        "threshold",
        "ensemble",
        "pseudo-label",
        "near-duplicate",
        "label issue",
        "phase",
    ):
        assert f"| {term}" in glossary


def test_all_is_read() -> None:
    """The check reads templates, pages and the code of tests and benchmarks."""
    kinds = {(path.relative_to(HOME).parts[0], path.suffix) for path in sources()}
    assert {("src", ".py"), ("src", ".html"), ("tests", ".py"), ("benchmarks", ".py"), ("docs", ".md")} <= kinds
    assert ast.parse((HOME / "src/fieldmark/__init__.py").read_text(encoding="utf-8"))
