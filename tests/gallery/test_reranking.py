"""Re-ranking by common neighbours, compared with the paper's formulas on plain sets."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.decisions.specs import Best, Reciprocal
from fieldmark.gallery.reranking import Neighbourhoods
from fieldmark.gallery.store import GalleryStore


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_common(query, gallery, k1, k2):
    """Equations of the paper, one set at a time; the query is not in any photo's neighbourhood."""
    n, half = len(gallery), max(1, k1 // 2)
    cosine = gallery.astype(np.float64) @ gallery.T.astype(np.float64)
    order = [sorted(range(n), key=lambda j, i=i: (j != i, -np.float32(cosine[i, j]), j)) for i in range(n)]

    def mutual(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    def weights(start, like):
        whole = set(start)
        for j in start:
            if len(mutual(j, half) & start) > 2 / 3 * len(mutual(j, half)):
                whole |= mutual(j, half)
        vector = np.zeros(n)
        for j in whole:
            vector[j] = np.exp(-(1 - like[j]))
        return vector / vector.sum() if whole else vector

    sharp = [weights(mutual(i, k1), cosine[i]) for i in range(n)]
    soft = [np.mean([sharp[j] for j in order[i][:k2]], axis=0) for i in range(n)]
    like = gallery.astype(np.float64) @ query.astype(np.float64)
    near = sorted(range(n), key=lambda j: (-np.float32(like[j]), j))[:k1]
    start = {j for j in near if np.float32(like[j]) >= np.float32(cosine[j, order[j][k1]])}
    mine = [weights(start, like), *(sharp[j] for j in near[: k2 - 1])]
    mine = np.mean([one for one in mine if one.any()], axis=0)
    return [np.minimum(mine, v).sum() / np.maximum(mine, v).sum() for v in soft]


@pytest.mark.parametrize(("k1", "k2"), [(5, 1), (6, 3), (2, 2)])
def test_equals_the_papers_formulas_in_slow_sets(k1, k2):
    chance = np.random.default_rng(k1)
    centre = chance.normal(size=(6, 8))
    gallery = unit(np.repeat(centre, 6, axis=0) + 0.7 * chance.normal(size=(36, 8)))
    query = unit(centre + 0.7 * chance.normal(size=(6, 8)))
    around = Neighbourhoods.of(gallery, Reciprocal(k1=k1, k2=k2, weight=0.25))
    similar = around.likeness(query)
    for row, one in enumerate(query):
        slow = np.array(slow_common(one, gallery, k1, k2))
        np.testing.assert_allclose(similar[row], 0.25 * (gallery @ one) + 0.75 * slow, atol=2e-5)


def test_weight_1_changes_nothing_and_a_single_photo_works():
    chance = np.random.default_rng(0)
    gallery, query = unit(chance.normal(size=(20, 5))), unit(chance.normal(size=(3, 5)))
    np.testing.assert_allclose(
        Neighbourhoods.of(gallery, Reciprocal(weight=1.0)).likeness(query), query @ gallery.T, atol=1e-6
    )
    assert np.isfinite(Neighbourhoods.of(gallery[:1], Reciprocal()).likeness(query)).all()


def test_a_hub_that_is_near_to_all_shares_no_neighbours():
    """A photo in the centre of eight individuals is nearest to most queries, but has no mutual neighbour."""
    chance = np.random.default_rng(2)
    centre = np.eye(12)[:8]
    own = np.repeat(centre, 5, axis=0) + 0.3 * chance.normal(size=(40, 12))
    gallery = unit(np.concatenate([own, centre.sum(axis=0, keepdims=True)]))
    query = unit(centre + 0.4 * centre.sum(axis=0) + 0.15 * chance.normal(size=(8, 12)))
    around = Neighbourhoods.of(gallery, Reciprocal(k1=5, k2=2, weight=0.0))
    assert ((query @ gallery.T).argmax(axis=1) == 40).sum() >= 5
    assert (around.likeness(query).argmax(axis=1) != 40).all()


def test_an_answer_does_not_depend_on_other_queries(tmp_path):
    chance = np.random.default_rng(1)
    rows, query = unit(chance.normal(size=(1, 60, 6))), unit(chance.normal(size=(1, 4, 6)))
    classes = np.arange(60) % 15
    store = GalleryStore.write(tmp_path / "g", rows, images=[f"g{n}" for n in range(60)], classes=classes)
    by = Reciprocal(k1=6, k2=2)
    together = store.scores(query, list("abcd"), n_classes=15, by=Best(), reciprocal=by)
    alone = [store.scores(query[:, [n]], [f"q{n}"], n_classes=15, reciprocal=by)[0] for n in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.abs(together - store.scores(query, list("abcd"), n_classes=15)).max() > 0.01


def test_queries_of_the_gallery_are_refused(tmp_path):
    rows = unit(np.random.default_rng(1).normal(size=(1, 9, 6)))
    store = GalleryStore.write(tmp_path / "g", rows, images=[f"g{n}" for n in range(9)], classes=np.arange(9))
    with pytest.raises(FieldmarkError) as refusal:
        store.scores(rows[:, :1], ["g0"], n_classes=9, reciprocal=Reciprocal())
    assert "gallery.without(query_images)" in refusal.value.fix
