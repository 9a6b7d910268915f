from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fieldmark.images.specs import WhaleAugment
from fieldmark.losses.specs import OhemBce
from fieldmark.models.network import Network
from fieldmark.training import checkpoint
from fieldmark.training.loop import Position, TrainingError, Watch, WorkDirectory, fit
from fieldmark.training.specs import Cosine, Phase, Plateau, Training
from toys import CLASSES, NET, Heard, alone, lesson, network, stage_names

TRAINING = Training(
    phases=(Phase(epochs=2, lr=1e-2, min_photos=2, schedule=Cosine()), Phase(epochs=2, lr=1e-3, freeze=("stem",))),
    batch=8,
    ema=0.9,
    checkpoint_every_s=1e-9,
)


class KilledError(Exception):
    pass


def state(net: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def trained(
    photos: list[Path], folder: Path, training: Training = TRAINING, *, watch: Watch | None = None, **means: Any
) -> tuple[Network, list[dict]]:
    net = network()
    taught = lesson(photos, augment=WhaleAugment())
    history = fit(net, taught, training, at=WorkDirectory(folder, alone(), **means), seed=5, watch=watch)
    return net, history


@pytest.fixture(scope="module")
def whole(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """The network's state and the history of an uninterrupted training with ``TRAINING``."""
    net, history = trained(photos, tmp_path_factory.mktemp("whole"))
    return state(net), history


def killer(at_update: int) -> Callable[[str, float, int], None]:
    def scalar(name: str, _value: float, update: int) -> None:
        if update == at_update and name == "train/lr":
            raise KilledError

    return scalar


def test_training_learns_and_reports(photos: list[Path], tmp_path: Path) -> None:
    training = Training(phases=(Phase(epochs=8, lr=1e-2),), batch=8)
    _, history = trained(photos, tmp_path, training)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert {"loss", "ohem_bce", "triplet", "map5", "lr", "images_per_s"} <= history[0].keys()


@pytest.mark.parametrize("at_update", range(1, 9))
def test_training_interrupted_at_any_update_resumes_bit_identical(
    photos: list[Path], tmp_path: Path, whole: tuple, at_update: int
) -> None:
    ends, history = whole
    assert history[-1]["update"] == 8
    with pytest.raises(KilledError):
        trained(photos, tmp_path / "halves", scalar=killer(at_update))
    seldom = TRAINING.model_copy(update={"checkpoint_every_s": 120.0})
    again, other = trained(photos, tmp_path / "halves", seldom)
    assert same(ends, state(again))
    speed = {"images_per_s"}
    assert [{k: v for k, v in row.items() if k not in speed} for row in history] == [
        {k: v for k, v in row.items() if k not in speed} for row in other
    ]


def test_the_number_of_workers_changes_nothing(photos: list[Path], tmp_path: Path, whole: tuple) -> None:
    for n_workers in {0, 1, 3} - {WorkDirectory(tmp_path, alone()).n_workers}:
        net, _ = trained(photos, tmp_path / str(n_workers), n_workers=n_workers)
        assert same(whole[0], state(net))


def test_another_seed_trains_another_network(photos: list[Path], tmp_path: Path, whole: tuple) -> None:
    other = network()
    fit(other, lesson(photos, augment=WhaleAugment()), TRAINING, at=WorkDirectory(tmp_path / "b", alone()), seed=6)
    assert not same(whole[0], state(other))


def test_frozen_stages_keep_weights_and_statistics_and_the_rest_learns(photos: list[Path], tmp_path: Path) -> None:
    net = network()
    before = state(net)
    training = Training(phases=(Phase(epochs=2, lr=1e-2, freeze=("stem", "blocks.0")),), batch=8)
    fit(net, lesson(photos, augment=WhaleAugment()), training, at=WorkDirectory(tmp_path, alone()), seed=5)
    after = state(net)
    frozen = [n for n in before if n.startswith(("backbone.conv_stem", "backbone.bn1", "backbone.blocks.0."))]
    assert frozen
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    learning = [
        n for n in before if n.startswith(("backbone.blocks.1", "head", "neck")) and before[n].is_floating_point()
    ]
    assert learning
    assert any("running_mean" in n for n in learning)
    assert all(not torch.equal(before[n], after[n]) for n in learning if before[n].abs().sum() > 0)


def test_accumulating_is_one_larger_batch(photos: list[Path], tmp_path: Path) -> None:
    """Without batch norm (all frozen, no neck), two halves give the gradient of the whole batch."""
    net = NET.model_copy(update={"neck": "none", "head": NET.head.model_copy(update={"dropout": 0.0})})
    ends = []
    for batch, accumulate in ((16, 1), (8, 2)):
        one = network(net=net)
        phases = (Phase(epochs=1, lr=1e-2, freeze=tuple(stage_names(one))),)
        training = Training(phases=phases, batch=batch, accumulate=accumulate, clip=None)
        taught = lesson(photos, losses=(OhemBce(hardest=4),))
        order = np.arange(16)
        taught = type(taught)(**{**vars(taught), "classes": np.tile([0, 1, 2, 3], 8), "items": order})
        fit(one, taught, training, at=WorkDirectory(tmp_path / str(batch), alone()), seed=5)
        ends.append(one.head.state_dict())
    for name in ends[0]:
        assert torch.allclose(ends[0][name], ends[1][name], atol=2e-5), name


def test_classes_with_few_photos_are_left_out_of_a_phase_and_unknowns_stay(photos: list[Path]) -> None:
    taught = lesson(photos)
    classes = np.array([0, 0, 1] + [2] * 3 + [-1] * 10)
    few = type(taught)(**{**vars(taught), "classes": np.tile(classes, 2)})
    assert few.members(Phase(epochs=1, min_photos=2)).tolist() == [0, 1, *range(3, 16)]


def test_a_phase_that_would_keep_too_few_photos_uses_all_and_reports_it(photos: list[Path]) -> None:
    taught, heard = lesson(photos), Heard()
    classes = np.array([0] * 2 + list(range(1, 14)) + [-1])
    few = type(taught)(**{**vars(taught), "classes": np.tile(classes, 2)})
    assert few.members(Phase(epochs=1, min_photos=9), progress=heard).tolist() == list(range(16))
    assert heard.lines == ["only 0 of 14 individuals have min_photos = 9 photos: this phase uses all individuals"]
    assert few.members(Phase(epochs=1, min_photos=2), progress=heard).tolist() == [0, 1, 15]
    assert len(heard.lines) == 1


def test_nan_stops_training_names_the_batch_and_keeps_the_checkpoint(photos: list[Path], tmp_path: Path) -> None:
    net = network()
    fit(
        net,
        lesson(photos),
        Training(phases=(Phase(epochs=1, lr=1e-3),), batch=8),
        at=WorkDirectory(tmp_path, alone()),
        seed=5,
    )
    good = checkpoint.load_checkpoint(tmp_path)
    bad = network()
    with torch.no_grad():
        next(bad.head.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError) as caught:
        fit(
            bad,
            lesson(photos),
            Training(phases=(Phase(epochs=1),), batch=8),
            at=WorkDirectory(tmp_path / "bad", alone()),
            seed=5,
        )
    assert "update 1" in caught.value.problem
    assert "nan.json" in caught.value.fix
    content = json.loads((tmp_path / "bad" / "nan.json").read_text(encoding="utf-8"))
    assert len(content["items"]) == 8
    assert good is not None
    assert not list((tmp_path / "bad").glob("[0-9]*"))


def test_the_best_epoch_is_kept_on_request(photos: list[Path], tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    marks = iter([0.2, 0.9, 0.1])

    def watch(net: Network) -> dict[str, float]:
        seen.append(state(net))
        return {"mark": next(marks)}

    training = Training(phases=(Phase(epochs=3, lr=1e-2),), batch=8, keep="best")
    net, history = trained(photos, tmp_path, training, watch=watch)
    assert same(state(net), seen[1])
    assert [row["mark"] for row in history] == [0.2, 0.9, 0.1]


def test_the_moving_average_is_validated_and_kept(photos: list[Path], tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    training = Training(phases=(Phase(epochs=2, lr=1e-2),), batch=8, ema=0.5)

    def watch(net: Network) -> dict[str, float]:
        seen.append(state(net))
        return {"mark": 0.0}

    averaged, _ = trained(photos, tmp_path / "a", training, watch=watch)
    plain, _ = trained(photos, tmp_path / "b", training.model_copy(update={"ema": None}))
    assert same(seen[-1], state(averaged))
    assert not same(state(plain), state(averaged))


def test_a_phase_ends_by_patience_or_at_its_goal_and_a_plateau_lowers_the_rate(
    photos: list[Path], tmp_path: Path
) -> None:
    def flat(_net: Network) -> dict[str, float]:
        return {"mark": 0.5}

    patient = Training(phases=(Phase(epochs=9, lr=1e-3, patience=2),), batch=8)
    assert len(trained(photos, tmp_path / "a", patient, watch=flat)[1]) == 3
    goal = Training(phases=(Phase(epochs=9, lr=1e-3, stop_at=0.0), Phase(epochs=1)), batch=8)
    assert [row["phase"] for row in trained(photos, tmp_path / "b", goal)[1]] == [1, 2]
    plateau = Training(phases=(Phase(epochs=5, lr=1e-3, schedule=Plateau(patience=1)),), batch=8)
    rates = [row["lr"] for row in trained(photos, tmp_path / "c", plateau, watch=flat)[1]]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 2e-4, 2e-4])


def test_a_checkpoint_of_an_older_version_is_read() -> None:
    at = Position.read({"phase": 1, "epoch": 2, "batch": 3, "update": 14, "updates": 30, "history": [{"loss": 1.0}]})
    assert (at.phase, at.epoch, at.batch, at.updates, at.history) == (1, 2, 3, 30, [{"loss": 1.0}])


def test_epoch_batches_cap_an_epoch(photos: list[Path], tmp_path: Path) -> None:
    training = Training(phases=(Phase(epochs=3),), batch=8, epoch_batches=1)
    assert trained(photos, tmp_path, training)[1][-1]["update"] == 3


def test_the_global_generators_are_not_used(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    trained(photos, tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_classes_of_the_fixture_have_unknowns() -> None:
    assert (CLASSES == -1).sum() == 4


def test_a_photo_and_its_mirror_image_are_one_photo_of_its_class(photos: list[Path]) -> None:
    """Item i + 16 is item i mirrored: an individual with one photo does not count as having two."""
    taught = lesson(photos)
    classes = np.array([0, 0, 1] + [2] * 3 + [-1] * 10)
    same = {**vars(taught), "items": np.arange(32), "n_photos": 16}
    similar = type(taught)(**{**same, "classes": np.tile(classes, 2)})
    others = type(taught)(**{**same, "classes": np.concatenate([classes, np.where(classes < 0, -1, classes + 3)])})
    two_or_more = [0, 1, *range(3, 18), *range(19, 32)]
    for mirrored in (similar, others):
        assert mirrored.members(Phase(epochs=1, min_photos=2)).tolist() == two_or_more
    assert similar.counts(similar.items, 3).tolist() == [2, 1, 3]
    assert others.counts(others.items, 6).tolist() == [2, 1, 3, 2, 1, 3]
