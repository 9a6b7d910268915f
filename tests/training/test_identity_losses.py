"""Margins, affinities, stripes and mirrored identities in training; known faults of contest code, planted here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fieldmark.core.errors import PlanError
from fieldmark.core.seeds import hash_seed
from fieldmark.data.specs import PkSampler
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Preprocess
from fieldmark.losses import margins
from fieldmark.losses import softmax as cross_entropies
from fieldmark.losses.margins import arcface, cosface, elastic, margins_by_count
from fieldmark.losses.specs import (
    Affinity,
    ArcFace,
    BatchHardTriplet,
    CombinedMargin,
    CosFace,
    CrossEntropy,
    Elastic,
    LocalTriplet,
    Losses,
    MarginByCount,
    OhemBce,
    SphereFace,
)
from fieldmark.models import heads
from fieldmark.models.network import Network
from fieldmark.models.specs import AffinityHead, CosineHead, Net, OneVsRestHead, SigmoidHead
from fieldmark.training import course as courses
from fieldmark.training.course import Course
from fieldmark.training.embed import embed_photos
from fieldmark.training.features import FeatureStore
from fieldmark.training.loop import Lesson, WorkDirectory, fit
from fieldmark.training.specs import Phase, Training
from toys import CLASSES, INPUT, NET, alone, network

COSINE = Net(backbone=NET.backbone, head=CosineHead(scale=20.0))
MIRRORED = np.concatenate([CLASSES, np.where(CLASSES >= 0, CLASSES + 4, CLASSES)])


def taught(photos: list[Path], losses: Losses, *, flip: bool = False, side: int = 32) -> Lesson:
    return Lesson(
        source=PhotoSource(photos, INPUT if side == 32 else Preprocess(height_px=side, width_px=side), seed=3),
        items=np.arange(2 * len(photos) if flip else len(photos)),
        sampler=PkSampler(k=2),
        losses=losses,
        classes=MIRRORED if flip else np.concatenate([CLASSES, CLASSES]),
        flip_identity=flip,
    )


def trained(
    photos: list[Path], folder: Path, losses: Losses, *, net: Net = COSINE, epochs: int = 2, **options: Any
) -> tuple[Network, list[dict]]:
    one = network(net=net, n_classes=8 if options.get("flip") else 4)
    work = WorkDirectory(folder, alone(), scalar=options.pop("scalar", None), features=options.pop("features", None))
    phase = Phase(epochs=epochs, lr=3e-3, freeze=options.pop("freeze", ()))
    settings = {name: options.pop(name) for name in ("lr_head_times", "checkpoint_every_s") if name in options}
    training = Training(phases=(phase,), batch=8, **settings)
    return one, fit(one, taught(photos, losses, **options), training, at=work, seed=5)


def same(a: Network, b: Network) -> bool:
    ends = a.state_dict(), b.state_dict()
    return all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def first_pass(photos: list[Path], losses: Losses, *, flip: bool = False, **of_update: Any) -> tuple[dict, dict]:
    """The metrics of the first forward pass of a training, and the inputs of its losses."""
    one = network(net=COSINE, n_classes=8 if flip else 4)
    lesson = taught(photos, losses, flip=flip)
    course = Course(one, lesson, Training(batch=8), Phase(epochs=4), at=WorkDirectory(Path(), alone()), seed=5)
    one.train()
    order = course.order(0)[:1]
    seen: dict[str, Any] = {}
    one.register_forward_hook(lambda _m, _i, outputs: seen.update(logits=outputs.logits.detach().clone()))
    batches = lesson.source.batches(order, epoch=0, n_workers=0)
    metrics = course.update(order, batches, lr=1e-3, number=0, **of_update)
    return {name: value.item() for name, value in metrics.items()}, seen | {
        "classes": lesson.classes_of(order[0]),
        "counts": course.counts,
    }


# --- margins in training


def check_margin_in_training(photos: list[Path]) -> None:
    """The loss that is learnt from is the one with the margin: equal to ArcFace, above plain cross-entropy."""
    metrics, seen = first_pass(photos, (ArcFace(margin=0.5),))
    asked = {"scale": 20.0, "margin": 0.5}
    assert (
        metrics["loss"] == metrics["arcface"] == pytest.approx(expected_arc(seen["logits"], seen["classes"], **asked))
    )
    plain, _ = first_pass(photos, (CrossEntropy(),))
    assert metrics["loss"] > plain["loss"] + 1


def expected_arc(logits: torch.Tensor, classes: torch.Tensor, *, scale: float, margin: float) -> float:
    """ArcFace by angles, without a line of the loss under test."""
    costs = []
    for row, own in zip(logits.double(), classes.tolist(), strict=True):
        if own >= 0:
            harder = row.clone()
            harder[own] = scale * torch.cos(torch.acos(row[own] / scale) + margin)
            costs.append((harder.logsumexp(dim=0) - harder[own]).item())
    return float(np.mean(costs))


def test_the_margin_is_applied_in_training(photos: list[Path]) -> None:
    check_margin_in_training(photos)


def test_a_margin_that_is_never_applied_would_be_caught(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in contest code whose margin stood behind a flag that training did not set."""
    whole = margins._with_margin

    def unasked(logits: torch.Tensor, classes: torch.Tensor, _harder: Callable, **options: Any) -> torch.Tensor:
        return whole(logits, classes, lambda cosine: cosine, **options)

    monkeypatch.setattr(margins, "_with_margin", unasked)
    with pytest.raises(AssertionError):
        check_margin_in_training(photos)


def test_in_use_there_is_no_margin(photos: list[Path], tmp_path: Path) -> None:
    net, _ = trained(photos, tmp_path, (ArcFace(),))
    lesson = taught(photos, (ArcFace(),))
    seen = embed_photos(net, lesson.source, device=torch.device("cpu"), logits=True)  # type: ignore[arg-type]
    directions = torch.nn.functional.normalize(net.head.directions.detach(), dim=1)  # type: ignore[union-attr]
    assert np.allclose(seen.logits[0], 20 * seen.embedding[0] @ directions.numpy().T, atol=1e-4)  # type: ignore[index]


@pytest.mark.parametrize(
    "loss",
    [
        ArcFace(),
        CosFace(margin=MarginByCount()),
        SphereFace(),
        CombinedMargin(smoothing=0.1),
        Elastic(warmup=0.5),
    ],
    ids=lambda loss: loss.kind,
)
def test_each_margin_teaches(photos: list[Path], tmp_path: Path, loss: Any) -> None:
    _, history = trained(photos, tmp_path, (loss, BatchHardTriplet(weight=0.5)), epochs=9)
    assert {"loss", loss.kind, "triplet", "map5"} <= history[0].keys()
    assert min(row[loss.kind] for row in history[-3:]) < 0.5 * history[0][loss.kind]
    assert max(row["map5"] for row in history[-3:]) > 0.9


def test_margins_by_count_are_those_of_the_photos_that_teach(photos: list[Path]) -> None:
    metrics, seen = first_pass(photos, (CosFace(margin=MarginByCount()),), flip=True)
    assert seen["counts"].tolist() == [3] * 8
    each = margins_by_count(seen["counts"], MarginByCount())[seen["classes"].clamp(min=0)]
    expected = cosface(seen["logits"], seen["classes"], scale=20.0, margin=each, flip_identity=True)
    assert metrics["cosface"] == pytest.approx(expected.item(), rel=1e-5)


def test_margins_depend_on_the_number_of_photos_of_the_class(photos: list[Path]) -> None:
    """The photos of the phase are counted, not those of the table."""
    lesson = taught(photos, (ArcFace(),))
    assert lesson.counts(np.array([0, 3, 4, 15, 16]), 5).tolist() == [2, 2, 0, 0, 0]  # type: ignore[union-attr]


def test_margins_warm_up_with_the_training(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for done, margin in ((0.0, 0.1), (0.25, 0.3), (0.5, 0.5), (1.0, 0.5)):
        metrics, seen = first_pass(photos, (ArcFace(margin=0.5, warmup=0.5),), done=done)
        expected = arcface(seen["logits"], seen["classes"], scale=20.0, margin=margin)
        assert metrics["arcface"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_loop_passes_the_completed_share_of_training(photos: list[Path], tmp_path: Path, monkeypatch) -> None:
    shares = []
    whole = Course._about

    def about(self: Course, rows: np.ndarray, place: tuple[int, int], *, done: float) -> Any:
        shares.append(done)
        return whole(self, rows, place, done=done)

    monkeypatch.setattr(courses.Course, "_about", about)
    phases = (Phase(epochs=1, lr=1e-3), Phase(epochs=3, lr=1e-3))
    training = Training(phases=phases, batch=8)
    fit(network(net=COSINE), taught(photos, (ArcFace(),)), training, at=WorkDirectory(tmp_path, alone()), seed=5)
    assert shares == pytest.approx(np.arange(8) / 8)  # two forward passes an epoch, four epochs in both phases together


class KilledError(Exception):
    pass


@pytest.mark.parametrize("losses", [(Elastic(warmup=0.7),), (Affinity(sample=3),)], ids=["elastic", "affinity"])
def test_random_draws_are_repeated_after_a_kill(photos: list[Path], tmp_path: Path, losses: Losses) -> None:
    net = COSINE if losses[0].kind == "elastic" else Net(backbone=NET.backbone, head=AffinityHead(dropout=0.2))

    def killer(name: str, _value: float, update: int) -> None:
        if update == 3 and name == "train/lr":
            raise KilledError

    whole, _ = trained(photos, tmp_path / "whole", losses, net=net)
    with pytest.raises(KilledError):
        trained(photos, tmp_path / "halves", losses, net=net, scalar=killer, checkpoint_every_s=1e-9)
    assert list((tmp_path / "halves").glob("[0-9]*"))
    again, _ = trained(photos, tmp_path / "halves", losses, net=net)
    assert same(whole, again)


def test_elastic_margins_are_a_function_of_seed_and_update(photos: list[Path]) -> None:
    metrics, seen = first_pass(photos, (Elastic(std=0.3),))
    chance = torch.Generator().manual_seed(hash_seed(5, "loss", 0, 0, 0))
    expected = elastic(seen["logits"], seen["classes"], scale=20.0, std=0.3, chance=chance)
    assert metrics["elastic"] == pytest.approx(expected.item(), rel=1e-5)


# --- flips as other identities


def check_mirror_class_is_left_out(photos: list[Path]) -> None:
    """The logit of a photo's own mirror class does not change its loss; the logit of every other class does."""
    metrics, seen = first_pass(photos, (CrossEntropy(),), flip=True)
    costs = []
    for row, own in zip(seen["logits"].double(), seen["classes"].tolist(), strict=True):
        if own >= 0:
            asked = [column for column in range(8) if column != (own + 4) % 8]
            costs.append((row[asked].logsumexp(dim=0) - row[own]).item())
    assert metrics["cross_entropy"] == pytest.approx(float(np.mean(costs)), rel=1e-5)


def test_the_mirror_class_is_left_out_of_the_softmax(photos: list[Path]) -> None:
    check_mirror_class_is_left_out(photos)


def test_a_mirror_class_left_in_would_be_caught(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropies, "without_mirror", lambda logits, _classes, *, by: logits)
    with pytest.raises(AssertionError):
        check_mirror_class_is_left_out(photos)


def test_the_training_map5_ignores_the_mirror_class() -> None:
    logits, classes = torch.tensor([[1.0, 0, 9, 0], [0, 2, 0, 1]]), torch.tensor([0, 3])
    assert courses._map5(logits, classes, spares_mirror=True).item() == 1
    assert courses._map5(logits, classes).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "loss", [ArcFace(smoothing=0.1), CrossEntropy(), OhemBce(hardest=4)], ids=lambda loss: loss.kind
)
def test_mirrored_identities_are_learnt(photos: list[Path], tmp_path: Path, loss: Any) -> None:
    _, history = trained(photos, tmp_path, (loss,), flip=True, epochs=6)
    assert min(row["loss"] for row in history[-3:]) < 0.7 * history[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "n_classes", "message"),
    [
        ({"classes": np.concatenate([CLASSES, CLASSES])}, 8, "12 mirrored items do not have their photo's class + 4"),
        ({"classes": MIRRORED}, 10, "12 mirrored items do not have their photo's class + 5"),
        ({"classes": MIRRORED}, 9, "pass an even number of both"),
        ({"classes": MIRRORED[:-1]}, 8, "pass an even number of both"),
        ({"classes": None, "truth": np.zeros((16, 8), np.float32)}, 8, "set flip_identity = False"),
    ],
)
def test_mirrored_items_that_do_not_pair_are_refused(
    photos: list[Path], tmp_path: Path, changes: dict, n_classes: int, message: str
) -> None:
    lesson = Lesson(**{**vars(taught(photos, (CrossEntropy(),), flip=True)), **changes})
    net = network(net=COSINE, n_classes=n_classes)
    with pytest.raises(PlanError) as refused:
        fit(net, lesson, Training(phases=(Phase(epochs=1),), batch=8), at=WorkDirectory(tmp_path, alone()), seed=5)
    assert message in refused.value.got
    assert "change each of these settings" in refused.value.fix


# --- affinities and stripes


def test_affinities_are_learnt(photos: list[Path], tmp_path: Path) -> None:
    net = Net(backbone=NET.backbone, head=AffinityHead(centres=2))
    one, history = trained(photos, tmp_path, (Affinity(spread=0.01),), net=net, epochs=20, lr_head_times=30.0)
    assert history[-1]["affinity"] < 0.7 * history[0]["affinity"]
    logits = embed_photos(one, taught(photos, ()).source, device=torch.device("cpu"), logits=True).logits  # type: ignore[arg-type]
    near = 1 / (1 + np.exp(-logits[0]))  # type: ignore[index]
    known = CLASSES >= 0
    assert (near[known].argmax(axis=1) == CLASSES[known]).mean() > 0.7


STRIPED = Net(backbone=NET.backbone, head=CosineHead(scale=20.0), stripes=2)


def test_joint_losses_with_stripes_are_learnt(photos: list[Path], tmp_path: Path) -> None:
    losses = (ArcFace(), BatchHardTriplet(weight=0.5), LocalTriplet(weight=2.0))
    net, history = trained(photos, tmp_path, losses, net=STRIPED, side=64)
    row = history[0]
    assert row["loss"] == pytest.approx(row["arcface"] + 0.5 * row["triplet"] + 2 * row["local_triplet"], rel=1e-5)
    start = network(net=STRIPED).state_dict()["stripes.squeeze.weight"]
    assert not torch.equal(net.state_dict()["stripes.squeeze.weight"], start)


@pytest.mark.parametrize("freeze", [("stem",), ("all",)])
def test_stripes_are_learnt_from_cached_maps_as_from_images(
    photos: list[Path], tmp_path: Path, freeze: tuple[str, ...]
) -> None:
    losses = (ArcFace(), LocalTriplet())
    options = {"net": STRIPED, "side": 64, "freeze": freeze}
    plain, _ = trained(photos, tmp_path / "plain", losses, **options)
    kept, _ = trained(photos, tmp_path / "kept", losses, features=FeatureStore(tmp_path / "features"), **options)
    assert list((tmp_path / "features").glob("*.npy"))
    for (name, a), b in zip(kept.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name


# --- at test time


def check_dropout_is_off_at_test(photos: list[Path]) -> None:
    """A network with much dropout gives the same embeddings twice, and no feature is zeroed."""
    net = network(net=Net(backbone=NET.backbone, neck="none", head=CosineHead(dropout=0.9)))
    source = taught(photos, ()).source
    one, again = (embed_photos(net.train(), source, device=torch.device("cpu")).embedding for _ in range(2))  # type: ignore[arg-type]
    assert np.array_equal(one, again)
    assert (one == 0).mean() < 0.5


def test_dropout_is_off_when_photos_are_embedded(photos: list[Path]) -> None:
    check_dropout_is_off_at_test(photos)


def test_dropout_at_test_time_would_be_caught(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault of the first place's code: functional dropout without the training flag."""

    def awake(self: heads.Dropout, feature: torch.Tensor) -> torch.Tensor:
        return feature * (torch.rand(feature.shape) >= self.rate) / (1 - self.rate)

    monkeypatch.setattr(heads.Dropout, "forward", awake)
    with torch.random.fork_rng(), pytest.raises(AssertionError):
        check_dropout_is_off_at_test(photos)


# --- what does not fit


@pytest.mark.parametrize(
    ("net", "losses", "message"),
    [
        (NET, (ArcFace(),), 'a one_vs_rest head has none: use head = {kind = "cosine"}'),
        (Net(backbone=NET.backbone, head=SigmoidHead()), (Elastic(),), "a sigmoid head has none"),
        (COSINE, (Affinity(),), 'a cosine head has none: use head = {kind = "affinity"}'),
        (COSINE, (CrossEntropy(), LocalTriplet()), "set stripes = 8"),
        (Net(backbone=NET.backbone, head=OneVsRestHead()), (CosFace(), LocalTriplet()), "2 mistake(s)"),
    ],
)
def test_losses_that_do_not_fit_the_network_are_refused_before_training(
    photos: list[Path], tmp_path: Path, net: Net, losses: Losses, message: str
) -> None:
    for phases in ((Phase(epochs=1),), (Phase(epochs=1), Phase(epochs=1, losses=losses))):
        lesson = taught(photos, losses if len(phases) == 1 else (BatchHardTriplet(),))
        training = Training(phases=phases, batch=8)
        with pytest.raises(PlanError) as refused:
            fit(network(net=net), lesson, training, at=WorkDirectory(tmp_path, alone()), seed=5)
        assert message in str(refused.value)
        assert "change each of these settings" in refused.value.fix
    assert not list(tmp_path.iterdir())
