"""Descriptions of candidates compared with slow loops, and the leak of training photos."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import DataError, FieldmarkError
from fieldmark.decisions.centroids import centroids
from fieldmark.gallery import candidates
from fieldmark.gallery.candidates import COLUMNS, candidate_features
from fieldmark.gallery.store import GalleryStore


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equals_slow_loops(monkeypatch):
    monkeypatch.setattr(candidates, "PAIRS_AT_ONCE", 7)
    gallery, query = unit(40, 6, 0), unit(5, 6, 1)
    classes = np.random.default_rng(2).integers(-1, 9, 40)
    found = candidate_features(query, gallery, classes, n_photos=12)
    centre = centroids(gallery, classes, n_classes=9)
    column = {name: number for number, name in enumerate(COLUMNS)}
    n_checked = 0
    for q in range(5):
        cosine = gallery @ query[q]
        near = np.argsort(-cosine, kind="stable")[:12]
        names = list(dict.fromkeys(int(classes[g]) for g in near if classes[g] >= 0))
        mine = found.query == q
        assert found.identity[mine].tolist() == names
        best = [max(cosine[g] for g in near if classes[g] == name) for name in names]
        for place, (name, row) in enumerate(zip(names, found.table[mine], strict=True)):
            own = sorted(cosine[classes == name], reverse=True)
            wanted = {
                "first": own[0],
                "second": own[1] if len(own) > 1 else np.nan,
                "third": own[2] if len(own) > 2 else np.nan,
                "sum of three": sum(own[:3]),
                "centroid": centre[name] @ query[q],
                "rank": place + 1,
                "among nearest": sum(classes[g] == name for g in near),
                "photos": len(own),
                "behind first": best[0] - own[0],
                "before next": own[0] - best[place + 1] if place + 1 < len(names) else np.nan,
                "best of query": best[0],
                "spread of query": np.std(cosine[near]),
                "candidates": len(names),
            }
            for what, value in wanted.items():
                assert row[column[what]] == pytest.approx(value, abs=1e-5, nan_ok=True), what
            assert classes[found.photo[np.flatnonzero(mine)[place]]] == name
            n_checked += 1
    assert n_checked == len(found.query)


def test_components_are_the_differences_of_two_photos():
    gallery, query = unit(40, 6, 0), unit(5, 6, 1)
    found = candidate_features(query, gallery, np.arange(40), n_photos=5, n_components=6)
    assert found.names[-1] == "component 6"
    apart = np.linalg.norm(query[found.query] - gallery[found.photo], axis=1)
    np.testing.assert_allclose(np.linalg.norm(found.table[:, len(COLUMNS) :], axis=1), apart, atol=1e-5)


def test_training_photos_of_the_network_are_refused(tmp_path):
    """The leak of the source text: trees trained on embeddings of the network's own training photos."""
    rows, images = unit(12, 6, 0)[None], [f"g{n}" for n in range(12)]
    store = GalleryStore.write(tmp_path / "g", rows, images=images, classes=np.arange(12) // 2)
    with pytest.raises(DataError) as refusal:
        store.without(images[:3]).candidate_features(rows[:, :3], images[:3], trained_on=images[2:])
    assert "g2: the network was trained on it" in str(refusal.value.got)
    assert "g1" not in str(refusal.value.got)
    assert "holds them out" in refusal.value.fix
    with pytest.raises(DataError) as refusal:
        store.candidate_features(rows[:, :3], images[:3], trained_on=images[3:])
    assert "g0: in the gallery" in str(refusal.value.got)
    assert "gallery.without" in refusal.value.fix
    assert len(store.without(images[:3]).candidate_features(rows[:, :3], images[:3], trained_on=images[3:]).query)


def test_zero_photos_are_refused_and_unknown_individuals_are_no_candidates():
    with pytest.raises(FieldmarkError) as refusal:
        candidate_features(unit(2, 3, 0), unit(4, 3, 1), np.zeros(4, int), n_photos=0)
    assert "n_photos=100" in refusal.value.fix
    assert not len(candidate_features(unit(2, 3, 0), unit(4, 3, 1), np.full(4, -1), n_photos=3).query)
