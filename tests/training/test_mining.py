"""Hard-negative mining: the choice of items, their epochs, and bit-identical resuming."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.images.specs import WhaleAugment
from fieldmark.losses.specs import Focal, SoftF
from fieldmark.models.network import Network
from fieldmark.training.course import Course
from fieldmark.training.loop import WorkDirectory, fit
from fieldmark.training.mining import HardExamples
from fieldmark.training.specs import Cosine, Phase, Training
from toys import TAG_NET, TRUTH, alone, network, tag_lesson

MEMBERS = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29])
DRAWN = np.array([[2, 3, 5, 7], [11, 13, 17, 19]])


def mined(mode: str, share: float = 0.3) -> HardExamples:
    return HardExamples(MEMBERS, share=share, mode=mode)  # type: ignore[arg-type]


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_the_hardest_items_have_the_largest_last_loss() -> None:
    one = mined("added", share=0.25)
    one.note(np.array([2, 3, 5, 7, 11, 13]), np.array([9.0, 1, 8, 2, 7, 3]))
    one.choose()
    assert one.chosen.tolist() == [2, 5, 11]  # a quarter of ten is rounded up
    one.note(np.array([2, 3, 3]), np.array([0.5, 6.0, 7.5]))  # the last of two losses counts
    one.choose()
    assert one.chosen.tolist() == [5, 3, 11]


def test_items_without_a_loss_are_not_chosen() -> None:
    one = mined("only", share=1.0)
    one.choose()
    assert one.chosen.tolist() == []
    assert np.array_equal(one.order(DRAWN, chance()), DRAWN)
    one.note(np.array([29, 5]), np.array([1.0, 2.0]))
    one.choose()
    assert one.chosen.tolist() == [5, 29]


def test_mode_added_has_the_epoch_and_the_hardest_items_once_more() -> None:
    one = mined("added")
    one.note(MEMBERS, np.arange(10.0))
    one.choose()
    order = one.order(DRAWN, chance())
    assert order.shape == (3, 4)
    shown = Counter(order.ravel().tolist())
    wanted = Counter([*DRAWN.ravel().tolist(), 29, 23, 19])
    assert (shown - wanted).total() == 1  # the last batch was filled up
    assert not wanted - shown
    assert np.array_equal(order, one.order(DRAWN, chance()))
    assert not np.array_equal(order, one.order(DRAWN, chance(1)))


def test_mode_only_has_each_of_the_hardest_items_once() -> None:
    one = mined("only", share=0.4)
    one.note(MEMBERS, -np.arange(10.0))
    one.choose()
    order = one.order(DRAWN, chance())
    assert order.shape == (1, 4)
    assert sorted(order.ravel().tolist()) == [2, 3, 5, 7]


def course(photos: list[Path], folder: Path, phase: Phase) -> Course:
    return Course(
        network(net=TAG_NET), tag_lesson(photos, losses=(Focal(), SoftF())), Training(phases=(phase,), batch=4), phase,
        at=WorkDirectory(folder, alone()), seed=5,
    )  # fmt: skip


def test_the_loss_of_each_item_equals_its_loss_alone(photos: list[Path], tmp_path: Path) -> None:
    from fieldmark.losses.total import total

    phase = Phase(epochs=1, hardest=0.1)
    going = course(photos, tmp_path, phase)
    going.network.eval()
    items = np.array([[3, 1, 9, 4], [5, 6, 7, 0]])
    batches = list(going.body.source.batches(items, epoch=0, n_workers=0))
    with torch.no_grad():
        logits = [going.body.above(going.body.below(batch)).logits for batch in batches]
    going.update(items, batches, lr=0.1, number=0)
    assert going.hardest is not None
    losses = going.hardest.tensors()["mining/felt"]
    assert losses.isnan().sum() == 16 - 8
    for rows, answers in zip(items, logits, strict=True):
        assert answers is not None
        for item, row in zip(rows, answers, strict=True):
            alone_ = total((Focal(), SoftF()), logits=row[None], truth=torch.from_numpy(TRUTH[[item]]))[0]
            assert losses[item].item() == pytest.approx(alone_.item(), rel=1e-4)


@pytest.mark.parametrize(("mode", "updates"), [("added", [4, 5, 5]), ("only", [4, 1, 1])])
def test_the_first_epoch_is_normal_and_epochs_are_equal_parts_of_the_schedule(
    photos: list[Path], tmp_path: Path, mode: str, updates: list[int]
) -> None:
    phase = Phase(epochs=3, lr=1e-2, hardest=0.2, mining=mode, schedule=Cosine(warmup=0.0, floor=0.0))  # type: ignore[arg-type]
    rates: list[float] = []

    def scalar(name: str, value: float, _update: int) -> None:
        if name == "train/lr":
            rates.append(value)

    work = WorkDirectory(tmp_path, alone(), scalar=scalar)
    history = fit(network(net=TAG_NET), tag_lesson(photos), Training(phases=(phase,), batch=4), at=work, seed=5)
    assert np.diff([0, *(row["update"] for row in history)]).tolist() == updates
    starts = [rates[at] for at in np.cumsum([0, *updates[:2]])]
    assert starts == pytest.approx([1e-2, 0.75e-2, 0.25e-2])
    assert rates == sorted(rates, reverse=True)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("mode", ["added", "only"])
def test_mining_interrupted_at_any_update_resumes_bit_identical(photos: list[Path], tmp_path: Path, mode: str) -> None:
    """With mixup, accumulation, moving average, dropout and two phases."""
    phases = (
        Phase(epochs=2, lr=1e-2, hardest=0.3, mining=mode),  # type: ignore[arg-type]
        Phase(epochs=2, lr=1e-3, freeze=("stem",), losses=(SoftF(),), hardest=0.2),
    )

    def run(folder: Path, kill_at: int | None = None) -> tuple[Network, list[dict]]:
        every_s = 120.0 if kill_at is None else 1e-9
        training = Training(phases=phases, batch=4, accumulate=2, ema=0.9, mixup=0.3, checkpoint_every_s=every_s)

        def scalar(name: str, _value: float, update: int) -> None:
            if update == kill_at and name == "train/lr":
                raise KilledError

        net = network(net=TAG_NET)
        taught = tag_lesson(photos, augment=WhaleAugment())
        return net, fit(net, taught, training, at=WorkDirectory(folder, alone(), scalar=scalar, n_workers=0), seed=5)

    whole, history = run(tmp_path / "whole")
    for kill_at in (4, history[-1]["update"] - 1):  # in a mined epoch of each phase
        with pytest.raises(KilledError):
            run(tmp_path / str(kill_at), kill_at)
        assert (tmp_path / str(kill_at) / f"{2 * (kill_at - 1):09d}").is_dir()
        again, other = run(tmp_path / str(kill_at))
        ends = whole.state_dict(), again.state_dict()
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        assert [row["loss"] for row in other] == [row["loss"] for row in history]
