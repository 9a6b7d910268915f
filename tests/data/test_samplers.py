"""Each sampler, compared with a slow reference, on shuffled classes of unequal size."""

import collections
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpu import least_cpu_s
from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.samplers import draw, log_weights
from fieldmark.data.shuffled_rows import dealt
from fieldmark.data.specs import LogWeightSampler, PkSampler, PlainSampler, TupleSampler

CLASSES = st.lists(st.sampled_from([-1, -1, 0, 0, 0, 3, 7, 7, 100, 5008]), min_size=1, max_size=60).map(np.array)
SPECS = [PlainSampler(), LogWeightSampler(), PkSampler(), TupleSampler()]


def uneven(n_classes: int = 30, n_unknown: int = 40, seed: int = 0) -> np.ndarray:
    """Shuffled classes with 1 to n photos and gaps in their numbers (as for mirrored items)."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(n_classes) * 3 + 2, np.arange(1, n_classes + 1))
    return rng.permutation(np.concatenate([classes, np.full(n_unknown, -1)]))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_an_epoch_is_a_function_of_seed_and_epoch(spec) -> None:
    classes = uneven()
    first = draw(spec, classes=classes, batch=16, seed=1, epoch=0)
    assert first.dtype == np.int64
    assert first.shape[1] == 16
    assert (first == draw(spec, classes=classes, batch=16, seed=1, epoch=0)).all()
    for seed, epoch in ((1, 1), (2, 0)):
        assert not np.array_equal(first, draw(spec, classes=classes, batch=16, seed=seed, epoch=epoch))


@given(n=st.integers(1, 50), batch=st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_plain_shows_every_item_once_and_fills_up_by_starting_again(n, batch) -> None:
    order = draw(PlainSampler(), classes=np.zeros(n, dtype=np.int64), batch=batch, seed=0, epoch=0)
    assert order.shape == (math.ceil(n / batch), batch)
    flat = order.ravel()
    assert sorted(flat[:n]) == list(range(n))
    assert (flat[n:] == np.resize(flat[:n], len(flat))[n:]).all()


@given(
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=12), st.sampled_from(["max", "mean"])
)
@settings(max_examples=40, deadline=None)
def test_log_weights_are_those_of_slow_loops(rows, over) -> None:
    truth = np.array(rows, dtype=np.float32)
    weights = []
    for row in rows:
        own = [math.log(1 + len(rows) / sum(other[label] for other in rows)) for label in range(4) if row[label]]
        combined = max(own, default=0) if over == "max" else sum(own) / max(len(own), 1)
        weights.append(combined if own else math.log(2))
    np.testing.assert_allclose(log_weights(truth=truth, over=over), weights, rtol=1e-12)


def test_log_weights_of_classes_are_those_of_one_hot_truth() -> None:
    classes = uneven()
    truth = (classes[:, None] == np.unique(classes)).astype(np.float32)
    np.testing.assert_allclose(log_weights(classes=classes), log_weights(truth=truth, over="mean"))


def test_log_weighted_draws_follow_the_weights() -> None:
    classes = uneven(n_classes=5, n_unknown=10)
    weights = log_weights(classes=classes)
    drawn = np.concatenate(
        [draw(LogWeightSampler(), classes=classes, batch=25, seed=0, epoch=epoch).ravel() for epoch in range(800)]
    )
    share = np.bincount(drawn, minlength=len(classes)) / len(drawn)
    np.testing.assert_allclose(share, weights / weights.sum(), rtol=0.15)
    assert len(drawn) == 800 * 25


@given(classes=CLASSES, k=st.integers(2, 4), batch=st.integers(2, 40), share=st.sampled_from([0.0, 0.25, 0.5]))
@settings(max_examples=150, deadline=None)
def test_pk_batches_hold_p_identities_of_k_photos_and_unknowns(classes, k, batch, share) -> None:
    spec = PkSampler(k=k, unknown_share=share)
    has_unknowns = bool((classes < 0).any())
    n_identities = (batch - round(batch * share * has_unknowns)) // k
    try:
        order = draw(spec, classes=classes, batch=batch, seed=0, epoch=0)
    except PlanError as error:
        assert n_identities < 1 or (batch % k and not (has_unknowns and share))
        enough = int(error.fix.split("batch=")[1].split(",")[0])
        if (classes >= 0).any():
            draw(spec, classes=classes, batch=enough, seed=0, epoch=0)
        return
    except DataError:
        assert (classes < 0).all()
        return
    assert order.shape == (math.ceil(len(classes) / batch), batch)
    counts = collections.Counter(classes[classes >= 0].tolist())
    visits = []
    for row in order:
        for start in range(0, n_identities * k, k):
            photos = row[start : start + k]
            (identity,) = set(classes[photos].tolist())  # wrong row numbers would mix identities here
            assert identity >= 0
            assert len(set(photos.tolist())) == min(k, counts[identity])
            visits.append(identity)
        assert (classes[row[n_identities * k :]] < 0).all()
        identities = [classes[row[start]] for start in range(0, n_identities * k, k)]
        if len(counts) >= n_identities:
            assert len(set(identities)) == n_identities
    for start in range(0, len(visits), len(counts)):  # each identity once before any comes twice
        in_turn = visits[start : start + len(counts)]
        assert len(set(in_turn)) == len(in_turn)


def test_pk_shows_each_photo_of_an_identity_before_it_repeats_one() -> None:
    classes = np.repeat([4, 9], [8, 8])
    order = draw(PkSampler(k=4, unknown_share=0.0), classes=classes, batch=8, seed=0, epoch=0)
    assert sorted(order.ravel().tolist()) == list(range(16))


@given(classes=CLASSES, tuples=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_tuples_are_anchor_positive_other_and_unknown(classes, tuples) -> None:
    known = np.unique(classes[classes >= 0])
    try:
        order = draw(TupleSampler(), classes=classes, batch=4 * tuples, seed=0, epoch=0)
    except DataError:
        assert len(known) < 2
        return
    assert order.shape == (math.ceil(len(known) / tuples), 4 * tuples)
    rows = order.reshape(-1, 4)
    assert sorted(classes[rows[: len(known), 0]].tolist()) == known.tolist()
    for anchor, positive, other, unknown in rows:
        assert classes[anchor] == classes[positive]
        assert (anchor == positive) == ((classes == classes[anchor]).sum() == 1)
        assert classes[other] not in {-1, classes[anchor]}
        if (classes < 0).any():
            assert classes[unknown] == -1
        else:
            assert classes[unknown] not in {-1, classes[anchor]}
    assert (rows[len(known) :] == rows[: len(rows) - len(known)]).all()


def test_tuples_reach_every_photo_over_the_epochs() -> None:
    classes = uneven(n_classes=6, n_unknown=5)
    drawn = {
        item
        for epoch in range(200)
        for item in draw(TupleSampler(), classes=classes, batch=8, seed=0, epoch=epoch).flat
    }
    assert drawn == set(range(len(classes)))


@given(n=st.integers(1, 12), rows=st.integers(1, 20), width=st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_a_permutation_is_used_up_before_the_next_and_no_row_repeats(n, rows, width) -> None:
    drawn = dealt(n, rows, width, np.random.default_rng(0))
    assert drawn.shape == (rows, width)
    flat = drawn.ravel()
    for start in range(0, len(flat) - n + 1, n):
        assert sorted(flat[start : start + n]) == list(range(n))
    if n >= width:
        assert all(len(set(row)) == width for row in drawn.tolist())


@pytest.mark.parametrize(
    ("spec", "given_", "batch", "fix"),
    [
        (PlainSampler(), {}, 4, "pass classes for identities, truth for tags."),
        (PlainSampler(), {"classes": np.zeros(3)}, 0, "pass classes for identities, truth for tags."),
        (PlainSampler(), {"classes": np.zeros(0)}, 4, "give a training part with photos."),
        (PkSampler(), {"truth": np.zeros((3, 2))}, 4, "use kind='log_weight'."),
        (PkSampler(), {"classes": np.array([0, 1])}, 6, "use batch=4, or another k."),
        (PkSampler(unknown_share=1.0), {"classes": np.array([0, -1])}, 8, "use unknown_share=0.25."),
        (PkSampler(), {"classes": np.array([-1, -1])}, 8, "use kind='plain', or add photos of known identities."),
        (
            PkSampler(),
            {"classes": np.array([0, -2])},
            8,
            "train only on photos with an identity or the label of unknown individuals.",
        ),
        (TupleSampler(), {"classes": np.array([0, 1])}, 6, "use batch=4."),
        (TupleSampler(), {"classes": np.array([0, -1])}, 8, "use kind='plain', or add identities."),
    ],
)
def test_refusals_say_what_to_do(spec, given_, batch, fix) -> None:
    with pytest.raises((DataError, PlanError)) as caught:
        draw(spec, batch=batch, seed=0, epoch=0, **given_)
    assert caught.value.fix == fix


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_an_epoch_of_all_whales_and_their_mirrors_is_quick(spec) -> None:
    rng = np.random.default_rng(0)
    classes = np.where(rng.random(25_361) < 0.38, -1, rng.integers(0, 5004, 25_361))
    items = np.concatenate([classes, np.where(classes < 0, -1, classes + 5004)])
    assert least_cpu_s(lambda: draw(spec, classes=items, batch=128, seed=0, epoch=0)) < 0.3
