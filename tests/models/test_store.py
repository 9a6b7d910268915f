"""Saved networks: equal outputs, equal bytes, every change detected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fieldmark.core.errors import WeightsError
from fieldmark.models import store
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Backbone, EmbeddingHead, FileWeights, Net, OneVsRestHead, RandomWeights

PREPROCESS = {"height_px": 64, "mean": [0.5, 0.5, 0.5], "crop": {"kind": "full"}}


def small(seed: int = 0) -> Network:
    net = Net(backbone=Backbone(name="test_resnet", weights=RandomWeights(), pool="gem"), head=OneVsRestHead())
    return build(net, n_classes=4, seed=seed)


def trained(seed: int = 0) -> Network:
    """With values and statistics that differ from the initial ones."""
    network = small(seed).train()
    network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        network.pool.exponent.fill_(2.5)
    return network


def test_an_opened_network_has_the_outputs_of_the_saved_one(tmp_path: Path) -> None:
    network = trained()
    digest = store.save(network, tmp_path / "net", preprocess=PREPROCESS)
    opened = store.open(tmp_path / "net")
    assert (opened.preprocess, opened.sha256, opened.network.net) == (PREPROCESS, digest, network.net)
    assert not opened.network.training
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(opened.network(pictures).logits, network.eval()(pictures).logits)


def test_the_same_values_give_the_same_bytes_in_any_memory_format(tmp_path: Path) -> None:
    network = trained()
    first = store.save(network, tmp_path / "a", preprocess=PREPROCESS)
    second = store.save(network.to(memory_format=torch.channels_last), tmp_path / "b", preprocess=PREPROCESS)
    assert first == second
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()
    assert (tmp_path / "a" / "net.json").read_bytes() == (tmp_path / "b" / "net.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["net.json", "weights.safetensors"]


def test_opening_needs_none_of_the_pretrained_weights(tmp_path: Path) -> None:
    """The file of the pretrained weights may no longer exist."""
    start = tmp_path / "start.pt"
    torch.save(small(5).backbone.state_dict(), start)
    net = Net(backbone=Backbone(name="test_resnet", weights=FileWeights(path=str(start))), head=EmbeddingHead(dim=3))
    store.save(build(net, n_classes=0, seed=1), tmp_path / "net", preprocess={})
    start.unlink()
    assert store.open(tmp_path / "net").network.net == net


def test_a_stored_network_can_initialise_another(tmp_path: Path) -> None:
    network = trained(6)
    store.save(network, tmp_path / "net", preprocess={})
    weights = FileWeights(path=str(tmp_path / "net" / "weights.safetensors"))
    second = build(Net(backbone=Backbone(name="test_resnet", weights=weights)), n_classes=9, seed=0)
    assert torch.equal(
        second.backbone.state_dict()["layer4.0.bn1.running_var"],
        network.backbone.state_dict()["layer4.0.bn1.running_var"],
    )
    assert second.n_classes == 9


def test_a_flipped_bit_of_the_weights_is_refused(tmp_path: Path) -> None:
    """Safetensors itself loads a flipped payload bit without an error."""
    store.save(trained(), tmp_path, preprocess={})
    path = tmp_path / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError) as refused:
        store.open(tmp_path)
    assert "train again" in refused.value.fix


@pytest.mark.parametrize("lost", ["net.json", "weights.safetensors"])
def test_a_folder_without_one_of_its_files_is_refused(tmp_path: Path, lost: str) -> None:
    store.save(trained(), tmp_path, preprocess={})
    (tmp_path / lost).unlink()
    with pytest.raises(WeightsError) as refused:
        store.open(tmp_path)
    assert lost in str(refused.value)
    assert refused.value.fix


def test_a_card_of_another_network_is_refused(tmp_path: Path) -> None:
    store.save(trained(), tmp_path, preprocess={})
    card = json.loads((tmp_path / "net.json").read_text())
    card["n_classes"] = 5
    (tmp_path / "net.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError) as refused:
        store.open(tmp_path)
    assert "head.questions.weight: (4," in str(refused.value.got)


def test_a_card_with_strange_settings_is_refused(tmp_path: Path) -> None:
    store.save(trained(), tmp_path, preprocess={})
    card = json.loads((tmp_path / "net.json").read_text())
    (tmp_path / "net.json").write_text(json.dumps(card | {"run": "os.system"}))
    with pytest.raises(WeightsError) as refused:
        store.open(tmp_path)
    assert "run: Extra inputs are not permitted" in str(refused.value.got)
