"""Property tests of each split on random collections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError, ShapeError
from fieldmark.data.folds import FoldCounts, assign, describe
from fieldmark.data.specs import (
    ByDate,
    DisjointIdentities,
    HumpbackSplit,
    IdentityFolds,
    OpenSetSplit,
    PlainFolds,
    StratifiedFolds,
)

SPECS = [
    PlainFolds(),
    StratifiedFolds(),
    IdentityFolds(),
    HumpbackSplit(),
    OpenSetSplit(),
    DisjointIdentities(),
    ByDate(),
]
BY_IDENTITY = [
    IdentityFolds(n_folds=3),
    HumpbackSplit(n_known=6, n_unknown=3),
    OpenSetSplit(n_known=6, n_unknown=3),
    DisjointIdentities(n_folds=2),
]


@st.composite
def collections(draw):
    """Classes, groups and dates of up to 40 photos, with unknown individuals and unlabelled photos in any groups."""
    n = draw(st.integers(1, 40))
    classes = draw(st.lists(st.integers(-2, 8), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, max(n, 1)), min_size=n, max_size=n))
    days = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    dates = np.array(days, dtype="datetime64[D]")
    return np.array(classes, dtype=np.int64), np.array(groups, dtype=np.int64), dates


def split(spec, photos, seed=0):
    """The folds, or None if the split is not possible and the error has a fix."""
    classes, groups, dates = photos
    try:
        return assign(spec, classes=classes, groups=groups, dates=dates, seed=seed)
    except DataError as error:
        assert error.fix  # noqa: PT017 - an error is one of two right outcomes
        return None


def many(n=3000, seed=0):
    """A collection like the whale contest: a long tail of identities, a third unknown individuals, some copies."""
    rng = np.random.default_rng(seed)
    classes = np.minimum(rng.geometric(0.004, n), 700) - 1
    classes[rng.random(n) < 0.35] = -1
    groups = np.where(rng.random(n) < 0.1, rng.integers(0, 300, n), np.arange(n) + 1000)
    return classes.astype(np.int64), groups.astype(np.int64), rng.integers(0, 400, n).astype("datetime64[D]")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
@settings(max_examples=25, deadline=None)
@given(photos=collections(), seed=st.integers(0, 3))
def test_a_group_is_never_split_and_the_seed_fixes_the_split(spec, photos, seed) -> None:
    fold = split(spec, photos, seed)
    if fold is None:
        return
    assert fold.dtype == np.int64
    assert fold.min() >= -1
    for group in np.unique(photos[1]):
        assert len(set(fold[photos[1] == group])) == 1
    assert (fold == split(spec, photos, seed)).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_another_seed_is_another_split(spec) -> None:
    photos = many()
    same = (split(spec, photos, 1) == split(spec, photos, 2)).all()
    assert same == (spec.kind == "by_date")  # the latest days do not depend on chance


@pytest.mark.parametrize("spec", [PlainFolds(n_folds=4), StratifiedFolds(n_folds=4)], ids=lambda spec: spec.kind)
@settings(max_examples=25, deadline=None)
@given(photos=collections())
def test_plain_and_stratified_folds_validate_every_photo_once(spec, photos) -> None:
    fold = split(spec, photos)
    if fold is None:
        assert len(np.unique(photos[1])) < 4
    else:
        assert sorted(set(fold.tolist())) == [0, 1, 2, 3]


def test_plain_folds_are_of_one_size() -> None:
    classes, _, _ = many(1001)
    fold = assign(PlainFolds(), classes=classes, groups=np.arange(1001), seed=0)
    assert sorted(np.bincount(fold)) == [200, 200, 200, 200, 201]


def test_stratified_folds_have_equal_shares_of_every_class() -> None:
    classes, _, _ = many()
    fold = assign(StratifiedFolds(), classes=classes, groups=np.arange(len(classes)), seed=0)
    for number in np.unique(classes):
        counts = np.bincount(fold[classes == number], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 5


def test_stratified_folds_share_tags_far_better_than_plain_ones() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((2000, 60)) < np.geomspace(0.003, 0.4, 60)).astype(np.float32)
    blank = np.full(2000, -2)
    spread = {}
    for spec in (PlainFolds(), StratifiedFolds()):
        fold = assign(spec, classes=blank, groups=np.arange(2000), truth=truth, seed=0)
        per_fold = np.stack([truth[fold == number].sum(axis=0) for number in range(5)])
        spread[spec.kind] = np.abs(per_fold - per_fold.mean(axis=0)).mean()
        assert np.bincount(fold).min() > 350
    assert spread["stratified"] < spread["plain"] / 2


def contradicting(classes, groups) -> np.ndarray:
    """Whether the group of each photo has photos of more than one class (slow reference)."""
    return np.array([len(set(classes[groups == group])) > 1 for group in groups], dtype=bool)


@pytest.mark.parametrize("spec", BY_IDENTITY, ids=lambda spec: spec.kind)
@settings(max_examples=60, deadline=None)
@given(photos=collections())
def test_contradicting_groups_and_unlabelled_photos_are_never_in_validation(spec, photos) -> None:
    fold = split(spec, photos)
    if fold is not None:
        classes, groups, _ = photos
        assert (fold[contradicting(classes, groups)] == -1).all()
        assert (fold[classes == -2] == -1).all()


@settings(max_examples=60, deadline=None)
@given(photos=collections(), n_folds=st.integers(2, 4))
def test_identity_folds_validate_only_individuals_with_training_photos(photos, n_folds) -> None:
    classes, groups, _ = photos
    fold = split(IdentityFolds(n_folds=n_folds), photos)
    clean = ~contradicting(classes, groups)
    could = [
        c
        for c in np.unique(classes[classes >= 0])
        if len(set(groups[classes == c])) > 1 and (clean & (classes == c)).any()
    ]
    if fold is None:
        assert not could
        return
    for number in np.unique(classes[classes >= 0]):
        own = classes == number
        if len(set(groups[own])) == 1:
            assert (fold[own] == -1).all()
        else:
            assert (fold[own & clean] >= 0).all()  # each photo of it is in one validation part
            for k in range(n_folds):
                assert (fold[own] != k).any()
    unknowns = [len(set(groups[(classes == -1) & (fold == k)])) for k in range(n_folds)]
    assert (fold[(classes == -1) & clean] >= 0).all()
    assert max(unknowns) - min(unknowns) <= 1


@settings(max_examples=60, deadline=None)
@given(photos=collections(), n_known=st.integers(1, 10), n_unknown=st.integers(0, 10))
def test_the_humpback_split_takes_one_group_of_each_identity(photos, n_known, n_unknown) -> None:
    classes, groups, _ = photos
    fold = split(HumpbackSplit(n_known=n_known, n_unknown=n_unknown), photos)
    if fold is None:
        return
    assert set(fold.tolist()) <= {-1, 0}
    validation = fold == 0
    queries = np.unique(classes[validation & (classes >= 0)])
    for number in queries:
        assert len(set(groups[validation & (classes == number)])) == 1
        assert ((classes == number) & ~validation).any()
    clean = ~contradicting(classes, groups)
    eligible = [
        c
        for c in np.unique(classes[classes >= 0])
        if len(set(groups[classes == c])) > 1 and (clean & (classes == c)).any()
    ]
    assert len(queries) == min(n_known, max(len(eligible) // 2, 1))
    unknown_groups = len(set(groups[clean & (classes == -1)]))
    taken = len(set(groups[validation & (classes == -1)]))
    assert taken <= min(n_unknown, unknown_groups // 2)
    if n_unknown and unknown_groups >= 2:
        assert taken >= 1


def test_the_humpback_split_has_the_sizes_of_the_notes_or_shrinks_in_proportion() -> None:
    classes = np.concatenate([np.repeat(np.arange(2000), 3), np.full(3000, -1)])
    counts = describe(assign(HumpbackSplit(), classes=classes, groups=np.arange(9000), seed=0), classes)
    assert counts == [FoldCounts(fold=0, known=512, unknowns=230, unlabelled=0, training=9000 - 742)]
    classes = np.concatenate([np.repeat(np.arange(200), 3), np.full(3000, -1)])
    counts = describe(assign(HumpbackSplit(), classes=classes, groups=np.arange(3600), seed=0), classes)
    assert (counts[0].known, counts[0].unknowns) == (100, round(230 * 100 / 512))


@settings(max_examples=40, deadline=None)
@given(photos=collections(), n_known=st.integers(1, 6), n_unknown=st.integers(0, 6), seed=st.integers(0, 3))
def test_the_open_set_split_holds_out_whole_identities_as_unknowns(photos, n_known, n_unknown, seed) -> None:
    fold = split(OpenSetSplit(n_known=n_known, n_unknown=n_unknown), photos, seed)
    plain = split(HumpbackSplit(n_known=n_known, n_unknown=n_unknown), photos, seed)
    assert (fold is None) == (plain is None)
    if fold is None:
        return
    classes, _, _ = photos
    held = np.setdiff1d(classes[(fold == 0) & (classes >= 0)], classes[fold == -1])
    assert len(held) <= len(np.unique(classes[classes >= 0])) // 10
    queries = np.setdiff1d(classes[(fold == 0) & (classes >= 0)], held)
    assert 1 <= len(queries) <= n_known
    if not n_unknown:
        assert not len(held)


def test_the_open_set_split_holds_out_individuals_with_single_photos_first() -> None:
    photos_of = np.repeat([1, 1, 2, 3, 4], [100, 100, 100, 50, 50])
    classes = np.repeat(np.arange(len(photos_of)), photos_of)
    dates = np.full(len(classes), np.datetime64("2026-01-01"))
    fold = split(OpenSetSplit(n_known=100, n_unknown=30), (classes, np.arange(len(classes)), dates))
    (counts,) = describe(fold, classes)
    assert (counts.known, counts.unknowns) == (100, 30)
    held = np.setdiff1d(classes[fold == 0], classes[fold == -1])
    assert (photos_of[held] == 1).all()
    lions = np.repeat(np.arange(40), 8)
    (counts,) = describe(
        split(OpenSetSplit(n_known=20, n_unknown=9), (lions, np.arange(len(lions)), dates[: len(lions)])), lions
    )
    assert (counts.known, counts.unknowns) == (20, 16)  # two of 40 lions, with all their photos


def test_copies_of_a_query_do_not_stay_in_training() -> None:
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([1, 1, 2, 2, 3, 3, 4, 4])
    fold = assign(HumpbackSplit(n_known=1, n_unknown=0), classes=classes, groups=groups, seed=0)
    assert (fold == 0).sum() == 2
    assert len(set(groups[fold == 0])) == 1


@settings(max_examples=60, deadline=None)
@given(photos=collections(), n_folds=st.integers(2, 4))
def test_disjoint_folds_have_no_individual_in_both_parts(photos, n_folds) -> None:
    classes, groups, _ = photos
    fold = split(DisjointIdentities(n_folds=n_folds), photos)
    if fold is None:
        return
    for number in np.unique(classes[classes >= 0]):
        assert len(set(fold[classes == number])) == 1
    clean = ~contradicting(classes, groups)
    assert (fold[(classes == -1) & clean] >= 0).all()
    assert all(count.known == 0 for count in describe(fold, classes))
    assert {k for k in range(n_folds) if (fold[classes >= 0] == k).any()} == set(range(n_folds))


@settings(max_examples=60, deadline=None)
@given(photos=collections(), share=st.floats(0.05, 0.95))
def test_by_date_no_training_photo_is_later_than_the_border(photos, share) -> None:
    fold = split(ByDate(share=share), photos)
    if fold is None:
        return
    _, groups, dates = photos
    assert set(fold.tolist()) == {-1, 0}
    border = dates[fold == -1].max()
    for group in np.unique(groups[fold == 0]):
        assert dates[groups == group].max() > border
    validation_share = (fold == 0).mean()
    assert validation_share >= share
    latest_day_of = {group: dates[groups == group].max() for group in np.unique(groups)}
    first_day = min(latest_day_of[group] for group in groups[fold == 0])
    of_first_day = np.mean([latest_day_of[group] == first_day for group in groups])
    assert validation_share - of_first_day < share  # one day less would be too few


@pytest.mark.parametrize(
    ("spec", "photos", "fix"),
    [
        (PlainFolds(n_folds=4), ([0, 1, 2, 3], [1, 1, 2, 2]), "use n_folds=2 or fewer."),
        (StratifiedFolds(n_folds=4), ([0, 1, 2, 3], [1, 1, 1, 1]), "add photos; two folds need two groups of photos."),
        (IdentityFolds(), ([0, 1, -1], [1, 2, 3]), "add second photos (of other groups)"),
        (IdentityFolds(), ([0, 0, -1], [1, 1, 3]), "add second photos (of other groups)"),
        (HumpbackSplit(), ([0, 1, -1], [1, 2, 3]), "add second photos (of other groups)"),
        (DisjointIdentities(n_folds=3), ([0, 1, -1, 0], [1, 2, 3, 4]), "use n_folds=2 or fewer."),
        (DisjointIdentities(n_folds=2), ([0, 1, 2], [1, 1, 3]), "use kind='plain'"),
        (ByDate(), ([0, 1], [1, 2]), "fill in the column date"),
    ],
)
def test_impossible_splits_say_what_is_possible(spec, photos, fix) -> None:
    classes, groups = (np.array(values, dtype=np.int64) for values in photos)
    with pytest.raises(DataError) as caught:
        assign(spec, classes=classes, groups=groups, seed=0)
    assert fix in caught.value.fix


def test_dates_that_are_missing_or_all_the_same_are_refused() -> None:
    kind = {"classes": np.zeros(2, dtype=np.int64), "groups": np.arange(2), "seed": 0}
    for dates, got in ((["2020-01-01", "NaT"], "1 of 2"), (["2020-01-01", "2020-01-01"], "share 0.2 of 1 day(s)")):
        with pytest.raises(DataError) as caught:
            assign(ByDate(), dates=np.array(dates, dtype="datetime64[D]"), **kind)
        assert got in caught.value.got
        assert "kind='identity'" in caught.value.fix


def test_arrays_of_different_length_and_no_photos_are_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        assign(PlainFolds(), classes=np.zeros(3, dtype=np.int64), groups=np.arange(2), seed=0)
    assert caught.value.fix == "pass arrays of the same collection."
    with pytest.raises(DataError) as caught:
        assign(PlainFolds(), classes=np.zeros(0, dtype=np.int64), groups=np.arange(0), seed=0)
    assert caught.value.fix == "give a collection with photos."


def test_describe_counts_the_photos_of_each_fold() -> None:
    fold = np.array([0, 0, 0, 1, -1, -1, 1, 0])
    classes = np.array([0, 1, -1, 0, 0, 2, 3, -2])
    assert describe(fold, classes) == [
        FoldCounts(fold=0, known=1, unknowns=2, unlabelled=1, training=4),
        FoldCounts(fold=1, known=1, unknowns=1, unlabelled=0, training=6),
    ]
