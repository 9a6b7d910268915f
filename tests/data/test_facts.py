"""The numbers of the inspect page, against hands that count."""

from fieldmark.data.collection import Collection
from fieldmark.data.facts import Conflict, facts


def test_whales(tmp_path) -> None:
    frame = {
        "image": list("abcdefg"),
        "identity": ["w_1", "w_1", "w_2", "new_whale", "new_whale", None, "w_3"],
        "group": ["x", "x", "y", "y", None, None, "y"],
        "width": [10, 10, 10, 20, None, 20, 20],
        "height": [5, 5, 5, 5, 5, 5, 5],
    }
    counted = facts(Collection.of(frame, root=tmp_path))
    assert (counted.n_photos, counted.n_identities, counted.n_singletons) == (7, 3, 2)
    assert (counted.n_unknown, counted.n_unlabelled, counted.unknown_share) == (2, 1, 2 / 6)
    assert counted.photos_per_identity == {1: 2, 2: 1}
    assert counted.group_sizes == {2: 1, 3: 1}
    assert counted.conflicts == (Conflict("y", ("new_whale", "w_2", "w_3"), 3),)
    assert counted.missing == {"identity": 1, "group": 2, "width": 1}
    assert counted.sizes == {(10, 5): 3, (20, 5): 3}
    assert list(counted.sizes) == [(10, 5), (20, 5)]
    assert counted.label_counts == ()


def test_tags(tmp_path) -> None:
    frame = {"image": list("abcd"), "labels": [["dog", "big"], ["dog"], ["cat", "big", "dog"], None]}
    counted = facts(Collection.of(frame, root=tmp_path))
    assert counted.label_counts == (("dog", 3), ("big", 2), ("cat", 1))
    assert counted.top(1) == (("dog", 3),)
    assert counted.tail(2) == (("cat", 1), ("big", 2))
    assert counted.labels_per_photo == {0: 1, 1: 1, 2: 1, 3: 1}
    assert counted.cooccurrence.tolist() == [[3, 2, 1], [2, 2, 1], [1, 1, 1]]
    assert counted.n_unlabelled == 0


def test_tags_of_the_vocabulary_that_never_occur_are_in_the_tail(tmp_path) -> None:
    collection = Collection.of({"image": list("ab"), "labels": [["dog"], ["cat"]]}, root=tmp_path)
    assert facts(collection.take([0])).tail(1) == (("cat", 0),)


def test_only_the_commonest_twenty_are_crossed(tmp_path) -> None:
    labels = [[f"tag {number:02}" for number in range(row, 30)] for row in range(30)]
    counted = facts(Collection.of({"image": [str(n) for n in range(30)], "labels": labels}, root=tmp_path))
    assert counted.cooccurrence.shape == (20, 20)
    assert counted.label_counts[0] == ("tag 29", 30)
    assert counted.cooccurrence.diagonal().tolist() == [count for _, count in counted.top()]


def test_questions(tmp_path) -> None:
    frame = {"image": list("abc"), "gender": ["men", "men", None]}
    counted = facts(Collection.of(frame, root=tmp_path, questions=["gender"]))
    assert counted.answer_counts == {"gender": (("men", 2),)}
    assert counted.missing == {"gender": 1}


def test_an_empty_collection_has_facts_too(tmp_path) -> None:
    counted = facts(Collection.of({"image": []}, root=tmp_path))
    assert counted.n_photos == 0
    assert counted.unknown_share == 0
