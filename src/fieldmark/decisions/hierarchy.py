"""Probabilities to one answer a question, such that the answers agree with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from fieldmark.core.errors import FieldmarkError, nearest, several
from fieldmark.decisions.questions import Questions

NOT_ASKED = -2
"""The question does not apply to that photo."""
LEAST = 1e-12
"""An answer without any chance counts as this, so that answers that contradict each other still find an order."""
CELLS = 2**21
WIDEST = 2**20
"""Combinations of answers that may have to be looked at together; a chain or tree of questions needs a few thousand."""

Below = Mapping[str, tuple[str, Mapping[str, Sequence[str]]]]
Applies = Mapping[str, tuple[str, Sequence[str]]]


@dataclass(frozen=True, eq=False)
class Tree:
    """Questions and how their answers hang together.

    Attributes:
        names: Of the questions.
        answers: Of each question, in column order.
        question_of: The question of each answer column.
        above: For each question the questions it hangs from, and which of its own answers go with each of theirs; a
            row without any: the question does not apply there. None, one, or two (one for ``below``, one for
            ``applies``).
        order: The questions, each after those it hangs from.
    """

    names: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    question_of: Int64[np.ndarray, " answer"]
    above: tuple[tuple[tuple[int, Bool[np.ndarray, "parent child"]], ...], ...]
    order: tuple[int, ...]

    @classmethod
    def of(
        cls,
        questions: Sequence[tuple[str, Sequence[str]]],
        below: Below | None = None,
        applies: Applies | None = None,
    ) -> Tree:
        """The tree of plainly named questions.

        Args:
            questions: Each with its answers, in column order; answers may be shared between questions.
            below: For a question the one above it, and for its answers those of the other that they may be a kind of:
                ``{"article": ("group", {"shirt": ["top"], "suit": ["top", "set"]})}``. An answer that is not
                mentioned may be a kind of any. Where nothing lies below the answer above, the question does not apply.
            applies: For a question the one that decides whether it is asked, and its answers with which it is:
                ``{"heel": ("category", ["shoe"])}``. Where that question does not apply, neither does this one.

        Raises:
            FieldmarkError: Names are unknown or stand twice, an answer is a kind of nothing, questions hang from each
                other in a circle, or are so entangled that the best answers cannot be found exactly.

        Example:
            >>> asked = [("kind", ["shoe", "dress"]), ("heel", ["flat", "high"])]
            >>> Tree.of(asked, applies={"heel": ("kind", ["shoe"])}).order
            (0, 1)
        """
        below, applies = below or {}, applies or {}
        _refuse(_mistakes(questions, below, applies))
        names = tuple(name for name, _ in questions)
        number = {name: at for at, name in enumerate(names)}
        answers = tuple(tuple(each) for _, each in questions)
        above: list[tuple[tuple[int, np.ndarray], ...]] = []
        for name, own in zip(names, answers, strict=True):
            hung: dict[int, np.ndarray] = {}
            if name in below:
                parent, kinds = below[name]
                theirs = answers[number[parent]]
                hung[number[parent]] = np.array([[a in kinds.get(one, theirs) for one in own] for a in theirs])
            if name in applies:
                parent, asked = applies[name]
                row = np.array([answer in set(asked) for answer in answers[number[parent]]])[:, None]
                hung[number[parent]] = hung.get(number[parent], True) & np.broadcast_to(row, (len(row), len(own)))
            above.append(tuple(hung.items()))
        question_of = np.repeat(np.arange(len(names)), [len(each) for each in answers])
        tree = cls(names, answers, question_of, tuple(above), _order(names, above))
        _refuse_entangled(tree)
        return tree

    @property
    def width(self) -> tuple[int, ...]:
        """How many answers each question has."""
        return tuple(len(each) for each in self.answers)

    def agrees(self, answer: Int[np.ndarray, "image question"]) -> Bool[np.ndarray, "image question"]:
        """Which answers go with the answers above them; an answer where the question does not apply does not."""
        first = Questions.of(self.question_of).first
        own = np.where(np.asarray(answer) >= 0, np.asarray(answer) - first, NOT_ASKED)
        good = np.ones(own.shape, bool)
        for question, hung in enumerate(self.above):
            if hung:
                allowed = self._open(question, own)
                here = np.take_along_axis(allowed, np.maximum(own[:, [question]], 0), axis=1)[:, 0]
                good[:, question] = np.where(own[:, question] >= 0, here, ~allowed.any(axis=1))
        return good

    def _open(self, question: int, own: np.ndarray) -> np.ndarray:
        """Which answers each photo's answers above leave open; none where the question does not apply."""
        free = np.ones((len(own), self.width[question]), bool)
        for parent, allowed in self.above[question]:
            free &= allowed[np.maximum(own[:, parent], 0)] & (own[:, [parent]] >= 0)
        return free


def likeliest(
    proba: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"]
) -> Int64[np.ndarray, "image question"]:
    """The most probable answer (column) of each question on its own; the first of equal ones.

    Raises:
        ShapeError: The arrays do not fit each other.
    """
    questions, proba = Questions.of(question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    return questions.first_highest(proba)


def resolve(
    proba: Float[np.ndarray, "image answer"], tree: Tree, *, answer_all: bool = False
) -> Int64[np.ndarray, "image question"]:
    """The jointly most probable answers (columns) among those that agree with each other.

    If "shirt" is slightly likelier than "sandal" but "footwear" is certain, the answer is "footwear, sandal". Of all
    sheets of answers that contradict nothing, the one with the greatest product of probabilities is taken. A question
    that does not apply counts with its own best answer, as a sheet that asks everything would; so a category is not
    preferred because fewer questions follow from it.

    Args:
        proba: Of each answer; sums to 1 within each question.
        tree: How the answers hang together.
        answer_all: Give the questions that do not apply their own likeliest answer (contests want one); else they
            get -2.

    Returns:
        An answer column, or -2 where the question does not apply.

    Raises:
        ShapeError: There is not one column for each answer of the tree.
        FieldmarkError: A number is NaN or negative.

    Source:
        Ours: max-product elimination of the questions, last ones first, which is exact.
    """
    questions, proba = Questions.of(tree.question_of), np.asarray(proba)
    questions.must_fit("proba", proba)
    if not (proba >= 0).all():
        raise FieldmarkError(
            "Answers are settled by probabilities.",
            got=f"{int((~(proba >= 0)).sum())} numbers that are NaN or negative",
            fix="pass numbers from 0 to 1.",
        )
    chosen = np.full((len(proba), len(questions)), NOT_ASKED, np.int64)
    rows = max(1, CELLS // max(_cells(tree)))
    for start in range(0, len(proba), rows):
        block = proba[start : start + rows].astype(np.float64)
        chosen[start : start + rows] = _settled(np.log(np.maximum(block, LEAST)), tree, questions)
    answer = np.where(chosen >= 0, chosen + questions.first, NOT_ASKED)
    return filled(answer, proba, tree.question_of) if answer_all else answer


def filled(
    answer: Int[np.ndarray, "image question"],
    proba: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
) -> Int64[np.ndarray, "image question"]:
    """The answers, and where a question does not apply its own likeliest answer."""
    return np.where(answer >= 0, answer, likeliest(proba, question_of))


def _settled(nats: np.ndarray, tree: Tree, questions: Questions) -> np.ndarray:
    """The best answer (0, 1, ... within its question) for each photo and question."""
    # What each answer loses against the best one; 0 for "does not apply", which stands last.
    lost = nats - questions.widened(questions.highest(nats))
    own = [np.pad(lost[:, columns], ((0, 0), (0, 1))) for columns in questions.slices]
    messages: list[tuple[tuple[int, ...], np.ndarray]] = []
    choices: dict[int, tuple[tuple[int, ...], np.ndarray]] = {}
    for question in reversed(tree.order):
        mine = [one for one in messages if question in one[0]]
        messages = [one for one in messages if question not in one[0]]
        scope = _scope(tree, question, [seen for seen, _ in mine])
        total = _spread(own[question], (question,), scope) + _rules(tree, question, scope)
        for seen, message in mine:
            total = total + _spread(message, seen, scope)
        choices[question] = (scope[:-1], total.argmax(axis=-1))
        messages.append((scope[:-1], total.max(axis=-1)))
    chosen = np.zeros((len(nats), len(questions)), np.int64)
    for question in tree.order:
        scope, best = choices[question]
        index = (np.arange(len(nats)), *(chosen[:, parent] for parent in scope))
        chosen[:, question] = np.broadcast_to(best, (len(nats), *best.shape[1:]))[index]
    return np.where(chosen < np.array(tree.width), chosen, NOT_ASKED)


def _rules(tree: Tree, question: int, scope: tuple[int, ...]) -> np.ndarray:
    """0 where an answer agrees with the answers above, else -inf; one row for all photos."""
    if not tree.above[question]:
        open_ = np.array([[*[True] * tree.width[question], False]])
        seen: tuple[int, ...] = (question,)
    else:
        seen = (*sorted(parent for parent, _ in tree.above[question]), question)
        free = np.ones((1, *(tree.width[one] + 1 for one in seen[:-1]), tree.width[question]), bool)
        for parent, allowed in tree.above[question]:
            free &= _spread(np.pad(allowed, ((0, 1), (0, 0)))[None], (parent, question), seen)
        open_ = np.concatenate([free, ~free.any(axis=-1, keepdims=True)], axis=-1)
    return _spread(np.where(open_, 0.0, -np.inf), seen, scope)


def _spread(values: np.ndarray, seen: tuple[int, ...], scope: tuple[int, ...]) -> np.ndarray:
    """``values`` over (photo, *seen) as one that broadcasts over (photo, *scope)."""
    order = sorted(range(len(seen)), key=lambda axis: scope.index(seen[axis]))
    values = values.transpose(0, *(axis + 1 for axis in order))
    sides = iter(values.shape[1:])
    return values.reshape(len(values), *(next(sides) if one in seen else 1 for one in scope))


def _scope(tree: Tree, question: int, seen: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The questions that must be looked at together to drop ``question``; itself last."""
    others = {parent for parent, _ in tree.above[question]} | {one for each in seen for one in each}
    return (*sorted(others - {question}), question)


def _cells(tree: Tree) -> list[int]:
    """Combinations of answers to be looked at as each question is dropped."""
    seen: list[tuple[int, ...]] = []
    cells = []
    for question in reversed(tree.order):
        scope = _scope(tree, question, [one for one in seen if question in one])
        seen = [one for one in seen if question not in one] + [scope[:-1]]
        size = 1
        for one in scope:
            size *= tree.width[one] + 1
        cells.append(size)
    return cells


def _mistakes(questions: Sequence[tuple[str, Sequence[str]]], below: Below, applies: Applies) -> list[str]:
    names = [name for name, _ in questions]
    own = {name: list(answers) for name, answers in questions}
    wrong = [] if names else ["there is no question"]
    wrong += [f"{name!r} stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
    wrong += [f"{name!r} has no answers" for name, answers in own.items() if not answers]
    wrong += [f"{name!r} has an answer twice" for name, answers in own.items() if len(set(answers)) < len(answers)]
    ties = [("below", child, parent, list(kinds), kinds.values()) for child, (parent, kinds) in below.items()]
    ties += [("applies", child, parent, [], [asked]) for child, (parent, asked) in applies.items()]
    for kind, child, parent, listed, theirs in ties:
        unknown = [name for name in (child, parent) if name not in own]
        wrong += [f"{kind}: there is no question {name!r}; {nearest(name, own)}" for name in unknown]
        if unknown:
            continue
        wrong += [f"{kind}: {child!r} has no answer {one!r}" for one in listed if one not in own[child]]
        wrong += [
            f"{kind}: {parent!r} has no answer {one!r}" for each in theirs for one in each if one not in own[parent]
        ]
        wrong += [f"{kind}: an answer of {child!r} goes with none of {parent!r}" for each in theirs if not list(each)]
    return list(dict.fromkeys(wrong))


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise FieldmarkError(
            "The questions do not fit together.",
            got=several(mistakes),
            fix="name each question once, with its answers, and let below and applies name only those.",
        )


def _order(names: tuple[str, ...], above: Sequence[Sequence[tuple[int, np.ndarray]]]) -> tuple[int, ...]:
    sorter = TopologicalSorter({child: [parent for parent, _ in hung] for child, hung in enumerate(above)})
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        circle = " -> ".join(repr(names[one]) for one in error.args[1])
        raise FieldmarkError(
            "Questions hang from each other in a circle.",
            got=circle,
            fix="let one of them hang from none of the others: take it out of below or applies.",
        ) from error


def _refuse_entangled(tree: Tree) -> None:
    cells = _cells(tree)
    if max(cells) > WIDEST:
        name = tree.names[tuple(reversed(tree.order))[int(np.argmax(cells))]]
        raise FieldmarkError(
            "Questions hang together so closely that their best answers cannot be found.",
            got=f"{max(cells):,} combinations around {name!r}; at most {WIDEST:,}",
            fix="let each question hang from one other: leave out an applies that follows from below.",
        )
