"""Definition of questions: the columns of a table that are questions and their relations, from a small TOML file."""

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
"""Default name of the file, in the folder of the table."""


class QuestionEntry(Spec):
    """A question as the user defines it.

    Attributes:
        name: Name of the column.
        answers: Possible answers in order; empty: the answers that occur, sorted.
        applies: Condition such as ``{ category = ["shoe"] }``: the question applies only if the earlier question has
            one of these answers.
        below: Name of an earlier question that is the parent in a hierarchy. The parents of an answer are the answers
            that occur together with it.
        code: Id of the question in the files of a contest; see ``fieldmark.data.vocabulary.Question``.
        codes: Id of each answer in these files.
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
    def _relations_point_back(self) -> Self:
        earlier: set[str] = set()
        wrong = []
        for one in self.questions:
            wrong += [f"{one.name!r} occurs twice"] if one.name in earlier else []
            parents = [*one.applies, *([one.below] if one.below is not None else [])]
            wrong += [f"{one.name!r} depends on {parent!r}" for parent in parents if parent not in earlier]
            earlier.add(one.name)
        if wrong:
            raise DataError(
                "Some questions occur twice or depend on later questions.",
                got=several(wrong),
                fix="list each question once, after the questions that it depends on.",
            )
        return self


def read_questions(path: Path) -> tuple[QuestionEntry, ...]:
    """Read the questions in a TOML file.

    Raises:
        DataError: The file cannot be read, or a question occurs twice or depends on a later one.
    """
    try:
        return read_spec(_File, path).questions  # type: ignore[no-any-return]
    except PlanError as error:
        raise DataError(
            f"The questions in {path} cannot be read.",
            got=error.got,
            fix='write [[questions]] and name = "heel type" for each question; optional: answers, applies, below.',
        ) from error


def questions_of(table: pl.DataFrame, entries: Sequence[QuestionEntry | str]) -> tuple[Question, ...]:
    """Create the questions of a vocabulary, with the answers in a table and their parents in the hierarchy.

    Args:
        table: Frame with a column of lists for each question.
        entries: Questions, or only the names of their columns.

    Raises:
        DataError: The table has answers that are not among the listed answers of a question.
    """
    made: list[Question] = []
    for one in (QuestionEntry(name=each) if isinstance(each, str) else each for each in entries):
        occur = sorted(set(table[one.name].explode().drop_nulls().to_list()))
        answers = one.answers or tuple(occur)
        if unlisted := [answer for answer in occur if answer not in set(answers)]:
            raise DataError(
                f"The question {one.name!r} has answers in the table that are not in its list of answers.",
                got=several(unlisted),
                fix=f"{nearest(unlisted[0], answers)[:-1]}; or add them to the list.",
            )
        applies = next((Applies(question=name, answers=tuple(each)) for name, each in one.applies.items()), None)
        parents: tuple[tuple[str, ...], ...] = ()
        if one.below is not None:
            order = {answer: at for at, answer in enumerate(next(q.answers for q in made if q.name == one.below))}
            met = _met(table, one.name, one.below)
            # An answer that never occurs may have any parent.
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
    """For each answer of ``child`` the answers of ``parent`` that occur in the same row."""
    pairs = table.select(child=child, parent=parent).explode("child").explode("parent").drop_nulls().unique()
    found: dict[str, list[str]] = {}
    for answer, parent_answer in pairs.iter_rows():
        found.setdefault(answer, []).append(parent_answer)
    return found
