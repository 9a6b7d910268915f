"""Every column of the second level's table, compared with slow loops."""

from __future__ import annotations

import math
import statistics
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.images.statistics import STATISTICS
from fieldmark.stacking import inputs as inputs_module
from fieldmark.stacking.candidates import candidate_cells
from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.neighbour_columns import PRIOR_PHOTOS, NeighbourLabels
from fieldmark.stacking.specs import Candidates, TableColumns
from fieldmark.stacking.table import FLOOR, Projection, column_names, competition_ranks, tabulate

N_LABELS, GROUPS = 6, np.array([0, 0, 1, 1, 1, 2])


def three_models(n_images=7, seed=0):
    chance = np.random.default_rng(seed)
    imagenet = chance.dirichlet(np.full(5, 0.3), n_images).astype(np.float32)
    rows = chance.normal(size=(n_images, 3)).astype(np.float32)
    return SecondLevelInputs(
        {name: chance.random((n_images, N_LABELS)).astype(np.float32).round(1) for name in ("x", "y", "z")},
        statistics=chance.random((n_images, len(STATISTICS))).astype(np.float32),
        imagenet=imagenet,
        embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
    )


def slow_row(inputs, image, label):
    p = [float(matrix[image, label]) for matrix in inputs.scores.values()]
    row = dict(zip(("proba x", "proba y", "proba z"), p, strict=True))
    for size in (2, 3):
        for some in combinations(range(3), size):
            names, values = ["xyz"[m] for m in some], [p[m] for m in some]
            quotient = values[0] + FLOOR
            for value in values[1:]:
                quotient /= value + FLOOR
            row[" + ".join(names)] = sum(values)
            row[" / ".join(names)] = quotient
            row[" x ".join(names)] = math.prod(values)
    row |= {"mean": sum(p) / 3, "median": statistics.median(p), "standard deviation": statistics.pstdev(p)}
    row |= {"greatest": max(p), "least": min(p)}
    for name, matrix in inputs.scores.items():
        row[f"rank {name}"] = 1 + sum(other > matrix[image, label] for other in matrix[image])
    row |= dict(zip(STATISTICS, inputs.statistics[image].tolist(), strict=True))
    return row | {"label": label, "label group": GROUPS[label]}


def test_every_plain_column_equals_slow_loops(monkeypatch, tmp_path):
    monkeypatch.setattr(inputs_module, "IMAGE_BLOCK", 3)
    inputs, features = three_models(), TableColumns(imagenet="off", relevance=None)
    cells = candidate_cells(inputs, Candidates(top_k=2))
    names = column_names(inputs, features)
    table = tabulate(inputs, cells, features, label_groups=GROUPS, file=tmp_path / "table.npy")
    assert isinstance(table, np.memmap)
    assert table.dtype == np.float32
    for row, image, label in zip(table, cells.image, cells.label, strict=True):
        slow = slow_row(inputs, image, label)
        assert names == tuple(slow)
        np.testing.assert_allclose(row, list(slow.values()), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(tabulate(inputs, cells, features, label_groups=GROUPS), table)


def test_disabled_columns_are_missing():
    inputs = three_models()
    bare = TableColumns(
        combinations=False, spread=False, ranks=False, statistics=False, imagenet="off", label=False, relevance=None
    )
    assert column_names(inputs, bare) == ("proba x", "proba y", "proba z")
    cells = candidate_cells(inputs, Candidates(top_k=2))
    plain = np.stack([matrix[cells.image, cells.label] for matrix in inputs.scores.values()], axis=1)
    np.testing.assert_array_equal(tabulate(inputs, cells, bare), plain)
    alone = SecondLevelInputs({"x": inputs.scores["x"]})
    assert column_names(alone, TableColumns(statistics=False, imagenet="off", relevance=None, label=False)) == (
        "proba x",
        "rank x",
    )


def test_raw_imagenet_probabilities_are_unchanged():
    inputs = three_models()
    cells = candidate_cells(inputs, Candidates(top_k=1))
    features = TableColumns(imagenet="raw", relevance=None)
    names = column_names(inputs, features)
    first = names.index("imagenet 0")
    table = tabulate(inputs, cells, features)
    assert names[first : first + 6] == (*(f"imagenet {c}" for c in range(5)), "label")
    np.testing.assert_array_equal(table[:, first : first + 5], inputs.imagenet[cells.image])


def test_the_projection_is_that_of_a_singular_value_decomposition():
    imagenet = three_models(40).imagenet
    projection = Projection.of(imagenet, n_components=3)
    roots = np.sqrt(imagenet.astype(np.float64))
    _, _, axes = np.linalg.svd(roots - roots.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(projection.components.T @ axes[:3].T), np.eye(3), atol=1e-4)
    ours, theirs = projection(imagenet), (roots - roots.mean(axis=0)) @ axes[:3].T
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-5)
    inputs = three_models(40)
    cells = candidate_cells(inputs, Candidates(top_k=1))
    features = TableColumns(n_components=3, relevance=None)
    first = column_names(inputs, features).index("imagenet component 0")
    table = tabulate(inputs, cells, features, projection=projection)
    np.testing.assert_array_equal(table[:, first : first + 3], ours[cells.image])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=4))
def test_equal_scores_share_the_better_rank(rows):
    scores = np.array(rows, np.float32)
    slow = [[1 + sum(other > value for other in row) for value in row] for row in rows]
    assert competition_ranks(scores).tolist() == slow


def slow_columns_from_labels(inputs, truth, is_labelled, fold, image, label, folds, by):
    """The three columns of one cell from labels, computed from the photos of ``folds`` only."""
    used = [i for i in range(len(fold)) if fold[i] in folds]
    known = [i for i in used if is_labelled[i, label]]
    having = [i for i in known if truth[i, label]]
    lacking = [i for i in known if not truth[i, label]]
    share = (len(having) + 0.5) / (len(known) + 1)
    imagenet_of, nats = inputs.imagenet.astype(float), 0.0
    for c in range(imagenet_of.shape[1]):
        base = (sum(imagenet_of[i, c] for i in known) + 1 / imagenet_of.shape[1]) / (len(known) + 1)
        inside = (sum(imagenet_of[i, c] for i in having) + PRIOR_PHOTOS * base) / (len(having) + PRIOR_PHOTOS)
        outside = (sum(imagenet_of[i, c] for i in lacking) + PRIOR_PHOTOS * base) / (len(lacking) + PRIOR_PHOTOS)
        nats += imagenet_of[image, c] * math.log(inside / outside)
    cosines = {i: float(inputs.embeddings[i] @ inputs.embeddings[image]) for i in used}
    near = sorted(used, key=lambda i: (-cosines[i], i))[: by.k]
    weights = [math.exp(-by.sharpness * (1 - cosines[i])) for i in near]
    values = [float(truth[i, label]) if is_labelled[i, label] else share for i in near]
    total = sum(w * (by.noise + (1 - 2 * by.noise) * one) for w, one in zip(weights, values, strict=True))
    return math.log(share), nats, total / sum(weights)


@pytest.mark.parametrize("unlabelled", [0.0, 0.4])
@pytest.mark.parametrize("folds", [(0, 2), (1,), (1, 2, 3)])
def test_columns_from_labels_equal_slow_loops(drawn, small, folds, unlabelled):
    """Also if some cells are unlabelled."""
    toy = drawn(60)
    is_labelled = np.random.default_rng(5).random(toy.truth.shape) >= unlabelled
    truth = toy.truth | ~is_labelled  # the value of an unlabelled cell must not matter
    known_labels = NeighbourLabels.of(toy.inputs, truth, toy.fold, small.features, is_labelled=is_labelled)
    assert known_labels.names == ("label share", "imagenet affinity", "relevance of neighbours")
    others = [one for one in known_labels.folds if one not in folds]
    images = np.flatnonzero(np.isin(toy.fold, others))
    cells = candidate_cells(toy.inputs, small.candidates)
    some = np.flatnonzero(np.isin(cells.image, images))[::5]
    columns = known_labels.columns_for(toy.inputs, fold=toy.fold).columns(
        cells.image[some], cells.label[some], folds=folds
    )
    for row, image, label in zip(columns, cells.image[some], cells.label[some], strict=True):
        slow = slow_columns_from_labels(
            toy.inputs, truth, is_labelled, toy.fold, image, label, folds, small.features.relevance
        )
        np.testing.assert_allclose(row, slow, rtol=1e-3, atol=1e-4)


def test_columns_from_labels_do_not_depend_on_blocks(drawn, small, monkeypatch):
    toy = drawn(60)
    cells = candidate_cells(toy.inputs, small.candidates)
    known_labels = NeighbourLabels.of(toy.inputs, toy.truth, toy.fold, small.features)
    new = drawn(2500, seed=4)
    many = candidate_cells(new.inputs, small.candidates)
    whole = known_labels.columns_for(new.inputs).columns(many.image, many.label, folds=(0, 1, 2, 3))
    assert len(whole) == len(many) > 2500 > len(cells) / 10
    late = many.image >= 2100
    part = known_labels.columns_for(new.inputs.part(slice(2100, 2500)))
    np.testing.assert_allclose(
        part.columns(many.image[late] - 2100, many.label[late], folds=(0, 1, 2, 3)), whole[late], atol=1e-4
    )
