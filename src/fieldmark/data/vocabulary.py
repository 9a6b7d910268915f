"""Label names to columns and back: identities, tags in groups, questions with their allowed answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Self

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from fieldmark.core.errors import DataError, FieldmarkError, nearest, several
from fieldmark.core.spec import Spec

UNKNOWN = -1
"""Class of a photo of nobody we know (the unknown identity)."""
UNLABELLED = -2
"""Class of a photo of which no identity is given."""
GROUP_MARK = "::"
UNKNOWN_NAMES = ("new_whale", "unknown", "new_individual")
"""Labels of unknown individuals that are recognised in tables without being named, in any case of letters."""
NEW_INDIVIDUAL = "new_individual"
"""Label of unknown individuals in answers, where the table has none."""


class Applies(Spec):
    """When a question is asked at all: where another question has one of these answers."""

    question: str
    answers: Annotated[tuple[str, ...], Field(min_length=1)]


class Question(Spec):
    """One thing that is asked of a photo, with the answers it may get; answers may be shared between questions.

    Attributes:
        name: Of the question.
        answers: That it may get, in column order.
        applies: Asked only of photos where an earlier question has certain answers (heels: of shoes); None: of all.
        below: An earlier question whose answers these are kinds of (shirt, of topwear); None: none.
        parents: For each answer those of ``below`` that it may be a kind of; several where tables disagree.
        code: What a contest's files call the question; "" where they use its name.
        codes: The same for each answer; empty where they use names.
    """

    name: str
    answers: tuple[str, ...]
    applies: Applies | None = None
    below: str | None = None
    parents: tuple[tuple[str, ...], ...] = ()
    code: str = ""
    codes: tuple[str, ...] = ()


class Vocabulary(Spec):
    """The names a model can say, in the order of its columns.

    Identities, tags and questions may each be empty. The unknown identity (``new_whale``) is a label, not a class: it
    has no column, and photos that carry it have class -1. Every vocabulary has one, as answers may say "unknown" where
    no known photo does. Files address labels by name; columns are only for use inside a function.

    Attributes:
        identities: Names of the known individuals, in column order.
        unknown: Label of unknown individuals. Empty, or null in a file: ``default_unknown()``.
        tags: Names of the tags, in column order.
        tag_groups: The group of each tag, as long as ``tags``; "" for tags without one.
        questions: The questions in order, each with its answers in column order.
    """

    identities: tuple[str, ...] = ()
    unknown: Annotated[str, Field(validate_default=True)] = ""
    tags: tuple[str, ...] = ()
    tag_groups: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        identities: Iterable[str] = (),
        unknown: str | None = None,
        tags: Iterable[str] = (),
        tag_groups: Mapping[str, str] | None = None,
        questions: Mapping[str, Iterable[str]] | Iterable[Question] | None = None,
    ) -> Self:
        """A vocabulary of the names that occur in a table.

        Args:
            identities: Names in any order, repeats allowed; sorted here, ``unknown`` left out.
            unknown: Label of unknown individuals; None: ``default_unknown()``.
            tags: Names in column order, without repeats.
            tag_groups: Group of each tag; without it the text before "::" is the group.
            questions: Answers of each question in column order, or whole questions.

        Raises:
            DataError: A name stands twice, or a tag has no group in ``tag_groups``.
        """
        tags = tuple(tags)
        if tag_groups is None:
            groups = tuple(tag.partition(GROUP_MARK)[0] if GROUP_MARK in tag else "" for tag in tags)
        else:
            homeless = [tag for tag in tags if tag not in tag_groups]
            if homeless:
                raise DataError(
                    "Some tags have no group.", got=several(homeless), fix="name a group for every tag, or for none."
                )
            groups = tuple(tag_groups[tag] for tag in tags)
        return cls(
            identities=tuple(sorted({name for name in identities if name != unknown})),
            unknown=unknown or "",
            tags=tags,
            tag_groups=groups,
            questions=tuple(Question(name=name, answers=tuple(answers)) for name, answers in (questions or {}).items())
            if isinstance(questions, Mapping | None)
            else tuple(questions),
        )

    @field_validator("unknown", mode="before")
    @classmethod
    def _unknown_has_a_word(cls, unknown: object, info: ValidationInfo) -> object:
        return unknown or default_unknown(info.data.get("identities", ()))

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        lists = {"identity": self.identities, "tag": self.tags, "question": [q.name for q in self.questions]}
        lists |= {f"answer of {question.name!r}": question.answers for question in self.questions}
        twice = [f"{kind} {name!r}" for kind, names in lists.items() for name in _repeated(names)]
        if twice:
            raise DataError("A name stands twice in the vocabulary.", got=several(twice), fix="keep each name once.")
        if self.unknown in self.identities:
            raise DataError(
                "The unknown identity stands among the known ones.",
                got=self.unknown,
                fix="leave it out of identities; it is no class.",
            )
        if len(self.tag_groups) != len(self.tags):
            raise DataError(
                "Each tag needs one group.",
                got=f"{len(self.tags)} tags, {len(self.tag_groups)} groups",
                fix="give tag_groups as many entries as tags; '' stands for none.",
            )
        if wrong := _wrong_ties(self.questions):
            raise DataError(
                "Questions do not fit together.",
                got=several(wrong),
                fix="let 'applies' and 'below' name earlier questions and answers that those have.",
            )
        return self

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The vocabulary that ``to_json`` wrote.

        Raises:
            DataError: The text is no vocabulary.
        """
        try:
            return cls.model_validate_json(text)
        except (ValidationError, FieldmarkError) as error:
            raise DataError(
                "The vocabulary cannot be read.",
                got=error,
                fix="read the table again; vocabulary.json is written with it.",
            ) from error

    def to_json(self) -> str:
        """JSON text that ``from_json`` reads back to an equal value."""
        return self.model_dump_json(indent=1)

    @property
    def has_default_unknown(self) -> bool:
        """Whether ``unknown`` is the label that a table without unknown individuals gets."""
        return self.unknown in {default_unknown(self.identities, word) for word in UNKNOWN_NAMES}

    @cached_property
    def _class_of(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.identities)}

    @cached_property
    def _tag_column(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.tags)}

    def classes(self, names: Sequence[str | None] | pl.Series) -> Int64[np.ndarray, " image"]:
        """Columns of identity names; -1 for the unknown identity, -2 for None.

        Raises:
            DataError: A name is neither an identity nor the unknown one.
        """
        table: dict[str | None, int] = {**self._class_of, None: UNLABELLED, self.unknown: UNKNOWN}
        try:
            return np.fromiter((table[name] for name in names), dtype=np.int64, count=len(names))
        except KeyError as error:
            is_named = self.unknown != default_unknown(self.identities)
            known = (*self.identities, self.unknown) if is_named else self.identities
            raise _unheard("identity", error.args[0], known) from None

    def identity(self, column: int) -> str:
        """The name of a class; of -1 the unknown identity.

        Raises:
            DataError: There is no such class.
        """
        if column == UNKNOWN:
            return self.unknown
        if not 0 <= column < len(self.identities):
            last = len(self.identities) - 1
            raise DataError("There is no identity of that number.", got=column, fix=f"use a class from 0 to {last}.")
        return self.identities[column]

    def truth(self, labels: Sequence[Sequence[str] | None] | pl.Series) -> Float32[np.ndarray, "image label"]:
        """1 where the photo has the tag, else 0; photos without labels are rows of zeros.

        Raises:
            DataError: A label is not among the tags.
        """
        return _one_hot(labels, self._tag_column, kind="tag")

    def question(self, name: str) -> Question:
        """The question of that name.

        Raises:
            DataError: There is none.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise _unheard("question", name, [question.name for question in self.questions])

    def answers(
        self, name: str, given: Sequence[Sequence[str] | None] | pl.Series
    ) -> Float32[np.ndarray, "image label"]:
        """1 where the answer is right for the photo; a row of zeros where the question was not answered.

        Args:
            name: The question.
            given: For each photo its right answers (several may be right), or None.

        Raises:
            DataError: No such question, or an answer that is not allowed.
        """
        columns = {answer: column for column, answer in enumerate(self.question(name).answers)}
        return _one_hot(given, columns, kind=f"answer to {name!r}")

    @cached_property
    def every_answer(self) -> tuple[str, ...]:
        """The answers of all questions, one after the other."""
        return tuple(answer for one in self.questions for answer in one.answers)

    @cached_property
    def answer_names(self) -> tuple[str, ...]:
        """A name for each answer of each question, as ``heel type::flat``: the question is the group of its answers."""
        return tuple(f"{one.name}{GROUP_MARK}{answer}" for one in self.questions for answer in one.answers)

    @cached_property
    def question_of(self) -> Int64[np.ndarray, " answer"]:
        """The number of the question that each of ``answer_names`` answers."""
        return np.repeat(np.arange(len(self.questions)), [len(one.answers) for one in self.questions])

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Columns of each group of tags, groups in order of first appearance."""
        columns: dict[str, list[int]] = {}
        for column, group in enumerate(self.tag_groups):
            columns.setdefault(group, []).append(column)
        return {group: tuple(members) for group, members in columns.items()}


def default_unknown(identities: Iterable[str], usual: str = NEW_INDIVIDUAL) -> str:
    """A label of unknown individuals that no known individual has, for tables that name none.

    It has no blank in it, so that it can stand in a contest's submission.

    Args:
        identities: Names of the known individuals.
        usual: The label to use if it is free; ``new_whale`` in the form of the whale contests.
    """
    taken = {name.strip().casefold() for name in identities}
    numbered = (f"{NEW_INDIVIDUAL}_{number}" for number in range(2, len(taken) + 3))
    return next(word for word in (usual, NEW_INDIVIDUAL, *numbered) if word.casefold() not in taken)


def _wrong_ties(questions: Sequence[Question]) -> list[str]:
    """Ties to questions or answers that are not there, or come later (so that no question can depend on itself)."""
    wrong: list[str] = []
    earlier: dict[str, tuple[str, ...]] = {}
    for one in questions:
        if one.applies is not None:
            strange = sorted(set(one.applies.answers) - set(earlier.get(one.applies.question, ())))
            if strange:
                wrong.append(f"{one.name!r} applies where {one.applies.question!r} is {several(strange)}")
        if one.below is not None:
            above = set(earlier.get(one.below, ()))
            wrong += [f"{one.name!r} is below {one.below!r}"] if one.below not in earlier else []
            if len(one.parents) != len(one.answers) or not all(above.issuperset(names) for names in one.parents):
                wrong.append(f"{one.name!r}: parents of {len(one.parents)} of {len(one.answers)} answers")
        elif one.parents:
            wrong.append(f"{one.name!r} has parents but is below no question")
        if len(one.codes) not in {0, len(one.answers)}:
            wrong.append(f"{one.name!r}: {len(one.codes)} codes for {len(one.answers)} answers")
        earlier[one.name] = one.answers
    return wrong


def _one_hot(
    lists: Sequence[Sequence[str] | None] | pl.Series, columns: Mapping[str, int], *, kind: str
) -> Float32[np.ndarray, "image label"]:
    """A row for each list with 1 in the columns of its names."""
    matrix = np.zeros((len(lists), len(columns)), dtype=np.float32)
    lists = lists if isinstance(lists, pl.Series) else pl.Series(lists, dtype=pl.List(pl.String))
    pairs = pl.DataFrame({"name": lists}).with_row_index("row").explode("name").drop_nulls("name")
    try:
        at = np.fromiter((columns[name] for name in pairs["name"]), dtype=np.int64, count=len(pairs))
    except KeyError as error:
        raise _unheard(kind, error.args[0], columns) from None
    matrix[pairs["row"].to_numpy(), at] = 1
    return matrix


def _unheard(kind: str, name: object, known: Iterable[str]) -> DataError:
    """The refusal of a name that the vocabulary does not have."""
    known = list(known)
    few = len(known) <= 20  # a list of 5,004 whales is no help
    hint = nearest(str(name), known)
    if not few and not hint.startswith("did"):
        hint = (
            f"use one of the {len(known)} known names, such as {', '.join(repr(each) for each in sorted(known)[:3])}."
        )
    return DataError(
        f"The vocabulary has no {kind} of that name.", got=name, fix=hint if known else "it has none at all."
    )


def _repeated(names: Sequence[str]) -> list[str]:
    """The names that stand more than once."""
    return [name for name, number in Counter(names).items() if number > 1]
