"""Assignment mining in the training loop: pairs, detection of wrong rows, and bit-identical resuming."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.samplers import draw
from fieldmark.data.specs import AssignmentSampler, ExactAssignment, NearestAssignment
from fieldmark.images.specs import WhaleAugment
from fieldmark.losses.specs import BatchHardTriplet, PairBce, PairTriplet
from fieldmark.models.network import Network
from fieldmark.models.specs import Backbone, Net, PairHead, RandomWeights
from fieldmark.training import pairs
from fieldmark.training.course import Course
from fieldmark.training.features import FeatureStore
from fieldmark.training.loop import WorkDirectory, fit
from fieldmark.training.pairs import HardPairs, PairLikeness
from fieldmark.training.specs import Phase, Training
from toys import CLASSES, alone, lesson, network

NET = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=PairHead(dim=16))
EXACT, NEAREST = (
    AssignmentSampler(solver=solver, every_epochs=2) for solver in (ExactAssignment(), NearestAssignment(k=4))
)

UNEVEN = np.array([-1, 6, 3, 3, 8, 8, 8, -1, 0, 0, 5, 3, 7, 0, 0, 2, 2])
"""Classes of items 100, 103, 106 ...: one to four photos each, with single photos and unknown individuals."""
ITEMS = 100 + 3 * np.arange(len(UNEVEN))
OF_ITEM = dict(zip(ITEMS.tolist(), UNEVEN.tolist(), strict=True))


def vector(item: int) -> np.ndarray:
    drawn = np.random.default_rng(item).normal(size=4).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


def compare(items: np.ndarray) -> PairLikeness:
    return PairLikeness(np.stack([vector(item) for item in items]))


def hard_pairs(
    spec: AssignmentSampler = EXACT,
    *,
    phase: Phase | None = None,
    compare=compare,
    seed: int = 0,
    classes: np.ndarray = UNEVEN,
) -> HardPairs:
    phase = phase or Phase(epochs=6)
    return HardPairs(
        spec, members=ITEMS, classes=classes, phase=phase, batch=8, seed=seed, compare=compare, group=alone()
    )


def wrong_pairs(order: np.ndarray) -> int:
    """The number of tuples that are not (photo, positive, the same photo, photo of another known identity)."""
    wrong = 0
    for photo, partner, again, opponent in order.reshape(-1, 4).tolist():
        mine, theirs, others = OF_ITEM[photo], OF_ITEM[partner], OF_ITEM[opponent]
        wrong += photo != again or photo == partner or mine != theirs or mine < 0 or others in {mine, -1}
    return wrong


def shortfall(order: np.ndarray) -> float:
    """The difference of the total similarity from the largest possible one, by brute force."""
    opponent_of = {photo: opponent for photo, _, _, opponent in order.reshape(-1, 4).tolist()}
    items = sorted(opponent_of)
    similar = {(i, j): float(vector(i) @ vector(j)) for i in items for j in items if OF_ITEM[i] != OF_ITEM[j]}
    ways = [list(zip(items, way, strict=True)) for way in itertools.permutations(items)]
    best = max(sum(similar[pair] for pair in way) for way in ways if all(pair in similar for pair in way))
    return best - sum(similar[pair] for pair in opponent_of.items())


@pytest.mark.parametrize("spec", [EXACT, NEAREST], ids=["exact", "nearest"])
def test_each_epoch_has_every_photo_in_four_slots(spec: AssignmentSampler) -> None:
    mined = hard_pairs(spec)
    many = [item for item, name in OF_ITEM.items() if name >= 0 and list(OF_ITEM.values()).count(name) > 1]
    for epoch in range(4):
        order = mined.order(epoch)
        assert order.shape == (6, 8)
        assert wrong_pairs(order) == 0
        assert sorted(order.ravel().tolist()) == sorted(4 * many)


SIX = np.where(np.isin(np.arange(17), (2, 3, 5, 6, 15, 16)), UNEVEN, -1)
"""Three individuals with two photos each among unknown individuals: few enough for brute force."""


def test_opponents_are_the_hardest_by_brute_force() -> None:
    assert shortfall(hard_pairs(classes=SIX).order(0)) == pytest.approx(0, abs=1e-5)


def test_planted_wrong_rows_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted mistakes: row numbers of members are used as rows of all photos, and embeddings have another order."""
    keeping = pairs._with_partner

    def rows_of_all(members: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        items, kept = keeping(members, classes)
        return members[: len(items)], kept

    def shifted(items: np.ndarray) -> PairLikeness:
        return compare(np.roll(items, 1))

    assert shortfall(hard_pairs(classes=SIX, compare=shifted).order(0)) > 0.01
    monkeypatch.setattr(pairs, "_with_partner", rows_of_all)
    assert wrong_pairs(hard_pairs().order(0)) > 0


def test_equal_counts_would_hide_the_first_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above needs uneven classes: if all photos are used, both row numbers are equal."""
    even = np.repeat(np.arange(8), 2)
    items, kept = pairs._with_partner(np.arange(16), even)
    assert np.array_equal(items, np.arange(16))
    assert np.array_equal(kept, even)


def test_a_round_embeds_once_and_repeats_no_pair() -> None:
    n_embedded: list[int] = []

    def counted(items: np.ndarray) -> PairLikeness:
        n_embedded.append(len(items))
        return compare(items)

    mined = hard_pairs(AssignmentSampler(every_epochs=3), compare=counted)
    met: list[set[frozenset[int]]] = []
    for epoch in range(6):
        fours = mined.order(epoch).reshape(-1, 4)
        met.append({frozenset((int(photo), int(other))) for photo, _, _, other in fours})
    assert n_embedded == [12, 12]
    assert not met[0] & met[1]
    assert not (met[0] | met[1]) & met[2]
    assert met[3] == met[0]  # the same embeddings without noise: used pairs are possible again


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    noisy = Phase(epochs=6, noise=(0.5, 0.5))
    one, same, other = (hard_pairs(phase=noisy, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.order(3), same.order(3))
    assert not np.array_equal(one.order(4), other.order(4))


def test_a_mirrored_photo_is_no_opponent_of_its_own_individual() -> None:
    """Classes 10 and up are classes 0 and up mirrored; a fluke is most similar to its own mirror image."""
    classes = np.array([0, 0, 1, 1, 2, 2, 10, 10, 11, 11, 12, 12])
    similar = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    mined = HardPairs(
        EXACT, members=np.arange(12), classes=classes, n_identities=10, phase=Phase(epochs=1), batch=8, seed=0,
        compare=lambda items: PairLikeness(np.concatenate([similar, similar])[items]), group=alone(),
    )  # fmt: skip
    fours = mined.order(0).reshape(-1, 4)
    assert (classes[fours[:, 0]] == classes[fours[:, 1]]).all()
    assert (classes[fours[:, 0]] % 10 != classes[fours[:, 3]] % 10).all()


def test_noise_falls_geometrically_over_the_rounds_of_a_phase() -> None:
    def over(first: float, last: float) -> list[float]:
        mined = hard_pairs(phase=Phase(epochs=6, noise=(first, last)))
        return [mined.noise(number) for number in range(3)]

    assert over(100, 1) == pytest.approx([100, 10, 1])
    assert over(0, 1) == pytest.approx([0, 0.5, 1])
    assert over(0.25, 0.25) == pytest.approx([0.25] * 3)


def test_similarity_of_all_pairs_equals_similarity_of_each_pair(photos: list[Path]) -> None:
    net = network(net=NET).eval()
    embedding = np.stack([vector(item) for item in range(40)]).repeat(4, axis=1)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    for pair in (None, net.pair):
        seen = PairLikeness(embedding, pair)
        square, (first, second) = seen.square(), np.divmod(np.arange(1600), 40)
        assert np.allclose(square.ravel(), seen.of(first, second), atol=1e-5)
        assert np.allclose(square, square.T, atol=1e-6)
        assert pair is None or (square.min() >= 0 and square.max() <= 1)


def taught(photos: list[Path], spec: AssignmentSampler, **settings):
    made = lesson(photos, losses=(PairBce(), BatchHardTriplet()), **settings)
    return replace(made, sampler=spec)


def course(photos: list[Path], folder: Path, phase: Phase, **settings) -> Course:
    return Course(
        network(net=NET), taught(photos, EXACT, **settings), Training(phases=(phase,), batch=8), phase,
        at=WorkDirectory(folder, alone(), features=FeatureStore(folder), n_workers=0), seed=5,
    )  # fmt: skip


@pytest.mark.parametrize("freeze", [(), ("stem",), ("all",)])
def test_opponents_are_chosen_on_photos_without_augmentation(photos: list[Path], tmp_path: Path, freeze: tuple) -> None:
    """Mining uses the plain embedding in evaluation mode, for any frozen stages, cache and augmentation."""
    phase = Phase(epochs=1, freeze=freeze)
    for settings in ({}, {"augment": WhaleAugment()}, {"augment": WhaleAugment(), "versions": 2}):
        going = course(photos, tmp_path, phase, **settings)
        going.network.train()
        assert going.pairs is not None
        seen = going.pairs._compare(going.pairs.items).embedding
        assert going.network.training
        net, plain = going.network.eval(), lesson(photos).source
        with torch.no_grad():
            pictures = torch.cat(list(plain.batches(going.pairs.items[None], epoch=0, n_workers=0)))
            wanted = net(pictures.float() / 255 / 0.5 - 1).embedding
        assert np.allclose(seen, wanted.numpy(), atol=1e-4)


def test_the_course_trains_on_the_drawn_items(photos: list[Path], tmp_path: Path) -> None:
    going = course(photos, tmp_path, Phase(epochs=2))
    order = going.order(0)
    classes = CLASSES[order % 16].reshape(-1, 4)
    assert order.shape == (6, 8)
    assert (classes >= 0).all()
    assert (classes[:, 0] == classes[:, 1]).all()
    assert (classes[:, 2] != classes[:, 3]).all()
    metrics = going.update(order[:1], going.body.source.batches(order[:1], epoch=0, n_workers=0), lr=1e-2, number=0)
    assert metrics["pair_bce"].item() == pytest.approx(np.log(2), rel=0.2)


class KilledError(Exception):
    pass


@pytest.mark.parametrize(("spec", "kills"), [(EXACT, (5, 8)), (NEAREST, (11,))], ids=["exact", "nearest"])
def test_mining_interrupted_at_any_update_resumes_bit_identical(
    photos: list[Path], tmp_path: Path, spec: AssignmentSampler, kills: tuple[int, ...]
) -> None:
    """Within a round, in the next and in another phase; with cached features, moving average and noise."""
    phases = (
        Phase(epochs=3, lr=1e-2, freeze=("stem",), noise=(0.5, 0.1)),
        Phase(epochs=1, lr=1e-3, losses=(PairTriplet(),), noise=(0.1, 0.1)),
    )

    def run(folder: Path, kill_at: int | None = None) -> tuple[Network, list[dict]]:
        every_s = 120.0 if kill_at is None else 1e-9
        training = Training(phases=phases, batch=8, accumulate=2, ema=0.9, checkpoint_every_s=every_s)

        def scalar(name: str, _value: float, update: int) -> None:
            if update == kill_at and name == "train/lr":
                raise KilledError

        features = FeatureStore(tmp_path / "kept")
        net, work = network(net=NET), WorkDirectory(folder, alone(), scalar=scalar, n_workers=0, features=features)
        return net, fit(net, taught(photos, spec, augment=WhaleAugment(), versions=2), training, at=work, seed=5)

    whole, history = run(tmp_path / "whole")
    assert [row["update"] for row in history] == [3, 6, 9, 12]
    for kill_at in kills:
        with pytest.raises(KilledError):
            run(tmp_path / str(kill_at), kill_at)
        assert (tmp_path / str(kill_at) / f"{2 * (kill_at - 1):09d}").is_dir()
        again, other = run(tmp_path / str(kill_at))
        ends = whole.state_dict(), again.state_dict()
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        assert [row["loss"] for row in other] == [row["loss"] for row in history]


def test_an_error_in_the_thread_is_raised_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("out of memory")

    monkeypatch.setattr("fieldmark.training.assignment.AllOpponents.draw", broken)
    with pytest.raises(MemoryError, match="out of memory"):
        hard_pairs().order(0)


def test_data_that_cannot_be_mined_is_refused(photos: list[Path]) -> None:
    with pytest.raises(PlanError) as odd:
        HardPairs(
            EXACT, members=ITEMS, classes=UNEVEN, phase=Phase(epochs=1), batch=6, seed=0, compare=compare, group=alone()
        )
    assert odd.value.fix == "use batch=4."
    for classes in (np.arange(17), np.where(UNEVEN == 3, 3, -1), np.where(np.arange(17) < 9, 3, UNEVEN % 3 * 10)):
        with pytest.raises(DataError) as lonely:
            hard_pairs(classes=classes)
        assert lonely.value.fix == "use sampler = {kind = 'pk'}, or add photos of more individuals."
    with pytest.raises(PlanError) as drawn:
        draw(EXACT, classes=UNEVEN, batch=8, seed=0, epoch=0)
    assert drawn.value.fix == "use it in a training stage, or draw with kind='pk'."
