"""The second level as a whole: nothing leaks, it helps, it is the same again, and it judges new photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.stacking.candidates import candidate_cells
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.second_level import second_level
from fieldmark.stacking.specs import Candidates, Negatives, Stacking, TableColumns
from fieldmark.stacking.stacked_trees import FORMAT, StackedTrees
from fieldmark.stacking.trees import put_right, thin

GROUPS = np.arange(9) % 2
BARE = TableColumns(statistics=False, imagenet="off", share=False, relevance=None)


def run(toy, by, **options):
    return second_level(toy.evidence, toy.truth, toy.fold, by=by, **options)


@pytest.fixture(scope="module")
def judged(toy, small):
    return second_level(toy.evidence, toy.truth, toy.fold, by=small, label_groups=GROUPS)


def nats(proba, truth):
    proba = np.clip(proba.astype(np.float64), 1e-4, 1 - 1e-4)
    return float(-np.where(truth, np.log(proba), np.log(1 - proba)).mean())


@pytest.mark.parametrize("fold", [0, 3])
def test_the_truth_of_a_fold_never_reaches_its_judge(toy, judged, fold, small):
    own = toy.fold == fold
    other_truth = toy.truth.copy()
    other_truth[own] = np.random.default_rng(1).permutation(~toy.truth[own])
    again = run(toy.with_truth(other_truth), small, label_groups=GROUPS)
    np.testing.assert_array_equal(again.proba[own], judged.proba[own])
    assert (again.proba[~own] != judged.proba[~own]).any()  # while the others do learn from it


def test_it_judges_better_than_the_mean_of_the_models(toy, judged):
    cells = candidate_cells(toy.evidence, Candidates(top_k=5))
    mean = toy.evidence.mean_of(slice(None))
    where = (cells.image, cells.label)
    assert nats(judged.proba[where], toy.truth[where]) < nats(mean[where], toy.truth[where]) - 0.02


def test_importance_names_every_column_once_and_sums_to_one(judged):
    names = [name for name, _ in judged.importance]
    shares = [share for _, share in judged.importance]
    assert len(names) == len(set(names)) == 2 + 3 + 5 + 2 + 4 + 3 + 2 + 3
    assert {"a / b", "relevance of neighbours", "imagenet affinity", "brightness", "label"} <= set(names)
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_judged_cells_are_the_candidates_and_the_ceiling_is_theirs(toy, judged):
    cells = candidate_cells(toy.evidence, Candidates(top_k=5))
    assert judged.n_judged == len(cells)
    found = toy.truth[cells.image, cells.label].sum()
    assert judged.recall_ceiling == pytest.approx(found / toy.truth.sum())
    assert 0.5 < judged.recall_ceiling < 1


def test_threads_scratch_and_repeats_change_nothing_but_the_seed_does(toy, judged, tmp_path, small):
    same = run(toy, small, label_groups=GROUPS, n_threads=2, scratch=tmp_path)
    np.testing.assert_array_equal(same.proba, judged.proba)
    assert same.judge.trees == judged.judge.trees
    assert not list(tmp_path.iterdir())
    other = run(toy, small, label_groups=GROUPS, seed=1)
    assert (other.proba != judged.proba).any()


def test_new_photos_are_judged_similar_before_and_after_the_folder(drawn, judged, tmp_path):
    new = drawn(50, seed=3)
    proba = judged.judge.judge(new.evidence)
    assert proba.shape == (50, 9)
    judged.judge.save(tmp_path)
    back = StackedTrees.load(tmp_path)
    np.testing.assert_array_equal(back.judge(new.evidence), proba)
    assert back.rates == judged.judge.rates
    cells = candidate_cells(new.evidence, Candidates(top_k=5))
    where = (cells.image, cells.label)
    mean = new.evidence.mean_of(slice(None))
    assert nats(proba[where], new.truth[where]) < nats(mean[where], new.truth[where])
    np.testing.assert_array_equal(judged.judge.judge(new.evidence.part(slice(7, 9))), proba[7:9])
    assert judged.judge.judge(new.evidence.part(slice(0, 0))).shape == (0, 9)


def test_raw_imagenet_columns_work_from_end_to_end(drawn, small):
    toy, new = drawn(120), drawn(10, seed=5)
    features = TableColumns(imagenet="raw", relevance=None, share=False)
    by = small.model_copy(update={"features": features})
    found = run(toy, by)
    assert any(name == "imagenet 11" for name, _ in found.importance)
    assert found.judge.judge(new.evidence).shape == (10, 9)
    narrow = SecondLevelInputs(
        new.evidence.scores, statistics=new.evidence.statistics, imagenet=new.evidence.imagenet[:, :5]
    )
    with pytest.raises(ShapeError, match="another table") as wrong:
        found.judge.judge(narrow)
    assert "same backbone" in wrong.value.fix


def test_no_candidates_is_refused_and_an_image_without_any_keeps_the_mean(drawn, small):
    toy = drawn(60)
    none = small.model_copy(update={"candidates": Candidates(least=1.0), "features": BARE})
    with pytest.raises(FieldmarkError, match="no cell to learn from") as wrong:
        run(toy, none)
    assert "least" in wrong.value.fix
    few = small.model_copy(update={"candidates": Candidates(top_k=5, least=0.2), "features": BARE})
    scores = {name: matrix.copy() for name, matrix in toy.evidence.scores.items()}
    for matrix in scores.values():
        matrix[4] = 0.1
    found = second_level(SecondLevelInputs(scores), toy.truth, toy.fold, by=few)
    np.testing.assert_allclose(found.proba[4], 0.1, rtol=1e-6)
    assert (
        found.judge.judge(SecondLevelInputs({name: matrix[4:5] for name, matrix in scores.items()})) == found.proba[4]
    ).all()


@pytest.mark.parametrize("truth", [False, True])
def test_truth_without_a_single_yes_or_no_works(drawn, truth, small):
    toy = drawn(60)
    by = small.model_copy(update={"features": BARE})
    found = run(toy.with_truth(np.full_like(toy.truth, truth)), by)
    assert np.isfinite(found.proba).all()
    cells = candidate_cells(toy.evidence, by.candidates)
    sure = found.proba[cells.image, cells.label]
    assert (sure > 0.9).all() if truth else (sure < 0.1).all()


def test_what_is_not_told_is_judged_and_teaches_nothing(toy, small):
    """Half of the cells of one label are not told: read as no, they would halve its probability."""
    label = int(np.argmax(toy.truth.sum(axis=0)))
    is_told = np.ones_like(toy.truth)
    is_told[::2, label] = False
    by = small.model_copy(update={"features": BARE})
    hidden = toy.with_truth(toy.truth & is_told)
    honest = run(hidden, by, is_told=is_told)
    means = [made.proba[:, label].mean() for made in (run(toy, by), honest, run(hidden, by))]
    assert means[1] == pytest.approx(means[0], rel=0.25)
    assert means[2] < 0.7 * means[0]
    assert (honest.proba[::2, label] > 0).any()


def test_what_stands_in_cells_that_are_not_told_changes_nothing_nor_does_the_folder(drawn, small, tmp_path):
    """With every column that asks the truth: the share, the ImageNet likeness, the neighbours."""
    toy, new = drawn(120), drawn(20, seed=3)
    is_told = np.random.default_rng(5).random(toy.truth.shape) >= 0.3
    yes, no = (run(toy.with_truth(one), small, is_told=is_told) for one in (toy.truth | ~is_told, toy.truth & is_told))
    cells = np.isin(np.arange(120), np.flatnonzero(is_told.all(axis=1)))
    np.testing.assert_array_equal(yes.proba[cells], no.proba[cells])
    proba = yes.judge.judge(new.evidence)
    np.testing.assert_array_equal(proba, no.judge.judge(new.evidence))
    yes.judge.save(tmp_path)
    np.testing.assert_array_equal(StackedTrees.load(tmp_path).judge(new.evidence), proba)


def test_two_folds_are_enough_where_the_truth_tells_nothing(drawn, small):
    toy = drawn(60, n_folds=2)
    by = small.model_copy(update={"features": BARE})
    assert run(toy, by).proba.shape == toy.truth.shape
    with pytest.raises(FieldmarkError) as wrong:
        run(toy, small)
    assert "share=False" in wrong.value.fix


def test_impossible_folds_and_groups_are_refused(toy, small):
    for fold, what in ((toy.fold * 2, "no image in fold 1"), (toy.fold - 1, "of no fold")):
        with pytest.raises(FieldmarkError) as wrong:
            second_level(toy.evidence, toy.truth, fold, by=small)
        assert what in str(wrong.value.got)
        assert "0, 1, 2" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        second_level(toy.evidence, toy.truth, toy.fold[:5], by=small)
    assert "one whole number an image" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        run(toy, small, label_groups=np.full(9, -1))
    assert "one whole number a label" in wrong.value.fix


def test_models_are_found_by_name_whatever_their_order(drawn, judged):
    new = drawn(20, seed=2).evidence
    turned = SecondLevelInputs(dict(reversed(new.scores.items())), new.statistics, new.imagenet, new.embeddings)
    assert turned.models != judged.judge.models
    np.testing.assert_array_equal(judged.judge.judge(turned), judged.judge.judge(new))


def test_evidence_of_another_kind_is_refused(drawn, judged):
    new = drawn(5, seed=2).evidence
    renamed = {f"another {name}": matrix for name, matrix in new.scores.items()}
    with pytest.raises(FieldmarkError, match="models") as wrong:
        judged.judge.judge(SecondLevelInputs(renamed, new.statistics, new.imagenet, new.embeddings))
    assert "same models" in wrong.value.fix
    few = {name: matrix[:, :4] for name, matrix in new.scores.items()}
    with pytest.raises(ShapeError, match="other labels") as wrong:
        judged.judge.judge(SecondLevelInputs(few, new.statistics, new.imagenet, new.embeddings))
    assert "vocabulary" in wrong.value.fix
    with pytest.raises(ShapeError, match="kind that the known") as wrong:
        judged.judge.judge(SecondLevelInputs(new.scores, new.statistics, new.imagenet[:, :3], new.embeddings))
    assert "same backbone" in wrong.value.fix
    with pytest.raises(FieldmarkError, match="evidence that is not there") as wrong:
        judged.judge.judge(SecondLevelInputs(new.scores, new.statistics, new.imagenet))
    assert "relevance=None" in wrong.value.fix


@pytest.mark.parametrize("name", ["fold-1.txt", "stacked_trees.safetensors"])
def test_damaged_folders_are_refused_before_anything_reads_them(judged, tmp_path, name):
    judged.judge.save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match="damaged") as wrong:
        StackedTrees.load(tmp_path)
    assert name in str(wrong.value.got)
    assert "again" in wrong.value.fix
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match="damaged"):
        StackedTrees.load(tmp_path)


def test_another_version_is_refused(judged, tmp_path):
    judged.judge.save(tmp_path)
    meta = tmp_path / "stacked_trees.json"
    meta.write_text(meta.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(RunError, match="no second level") as wrong:
        StackedTrees.load(tmp_path)
    assert "again" in wrong.value.fix


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.5), st.floats(0.5, 20))
def test_put_right_gives_back_the_true_rate_after_thinning(seed, share, per_positive):
    chance = np.random.default_rng(seed)
    truth = chance.random(20_000) < share
    kept, rate = thin(truth, Negatives(per_positive=per_positive), np.random.default_rng(seed + 1))
    assert (np.diff(kept) > 0).all()
    assert truth[kept].sum() == truth.sum()
    observed = float(truth[kept].mean())
    n_negatives = len(kept) - truth.sum()
    chance_of_draw = 6 / np.sqrt(n_negatives)  # six standard deviations of a count
    assert n_negatives == pytest.approx(min(per_positive * truth.sum(), (~truth).sum()), rel=chance_of_draw)
    assert float(put_right(np.float32(observed), rate)) == pytest.approx(truth.mean(), rel=chance_of_draw)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(0.001, 1))
def test_put_right_divides_the_odds(proba, rate):
    right = float(put_right(np.float32(proba), rate))
    assert right / (1 - right) == pytest.approx(rate * proba / (1 - proba), rel=2e-3)
    assert float(put_right(np.float32(proba), 1.0)) == pytest.approx(proba, rel=1e-6)


def test_all_negatives_are_kept_where_they_are_few_or_asked_for():
    truth = np.array([True, False, False, False])
    for by in (Negatives(per_positive=3.0), Negatives(per_positive=None)):
        kept, rate = thin(truth, by, np.random.default_rng(0))
        assert kept.tolist() == [0, 1, 2, 3]
        assert rate == 1


def test_settings_survive_json():
    by = Stacking(candidates=Candidates(top_k=7), negatives=Negatives(per_positive=None))
    assert Stacking.model_validate_json(by.model_dump_json()) == by
