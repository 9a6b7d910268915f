"""Selection of unnamed photos as pseudo-labels for training identification."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.identity_pseudo_labels import pick_identity_pseudo_labels
from fieldmark.quality.specs import Agreement, ConfidentIdentity, FewShot, IdentityPseudoLabelRule

COUNTS = np.array([1, 5, 1])
SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.95, 0.0], [0.4, 0.3, 0.3], [0.0, 0.1, 0.7]], np.float32)


def test_the_most_confident_come_first_and_others_are_not_selected() -> None:
    rows, identity = pick_identity_pseudo_labels(
        [SCORES], COUNTS, IdentityPseudoLabelRule(rule=ConfidentIdentity(at=0.65))
    )
    assert rows.tolist() == [1, 0, 3]
    assert identity.tolist() == [1, 0, 2]


def test_few_shot_selects_only_identities_with_few_photos() -> None:
    rows, identity = pick_identity_pseudo_labels(
        [SCORES], COUNTS, IdentityPseudoLabelRule(rule=FewShot(at=0.65, most_photos=1))
    )
    assert rows.tolist() == [0, 3]
    assert identity.tolist() == [0, 2]


def test_agreement_needs_a_majority_and_a_gap() -> None:
    other = SCORES.copy()
    other[0] = [0.1, 0.8, 0.1]  # ranks another identity first for photo 0
    third = other.copy()
    rows, identity = pick_identity_pseudo_labels(
        [SCORES, other, third], COUNTS, IdentityPseudoLabelRule(rule=Agreement(gap=0.05))
    )
    assert 0 in rows
    assert identity[rows.tolist().index(0)] == 1
    rows, _ = pick_identity_pseudo_labels([SCORES, other], COUNTS, IdentityPseudoLabelRule(rule=Agreement(gap=0.05)))
    assert 0 not in rows  # one of two rankings is not a majority
    rows, _ = pick_identity_pseudo_labels([SCORES, SCORES], COUNTS, IdentityPseudoLabelRule(rule=Agreement(gap=0.2)))
    assert 2 not in rows
    assert sorted(rows.tolist()) == [0, 1, 3]


def test_an_identity_that_cannot_be_compared_is_never_selected() -> None:
    scores = np.array([[-np.inf, 0.9], [-np.inf, -np.inf]], np.float32)
    rows, identity = pick_identity_pseudo_labels(
        [scores], np.array([0, 3]), IdentityPseudoLabelRule(rule=ConfidentIdentity(at=0.5))
    )
    assert (rows.tolist(), identity.tolist()) == ([0], [1])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(0, 9))
def test_the_limit_keeps_the_most_confident_photos_of_each_identity(
    n: int, n_identities: int, most: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).random((n, n_identities)).astype(np.float32)
    all_rows, names = pick_identity_pseudo_labels(
        [scores], np.ones(n_identities, np.int64), IdentityPseudoLabelRule(rule=ConfidentIdentity(at=0.0))
    )
    rows, identity = pick_identity_pseudo_labels(
        [scores],
        np.ones(n_identities, np.int64),
        IdentityPseudoLabelRule(rule=ConfidentIdentity(at=0.0), most_per_identity=most),
    )
    kept = [row for place, row in enumerate(all_rows) if (names[:place] == names[place]).sum() < most]
    assert rows.tolist() == kept
    assert identity.tolist() == scores[rows].argmax(axis=1).tolist()


def test_no_photos_give_no_pseudo_labels() -> None:
    rows, identity = pick_identity_pseudo_labels([np.zeros((0, 3), np.float32)], COUNTS, IdentityPseudoLabelRule())
    assert len(rows) == len(identity) == 0


@pytest.mark.parametrize(
    ("rankings", "by", "error", "fix"),
    [
        ([], IdentityPseudoLabelRule(), ShapeError, "one shape"),
        ([SCORES, SCORES[:2]], IdentityPseudoLabelRule(), ShapeError, "one shape"),
        ([SCORES[:, :2]], IdentityPseudoLabelRule(), ShapeError, "number of photos"),
        ([SCORES], IdentityPseudoLabelRule(rule=Agreement()), FieldmarkError, "two rank stages"),
    ],
)
def test_refusals(
    rankings: list[np.ndarray], by: IdentityPseudoLabelRule, error: type[FieldmarkError], fix: str
) -> None:
    with pytest.raises(error) as caught:
        pick_identity_pseudo_labels(rankings, COUNTS, by)
    assert fix in caught.value.fix
