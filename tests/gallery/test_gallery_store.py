"""The gallery on disk: a photo is only compared with other photos."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fieldmark.core.errors import DataError, FieldmarkError, RunError, ShapeError
from fieldmark.decisions.identities import from_embeddings
from fieldmark.decisions.specs import Best, Centroid, MeanTop
from fieldmark.gallery import store as store_module
from fieldmark.gallery.store import GalleryStore

IMAGES = [f"00{i}.jpg" for i in range(12)]
CLASSES = np.array([0, 0, 0, 0, 0, 1, 1, 2, 3, 3, -1, -1])


def unit(*shape, seed):
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


EMBEDDING = unit(2, 12, 8, seed=0)


@pytest.fixture
def gallery(tmp_path):
    return GalleryStore.write(tmp_path / "g", EMBEDDING, images=IMAGES, classes=CLASSES, made_by="net1")


def test_a_gallery_is_read_as_it_was_written(gallery, tmp_path):
    again = GalleryStore.open(tmp_path / "g", made_by="net1")
    assert again.images == tuple(IMAGES)
    assert again.classes.tolist() == CLASSES.tolist()
    assert (len(again), again.n_views, again.dim, again.made_by) == (12, 2, 8, "net1")
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_similarity_is_the_mean_cosine_of_the_views(gallery):
    query = unit(2, 3, 8, seed=1)
    wanted = np.mean([query[view] @ EMBEDDING[view].T for view in range(2)], axis=0)
    np.testing.assert_allclose(gallery.compare(query, ["new1", "new2", "new3"]), wanted, atol=1e-6)


def test_a_photo_is_never_compared_with_itself(gallery):
    similarity = gallery.compare(EMBEDDING[:, [3, 0]], [IMAGES[3], IMAGES[0]])
    assert np.argwhere(similarity == -np.inf).tolist() == [[0, 3], [1, 0]]
    index, _ = gallery.nearest(EMBEDDING, IMAGES, k=11)
    assert not (index == np.arange(12)[:, None]).any()
    scores = gallery.scores(EMBEDDING, IMAGES, n_classes=4)
    assert scores[7, 2] == -np.inf  # the only photo of its identity
    assert (scores[:, [0, 1, 3]] < 0.99).all()
    index, similarity = gallery.best_photos(EMBEDDING, IMAGES, np.maximum(CLASSES, 0)[:, None])
    assert index[7, 0] == -1
    assert not (index[:, 0] == np.arange(12)).any()


@pytest.mark.parametrize("by", [None, Best(), MeanTop(m=2), Centroid()])
def test_scores_of_new_photos_are_those_of_decide(gallery, monkeypatch, by):
    query = unit(2, 5, 8, seed=2)
    flat = [np.concatenate(list(x), axis=1) / np.float32(np.sqrt(2)) for x in (query, EMBEDDING)]
    wanted = from_embeddings(*flat, CLASSES, n_classes=5, by=by)
    monkeypatch.setattr(store_module, "COMPARED_AT_ONCE", 24)
    np.testing.assert_allclose(gallery.scores(query, list("abcde"), n_classes=5, by=by), wanted, atol=1e-6)


def test_a_gallery_without_the_queries_gives_centroids_without_them(gallery):
    rest = gallery.without([IMAGES[0], "elsewhere"])
    assert rest.images == tuple(IMAGES[1:])
    scores = rest.scores(EMBEDDING[:, :1], IMAGES[:1], n_classes=4, by=Centroid())
    flat = np.concatenate(list(EMBEDDING), axis=1) / np.float32(np.sqrt(2))
    wanted = from_embeddings(flat[:1], flat[1:], CLASSES[1:], n_classes=4, by=Centroid())
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_it_returns_no_embeddings():
    public = {name for name in dir(GalleryStore) if not name.startswith("_")}
    assert public == {
        "write", "open", "images", "classes", "n_views", "dim", "made_by",
        "compare", "scores", "nearest", "best_photos", "without", "judged", "candidate_features",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "fix"),
    [
        ({"embedding": EMBEDDING[0]}, ShapeError, "embedding[None]"),
        ({"embedding": EMBEDDING * 2}, ShapeError, "np.linalg.norm"),
        ({"embedding": EMBEDDING[:, :0], "images": [], "classes": CLASSES[:0]}, ShapeError, "at least one photo"),
        ({"images": IMAGES[:-1]}, ShapeError, "(view, image, dim)"),
        ({"images": [*IMAGES[:-1], IMAGES[0]]}, DataError, "each photo once"),
        ({"classes": CLASSES - 1}, FieldmarkError, "-1 is an unknown individual"),
        ({"classes": CLASSES * 1.0}, FieldmarkError, "Vocabulary"),
    ],
)
def test_invalid_galleries_are_not_written(tmp_path, change, error, fix):
    given = {"embedding": EMBEDDING, "images": IMAGES, "classes": CLASSES} | change
    with pytest.raises(error) as refusal:
        GalleryStore.write(tmp_path / "g", **given)
    assert fix in refusal.value.fix
    assert not (tmp_path / "g").exists()


def test_an_existing_folder_is_refused(gallery, tmp_path):
    with pytest.raises(RunError) as refusal:
        GalleryStore.write(tmp_path / "g", EMBEDDING, images=IMAGES, classes=CLASSES)
    assert "another folder" in refusal.value.fix


def test_a_gallery_of_another_network_is_refused(gallery, tmp_path):
    with pytest.raises(RunError) as refusal:
        GalleryStore.open(tmp_path / "g", made_by="net2")
    assert "embed the gallery again" in refusal.value.fix


@pytest.mark.parametrize("name", ["embedding.npy", "rows.parquet", "meta.json"])
def test_damage_is_reported(gallery, tmp_path, name):
    path = tmp_path / "g" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError) as refusal:
        GalleryStore.open(tmp_path / "g")
    assert "again" in refusal.value.fix


def test_another_kind_of_folder_is_refused(gallery, tmp_path):
    (tmp_path / "g" / "meta.json").write_text(json.dumps({"kind": "out_of_fold"}))
    with pytest.raises(RunError) as refusal:
        GalleryStore.open(tmp_path / "g")
    assert "embed the gallery again" in refusal.value.fix


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda g: g.compare(EMBEDDING[:1], IMAGES), ShapeError, "(view, query, dim)"),
        (lambda g: g.compare(EMBEDDING, IMAGES[:-1]), ShapeError, "one id per query"),
        (lambda g: g.compare(EMBEDDING[:, :0], []), ShapeError, "one id per query"),
        (lambda g: g.compare(EMBEDDING * 3, IMAGES), ShapeError, "np.linalg.norm"),
        (lambda g: g.scores(EMBEDDING, IMAGES, n_classes=4, by=Centroid()), FieldmarkError, "without(query_images)"),
        (lambda g: g.scores(EMBEDDING, IMAGES, n_classes=3), FieldmarkError, "n_classes"),
        (lambda g: g.without(IMAGES), FieldmarkError, "leave out only the queries"),
    ],
)
def test_errors_say_what_to_do(gallery, call, error, fix):
    with pytest.raises(error) as refusal:
        call(gallery)
    assert fix in refusal.value.fix
