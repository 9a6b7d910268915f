"""The audit reports side features that predict labels, and no others."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import label_ranking_average_precision_score

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.intervals import Interval
from fieldmark.quality.leakage.copies import compare_copies, crossings, joined
from fieldmark.quality.leakage.leaks import Gain, Target, blind, guess, paired, reached, reason_not_auditable
from fieldmark.quality.leakage.ngrams import ngrams
from fieldmark.quality.leakage.side_features import (
    COMMON_STEPS,
    EXPECTED,
    Categories,
    Numbers,
    SideFeature,
    TextSideFeatures,
)

N = 400


def target(answers: np.ndarray, *, name: str = "identity") -> Target:
    """Return a target with one label per photo; -1 means no label."""
    labelled = np.flatnonzero(answers >= 0)
    ones = np.ones(len(labelled), np.float32)
    shape = (len(answers), int(answers.max()) + 1)
    return Target(name, csr_matrix((ones, (labelled, answers[labelled])), shape=shape))


def skewed(rng: np.random.Generator, n: int = N) -> np.ndarray:
    return rng.choice(4, n, p=(0.4, 0.3, 0.2, 0.1))


def tried(side_feature: SideFeature, of: Target, *, groups: np.ndarray | None = None, seed: int = 0) -> Gain:
    groups = np.arange(len(of)) if groups is None else groups
    fold = np.random.default_rng(seed).integers(0, 5, int(groups.max()) + 1)[groups]
    return guess(side_feature, of, name="side feature", fold=fold, groups=groups)


def code_in_name(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    return TextSideFeatures([f"IMG_{'abcd'[one]}x{rng.integers(10**6)}.jpg" for one in answers])


def word_in_text(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    words = ("Hemd", "Schuh", "M\u00fctze", "\u30c9\u30ec\u30b9")
    return TextSideFeatures(
        [f"{words[one]} {rng.choice(['rot', 'blau'])}" if rng.random() < 0.3 else "" for one in answers]
    )


def camera(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    return Categories([f"camera {one if rng.random() < 0.5 else rng.integers(4)}" for one in answers])


def file_size(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    return Numbers(answers * 1000.0 + rng.normal(0, 800, len(answers)))


def sorted_rows(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    place = np.empty(len(answers))
    place[np.argsort(answers, kind="stable")] = np.arange(len(answers))
    return Numbers(place)


def missing_for_one(answers: np.ndarray, rng: np.random.Generator) -> SideFeature:
    return Numbers(np.where(answers == 2, np.nan, rng.normal(size=len(answers))))


PLANTED = (code_in_name, word_in_text, camera, file_size, sorted_rows, missing_for_one)
Plant = Callable[[np.ndarray, np.random.Generator], SideFeature]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_found(plant: Plant) -> None:
    rng = np.random.default_rng(1)
    answers = skewed(rng)
    found = tried(plant(answers, rng), target(answers))
    assert found.verdict == "leak"
    assert found.gain.low > 0.03
    assert found.guessed - found.blind == pytest.approx(found.gain.value)
    assert found.blind == pytest.approx(np.bincount(answers).max() / N)


def test_shuffled_side_features_are_not_reported() -> None:
    """Shuffled side features predict nothing. A plain interval would give about two false alarms in 12 x 6 tests."""
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng((7, seed))
        answers = skewed(rng)
        for plant in PLANTED:
            side_feature = plant(rng.permutation(answers), rng)
            alarms += tried(side_feature, target(answers), seed=seed).verdict == "leak"
    assert alarms <= 1


def test_even_label_frequencies_raise_no_alarm() -> None:
    """With even label frequencies, the commonest label of the training part is worse than chance on the other part."""
    gains = []
    for seed in range(30):
        rng = np.random.default_rng((8, seed))
        gains.append(tried(Numbers(rng.normal(size=60)), target(np.arange(60) % 2), seed=seed))
    assert sum(one.verdict == "leak" for one in gains) <= 1
    assert np.mean([one.gain.value for one in gains]) <= 0.02


@pytest.mark.parametrize(
    "side_feature",
    [TextSideFeatures(["same"] * N), Categories([""] * N), Numbers(np.ones(N)), TextSideFeatures([""] * N)],
)
def test_a_constant_side_feature_gains_nothing(side_feature: SideFeature) -> None:
    found = tried(side_feature, target(skewed(np.random.default_rng(0))))
    assert found.gain.value == 0
    assert found.verdict == "none"


def test_an_id_that_encodes_one_of_many_individuals_is_found() -> None:
    rng = np.random.default_rng(3)
    answers = np.repeat(np.arange(300), 3)
    informative = TextSideFeatures([f"{one * 7919 % 10007:05d}_{rng.integers(10**4):04d}" for one in answers])
    random = TextSideFeatures([f"{rng.integers(10**9):09x}" for _ in answers])
    of = target(answers)
    assert tried(informative, of).guessed > 0.8
    assert tried(random, of).verdict == "none"


def test_photos_of_a_group_do_not_predict_each_other() -> None:
    """Photos of one shop share name and label: it is a leak only if they are in training and validation."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(80), 5)
    answers = skewed(rng, 80)[groups]
    shops = Categories([f"shop {one}" for one in groups])
    assert tried(shops, target(answers)).guessed > 0.95
    assert tried(shops, target(answers), groups=groups).verdict == "none"


def test_tags_are_scored_by_average_precision() -> None:
    rng = np.random.default_rng(5)
    tags = (rng.random((N, 6)) < (0.6, 0.3, 0.2, 0.2, 0.1, 0.1)).astype(np.float32)
    of = Target("labels", csr_matrix(tags), ranked=True)
    informative = TextSideFeatures([" ".join(f"w{tag}" for tag in np.flatnonzero(row)) for row in tags])
    found = tried(informative, of)
    assert found.n_photos == int((tags.sum(axis=1) > 0).sum())
    assert found.guessed > found.blind + 0.2
    assert tried(TextSideFeatures([informative.values[row] for row in rng.permutation(N)]), of).verdict == "none"


def test_average_precision_of_a_photo_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    truth = (rng.random((50, 7)) < 0.3).astype(np.float32)
    truth[:, 0] = 1
    scores = rng.normal(size=(50, 7)).astype(np.float32)
    ours = reached(scores, np.arange(50), Target("labels", csr_matrix(truth), ranked=True))
    assert ours.mean() == pytest.approx(label_ranking_average_precision_score(truth, scores))


def test_text_scores_equal_the_definition_computed_in_loops() -> None:
    rng = np.random.default_rng(9)
    answers = rng.integers(0, 3, 40)
    side_feature, truth = (
        TextSideFeatures([f"{'xyz'[one]}{rng.integers(30)}" for one in answers]),
        target(answers).truth,
    )
    train, test = np.arange(30), np.arange(30, 40)
    grams = side_feature.ngram_matrix.toarray()
    score = side_feature.fit(train, truth[train])
    ours = score(test)[-1]
    for place, row in enumerate(test.tolist()):
        for answer in range(3):
            of_answer = answers[:30] == answer
            total = math.log(of_answer.sum())
            for gram in np.flatnonzero(grams[row]).tolist():
                n_having, n_both = grams[:30, gram].sum(), grams[:30, gram][of_answer].sum()
                if n_having == 0:
                    continue
                common = n_having if n_both else 2 ** (round(COMMON_STEPS * math.log2(n_having)) / COMMON_STEPS)
                total += math.log((n_both + EXPECTED) / (common * of_answer.mean() + EXPECTED))
            assert ours[place, answer] == pytest.approx(total, abs=1e-3)


def test_ngrams_ignore_case_and_unicode_form() -> None:
    runs = ngrams(["Cafe\u0301", "CAF\u00c9", "\uff23\uff41\uff46\u00e9", "tea", "tea", None]).toarray()
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()
    assert not (runs[0] * runs[3]).any()
    assert (runs[3] == runs[4]).all()


def test_ngrams_of_one_text_or_of_all_texts_are_dropped() -> None:
    assert ngrams(["abc", "abc", "abc"]).shape == (3, 0)
    assert ngrams(["abc", "xyz", "123"]).shape == (3, 0)
    common = ngrams([f"http://a.example/photos/{'ab'[one % 2]}" for one in range(10)])
    assert common.shape[1] == 2  # n-grams of exactly the same texts are kept once
    assert ngrams([]).shape == (0, 0)


def test_a_gain_on_a_few_photos_is_not_significant() -> None:
    """Four of forty photos are better: without the added half photos the interval would exclude 0."""
    found = paired(np.r_[np.ones(4), np.zeros(36)], np.arange(40))
    assert found.low < 0 < found.value == 0.1
    large = paired(np.r_[np.ones(40), np.zeros(360)], np.arange(400))
    assert 0.06 < large.low < 0.1 < large.high < 0.14


def test_photos_of_a_group_count_as_one() -> None:
    differences = np.random.default_rng(2).choice([0.0, 1.0], 100)
    alone = paired(np.repeat(differences, 10), np.arange(1000))
    together = paired(np.repeat(differences, 10), np.repeat(np.arange(100), 10))
    assert together.value == alone.value
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_the_reason_is_given_for_targets_without_audit() -> None:
    few, same = target(np.arange(15) % 2), target(np.zeros(50, np.int64))
    assert "15 photos" in reason_not_auditable(few, np.arange(15))
    assert "same label" in reason_not_auditable(same, np.arange(50))
    assert "3 groups" in reason_not_auditable(target(np.arange(60) % 2), np.arange(60) // 20)
    assert reason_not_auditable(target(np.arange(60) % 2), np.arange(60)) == ""


def test_invalid_input_is_rejected() -> None:
    of = target(np.arange(40) % 2)
    with pytest.raises(ShapeError) as caught:
        guess(TextSideFeatures(["a"] * 39), of, name="a", fold=np.arange(40) % 5, groups=np.arange(40))
    assert "same photos" in caught.value.fix
    with pytest.raises(FieldmarkError) as caught:
        guess(TextSideFeatures(["a"] * 40), of, name="a", fold=np.arange(40) % 2, groups=np.arange(40))
    assert "5 folds" in caught.value.fix


def test_copies_give_equal_and_different_labels() -> None:
    answers = np.r_[np.arange(40) % 4, np.arange(10) % 4]
    answers[49] = 3 - answers[49]
    content = np.r_[np.arange(40), np.arange(10)]
    found = compare_copies(content, target(answers), name="same bytes", groups=np.arange(50))
    assert (found.n_same, found.n_other) == (18, 2)
    assert found.gain.n_given == 20
    assert found.gain.verdict == "leak"
    floor = blind(target(answers))
    assert found.gain.guessed == pytest.approx((floor[10:40].sum() + 18) / 50, abs=0.05)


def test_copies_of_the_own_group_do_not_count() -> None:
    content = np.r_[np.arange(40), np.arange(10)]
    found = compare_copies(content, target(np.arange(50) % 4), name="same bytes", groups=content)
    assert (found.n_same, found.n_other, found.gain.gain.value) == (0, 0, 0)


def test_parts_that_share_pictures_are_counted_both_ways() -> None:
    parts = ["train", "train", "train", "test", "test", ""]
    found = crossings(np.array([0, 1, 1, 1, 2, 2]), parts)
    assert [(one.part, one.other, one.n_copied, one.n_photos) for one in found] == [
        ("test", "train", 1, 2),
        ("train", "test", 2, 3),
    ]


def test_chains_of_copies_are_one_group() -> None:
    assert joined(5, [[0, 1], [3, 1], []]).tolist() == [0, 0, 1, 0, 2]


def test_a_small_significant_gain_is_slight_unless_the_baseline_is_smaller() -> None:
    def found(blind: float, gain: float) -> Gain:
        of = {"target": "identity", "side_feature": "size", "n_photos": 9000, "n_given": 9000, "n_distinct": 90}
        return Gain(**of, blind=blind, guessed=blind + gain, gain=Interval(gain, gain / 2, 2 * gain))

    assert found(0.3, 0.004).verdict == "slight"
    assert found(0.3, 0.011).verdict == "leak"
    assert found(0.004, 0.004).verdict == "leak"
    assert found(0.3, -0.1).verdict == "none"
