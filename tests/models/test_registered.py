"""Registered backbones: used like timm's, rejected if they lack required attributes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fieldmark.core.errors import PlanError, WeightsError
from fieldmark.models.backbone import backbone_stages, build_backbone, data_config
from fieldmark.models.counting import count
from fieldmark.models.network import build
from fieldmark.models.registered import BACKBONES, backbone
from fieldmark.models.specs import Backbone, FileWeights, HubWeights, Net, RandomWeights, SigmoidHead


class Blocks(nn.Module):
    """Two convolutions."""

    num_features = 5

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 3, stride=2)
        self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2))

    def forward_features(self, pictures: Tensor) -> Tensor:
        return self.second(self.first(pictures))


@pytest.fixture
def blocks() -> Iterator[None]:
    @backbone("blocks")
    def made(*, in_channels: int, pretrained: bool) -> nn.Module:
        model = Blocks(in_channels)
        if pretrained:
            nn.init.constant_(model.first.weight, 0.5)
        return model

    yield
    BACKBONES._parts.pop("blocks")


@pytest.mark.usefixtures("blocks")
def test_a_registered_backbone_is_a_network_with_its_own_weights() -> None:
    net = Net(backbone=Backbone(name="blocks"), head=SigmoidHead())
    network = build(net, n_classes=3, seed=1)
    assert network(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 3)
    assert (network.backbone.first.weight == 0.5).all()
    assert network.origin.kind == "package"
    assert backbone_stages(network.backbone) == {
        "stem": ("first.weight", "first.bias"),
        "second": ("second.1.weight", "second.1.bias"),
    }
    assert network.lower(2)(torch.ones(1, 3, 32, 32)).shape == (1, 5)
    assert network.lower(1) is None
    random = Backbone(name="blocks", weights=RandomWeights())
    other = build(net.model_copy(update={"backbone": random}), n_classes=3, seed=1)
    assert not (other.backbone.first.weight == 0.5).all()


@pytest.mark.usefixtures("blocks")
def test_its_cost_and_input_are_known() -> None:
    cost = count("blocks")
    assert (cost.width, cost.parameters, cost.source) == (5, 4 * 28 + 5 * 37, None)
    assert data_config("blocks").mean == (0.485, 0.456, 0.406)


@pytest.mark.usefixtures("blocks")
def test_its_weights_come_from_files_but_not_from_a_hub(tmp_path: Path) -> None:
    torch.save(Blocks(3).state_dict(), tmp_path / "w.pt")
    model, origin = build_backbone(Backbone(name="blocks", weights=FileWeights(path=str(tmp_path / "w.pt"))))
    assert origin.kind == "file"
    assert torch.equal(model.state_dict()["first.bias"], torch.load(tmp_path / "w.pt")["first.bias"])
    with pytest.raises(WeightsError, match="no weights on a hub"):
        build_backbone(Backbone(name="blocks", weights=HubWeights()))


def test_a_network_without_required_attributes_is_refused() -> None:
    try:

        @backbone("hollow")
        def hollow(*, in_channels: int, pretrained: bool) -> nn.Module:
            return nn.Linear(in_channels, 2)

        with pytest.raises(PlanError, match="lacks attributes") as caught:
            build_backbone(Backbone(name="hollow"))
        assert caught.value.got == "a Linear without num_features and forward_features"

        @backbone("broken")
        def broken(*, in_channels: int, pretrained: bool) -> nn.Module:
            raise ValueError("three channels only")

        with pytest.raises(PlanError, match="cannot be built") as caught:
            build_backbone(Backbone(name="broken", in_channels=4))
        assert "in_channels = 4" in str(caught.value.got)
    finally:
        for name in ("hollow", "broken"):
            BACKBONES._parts.pop(name, None)


@pytest.mark.usefixtures("blocks")
def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(PlanError) as caught:
        build_backbone(Backbone(name="blokcs"))
    assert caught.value.fix == "did you mean 'blocks'?"
