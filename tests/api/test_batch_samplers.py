"""Batch samplers in a ``DataLoader`` of torch: contents of batches, epochs, seeds."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fieldmark.core.errors import DataError, FieldmarkError, PlanError, ShapeError
from fieldmark.samplers import AssignmentBatchSampler, LogWeightBatchSampler, PkBatchSampler, TupleBatchSampler

CLASSES = [identity for identity in range(6) for _ in range(3 + identity % 2)] + [-1] * 7


def unit(n: int, *, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


MAKERS: dict[str, Callable[..., object]] = {
    "pk": lambda **more: PkBatchSampler(CLASSES, batch=8, k=2, unknown_share=0.25, **more),
    "tuples": lambda **more: TupleBatchSampler(CLASSES, batch=8, **more),
    "log_weight": lambda **more: LogWeightBatchSampler(classes=CLASSES, batch=8, **more),
    "assignment": lambda **more: AssignmentBatchSampler(CLASSES, unit(len(CLASSES)), batch=8, **more),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_data_loader_accepts_each_sampler(make: Callable[..., object]) -> None:
    sampler = make(seed=3)
    data = TensorDataset(torch.arange(len(CLASSES)), torch.tensor(CLASSES))
    loader = DataLoader(data, batch_sampler=sampler)
    first, second = [[rows.tolist() for rows, _ in loader] for _ in range(2)]
    assert len(loader) == len(first) == len(second)
    assert {len(batch) for batch in first} == {8}
    assert first != second
    again = make(seed=3)
    assert list(again) == first
    assert list(again) == second
    assert list(make(seed=4)) != first


def test_an_epoch_can_be_chosen() -> None:
    sampler = PkBatchSampler(CLASSES, batch=8, k=2)
    epochs = [list(sampler) for _ in range(3)]
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]
    assert list(sampler) == epochs[2]


def test_pk_batches_hold_k_photos_of_each_individual_and_their_share_of_unknowns() -> None:
    for batch in PkBatchSampler(CLASSES, batch=8, k=2, unknown_share=0.25):
        counts = Counter(CLASSES[row] for row in batch)
        assert counts.pop(-1) == 2
        assert set(counts.values()) == {2}


def test_tuples_are_photo_same_other_unknown() -> None:
    anchors = []
    for batch in TupleBatchSampler(torch.tensor(CLASSES), batch=8):
        for anchor, same, other, unknown in np.reshape([CLASSES[row] for row in batch], (-1, 4)).tolist():
            assert anchor == same != other
            assert unknown == -1
            anchors.append(anchor)
    assert set(anchors) == set(range(6))


def test_rare_labels_are_drawn_more_often_than_their_share() -> None:
    truth = np.zeros((100, 2), np.float32)
    truth[:, 0], truth[:10, 1] = 1, 1
    sampler = LogWeightBatchSampler(truth=truth, batch=50)
    drawn = np.array([row for _ in range(20) for batch in sampler for row in batch])
    assert 0.2 < (drawn < 10).mean() < 0.5  # a tenth of the rows have the rare label


@pytest.mark.parametrize("solver", ["exact", "nearest"])
def test_assignment_pairs_each_photo_with_a_partner_and_a_hard_negative(solver: str) -> None:
    embedding = unit(len(CLASSES))
    sampler = AssignmentBatchSampler(CLASSES, embedding, batch=4, solver=solver)
    opponents = []
    for photo, partner, again, opponent in sampler:
        assert photo == again != partner
        assert CLASSES[photo] == CLASSES[partner] >= 0
        assert CLASSES[opponent] not in {CLASSES[photo], -1}
        opponents.append((photo, opponent))
    known = [row for row, identity in enumerate(CLASSES) if identity >= 0]
    assert sorted(photo for photo, _ in opponents) == sorted(other for _, other in opponents) == known
    hard = np.mean([embedding[one] @ embedding[other] for one, other in opponents])
    all_pairs = [embedding[a] @ embedding[b] for a in known for b in known if CLASSES[a] != CLASSES[b]]
    assert hard > np.mean(all_pairs) + 0.2
    assert not {tuple(sorted(pair)) for pair in opponents} & {
        tuple(sorted((photo, opponent))) for photo, _, _, opponent in sampler
    }


def test_new_embeddings_give_other_pairs() -> None:
    sampler = AssignmentBatchSampler(CLASSES, unit(len(CLASSES)), batch=4)
    first = {(batch[0], batch[3]) for batch in sampler}
    sampler.update(torch.from_numpy(unit(len(CLASSES), seed=1)))
    assert {(batch[0], batch[3]) for batch in sampler} != first


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PkBatchSampler("text", batch=8), FieldmarkError, "needs an array of numbers for classes"),
        (lambda: PkBatchSampler(CLASSES, batch=7, k=2), PlanError, "cannot be divided"),
        (lambda: TupleBatchSampler(CLASSES, batch=6), PlanError, "multiple of 4"),
        (lambda: LogWeightBatchSampler(batch=4), PlanError, "either classes or truth"),
        (lambda: AssignmentBatchSampler(CLASSES, unit(len(CLASSES)), batch=6), PlanError, "multiple of 4"),
        (lambda: AssignmentBatchSampler(CLASSES, unit(3), batch=4), ShapeError, "one embedding for each row"),
        (
            lambda: AssignmentBatchSampler([0, 1, -1], unit(3), batch=4),
            DataError,
            "two individuals with at least two photos",
        ),
    ],
)
def test_impossible_batches_are_refused(make: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
