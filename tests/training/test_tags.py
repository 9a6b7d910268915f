"""Training on labels, end to end: soft labels, losses per phase, mixup, a frozen backbone; and refused settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fieldmark.core.errors import PlanError
from fieldmark.data import samplers
from fieldmark.data.specs import LogWeightSampler, PlainSampler
from fieldmark.images.specs import WhaleAugment
from fieldmark.losses.specs import Asymmetric, BatchHardTriplet, Bce, Focal, SoftF
from fieldmark.models.network import Network
from fieldmark.training import lesson as lessons
from fieldmark.training.embed import embed_photos
from fieldmark.training.features import FeatureStore
from fieldmark.training.loop import Lesson, WorkDirectory, fit
from fieldmark.training.specs import Phase, Plateau, Training
from toys import TAG_NET, TRUTH, alone, network, tag_lesson

ALL = ("all",)


def trained(taught: Lesson, folder: Path, training: Training, **means: Any) -> tuple[Network, list[dict]]:
    net = network(net=TAG_NET)
    return net, fit(net, taught, training, at=WorkDirectory(folder, alone(), **means), seed=5)


def same(a: Network, b: Network) -> bool:
    ends = a.state_dict(), b.state_dict()
    return all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def right_order(net: Network, taught: Lesson) -> float:
    """The share of pairs (photo with a label, photo without it) in which the first has the larger logit."""
    logits = embed_photos(net, taught.source, device=torch.device("cpu"), logits=True).logits  # type: ignore[arg-type]
    assert logits is not None
    pairs = [(z[y > 0][:, None] > z[y == 0]).mean() for z, y in zip(logits[0].T, TRUTH.T, strict=True)]
    return float(np.mean(pairs))


@pytest.mark.parametrize(
    "losses", [(Focal(),), (Bce(weight=0.45), SoftF(weight=0.45), Focal(weight=0.1)), (Asymmetric(),)]
)
def test_labels_are_learnt(photos: list[Path], tmp_path: Path, losses: tuple) -> None:
    training = Training(phases=(Phase(epochs=18, lr=1e-2),), batch=8)
    taught = tag_lesson(photos, losses=losses)
    net, history = trained(taught, tmp_path, training)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert {"loss", "lr", "images_per_s", *(loss.kind for loss in losses)} <= history[0].keys()
    assert "map5" not in history[0]
    assert right_order(net, taught) > 0.8


@pytest.mark.parametrize("truth", [TRUTH > 0, TRUTH.astype(np.float64), np.concatenate([TRUTH, TRUTH])])
def test_booleans_are_one_and_zero_and_one_row_per_photo_is_enough(
    photos: list[Path], tmp_path: Path, truth: np.ndarray
) -> None:
    training = Training(phases=(Phase(epochs=1, lr=1e-2, min_photos=99),), batch=8)
    items = np.arange(2 * len(photos))
    ends = []
    for number, one in enumerate((TRUTH, truth)):
        taught = Lesson(**{**vars(tag_lesson(photos, truth=one)), "items": items})
        ends.append(trained(taught, tmp_path / str(number), training)[0])
    assert same(*ends)


def test_labels_may_be_memory_mapped(photos: list[Path], tmp_path: Path) -> None:
    np.save(tmp_path / "truth.npy", TRUTH)
    training = Training(phases=(Phase(epochs=1, lr=1e-2),), batch=8)
    mapped = tag_lesson(photos, truth=np.load(tmp_path / "truth.npy", mmap_mode="r"))
    one, _ = trained(mapped, tmp_path / "a", training)
    assert same(one, trained(tag_lesson(photos), tmp_path / "b", training)[0])


def test_weights_of_items_are_computed_once_per_phase(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(**given: Any) -> np.ndarray:
        calls.append(given)
        return samplers.log_weights(**given)

    monkeypatch.setattr(lessons, "log_weights", counted)
    trained(tag_lesson(photos), tmp_path, Training(phases=(Phase(epochs=3), Phase(epochs=2)), batch=8))
    assert len(calls) == 2


def test_weights_draw_the_same_as_their_labels() -> None:
    asked = {"batch": 8, "seed": 1, "epoch": 2}
    by_truth = samplers.draw(LogWeightSampler(), truth=TRUTH, **asked)
    by_weights = samplers.draw(LogWeightSampler(), weights=samplers.log_weights(truth=TRUTH), **asked)
    assert np.array_equal(by_truth, by_weights)
    order = samplers.draw(PlainSampler(), weights=np.ones(16), **asked)
    assert sorted(order.ravel().tolist()) == list(range(16))


def test_soft_labels_below_one_half_have_no_weight(photos: list[Path]) -> None:
    soft = np.maximum(TRUTH, 0.01)
    weights = [tag_lesson(photos, truth=truth).sampling(np.arange(16))["weights"] for truth in (TRUTH, soft)]
    assert np.array_equal(*weights)
    assert len(np.unique(weights[0])) > 1
    plain = tag_lesson(photos, sampler=PlainSampler()).sampling(np.arange(16))["weights"]
    assert (plain == 1).all()


def test_a_phase_may_have_losses_of_its_own(photos: list[Path], tmp_path: Path) -> None:
    phases = (Phase(epochs=2, lr=1e-2), Phase(epochs=1, lr=1e-3, losses=(SoftF(),)))
    both, history = trained(tag_lesson(photos), tmp_path / "both", Training(phases=phases, batch=8))
    assert [("bce" in row, "soft_f" in row) for row in history] == [(True, False)] * 2 + [(False, True)]
    assert history[-1]["loss"] == pytest.approx(history[-1]["soft_f"])
    plain = Training(phases=(phases[0], phases[1].model_copy(update={"losses": None})), batch=8)
    one, _ = trained(tag_lesson(photos), tmp_path / "one", plain)
    assert not same(both, one)


def test_with_a_frozen_backbone_only_the_head_is_trained_and_vectors_are_cached(
    photos: list[Path], tmp_path: Path
) -> None:
    training = Training(phases=(Phase(epochs=3, lr=1e-2, freeze=ALL),), batch=8, ema=0.9)
    assert training.spares_backbone
    assert not Training(phases=(*training.phases, Phase(epochs=1))).spares_backbone
    plain, _ = trained(tag_lesson(photos), tmp_path / "plain", training)
    kept, _ = trained(tag_lesson(photos), tmp_path / "kept", training, features=FeatureStore(tmp_path / "features"))
    built = network(net=TAG_NET)
    for (name, a), b, c in zip(
        kept.state_dict().items(), plain.state_dict().values(), built.state_dict().values(), strict=True
    ):
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name
        assert torch.equal(a, c) or not name.startswith("backbone."), name
    (rows,) = [path for path in (tmp_path / "features").glob("*.npy") if not path.name.endswith(".done.npy")]
    assert np.load(rows).shape == (2 * len(photos), built.width)


@pytest.mark.parametrize("freeze", [(), ("stem",), ALL])
def test_mixup_is_the_same_with_cached_features(photos: list[Path], tmp_path: Path, freeze: tuple[str, ...]) -> None:
    training = Training(phases=(Phase(epochs=2, lr=1e-2, freeze=freeze),), batch=8, mixup=0.4)
    ends = [
        trained(tag_lesson(photos), tmp_path / name, training, features=features)[0]
        for name, features in (("plain", None), ("kept", FeatureStore(tmp_path / "f")))
    ]
    for a, b in zip(*(net.state_dict().values() for net in ends), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-4)
    without, _ = trained(tag_lesson(photos), tmp_path / "none", training.model_copy(update={"mixup": None}))
    assert not same(ends[0], without)


def test_a_plateau_may_end_the_phase_and_reset_the_optimiser(photos: list[Path], tmp_path: Path) -> None:
    def flat(_net: Network) -> dict[str, float]:
        return {"mark": 0.5}

    def run(name: str, *, every_s: float, **plateau: Any) -> tuple[Network, list[float]]:
        net = network(net=TAG_NET)
        phases = (Phase(epochs=9, lr=1e-2, schedule=Plateau(patience=1, **plateau)),)
        training = Training(phases=phases, batch=8, checkpoint_every_s=every_s)
        work = WorkDirectory(tmp_path / name, alone())
        history = fit(net, tag_lesson(photos), training, at=work, seed=5, watch=flat)
        return net, [row["lr"] for row in history]

    forgetful, rates = run("a", every_s=1e-9, drops=2, rebuild=True)
    assert rates == pytest.approx([1e-2] * 3 + [2e-3] * 2 + [4e-4] * 2)
    mindful, rates = run("b", every_s=120.0, drops=2)
    assert len(rates) == 7
    assert not same(forgetful, mindful)


def test_the_best_epoch_survives_a_kill_after_it(photos: list[Path], tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def run(name: str, kill_at: int | None = None) -> Network:
        def watch(_net: Network) -> dict[str, float]:
            return {"mark": next(marks)}

        def scalar(_name: str, _value: float, update: int) -> None:
            if update == kill_at:
                raise KilledError

        net = network(net=TAG_NET)
        every_s = 120.0 if name == "whole" else 1e-9
        training = Training(phases=(Phase(epochs=4, lr=1e-2),), batch=8, keep="best", checkpoint_every_s=every_s)
        work = WorkDirectory(tmp_path / name, alone(), scalar=scalar)
        fit(net, tag_lesson(photos), training, at=work, seed=5, watch=watch)
        return net

    marks = iter([0.1, 0.9, 0.2, 0.3])
    whole = run("whole")
    marks = iter([0.1, 0.9, 0.2])
    with pytest.raises(KilledError):
        run("halves", kill_at=7)  # in the fourth epoch
    marks = iter([0.3])
    assert same(whole, run("halves"))


@pytest.mark.parametrize(
    ("changes", "training", "message"),
    [
        ({"truth": TRUTH[:, :3]}, Training(), "truth has shape (16, 3), but the network has 4 labels"),
        ({"truth": TRUTH[:5]}, Training(), "truth has 5 rows for 16 photos"),
        ({"truth": 2 * TRUTH}, Training(), "truth has values outside 0 to 1"),
        ({"truth": TRUTH * np.nan}, Training(), "truth has values outside 0 to 1"),
        ({"classes": np.zeros(32, np.int64)}, Training(), "both classes and truth are given"),
        ({"truth": None, "classes": np.zeros(32, np.int64)}, Training(mixup=0.2), "set mixup = None"),
        (
            {"truth": None, "classes": np.zeros(32, np.int64)},
            Training(phases=(Phase(epochs=1, hardest=0.1),)),
            "phase 1: hardest needs labels",
        ),
        (
            {"losses": (Bce(), BatchHardTriplet())},
            Training(phases=(Phase(epochs=1), Phase(epochs=1, hardest=0.1))),
            "phase 2: hardest does not work with the loss triplet",
        ),
        (
            {},
            Training(phases=(Phase(epochs=1), Phase(epochs=1, losses=(SoftF(),))), keep="best"),
            "keep = 'best' cannot compare phases with different losses",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_training(
    photos: list[Path], tmp_path: Path, changes: dict, training: Training, message: str
) -> None:
    taught = Lesson(**{**vars(tag_lesson(photos)), **changes})
    with pytest.raises(PlanError) as refused:
        trained(taught, tmp_path, training)
    assert message in refused.value.got
    assert "change each of these settings" in refused.value.fix
    assert not list(tmp_path.iterdir())


def test_augmented_photos_and_the_sampler_of_the_source_work_together(photos: list[Path], tmp_path: Path) -> None:
    training = Training(phases=(Phase(epochs=1, lr=1e-2),), batch=4, accumulate=3)
    taught = tag_lesson(photos, augment=WhaleAugment(), sampler=LogWeightSampler(over="mean"))
    _, history = trained(taught, tmp_path, training)
    assert history[-1]["update"] == 2  # four forward passes: three and one
