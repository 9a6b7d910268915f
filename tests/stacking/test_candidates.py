"""Which cells are scored, and the probabilities of the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.stacking import inputs as inputs_module
from fieldmark.stacking.candidates import candidate_cells, recall_ceiling, scatter
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.specs import Candidates, TableColumns


def some(seed, n_images, n_labels, n_models):
    chance = np.random.default_rng(seed)
    return SecondLevelInputs(
        {f"m{m}": chance.integers(0, 6, (n_images, n_labels)).astype(np.float32) / 5 for m in range(n_models)}
    )


def slow_candidates(inputs, by):
    cells = set()
    for matrix in inputs.scores.values():
        for image, row in enumerate(matrix):
            order = sorted(range(len(row)), key=lambda label: (-row[label], label))
            cells |= {(image, label) for label in order[: by.top_k] if row[label] >= np.float32(by.least)}
    return sorted(cells)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 7),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 9),
    st.floats(0, 1),
)
def test_candidates_equal_slow_loops(seed, n_images, n_labels, n_models, top_k, least):
    inputs, by = some(seed, n_images, n_labels, n_models), Candidates(top_k=top_k, least=least)
    found = candidate_cells(inputs, by)
    assert list(zip(found.image.tolist(), found.label.tolist(), strict=True)) == slow_candidates(inputs, by)
    assert found.scored.all()
    truth = np.random.default_rng(seed).random((n_images, n_labels)) < 0.3
    united = candidate_cells(inputs, by, truth=truth)
    both = sorted(set(slow_candidates(inputs, by)) | set(zip(*map(np.ndarray.tolist, np.nonzero(truth)), strict=True)))
    assert list(zip(united.image.tolist(), united.label.tolist(), strict=True)) == both
    alone = united.only_scored()
    assert (alone.image == found.image).all()
    assert (alone.label == found.label).all()


def test_the_result_does_not_depend_on_the_block_size(monkeypatch):
    inputs = some(3, 23, 8, 2)
    whole = candidate_cells(inputs, Candidates(top_k=3))
    monkeypatch.setattr(inputs_module, "IMAGE_BLOCK", 4)
    again = candidate_cells(inputs, Candidates(top_k=3))
    assert (whole.image == again.image).all()
    assert (whole.label == again.label).all()


def test_the_recall_ceiling_counts_only_scored_cells():
    inputs = SecondLevelInputs({"m": np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.3]], np.float32)})
    truth = np.array([[True, True, False], [False, True, False]])
    united = candidate_cells(inputs, Candidates(top_k=1), truth=truth)
    assert len(united) == 3
    assert recall_ceiling(united, truth) == pytest.approx(2 / 3)
    assert recall_ceiling(united, np.zeros_like(truth)) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 8), st.integers(1, 4), st.floats(0, 1))
def test_cells_without_a_score_stay_below_and_keep_their_order(seed, n_images, n_labels, top_k, least):
    inputs = some(seed, n_images, n_labels, 2)
    cells = candidate_cells(inputs, Candidates(top_k=top_k, least=least))
    proba = np.random.default_rng(seed).random(len(cells), np.float32)
    dense = scatter(cells, proba, inputs)
    assert dense.dtype == np.float32
    assert ((dense >= 0) & (dense <= 1)).all()
    np.testing.assert_array_equal(dense[cells.image, cells.label], proba)
    mean = inputs.mean_of(slice(None))
    for image in range(n_images):
        scored = cells.label[cells.image == image].tolist()
        rest = [label for label in range(n_labels) if label not in scored]
        if not scored:
            np.testing.assert_array_equal(dense[image], mean[image])
        elif rest:
            assert dense[image, rest].max() <= 0.5 * dense[image, scored].min() + 1e-7
            ordered = sorted(rest, key=lambda label: mean[image, label])
            assert (np.diff(dense[image, ordered]) >= 0).all()


def test_ids_of_many_labels_need_more_than_16_bits():
    wide = np.zeros((1, 40_000), np.float32)
    wide[0, 39_999] = 1
    found = candidate_cells(SecondLevelInputs({"m": wide}), Candidates(top_k=1))
    assert found.label.tolist() == [39_999]


def test_invalid_inputs_are_refused():
    fine = np.full((3, 2), 0.5, np.float32)
    with pytest.raises(FieldmarkError, match="at least one model") as wrong:
        SecondLevelInputs({})
    assert "one model" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        SecondLevelInputs({"a": fine, "b": fine[:2]})
    assert "one row per image" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        SecondLevelInputs({"a": fine}, embeddings=fine[:1])
    assert "one row per image" in wrong.value.fix
    with pytest.raises(ShapeError) as wrong:
        SecondLevelInputs({"a": fine}, statistics=fine)
    assert "brightness" in wrong.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        SecondLevelInputs({"a": fine * 3, "b": fine * np.nan}, imagenet=fine * np.inf)
    assert "after the sigmoid" in wrong.value.fix
    assert str(wrong.value.got).count("\n") == 2  # all three mistakes at once


def test_missing_inputs_are_named_with_their_setting():
    inputs = SecondLevelInputs({"a": np.full((3, 2), 0.5, np.float32)})
    with pytest.raises(FieldmarkError) as wrong:
        inputs.must_serve(TableColumns(statistics=False))
    assert "imagenet='off', relevance=None" in wrong.value.fix
    assert "statistics" not in wrong.value.fix


def test_a_truth_of_another_shape_is_refused():
    inputs = SecondLevelInputs({"a": np.full((3, 2), 0.5, np.float32)})
    with pytest.raises(ShapeError) as wrong:
        candidate_cells(inputs, Candidates(), truth=np.ones((2, 2), bool))
    assert "one column per label" in wrong.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        candidate_cells(inputs, Candidates(), truth=np.ones((3, 2)))
    assert "boolean" in wrong.value.fix
