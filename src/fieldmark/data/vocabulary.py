"""The vocabulary: names of identities, of tags in groups, and of questions with their answers, and their columns."""

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
"""Class of a photo of an unknown individual."""
UNLABELLED = -2
"""Class of a photo without identity in the table."""
GROUP_MARK = "::"
UNKNOWN_NAMES = ("new_whale", "unknown", "new_individual")
"""Labels of unknown individuals that are recognised automatically in tables, in upper or lower case."""
NEW_INDIVIDUAL = "new_individual"
"""Label of unknown individuals in answers, if the table has none."""


class Applies(Spec):
    """Condition under which a question applies: another question has one of these answers."""

    question: str
    answers: Annotated[tuple[str, ...], Field(min_length=1)]


class Question(Spec):
    """A question about photos, with its possible answers. Several questions may have the same answer.

    Attributes:
        name: Name of the question.
        answers: Possible answers, in column order.
        applies: Condition on an earlier question (example: heel type applies to shoes only); None: it always applies.
        below: Earlier question that is the parent in a hierarchy (example: shirt is a kind of topwear); None: none.
        parents: For each answer its possible parents among the answers of ``below``; several if the table is ambiguous.
        code: Id of the question in the files of a contest; "": the files use its name.
        codes: Id of each answer in these files; empty: the files use names.
    """

    name: str
    answers: tuple[str, ...]
    applies: Applies | None = None
    below: str | None = None
    parents: tuple[tuple[str, ...], ...] = ()
    code: str = ""
    codes: tuple[str, ...] = ()


class Vocabulary(Spec):
    """The names that a model can predict, in the order of its columns.

    Identities, tags and questions may each be empty. The label of unknown individuals (such as ``new_whale``) is not a
    class: it has no column, and its photos have the class -1. Every vocabulary has such a label, because answers can be
    "unknown" even if no photo of the table has it. Files contain names of labels; columns are used only inside of
    functions.

    Attributes:
        identities: Names of the known individuals, in column order.
        unknown: Label of unknown individuals. If it is empty, or null in a file, ``default_unknown()`` is used.
        tags: Names of the tags, in column order.
        tag_groups: Group of each tag, in the order of ``tags``; "" for tags without a group.
        questions: Questions in order, each with its answers in column order.
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
        """Create a vocabulary of names that occur in a table.

        Args:
            identities: Names of individuals in any order, with repeats. They are sorted, and ``unknown`` is removed.
            unknown: Label of unknown individuals; None: ``default_unknown()``.
            tags: Names of tags in column order, without repeats.
            tag_groups: Group of each tag; None: the text before "::" is the group.
            questions: For each question its answers in column order, or ``Question`` objects.

        Raises:
            DataError: A name occurs twice, or a tag has no group in ``tag_groups``.
        """
        tags = tuple(tags)
        if tag_groups is None:
            groups = tuple(tag.partition(GROUP_MARK)[0] if GROUP_MARK in tag else "" for tag in tags)
        else:
            missing = [tag for tag in tags if tag not in tag_groups]
            if missing:
                raise DataError(
                    "tag_groups: some tags have no group.",
                    got=several(missing),
                    fix="give a group for every tag, or for none.",
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
    def _unknown_has_a_label(cls, unknown: object, info: ValidationInfo) -> object:
        return unknown or default_unknown(info.data.get("identities", ()))

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        lists = {"identity": self.identities, "tag": self.tags, "question": [q.name for q in self.questions]}
        lists |= {f"answer of {question.name!r}": question.answers for question in self.questions}
        twice = [f"{kind} {name!r}" for kind, names in lists.items() for name in _repeated(names)]
        if twice:
            raise DataError("The vocabulary has repeated names.", got=several(twice), fix="give each name once.")
        if self.unknown in self.identities:
            raise DataError(
                "The label of unknown individuals is also the name of a known individual.",
                got=self.unknown,
                fix="remove it from identities; it is not a class.",
            )
        if len(self.tag_groups) != len(self.tags):
            raise DataError(
                "tag_groups must have one group for each tag.",
                got=f"{len(self.tags)} tags, {len(self.tag_groups)} groups",
                fix="give tag_groups as many entries as tags; '' means no group.",
            )
        if wrong := _wrong_relations(self.questions):
            raise DataError(
                "Some relations between questions are invalid.",
                got=several(wrong),
                fix="use earlier questions and their answers in 'applies' and 'below'.",
            )
        return self

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a vocabulary from the JSON text of ``to_json``.

        Raises:
            DataError: The text is not a vocabulary.
        """
        try:
            return cls.model_validate_json(text)
        except (ValidationError, FieldmarkError) as error:
            raise DataError(
                "The vocabulary cannot be read.",
                got=error,
                fix="read the table again and write the collection; this writes a new vocabulary.json.",
            ) from error

    def to_json(self) -> str:
        """The vocabulary as JSON text for ``from_json``."""
        return self.model_dump_json(indent=1)

    @property
    def has_default_unknown(self) -> bool:
        """Whether ``unknown`` is the default label, as for a table without unknown individuals."""
        return self.unknown in {default_unknown(self.identities, word) for word in UNKNOWN_NAMES}

    @cached_property
    def _class_of(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.identities)}

    @cached_property
    def _tag_column(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.tags)}

    def classes(self, names: Sequence[str | None] | pl.Series) -> Int64[np.ndarray, " image"]:
        """Classes (columns) of identity names; -1 for the label of unknown individuals, -2 for None.

        Raises:
            DataError: A name is neither a known identity nor the label of unknown individuals.
        """
        table: dict[str | None, int] = {**self._class_of, None: UNLABELLED, self.unknown: UNKNOWN}
        try:
            return np.fromiter((table[name] for name in names), dtype=np.int64, count=len(names))
        except KeyError as error:
            is_named = self.unknown != default_unknown(self.identities)
            known = (*self.identities, self.unknown) if is_named else self.identities
            raise _not_found("identity", error.args[0], known) from None

    def identity(self, column: int) -> str:
        """The name of a class; for -1 the label of unknown individuals.

        Raises:
            DataError: There is no such class.
        """
        if column == UNKNOWN:
            return self.unknown
        if not 0 <= column < len(self.identities):
            last = len(self.identities) - 1
            raise DataError("There is no identity with that class.", got=column, fix=f"use a class from 0 to {last}.")
        return self.identities[column]

    def truth(self, labels: Sequence[Sequence[str] | None] | pl.Series) -> Float32[np.ndarray, "image label"]:
        """Label matrix of tags: 1 if the photo has the tag, else 0. Photos without labels have rows of zeros.

        Raises:
            DataError: A label is not among the tags.
        """
        return _one_hot(labels, self._tag_column, kind="tag")

    def question(self, name: str) -> Question:
        """The question with the given name.

        Raises:
            DataError: There is no question of that name.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise _not_found("question", name, [question.name for question in self.questions])

    def answers(
        self, name: str, given: Sequence[Sequence[str] | None] | pl.Series
    ) -> Float32[np.ndarray, "image label"]:
        """Label matrix of one question: 1 for right answers, else 0. Unlabelled photos have rows of zeros.

        Args:
            name: Name of the question.
            given: For each photo its right answers (there may be several), or None.

        Raises:
            DataError: There is no such question, or an answer is not allowed.
        """
        columns = {answer: column for column, answer in enumerate(self.question(name).answers)}
        return _one_hot(given, columns, kind=f"answer to {name!r}")

    @cached_property
    def every_answer(self) -> tuple[str, ...]:
        """The answers of all questions, in one sequence."""
        return tuple(answer for one in self.questions for answer in one.answers)

    @cached_property
    def answer_names(self) -> tuple[str, ...]:
        """A unique name for each answer, such as ``heel type::flat``. The question is the group of its answers."""
        return tuple(f"{one.name}{GROUP_MARK}{answer}" for one in self.questions for answer in one.answers)

    @cached_property
    def question_of(self) -> Int64[np.ndarray, " answer"]:
        """The number of the question to which each of ``answer_names`` belongs."""
        return np.repeat(np.arange(len(self.questions)), [len(one.answers) for one in self.questions])

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Columns of each group of tags. Groups are in the order of their first tag."""
        columns: dict[str, list[int]] = {}
        for column, group in enumerate(self.tag_groups):
            columns.setdefault(group, []).append(column)
        return {group: tuple(members) for group, members in columns.items()}


def default_unknown(identities: Iterable[str], usual: str = NEW_INDIVIDUAL) -> str:
    """A label of unknown individuals for tables without one. No known individual has this name.

    It contains no spaces, so it can be used in the submission of a contest.

    Args:
        identities: Names of the known individuals.
        usual: Preferred label, used if no individual has it; for example ``new_whale`` for the whale contests.
    """
    taken = {name.strip().casefold() for name in identities}
    numbered = (f"{NEW_INDIVIDUAL}_{number}" for number in range(2, len(taken) + 3))
    return next(word for word in (usual, NEW_INDIVIDUAL, *numbered) if word.casefold() not in taken)


def _wrong_relations(questions: Sequence[Question]) -> list[str]:
    """Relations to questions or answers that do not exist or come later. So no question can depend on itself."""
    wrong: list[str] = []
    earlier: dict[str, tuple[str, ...]] = {}
    for one in questions:
        if one.applies is not None:
            missing = sorted(set(one.applies.answers) - set(earlier.get(one.applies.question, ())))
            if missing:
                wrong.append(f"{one.name!r} applies where {one.applies.question!r} is {several(missing)}")
        if one.below is not None:
            possible = set(earlier.get(one.below, ()))
            wrong += [f"{one.name!r} is below {one.below!r}"] if one.below not in earlier else []
            if len(one.parents) != len(one.answers) or not all(possible.issuperset(names) for names in one.parents):
                wrong.append(f"{one.name!r}: parents of {len(one.parents)} of {len(one.answers)} answers")
        elif one.parents:
            wrong.append(f"{one.name!r} has parents, but 'below' is empty")
        if len(one.codes) not in {0, len(one.answers)}:
            wrong.append(f"{one.name!r}: {len(one.codes)} codes for {len(one.answers)} answers")
        earlier[one.name] = one.answers
    return wrong


def _one_hot(
    lists: Sequence[Sequence[str] | None] | pl.Series, columns: Mapping[str, int], *, kind: str
) -> Float32[np.ndarray, "image label"]:
    """A matrix with one row for each list, with 1 in the columns of its names."""
    matrix = np.zeros((len(lists), len(columns)), dtype=np.float32)
    lists = lists if isinstance(lists, pl.Series) else pl.Series(lists, dtype=pl.List(pl.String))
    pairs = pl.DataFrame({"name": lists}).with_row_index("row").explode("name").drop_nulls("name")
    try:
        at = np.fromiter((columns[name] for name in pairs["name"]), dtype=np.int64, count=len(pairs))
    except KeyError as error:
        raise _not_found(kind, error.args[0], columns) from None
    matrix[pairs["row"].to_numpy(), at] = 1
    return matrix


def _not_found(kind: str, name: object, known: Iterable[str]) -> DataError:
    """The error for a name that is not in the vocabulary."""
    known = list(known)
    few = len(known) <= 20  # a list of 5,004 whales does not help
    hint = nearest(str(name), known)
    if not few and not hint.startswith("did"):
        hint = (
            f"use one of the {len(known)} known names, such as {', '.join(repr(each) for each in sorted(known)[:3])}."
        )
    return DataError(
        f"The vocabulary has no {kind} of that name.",
        got=name,
        fix=hint if known else f"use a table with at least one {kind}.",
    )


def _repeated(names: Sequence[str]) -> list[str]:
    """The names that occur more than once."""
    return [name for name, number in Counter(names).items() if number > 1]
