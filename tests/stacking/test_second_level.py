"""The whole second level: no leakage, better scores, reproducible, and predictions for new photos."""

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
from fieldmark.stacking.trees import corrected, sample_negatives

GROUPS = np.arange(9) % 2
BARE = TableColumns(statistics=False, imagenet="off", share=False, relevance=None)


def run(toy, by, **options):
    return second_level(toy.inputs, toy.truth, toy.fold, by=by, **options)


@pytest.fixture(scope="module")
def trained(toy, small):
    return second_level(toy.inputs, toy.truth, toy.fold, by=small, label_groups=GROUPS)


def nats(proba, truth):
    proba = np.clip(proba.astype(np.float64), 1e-4, 1 - 1e-4)
    return float(-np.where(truth, np.log(proba), np.log(1 - proba)).mean())


@pytest.mark.parametrize("fold", [0, 3])
def test_the_truth_of_a_fold_never_reaches_its_own_model(toy, trained, fold, small):
    own = toy.fold == fold
    other_truth = toy.truth.copy()
    other_truth[own] = np.random.default_rng(1).permutation(~toy.truth[own])
    again = run(toy.with_truth(other_truth), small, label_groups=GROUPS)
    np.testing.assert_array_equal(again.proba[own], trained.proba[own])
    assert (again.proba[~own] != trained.proba[~own]).any()  # while the models of other folds are trained on it


def test_it_is_better_than_the_mean_of_the_models(toy, trained):
    cells = candidate_cells(toy.inputs, Candidates(top_k=5))
    mean = toy.inputs.mean_of(slice(None))
    where = (cells.image, cells.label)
    assert nats(trained.proba[where], toy.truth[where]) < nats(mean[where], toy.truth[where]) - 0.02


def test_importance_names_every_column_once_and_sums_to_one(trained):
    names = [name for name, _ in trained.importance]
    shares = [share for _, share in trained.importance]
    assert len(names) == len(set(names)) == 2 + 3 + 5 + 2 + 4 + 3 + 2 + 3
    assert {"a / b", "relevance of neighbours", "imagenet affinity", "brightness", "label"} <= set(names)
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_scored_cells_are_the_candidates_of_the_recall_ceiling(toy, trained):
    cells = candidate_cells(toy.inputs, Candidates(top_k=5))
    assert trained.n_judged == len(cells)
    found = toy.truth[cells.image, cells.label].sum()
    assert trained.recall_ceiling == pytest.approx(found / toy.truth.sum())
    assert 0.5 < trained.recall_ceiling < 1


def test_threads_scratch_and_repeats_change_nothing_but_the_seed_does(toy, trained, tmp_path, small):
    same = run(toy, small, label_groups=GROUPS, n_threads=2, scratch=tmp_path)
    np.testing.assert_array_equal(same.proba, trained.proba)
    assert same.judge.trees == trained.judge.trees
    assert not list(tmp_path.iterdir())
    other = run(toy, small, label_groups=GROUPS, seed=1)
    assert (other.proba != trained.proba).any()


def test_new_photos_get_the_same_scores_after_saving_and_loading(drawn, trained, tmp_path):
    new = drawn(50, seed=3)
    proba = trained.judge.judge(new.inputs)
    assert proba.shape == (50, 9)
    trained.judge.save(tmp_path)
    back = StackedTrees.load(tmp_path)
    np.testing.assert_array_equal(back.judge(new.inputs), proba)
    assert back.rates == trained.judge.rates
    cells = candidate_cells(new.inputs, Candidates(top_k=5))
    where = (cells.image, cells.label)
    mean = new.inputs.mean_of(slice(None))
    assert nats(proba[where], new.truth[where]) < nats(mean[where], new.truth[where])
    np.testing.assert_array_equal(trained.judge.judge(new.inputs.part(slice(7, 9))), proba[7:9])
    assert trained.judge.judge(new.inputs.part(slice(0, 0))).shape == (0, 9)


def test_raw_imagenet_columns_work_from_end_to_end(drawn, small):
    toy, new = drawn(120), drawn(10, seed=5)
    features = TableColumns(imagenet="raw", relevance=None, share=False)
    by = small.model_copy(update={"features": features})
    found = run(toy, by)
    assert any(name == "imagenet 11" for name, _ in found.importance)
    assert found.judge.judge(new.inputs).shape == (10, 9)
    narrow = SecondLevelInputs(new.inputs.scores, statistics=new.inputs.statistics, imagenet=new.inputs.imagenet[:, :5])
    with pytest.raises(ShapeError, match="another number of columns") as wrong:
        found.judge.judge(narrow)
    assert "same backbone" in wrong.value.fix


def test_no_candidates_is_refused_and_an_image_without_any_keeps_the_mean(drawn, small):
    toy = drawn(60)
    none = small.model_copy(update={"candidates": Candidates(least=1.0), "features": BARE})
    with pytest.raises(FieldmarkError, match="no candidate cell") as wrong:
        run(toy, none)
    assert "least" in wrong.value.fix
    few = small.model_copy(update={"candidates": Candidates(top_k=5, least=0.2), "features": BARE})
    scores = {name: matrix.copy() for name, matrix in toy.inputs.scores.items()}
    for matrix in scores.values():
        matrix[4] = 0.1
    found = second_level(SecondLevelInputs(scores), toy.truth, toy.fold, by=few)
    np.testing.assert_allclose(found.proba[4], 0.1, rtol=1e-6)
    assert (
        found.judge.judge(SecondLevelInputs({name: matrix[4:5] for name, matrix in scores.items()})) == found.proba[4]
    ).all()


@pytest.mark.parametrize("truth", [False, True])
def test_truth_of_only_positives_or_negatives_works(drawn, truth, small):
    toy = drawn(60)
    by = small.model_copy(update={"features": BARE})
    found = run(toy.with_truth(np.full_like(toy.truth, truth)), by)
    assert np.isfinite(found.proba).all()
    cells = candidate_cells(toy.inputs, by.candidates)
    proba = found.proba[cells.image, cells.label]
    assert (proba > 0.9).all() if truth else (proba < 0.1).all()


def test_unlabelled_cells_are_scored_but_not_used_for_training(toy, small):
    """Half of the cells of one label are unlabelled: as negatives, they would halve its probability."""
    label = int(np.argmax(toy.truth.sum(axis=0)))
    is_labelled = np.ones_like(toy.truth)
    is_labelled[::2, label] = False
    by = small.model_copy(update={"features": BARE})
    hidden = toy.with_truth(toy.truth & is_labelled)
    unlabelled = run(hidden, by, is_labelled=is_labelled)
    means = [made.proba[:, label].mean() for made in (run(toy, by), unlabelled, run(hidden, by))]
    assert means[1] == pytest.approx(means[0], rel=0.25)
    assert means[2] < 0.7 * means[0]
    assert (unlabelled.proba[::2, label] > 0).any()


def test_values_of_unlabelled_cells_and_saving_change_nothing(drawn, small, tmp_path):
    """With every column that uses labels: the share, the ImageNet similarity, the neighbours."""
    toy, new = drawn(120), drawn(20, seed=3)
    is_labelled = np.random.default_rng(5).random(toy.truth.shape) >= 0.3
    yes, no = (
        run(toy.with_truth(one), small, is_labelled=is_labelled)
        for one in (toy.truth | ~is_labelled, toy.truth & is_labelled)
    )
    cells = np.isin(np.arange(120), np.flatnonzero(is_labelled.all(axis=1)))
    np.testing.assert_array_equal(yes.proba[cells], no.proba[cells])
    proba = yes.judge.judge(new.inputs)
    np.testing.assert_array_equal(proba, no.judge.judge(new.inputs))
    yes.judge.save(tmp_path)
    np.testing.assert_array_equal(StackedTrees.load(tmp_path).judge(new.inputs), proba)


def test_two_folds_are_enough_without_columns_from_labels(drawn, small):
    toy = drawn(60, n_folds=2)
    by = small.model_copy(update={"features": BARE})
    assert run(toy, by).proba.shape == toy.truth.shape
    with pytest.raises(FieldmarkError) as wrong:
        run(toy, small)
    assert "share=False" in wrong.value.fix


def test_invalid_folds_and_groups_are_refused(toy, small):
    for fold, what in ((toy.fold * 2, "no image in fold 1"), (toy.fold - 1, "without a fold")):
        with pytest.raises(FieldmarkError) as wrong:
            second_level(toy.inputs, toy.truth, fold, by=small)
        assert what in str(wrong.value.got)
        assert "0, 1, 2" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        second_level(toy.inputs, toy.truth, toy.fold[:5], by=small)
    assert "one whole number per image" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        run(toy, small, label_groups=np.full(9, -1))
    assert "0 for culture" in wrong.value.fix


def test_models_are_matched_by_name_in_any_order(drawn, trained):
    new = drawn(20, seed=2).inputs
    turned = SecondLevelInputs(dict(reversed(new.scores.items())), new.statistics, new.imagenet, new.embeddings)
    assert turned.models != trained.judge.models
    np.testing.assert_array_equal(trained.judge.judge(turned), trained.judge.judge(new))


def test_inputs_of_other_models_or_labels_are_refused(drawn, trained):
    new = drawn(5, seed=2).inputs
    renamed = {f"another {name}": matrix for name, matrix in new.scores.items()}
    with pytest.raises(FieldmarkError, match="models") as wrong:
        trained.judge.judge(SecondLevelInputs(renamed, new.statistics, new.imagenet, new.embeddings))
    assert "same models" in wrong.value.fix
    few = {name: matrix[:, :4] for name, matrix in new.scores.items()}
    with pytest.raises(ShapeError, match="other labels") as wrong:
        trained.judge.judge(SecondLevelInputs(few, new.statistics, new.imagenet, new.embeddings))
    assert "vocabulary" in wrong.value.fix
    with pytest.raises(ShapeError, match="other numbers of columns") as wrong:
        trained.judge.judge(SecondLevelInputs(new.scores, new.statistics, new.imagenet[:, :3], new.embeddings))
    assert "same backbone" in wrong.value.fix
    with pytest.raises(FieldmarkError, match="inputs that are missing") as wrong:
        trained.judge.judge(SecondLevelInputs(new.scores, new.statistics, new.imagenet))
    assert "relevance=None" in wrong.value.fix


@pytest.mark.parametrize("name", ["fold-1.txt", "stacked_trees.safetensors"])
def test_damaged_folders_are_refused_before_they_are_parsed(trained, tmp_path, name):
    trained.judge.save(tmp_path)
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


def test_another_version_is_refused(trained, tmp_path):
    trained.judge.save(tmp_path)
    meta = tmp_path / "stacked_trees.json"
    meta.write_text(meta.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(RunError, match="no second level") as wrong:
        StackedTrees.load(tmp_path)
    assert "again" in wrong.value.fix


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.5), st.floats(0.5, 20))
def test_the_correction_restores_the_true_rate_after_sampling(seed, share, per_positive):
    chance = np.random.default_rng(seed)
    truth = chance.random(20_000) < share
    kept, rate = sample_negatives(truth, Negatives(per_positive=per_positive), np.random.default_rng(seed + 1))
    assert (np.diff(kept) > 0).all()
    assert truth[kept].sum() == truth.sum()
    observed = float(truth[kept].mean())
    n_negatives = len(kept) - truth.sum()
    chance_of_draw = 6 / np.sqrt(n_negatives)  # six standard deviations of a count
    assert n_negatives == pytest.approx(min(per_positive * truth.sum(), (~truth).sum()), rel=chance_of_draw)
    assert float(corrected(np.float32(observed), rate)) == pytest.approx(truth.mean(), rel=chance_of_draw)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(0.001, 1))
def test_the_correction_divides_the_odds(proba, rate):
    right = float(corrected(np.float32(proba), rate))
    assert right / (1 - right) == pytest.approx(rate * proba / (1 - proba), rel=2e-3)
    assert float(corrected(np.float32(proba), 1.0)) == pytest.approx(proba, rel=1e-6)


def test_all_negatives_are_kept_if_they_are_few_or_requested():
    truth = np.array([True, False, False, False])
    for by in (Negatives(per_positive=3.0), Negatives(per_positive=None)):
        kept, rate = sample_negatives(truth, by, np.random.default_rng(0))
        assert kept.tolist() == [0, 1, 2, 3]
        assert rate == 1


def test_settings_survive_json():
    by = Stacking(candidates=Candidates(top_k=7), negatives=Negatives(per_positive=None))
    assert Stacking.model_validate_json(by.model_dump_json()) == by
