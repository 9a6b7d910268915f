"""Measures of photos in groups: every interval resamples groups, in all three tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fieldmark.cli.tables import measures as table_of
from fieldmark.data.vocabulary import Question, Vocabulary
from fieldmark.decisions.confidence import Confidence
from fieldmark.decisions.label_thresholds import fit_label_thresholds
from fieldmark.decisions.specs import GlobalF2, LabelThreshold, MaxMap, Preset
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.metrics.measure import Measure
from fieldmark.tasks.attributes.validation import measure_answers
from fieldmark.tasks.identification.measures import measure, measure_decision
from fieldmark.tasks.tagging.measures import measure_labels
from fieldmark.tasks.tagging.stage_scores import change_of

N_GROUPS, N_PHOTOS = 24, 25
GROUPS = np.repeat(np.arange(N_GROUPS), N_PHOTOS)
CHANCE = np.random.default_rng(8)
GOOD = (CHANCE.random(N_GROUPS) < 0.6)[GROUPS] ^ (CHANCE.random(len(GROUPS)) < 0.03)
"""Whether a photo is answered rightly: nearly the same for all photos of a group."""
IS_KNOWN = (np.arange(N_GROUPS) % 4 > 0)[GROUPS]


def scored() -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth: photos of a good group are answered right, those of other groups are not."""
    truth = np.where(IS_KNOWN, GROUPS % 7, -1)
    scores = np.random.default_rng(1).random((len(truth), 8)) * 0.1
    scores[np.arange(len(truth)), np.where(GOOD, truth, 7)] += np.where(IS_KNOWN | ~GOOD, 0.8, 0.0)
    return scores.astype(np.float32), truth


def individuals(groups: np.ndarray | None) -> tuple[Measure, ...]:
    return measure(*scored(), unknown_at=0.5, groups=groups)


def labels(groups: np.ndarray | None) -> tuple[Measure, ...]:
    truth = np.random.default_rng(2).random((len(GROUPS), 6)) < 0.5
    truth[:, 0] = True
    answer = np.where(GOOD[:, None], truth, ~truth)
    columns = {"a": np.array([0, 1, 2]), "b": np.array([3, 4, 5])}
    return measure_labels(answer, truth.astype(np.float32), groups=columns, photo_groups=groups)


def answers(groups: np.ndarray | None) -> tuple[Measure, ...]:
    vocabulary = Vocabulary.of(
        questions=[Question(name="q", answers=("a", "b")), Question(name="r", answers=("c", "d"))]
    )
    truth = np.zeros((len(GROUPS), 4), bool)
    truth[:, [0, 2]] = True
    answer = np.where(GOOD[:, None], [0, 2], [1, 3])
    return measure_answers(answer, truth, np.ones((len(GROUPS), 2), bool), vocabulary, groups=groups)


CASES: list[tuple[Callable[[np.ndarray | None], tuple[Measure, ...]], set[str]]] = [
    (individuals, set()),
    (labels, {"labels per photo", "baseline mean F2", "mean F2 of a", "mean F2 of b"}),
    (answers, {"baseline error"}),
]


@pytest.mark.parametrize(("of", "unlike"), CASES)
def test_every_interval_is_over_groups_and_wider(of: Callable[..., Any], unlike: set[str]) -> None:
    plain, grouped = of(None), of(GROUPS)
    assert [one.name for one in plain] == [one.name for one in grouped]
    for photo, group in zip(plain, grouped, strict=True):
        assert (photo.value, photo.n) == (group.value, group.n)
        assert (photo.unit, group.unit) == ("photo", "group")
        assert 6 <= group.n_units <= N_GROUPS
        if group.name not in unlike and 0.05 < group.value < 0.95:
            assert group.high - group.low > 2 * (photo.high - photo.low), group.name
    alone = of(np.random.default_rng(0).permutation(len(GROUPS)))
    assert alone == plain  # groups of one photo are photos


def test_what_to_expect_of_a_decision_is_over_groups() -> None:
    proba = np.where(GOOD == IS_KNOWN, 0.7, 0.3) + np.random.default_rng(4).random(len(GROUPS)) * 0.2
    found = measure_decision(
        *scored(), unknown=MaxMap(), confidence=Confidence(known=proba, right=proba), groups=GROUPS
    )
    assert {one.name.partition(",")[0] for one in found} >= {
        "MAP@5",
        "TPIR at FPIR = 5 %",
        "calibration error",
        "AUC of right",
    }
    for one in found:
        assert one.unit == "group"
        assert one.n_units == {600: 24, 450: 18, 150: 6}[one.n]


def test_thresholds_and_intervals_of_a_decision_keep_groups_whole() -> None:
    found = {one.name: one for one in measure_decision(*scored(), unknown=MaxMap(), groups=GROUPS)}
    photo_level = {one.name: one for one in measure_decision(*scored(), unknown=MaxMap())}
    wide, narrow = found["MAP@5, cross-fitted"], photo_level["MAP@5, cross-fitted"]
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_mean_f2_has_the_interval_of_a_slow_bootstrap() -> None:
    truth = np.random.default_rng(2).random((len(GROUPS), 6)) < 0.5
    truth[:, 0] = True
    values = f_beta_per_image(np.where(GOOD[:, None], truth, ~truth), truth)
    chance, means = np.random.default_rng(5), []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(one == GROUPS) for one in chance.integers(0, N_GROUPS, N_GROUPS)])
        means.append(values[rows].mean())
    found = labels(GROUPS)[0]
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.03)


def test_threshold_measures_resample_groups_and_parts_keep_groups_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldmark.decisions import label_thresholds

    truth = np.eye(8, dtype=bool)[np.random.default_rng(2).integers(0, 8, len(GROUPS))]
    proba = np.where(truth & GOOD[:, None], 0.3, 0.05) + np.random.default_rng(3).random(truth.shape) * 0.02
    options = {"groups": {"": np.arange(8)}, "names": list("abcdefgh")}
    parts: list[np.ndarray] = []
    split = label_thresholds._parts
    monkeypatch.setattr(label_thresholds, "_parts", lambda *words: parts.append(split(*words)) or parts[-1])
    for rule in (GlobalF2(), Preset(groups={"": LabelThreshold(at=0.1)})):
        grouped = fit_label_thresholds(rule, proba, truth, photo_groups=GROUPS + 5, **options)
        plain = fit_label_thresholds(rule, proba, truth, **options)
        assert grouped.groups == plain.groups
        for wide, narrow in ((grouped.fitted, plain.fitted), (grouped.crossed, plain.crossed)):
            assert wide is not None
            assert narrow is not None
            assert (wide.over, narrow.over) == (f"{N_GROUPS} groups", f"{len(GROUPS)} photos")
            assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
        assert fit_label_thresholds(rule, proba, truth, photo_groups=np.arange(len(GROUPS)), **options) == plain
    assert all(len(set(parts[0][one == GROUPS].tolist())) == 1 for one in range(N_GROUPS))
    assert fit_label_thresholds(GlobalF2(), proba, truth, photo_groups=np.zeros(len(GROUPS)), **options).crossed is None


def test_a_change_that_a_few_groups_decide_is_no_change() -> None:
    differences = np.where(GROUPS < 3, 0.3, -0.01)
    over_photos, over_groups = change_of(differences, np.arange(len(GROUPS))), change_of(differences, GROUPS)
    assert over_photos is not None
    assert over_groups is not None
    assert over_photos.low > 0 > over_groups.low
    assert change_of(differences, np.zeros(len(GROUPS))) is None


def test_the_terminal_says_what_intervals_are_over() -> None:
    over_photos = [str(one) for one in table_of(answers(None)).columns[3].cells]
    assert over_photos == ["600 photos (n = 1,200)"] * 2 + ["600 photos"] * 2
    over_groups = [str(one) for one in table_of(answers(GROUPS)).columns[3].cells]
    assert over_groups == ["24 groups (n = 1,200)"] * 2 + ["24 groups (n = 600)"] * 2
