"""Choose one answer per question so that all answers of a photo agree with the hierarchy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from fieldmark.core.errors import FieldmarkError, nearest, several
from fieldmark.decisions.questions import Questions

NOT_APPLICABLE = -2
"""The answer where a question does not apply to the photo."""
LEAST = 1e-12
"""Minimum probability of an answer, so that contradicting answers still have an order."""
CELLS = 2**21
WIDEST = 2**20
"""Maximum number of answer combinations evaluated together; a chain or tree of questions needs a few thousand."""

Below = Mapping[str, tuple[str, Mapping[str, Sequence[str]]]]
Applies = Mapping[str, tuple[str, Sequence[str]]]


@dataclass(frozen=True, eq=False)
class Tree:
    """Questions and the constraints between their answers.

    Attributes:
        names: Names of the questions.
        answers: Answers of each question, in column order.
        question_of: The question number of each answer column.
        parents: For each question its parent questions, each with a matrix of which own answers are allowed under each
            parent answer. A row without any allowed answer means that the question does not apply there. A question has
            no parent, one, or two (one for ``below``, one for ``applies``).
        order: Question numbers, parents before children.
    """

    names: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    question_of: Int64[np.ndarray, " answer"]
    parents: tuple[tuple[tuple[int, Bool[np.ndarray, "parent child"]], ...], ...]
    order: tuple[int, ...]

    @classmethod
    def of(
        cls,
        questions: Sequence[tuple[str, Sequence[str]]],
        below: Below | None = None,
        applies: Applies | None = None,
    ) -> Tree:
        """Build the tree from the names of questions and answers.

        Args:
            questions: Each question with its answers, in column order; questions may share answers.
            below: For a question its parent question, and for each of its answers the possible parent answers:
                ``{"article": ("group", {"shirt": ["top"], "suit": ["top", "set"]})}``. An answer that is not mentioned
                may have any parent. Under a parent answer without children, the question does not apply.
            applies: For a question the question that decides whether it applies, and the answers with which it does:
                ``{"heel": ("category", ["shoe"])}``. Where that question does not apply, neither does this one.

        Raises:
            FieldmarkError: Names are unknown or repeated, an answer has no parent answer, the questions form a cycle,
                or they have so many constraints that the best answers cannot be found exactly.

        Example:
            >>> questions = [("kind", ["shoe", "dress"]), ("heel", ["flat", "high"])]
            >>> Tree.of(questions, applies={"heel": ("kind", ["shoe"])}).order
            (0, 1)
        """
        below, applies = below or {}, applies or {}
        _refuse(_mistakes(questions, below, applies))
        names = tuple(name for name, _ in questions)
        number = {name: at for at, name in enumerate(names)}
        answers = tuple(tuple(each) for _, each in questions)
        parents_of: list[tuple[tuple[int, np.ndarray], ...]] = []
        for name, own in zip(names, answers, strict=True):
            parents: dict[int, np.ndarray] = {}
            if name in below:
                parent, kinds = below[name]
                parent_answers = answers[number[parent]]
                parents[number[parent]] = np.array(
                    [[a in kinds.get(one, parent_answers) for one in own] for a in parent_answers]
                )
            if name in applies:
                parent, required = applies[name]
                row = np.array([answer in set(required) for answer in answers[number[parent]]])[:, None]
                parents[number[parent]] = parents.get(number[parent], True) & np.broadcast_to(row, (len(row), len(own)))
            parents_of.append(tuple(parents.items()))
        question_of = np.repeat(np.arange(len(names)), [len(each) for each in answers])
        tree = cls(names, answers, question_of, tuple(parents_of), _order(names, parents_of))
        _refuse_too_many_constraints(tree)
        return tree

    @property
    def width(self) -> tuple[int, ...]:
        """Number of answers of each question."""
        return tuple(len(each) for each in self.answers)

    def agrees(self, answer: Int[np.ndarray, "image question"]) -> Bool[np.ndarray, "image question"]:
        """Return which answers agree with the parent answers.

        An answer to a question that does not apply does not agree.
        """
        first = Questions.of(self.question_of).first
        own = np.where(np.asarray(answer) >= 0, np.asarray(answer) - first, NOT_APPLICABLE)
        good = np.ones(own.shape, bool)
        for question, parents in enumerate(self.parents):
            if parents:
                allowed = self._open(question, own)
                here = np.take_along_axis(allowed, np.maximum(own[:, [question]], 0), axis=1)[:, 0]
                good[:, question] = np.where(own[:, question] >= 0, here, ~allowed.any(axis=1))
        return good

    def _open(self, question: int, own: np.ndarray) -> np.ndarray:
        """Return the answers that each photo's parent answers allow; none where the question does not apply."""
        free = np.ones((len(own), self.width[question]), bool)
        for parent, allowed in self.parents[question]:
            free &= allowed[np.maximum(own[:, parent], 0)] & (own[:, [parent]] >= 0)
        return free


def likeliest(
    proba: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"]
) -> Int64[np.ndarray, "image question"]:
    """Return the most probable answer (column) of each question by itself; the first one on a tie.

    Raises:
        ShapeError: The arrays do not match in shape.
    """
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    return questions.first_highest(proba)


def resolve(
    proba: Float[np.ndarray, "image answer"], tree: Tree, *, answer_all: bool = False
) -> Int64[np.ndarray, "image question"]:
    """Return the jointly most probable answers (columns) that agree with the hierarchy.

    Example: "shirt" is slightly more probable than "sandal", but "footwear" is certain. The result is "footwear,
    sandal". Of all combinations of answers without a contradiction, the one with the largest product of probabilities
    is chosen. A question that does not apply counts with its own most probable answer. So a category is not preferred
    only because fewer questions depend on it.

    Args:
        proba: Probability of each answer; sums to 1 within each question.
        tree: The constraints between the answers.
        answer_all: If True, questions that do not apply get their own most probable answer (contests require one); if
            False, they get -2.

    Returns:
        An answer column, or -2 where the question does not apply.

    Raises:
        ShapeError: The number of columns differs from the number of answers of the tree.
        FieldmarkError: A number is NaN or negative.

    Source:
        Ours: max-product elimination of the questions, last ones first, which is exact.
    """
    questions, proba = Questions.of(tree.question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    if not (proba >= 0).all():
        raise FieldmarkError(
            "proba must hold probabilities.",
            got=f"{int((~(proba >= 0)).sum())} numbers that are NaN or negative",
            fix="pass numbers from 0 to 1, for example the output of compete().",
        )
    chosen = np.full((len(proba), len(questions)), NOT_APPLICABLE, np.int64)
    rows = max(1, CELLS // max(_cells(tree)))
    for start in range(0, len(proba), rows):
        block = proba[start : start + rows].astype(np.float64)
        chosen[start : start + rows] = _resolved(np.log(np.maximum(block, LEAST)), tree, questions)
    answer = np.where(chosen >= 0, chosen + questions.first, NOT_APPLICABLE)
    return filled(answer, proba, tree.question_of) if answer_all else answer


def filled(
    answer: Int[np.ndarray, "image question"],
    proba: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
) -> Int64[np.ndarray, "image question"]:
    """Replace "does not apply" with the question's own most probable answer."""
    return np.where(answer >= 0, answer, likeliest(proba, question_of))


def _resolved(nats: np.ndarray, tree: Tree, questions: Questions) -> np.ndarray:
    """Return the best answer (0, 1, ... within its question) for each photo and question."""
    # Log-probability minus that of the best answer; 0 for "does not apply", which is the last column.
    lost = nats - questions.widened(questions.highest(nats))
    own = [np.pad(lost[:, columns], ((0, 0), (0, 1))) for columns in questions.slices]
    messages: list[tuple[tuple[int, ...], np.ndarray]] = []
    choices: dict[int, tuple[tuple[int, ...], np.ndarray]] = {}
    for question in reversed(tree.order):
        mine = [one for one in messages if question in one[0]]
        messages = [one for one in messages if question not in one[0]]
        scope = _scope(tree, question, [axes for axes, _ in mine])
        total = _spread(own[question], (question,), scope) + _rules(tree, question, scope)
        for axes, message in mine:
            total = total + _spread(message, axes, scope)
        choices[question] = (scope[:-1], total.argmax(axis=-1))
        messages.append((scope[:-1], total.max(axis=-1)))
    chosen = np.zeros((len(nats), len(questions)), np.int64)
    for question in tree.order:
        scope, best = choices[question]
        index = (np.arange(len(nats)), *(chosen[:, parent] for parent in scope))
        chosen[:, question] = np.broadcast_to(best, (len(nats), *best.shape[1:]))[index]
    return np.where(chosen < np.array(tree.width), chosen, NOT_APPLICABLE)


def _rules(tree: Tree, question: int, scope: tuple[int, ...]) -> np.ndarray:
    """Return 0 where an answer agrees with its parent answers, else -inf; one row for all photos."""
    if not tree.parents[question]:
        possible = np.array([[*[True] * tree.width[question], False]])
        axes: tuple[int, ...] = (question,)
    else:
        axes = (*sorted(parent for parent, _ in tree.parents[question]), question)
        free = np.ones((1, *(tree.width[one] + 1 for one in axes[:-1]), tree.width[question]), bool)
        for parent, allowed in tree.parents[question]:
            free &= _spread(np.pad(allowed, ((0, 1), (0, 0)))[None], (parent, question), axes)
        possible = np.concatenate([free, ~free.any(axis=-1, keepdims=True)], axis=-1)
    return _spread(np.where(possible, 0.0, -np.inf), axes, scope)


def _spread(values: np.ndarray, axes: tuple[int, ...], scope: tuple[int, ...]) -> np.ndarray:
    """Reshape ``values`` from (photo, *axes) so that it broadcasts over (photo, *scope)."""
    order = sorted(range(len(axes)), key=lambda axis: scope.index(axes[axis]))
    values = values.transpose(0, *(axis + 1 for axis in order))
    sides = iter(values.shape[1:])
    return values.reshape(len(values), *(next(sides) if one in axes else 1 for one in scope))


def _scope(tree: Tree, question: int, axes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the questions that must be evaluated together to eliminate ``question``; itself last."""
    others = {parent for parent, _ in tree.parents[question]} | {one for each in axes for one in each}
    return (*sorted(others - {question}), question)


def _cells(tree: Tree) -> list[int]:
    """Return the number of answer combinations evaluated as each question is eliminated."""
    axes: list[tuple[int, ...]] = []
    cells = []
    for question in reversed(tree.order):
        scope = _scope(tree, question, [one for one in axes if question in one])
        axes = [one for one in axes if question not in one] + [scope[:-1]]
        size = 1
        for one in scope:
            size *= tree.width[one] + 1
        cells.append(size)
    return cells


def _mistakes(questions: Sequence[tuple[str, Sequence[str]]], below: Below, applies: Applies) -> list[str]:
    names = [name for name, _ in questions]
    own = {name: list(answers) for name, answers in questions}
    wrong = [] if names else ["there is no question"]
    wrong += [f"{name!r} is given twice" for name in sorted({name for name in names if names.count(name) > 1})]
    wrong += [f"{name!r} has no answers" for name, answers in own.items() if not answers]
    wrong += [f"{name!r} has an answer twice" for name, answers in own.items() if len(set(answers)) < len(answers)]
    relations = [("below", child, parent, list(kinds), kinds.values()) for child, (parent, kinds) in below.items()]
    relations += [("applies", child, parent, [], [required]) for child, (parent, required) in applies.items()]
    for kind, child, parent, listed, parent_answers in relations:
        unknown = [name for name in (child, parent) if name not in own]
        wrong += [f"{kind}: there is no question {name!r}; {nearest(name, own)}" for name in unknown]
        if unknown:
            continue
        wrong += [f"{kind}: {child!r} has no answer {one!r}" for one in listed if one not in own[child]]
        wrong += [
            f"{kind}: {parent!r} has no answer {one!r}"
            for each in parent_answers
            for one in each
            if one not in own[parent]
        ]
        wrong += [
            f"{kind}: an answer of {child!r} has no parent answer of {parent!r}"
            for each in parent_answers
            if not list(each)
        ]
    return list(dict.fromkeys(wrong))


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise FieldmarkError(
            "The questions, 'below' and 'applies' contradict each other.",
            got=several(mistakes),
            fix="name each question once, with its answers, and use only those names in below and applies.",
        )


def _order(names: tuple[str, ...], parents_of: Sequence[Sequence[tuple[int, np.ndarray]]]) -> tuple[int, ...]:
    sorter = TopologicalSorter({child: [parent for parent, _ in parents] for child, parents in enumerate(parents_of)})
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        cycle = " -> ".join(repr(names[one]) for one in error.args[1])
        raise FieldmarkError(
            "The questions form a cycle: each is a parent of the next.",
            got=cycle,
            fix="remove one of these parents from below or applies.",
        ) from error


def _refuse_too_many_constraints(tree: Tree) -> None:
    cells = _cells(tree)
    if max(cells) > WIDEST:
        name = tree.names[tuple(reversed(tree.order))[int(np.argmax(cells))]]
        raise FieldmarkError(
            f"Question {name!r} has too many constraints: the best answers cannot be found exactly.",
            got=f"{max(cells):,} combinations of answers; at most {WIDEST:,} are possible",
            fix="give each question one parent: remove an applies that follows from below.",
        )
