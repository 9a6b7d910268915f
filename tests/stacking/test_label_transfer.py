"""The weight of transferred labels is fitted on labelled photos."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.stacking.knn import neighbours, relevance
from fieldmark.stacking.label_transfer import choose_transfer, with_neighbours
from fieldmark.stacking.specs import Relevance, TransferSearch

BY = TransferSearch(relevance=(Relevance(k=3), Relevance(k=10)))


def world(*, informative: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weak scores, embeddings that depend on the labels (or not), and the labels."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 6, 300)
    truth = np.eye(6, dtype=bool)[kind]
    proba = np.clip(truth * 0.15 + rng.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    embeddings = (np.eye(6)[kind] if informative else 0) + 0.3 * rng.normal(size=(300, 6))
    return proba, (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), truth


def best_f2(proba: np.ndarray, truth: np.ndarray) -> float:
    """The best mean F2 of one threshold, by slow loops."""
    found = []
    for threshold in np.unique(np.round(proba, 2)):
        scores = []
        for p, y in zip(proba > threshold, truth, strict=True):
            hit = (p & y).sum()
            scores.append(5 * hit / (4 * y.sum() + p.sum()) if hit else 0.0)
        found.append(np.mean(scores))
    return float(max(found))


def test_informative_neighbours_get_weight_and_improve_the_scores() -> None:
    proba, embeddings, truth = world(informative=True)
    fold = np.arange(300) % 3
    nearest = neighbours(embeddings, embeddings, k=10, groups=(fold, fold))
    settings, weight, f2 = choose_transfer(proba, nearest, truth, BY)
    assert weight > 0.2
    assert f2[BY.weights.index(weight)] == max(f2)
    transferred = with_neighbours(proba, relevance(nearest, truth, settings), weight=weight)
    assert best_f2(transferred, truth) > best_f2(proba, truth) + 0.1
    assert f2[0] == pytest.approx(best_f2(proba, truth), abs=0.02)


def test_uninformative_neighbours_get_weight_0() -> None:
    _, embeddings, truth = world(informative=False)
    fold = np.arange(300) % 3
    confident = np.where(truth, 0.9, 0.05).astype(np.float32)
    _, weight, _ = choose_transfer(confident, neighbours(embeddings, embeddings, k=10, groups=(fold, fold)), truth, BY)
    assert weight <= 0.3
    assert (
        choose_transfer(confident, neighbours(embeddings, embeddings, k=10, groups=(fold, fold)), truth, BY)[2][0]
        == 1.0
    )


def test_weight_0_is_the_network_and_1_the_neighbours() -> None:
    proba, transferred = np.float32([[0.2, 0.8]]), np.float32([[0.6, 0.4]])
    assert with_neighbours(proba, transferred, weight=0).tolist() == proba.tolist()
    assert with_neighbours(proba, transferred, weight=1).tolist() == transferred.tolist()
    assert with_neighbours(proba, transferred, weight=0.5)[0] == pytest.approx([0.4, 0.6])


def test_photos_without_labels_are_refused() -> None:
    empty = np.zeros((0, 3), np.float32)
    with pytest.raises(FieldmarkError) as raised:
        choose_transfer(empty, neighbours(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), k=1), empty > 0, BY)
    assert "out-of-fold" in raised.value.fix
