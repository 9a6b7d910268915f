from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.specimens.artefacts import KINDS
from fieldmark.specimens.cultures import CULTURES
from fieldmark.specimens.labelling import (
    LABELS,
    NO_NOISE,
    PAIRS,
    TAIL,
    Noise,
    catalogue,
    given_labels,
    labels_of,
    truth_of,
)
from fieldmark.specimens.motifs import MOTIFS

IS_CULTURE = np.array([name.startswith("culture::") for name in LABELS])


def quiet(**rates: float) -> Noise:
    return replace(NO_NOISE, **rates)


def test_names_are_dealt_with_a_long_tail() -> None:
    objects = catalogue(3000, seed=1, part="train")
    for names, found in (
        (list(KINDS), Counter(one.kind for one in objects)),
        (list(CULTURES), Counter(name for one in objects for name in one.cultures)),
        (list(MOTIFS), Counter(name for one in objects for name in one.motifs)),
    ):
        counts = [found[name] for name in names]
        assert 0.6 * TAIL < counts[0] / counts[-1] < 1.4 * TAIL
        assert np.corrcoef(np.arange(len(counts)), np.log(counts))[0, 1] < -0.95
    assert 298 <= Counter(len(one.motifs) for one in objects)[0] <= 302
    assert 0.14 < np.mean([not one.cultures for one in objects]) < 0.16
    assert max(len(one.cultures) for one in objects) == 2
    n_tags = [sum(name.startswith("tag") for name in labels_of(one)) for one in objects]
    assert (min(n_tags), max(n_tags)) == (1, 5)


def test_of_300_photos_the_rare_labels_have_about_three_and_every_label_occurs() -> None:
    counts = truth_of(catalogue(300, seed=4, part="train")).sum(axis=0)
    assert counts.min() >= 1
    assert (counts <= 4).sum() >= 3
    assert counts.max() > 60


def test_parts_and_seeds_have_other_objects_of_the_same_law() -> None:
    first, other_part, other_seed = (
        catalogue(50, seed=1, part="a"),
        catalogue(50, seed=1, part="b"),
        catalogue(50, seed=2, part="a"),
    )
    assert first == catalogue(50, seed=1, part="a")
    assert not {one.key for one in first} & {one.key for one in (*other_part, *other_seed)}
    assert Counter(one.kind for one in first) == Counter(one.kind for one in other_seed)
    assert first != other_seed
    assert catalogue(0, seed=1, part="a") == []


def test_each_kind_of_mistake_is_made_as_often_as_asked() -> None:
    truth = truth_of(catalogue(2000, seed=1, part="train"))
    tags, cultures = truth[:, ~IS_CULTURE].sum(), truth[:, IS_CULTURE].sum()

    given, source = given_labels(truth, quiet(missing_tags=0.2), seed=1)
    assert (truth & ~given)[:, ~IS_CULTURE].sum() == round(0.2 * tags)
    assert not (given & ~truth).any()
    assert not (truth & ~given)[:, IS_CULTURE].any()
    assert (source == np.arange(2000)).all()

    given, _ = given_labels(truth, quiet(missing_cultures=0.4), seed=1)
    assert (truth & ~given)[:, IS_CULTURE].sum() == round(0.4 * cultures)
    assert (truth & ~given).sum() == round(0.4 * cultures)

    given, _ = given_labels(truth, quiet(wrong=0.1), seed=1)
    assert (given & ~truth).sum() == round(0.1 * truth.sum())
    assert not (truth & ~given).any()

    given, source = given_labels(truth, quiet(swapped=0.05), seed=1)
    moved = np.flatnonzero(source != np.arange(2000))
    assert len(moved) == 100
    assert (given[moved] == truth[source[moved]]).all()
    assert (given[moved] != truth[moved]).any(axis=1).all()
    assert ((given != truth).any(axis=1) == (source != np.arange(2000))).all()

    given, _ = given_labels(truth, quiet(unclosed=0.5), seed=1)
    for pair in PAIRS:
        both, one, other = (LABELS.index(f"tag::{name}") for name in (" and ".join(pair), *pair))
        having = truth[:, both]
        assert (truth[:, one] & truth[:, other] == having).all()
        assert (having & ~given[:, one] & ~given[:, other]).sum() == round(0.5 * having.sum())


def test_no_noise_gives_the_truth_and_another_seed_other_mistakes() -> None:
    truth = truth_of(catalogue(200, seed=1, part="train"))
    given, source = given_labels(truth, NO_NOISE, seed=1)
    assert (given == truth).all()
    assert (source == np.arange(200)).all()
    one, again, other = (given_labels(truth, Noise(), seed=seed)[0] for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


@given(st.integers(1, 60), st.integers(0, 1000), st.lists(st.floats(0, 0.5), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_every_photo_keeps_a_label_under_any_noise(n: int, seed: int, rates: list[float]) -> None:
    truth = truth_of(catalogue(n, seed=seed, part="x"))
    given, source = given_labels(truth, Noise(*rates), seed=seed)
    assert given.any(axis=1).all()
    assert given.shape == truth.shape
    assert ((source >= 0) & (source < n)).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_objects_can_be_named(n: int) -> None:
    assert len(catalogue(n, seed=0, part="train")) == n
