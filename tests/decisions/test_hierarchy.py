"""Consistent answers, compared with brute force over all combinations of answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.hierarchy import NOT_APPLICABLE, Tree, likeliest, resolve

CLOTHES = Tree.of(
    [
        ("kind", ["shoe", "dress"]),
        ("group", ["top", "footwear"]),
        ("article", ["shirt", "sandal", "suit"]),
        ("heel", ["flat", "high"]),
    ],
    below={"article": ("group", {"shirt": ["top"], "sandal": ["footwear"], "suit": ["top", "footwear"]})},
    applies={"heel": ("kind", ["shoe"])},
)


def sheet(kind=(0.5, 0.5), group=(0.5, 0.5), article=(1 / 3, 1 / 3, 1 / 3), heel=(0.5, 0.5)):
    return np.array([[*kind, *group, *article, *heel]])


def test_without_relations_each_question_is_answered_by_itself_and_ties_go_to_the_first():
    proba = np.array([[0.2, 0.8, 0.4, 0.4, 0.2], [0.5, 0.5, 0.1, 0.2, 0.7]])
    question_of = np.array([0, 0, 1, 1, 1])
    assert likeliest(proba, question_of).tolist() == [[1, 2], [0, 4]]
    flat = Tree.of([("a", ["x", "y"]), ("b", ["x", "y", "z"])])
    assert resolve(proba, flat).tolist() == [[1, 2], [0, 4]]


def test_a_confident_parent_decides_the_child_and_vice_versa():
    confident_group = resolve(sheet(group=(0.05, 0.95), article=(0.5, 0.4, 0.1)), CLOTHES)
    assert confident_group[0, 1:3].tolist() == [3, 5]  # footwear, sandal, although shirt is more probable
    confident_article = resolve(sheet(group=(0.45, 0.55), article=(0.9, 0.05, 0.05)), CLOTHES)
    assert confident_article[0, 1:3].tolist() == [2, 4]  # top, shirt
    both = resolve(sheet(group=(0.3, 0.7), article=(0.1, 0.2, 0.7)), CLOTHES)
    assert both[0, 1:3].tolist() == [3, 6]  # a suit may be either


def test_a_question_that_does_not_apply_is_minus_2_or_answered_with_answer_all():
    proba = sheet(kind=(0.1, 0.9), heel=(0.2, 0.8))
    assert resolve(proba, CLOTHES)[0, 3] == NOT_APPLICABLE
    assert resolve(proba, CLOTHES, answer_all=True)[0, 3] == 8
    assert resolve(sheet(kind=(0.9, 0.1), heel=(0.2, 0.8)), CLOTHES)[0, 3] == 8


def test_a_category_is_not_preferred_because_fewer_questions_depend_on_it():
    names = [("kind", ["shoe", "dress"]), *((f"of shoes {n}", ["a", "b", "c"]) for n in range(9))]
    tree = Tree.of(names, applies={f"of shoes {n}": ("kind", ["shoe"]) for n in range(9)})
    proba = np.array([[0.51, 0.49, *[0.34, 0.33, 0.33] * 9]])
    assert resolve(proba, tree)[0].tolist() == [0, *range(2, 29, 3)]


def test_a_child_of_a_question_that_does_not_apply_does_not_apply():
    tree = Tree.of(
        [("a", ["x", "y"]), ("b", ["p", "q"]), ("c", ["r", "s"])],
        below={"c": ("b", {"r": ["p"], "s": ["q"]})},
        applies={"b": ("a", ["x"])},
    )
    assert resolve(np.array([[0.1, 0.9, 0.5, 0.5, 0.9, 0.1]]), tree).tolist() == [[1, -2, -2]]
    assert resolve(np.array([[0.9, 0.1, 0.2, 0.8, 0.3, 0.7]]), tree).tolist() == [[0, 3, 5]]


def test_the_child_question_does_not_apply_to_an_answer_without_children():
    tree = Tree.of([("a", ["x", "y"]), ("b", ["p", "q"])], below={"b": ("a", {"p": ["x"], "q": ["x"]})})
    assert resolve(np.array([[0.2, 0.8, 0.5, 0.5]]), tree).tolist() == [[1, -2]]


def test_answers_of_probability_0_still_give_consistent_answers():
    proba = sheet(group=(1.0, 0.0), article=(0.0, 1.0, 0.0))
    answer = resolve(proba, CLOTHES)
    assert CLOTHES.agrees(answer).all()


def test_agrees_finds_contradictions():
    agreeing = CLOTHES.agrees(np.array([[0, 2, 5, 7], [1, 2, 4, 7], [1, 3, 6, -2], [0, 3, 5, -2]]))
    assert agreeing[:, 2].tolist() == [False, True, True, True]
    assert agreeing[:, 3].tolist() == [True, False, True, False]


@st.composite
def forests(draw):
    """Small random questions; each may have one or two earlier parents, with columns in any order."""
    n = draw(st.integers(1, 5))
    names = [f"q{number}" for number in range(n)]
    answers = {name: [f"a{at}" for at in range(draw(st.integers(1, 3)))] for name in names}
    below, applies = {}, {}
    some = lambda items: draw(st.lists(st.sampled_from(items), min_size=1, unique=True))  # noqa: E731
    for number in range(1, n):
        name = names[number]
        if draw(st.booleans()):
            parent = names[draw(st.integers(0, number - 1))]
            kinds = {one: some(answers[parent]) for one in answers[name] if draw(st.booleans())}
            below[name] = (parent, kinds)
        if draw(st.booleans()):
            parent = names[draw(st.integers(0, number - 1))]
            applies[name] = (parent, some(answers[parent]))
    order = draw(st.permutations(names))
    return [(name, answers[name]) for name in order], below, applies, draw(st.integers(0, 2**32 - 1))


def brute(proba, questions, below, applies):
    """The log probability of the best combination, from a list of all combinations."""
    names = [name for name, _ in questions]
    shares, at = {}, 0
    for name, answers in questions:
        shares[name] = dict(zip(answers, proba[at : at + len(answers)], strict=True))
        at += len(answers)

    def open_answers(name, chosen):
        left = list(shares[name])
        if name in applies and chosen[applies[name][0]] not in applies[name][1]:
            return []
        if name in below:
            parent, kinds = below[name]
            if chosen[parent] is None:
                return []
            left = [one for one in left if one not in kinds or chosen[parent] in kinds[one]]
        return left

    best = {}
    for answers in product(*([*shares[name], None] for name in names)):
        chosen = dict(zip(names, answers, strict=True))
        fits = all(
            (chosen[name] in open_answers(name, chosen)) if chosen[name] is not None else not open_answers(name, chosen)
            for name in names
        )
        if fits:
            best[answers] = sum(
                np.log(shares[name][chosen[name]] if chosen[name] is not None else max(shares[name].values()))
                for name in names
            )
    return best


@settings(max_examples=60, deadline=None)
@given(forests())
def test_the_best_combination_equals_brute_force(drawn):
    questions, below, applies, seed = drawn
    tree = Tree.of(questions, below, applies)
    chance = np.random.default_rng(seed)
    proba = np.concatenate([chance.dirichlet(np.ones(len(answers)), 3) for _, answers in questions], axis=1)
    answer = resolve(proba, tree)
    flat = [answer for _, answers in questions for answer in answers]
    for row, chosen in zip(proba, answer, strict=True):
        sheets = brute(row, questions, below, applies)
        mine = tuple(None if one == NOT_APPLICABLE else flat[one] for one in chosen)
        assert sheets[mine] == pytest.approx(max(sheets.values()), abs=1e-9)
    assert tree.agrees(answer).all()
    everything = resolve(proba, tree, answer_all=True)
    assert np.where(answer >= 0, answer, likeliest(proba, tree.question_of)).tolist() == everything.tolist()


def test_many_photos_are_answered_as_one_at_a_time():
    proba = np.concatenate([np.random.default_rng(0).dirichlet(np.ones(n), 50) for n in (2, 2, 3, 2)], axis=1)
    alone = np.concatenate([resolve(proba[[row]], CLOTHES) for row in range(50)])
    assert np.array_equal(resolve(proba, CLOTHES), alone)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(FieldmarkError) as raised:
        Tree.of(
            [("kind", ["shoe", "shoe"]), ("heel", [])],
            below={"heel": ("kinds", {})},
            applies={"heel": ("kind", ["sho"])},
        )
    assert "has an answer twice" in raised.value.got
    assert "has no answers" in raised.value.got
    assert "did you mean 'kind'?" in raised.value.got
    assert "'kind' has no answer 'sho'" in raised.value.got
    assert "name each question once" in raised.value.fix


def test_cycles_and_answers_without_a_parent_answer_are_refused():
    two = [("a", ["x"]), ("b", ["y"])]
    with pytest.raises(FieldmarkError, match="form a cycle") as raised:
        Tree.of(two, below={"a": ("b", {})}, applies={"b": ("a", ["x"])})
    assert "'a'" in raised.value.got
    assert "from below or applies" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        Tree.of(two, below={"a": ("b", {"x": []})})
    assert "has no parent answer of 'b'" in raised.value.got


def test_too_many_constraints_are_refused():
    wide = [(f"q{number}", [str(one) for one in range(120)]) for number in range(4)]
    below = {f"q{number}": (f"q{number - 1}", {}) for number in range(1, 4)}
    with pytest.raises(FieldmarkError, match="too many constraints") as raised:
        Tree.of(wide, below=below, applies={"q2": ("q0", ["1"]), "q3": ("q0", ["1"])})
    assert "follows from below" in raised.value.fix


def test_numbers_that_are_not_probabilities_are_refused():
    with pytest.raises(ShapeError) as raised:
        resolve(np.ones((1, 3)), CLOTHES)
    assert "9 columns" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        resolve(np.full((1, 9), np.nan), CLOTHES)
    assert "from 0 to 1" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        likeliest(np.ones((1, 3)), np.array([0, 2, 2]))
    assert "0, 1, 2" in raised.value.fix
