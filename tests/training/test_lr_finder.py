"""The learning-rate finder: on a training with known good rates, and on the toy network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.core.errors import PlanError
from fieldmark.training.features import FeatureStore
from fieldmark.training.loop import WorkDirectory, fit
from fieldmark.training.lr_finder import find_rate
from fieldmark.training.specs import Phase, Training
from toys import TAG_NET, alone, network, tag_lesson

TRAINING = Training(
    phases=(Phase(epochs=1, freeze=("all",), hardest=0.5),), batch=8, accumulate=2, optimiser="sgd", clip=None
)


def test_the_curve_falls_then_diverges_and_the_suggestion_is_between(photos: list[Path], tmp_path: Path) -> None:
    net = network(net=TAG_NET)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    work = WorkDirectory(tmp_path / "work", alone(), features=FeatureStore(tmp_path / "features"))
    found = find_rate(net, tag_lesson(photos), TRAINING, low=1e-5, high=1e4, n_updates=100, at=work, seed=5)
    assert found.ran_away
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 100
    assert np.diff(np.log(found.rates)) == pytest.approx(np.log(1e9) / 99)
    assert found.losses.max() > 4 * found.losses.min()
    assert found.suggested is not None
    assert 1e-3 < found.suggested < found.rates[np.argmin(found.smoothed)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.frozen == ()
    assert not (tmp_path / "work").exists()

    def trained(lr: float) -> float:
        training = TRAINING.model_copy(update={"phases": (Phase(epochs=8, lr=lr, freeze=("all",)),)})
        work = WorkDirectory(tmp_path / str(lr), alone())
        return fit(network(net=TAG_NET), tag_lesson(photos), training, at=work, seed=5)[-1]["loss"]

    assert trained(found.suggested) < trained(found.suggested / 100)


def test_the_same_seed_gives_the_same_curve(photos: list[Path], tmp_path: Path) -> None:
    work = WorkDirectory(tmp_path, alone())
    one, other = (
        find_rate(network(net=TAG_NET), tag_lesson(photos), TRAINING, n_updates=12, at=work, seed=5) for _ in range(2)
    )
    assert np.array_equal(one.losses, other.losses)


def test_rates_too_low_to_learn_do_not_diverge(photos: list[Path], tmp_path: Path) -> None:
    found = find_rate(
        network(net=TAG_NET), tag_lesson(photos), TRAINING, low=1e-12, high=1e-10, n_updates=20,
        at=WorkDirectory(tmp_path, alone()), seed=5,
    )  # fmt: skip
    assert not found.ran_away
    assert len(found.losses) == 20
    assert found.suggested is None or found.suggested <= 1e-10


@pytest.mark.parametrize(
    "settings", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"n_updates": 3}, {"training": Training(phases=())}]
)
def test_impossible_rates_are_refused(photos: list[Path], tmp_path: Path, settings: dict) -> None:
    training = settings.pop("training", TRAINING)
    with pytest.raises(PlanError) as refused:
        find_rate(
            network(net=TAG_NET), tag_lesson(photos), training, at=WorkDirectory(tmp_path, alone()), seed=5, **settings
        )
    assert "0 < low < high" in refused.value.problem
    assert "n_updates = 100" in refused.value.fix
