"""Which columns of a table are questions, and how they hang together: a small TOML file beside a flat table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import polars as pl
from pydantic import Field, model_validator

from fieldmark.core.errors import DataError, PlanError, nearest, several
from fieldmark.core.spec import Spec, read_spec
from fieldmark.data.vocabulary import Applies, Question

FILE = "questions.toml"
"""Looked for beside a table."""


class QuestionEntry(Spec):
    """A question as a user writes it.

    Attributes:
        name: Of the column.
        answers: That it may get, in order; empty: those that occur, sorted.
        applies: ``{ category = ["shoe"] }``: asked only where that earlier question has one of these answers.
        below: An earlier question; each answer is a kind of those of its answers that it occurs with.
        code: See ``fieldmark.data.vocabulary.Question``.
        codes: Of each answer.
    """

    name: Annotated[str, Field(min_length=1)]
    answers: tuple[str, ...] = ()
    applies: Annotated[Mapping[str, tuple[str, ...]], Field(max_length=1)] = {}
    below: str | None = None
    code: str = ""
    codes: Mapping[str, str] = {}


class _File(Spec):
    questions: Annotated[tuple[QuestionEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ties_look_back(self) -> Self:
        earlier: set[str] = set()
        wrong = []
        for one in self.questions:
            wrong += [f"{one.name!r} stands twice"] if one.name in earlier else []
            ties = [*one.applies, *([one.below] if one.below is not None else [])]
            wrong += [f"{one.name!r} depends on {tie!r}" for tie in ties if tie not in earlier]
            earlier.add(one.name)
        if wrong:
            raise DataError(
                "Questions do not fit together.",
                got=several(wrong),
                fix="give each question once, after those that it depends on.",
            )
        return self


def read_questions(path: Path) -> tuple[QuestionEntry, ...]:
    """The questions in a TOML file.

    Raises:
        DataError: The file cannot be read, or its questions do not fit together.
    """
    try:
        return read_spec(_File, path).questions  # type: ignore[no-any-return]
    except PlanError as error:
        raise DataError(
            f"{path} holds no questions that can be read.",
            got=error.got,
            fix='write for each: [[questions]], name = "heel type", and if need be answers, applies, below.',
        ) from error


def questions_of(table: pl.DataFrame, asked: Sequence[QuestionEntry | str]) -> tuple[Question, ...]:
    """The questions with the answers that occur in a table, and what they are kinds of.

    Args:
        table: With a column of lists for each question.
        asked: Questions, or just their columns' names.

    Raises:
        DataError: A listed question has answers in the table that are not listed.
    """
    made: list[Question] = []
    for one in (QuestionEntry(name=each) if isinstance(each, str) else each for each in asked):
        occur = sorted(set(table[one.name].explode().drop_nulls().to_list()))
        answers = one.answers or tuple(occur)
        if strange := [answer for answer in occur if answer not in set(answers)]:
            raise DataError(
                f"The question {one.name!r} has answers that are not among those listed for it.",
                got=several(strange),
                fix=f"{nearest(strange[0], answers)[:-1]}; or add them to its answers.",
            )
        applies = next((Applies(question=name, answers=tuple(each)) for name, each in one.applies.items()), None)
        parents: tuple[tuple[str, ...], ...] = ()
        if one.below is not None:
            order = {answer: at for at, answer in enumerate(next(q.answers for q in made if q.name == one.below))}
            met = _met(table, one.name, one.below)
            # An answer that never occurs may be a kind of anything.
            parents = tuple(tuple(sorted(met.get(answer, order), key=order.__getitem__)) for answer in answers)
        codes = tuple(one.codes.get(answer, answer) for answer in answers) if one.codes else ()
        made.append(
            Question(
                name=one.name,
                answers=answers,
                applies=applies,
                below=one.below,
                parents=parents,
                code=one.code,
                codes=codes,
            )
        )
    return tuple(made)


def _met(table: pl.DataFrame, child: str, parent: str) -> dict[str, list[str]]:
    """The answers of ``parent`` that each answer of ``child`` stands beside in a row."""
    pairs = table.select(child=child, parent=parent).explode("child").explode("parent").drop_nulls().unique()
    found: dict[str, list[str]] = {}
    for one, above in pairs.iter_rows():
        found.setdefault(one, []).append(above)
    return found
