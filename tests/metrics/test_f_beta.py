"""F-beta, compared with slow loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import fbeta_score

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.labels import f_beta, f_beta_per_image

PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def slow_f(answer, truth, beta, if_empty):
    found = sum(a and t for a, t in zip(answer, truth, strict=True))
    total = beta**2 * sum(truth) + sum(answer)
    return (1 + beta**2) * found / total if total else if_empty


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 1.0]))
def test_equals_slow_loops(pair, beta, if_empty):
    answer, truth = pair
    options = {"beta": beta, "if_empty": if_empty}
    by_image = [slow_f(a, t, beta, if_empty) for a, t in zip(answer.tolist(), truth.tolist(), strict=True)]
    by_label = [slow_f(a, t, beta, if_empty) for a, t in zip(answer.T.tolist(), truth.T.tolist(), strict=True)]
    assert f_beta(answer, truth, average="sample", **options) == pytest.approx(np.mean(by_image))
    assert f_beta(answer, truth, average="macro", **options) == pytest.approx(np.mean(by_label))
    np.testing.assert_allclose(f_beta_per_image(answer, truth, **options), by_image)
    flat = slow_f(answer.ravel().tolist(), truth.ravel().tolist(), beta, if_empty)
    assert f_beta(answer, truth, average="micro", **options) == pytest.approx(flat)


@pytest.mark.parametrize(("ours", "theirs"), [("sample", "samples"), ("micro", "micro"), ("macro", "macro")])
@pytest.mark.parametrize("if_empty", [0.0, 1.0])
def test_equals_scikit_learn(ours, theirs, if_empty):
    chance = np.random.default_rng(0)
    answer, truth = chance.random((200, 12)) < 0.2, chance.random((200, 12)) < 0.2
    reference = fbeta_score(truth, answer, beta=2, average=theirs, zero_division=if_empty)
    assert f_beta(answer, truth, average=ours, if_empty=if_empty) == pytest.approx(reference)


@pytest.mark.parametrize(
    ("answer", "truth", "options", "error", "fix"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), {}, ShapeError, "at least one image"),
        (np.zeros((2, 3)), np.zeros((2, 4)), {}, ShapeError, "same shape"),
        (np.full((2, 3), 0.4), np.ones((2, 3)), {}, FieldmarkError, "proba > 0.1"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), {}, FieldmarkError, "proba > 0.1"),
        (np.ones((2, 3)), np.ones((2, 3)), {"beta": 0}, FieldmarkError, "beta=2"),
        (np.ones((2, 3)), np.ones((2, 3)), {"average": "samples"}, FieldmarkError, "'sample'"),
    ],
)
def test_refusals_say_what_to_do(answer, truth, options, error, fix):
    with pytest.raises(error) as refusal:
        f_beta(answer, truth, **options)
    assert fix in refusal.value.fix
