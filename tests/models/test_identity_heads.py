"""Heads for identification: sub-centres, affinities, stripes of the feature map."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from fieldmark.core.errors import PlanError, ShapeError, WeightsError
from fieldmark.models import heads
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.heads import Affinities, CosineLogits, Stripes
from fieldmark.models.network import Network, build, freeze, parameter_groups
from fieldmark.models.specs import AffinityHead, Backbone, CosineHead, Head, Net, OneVsRestHead, RandomWeights
from fieldmark.models.warm import start_from


def small(head: Head, *, seed: int = 3, n_classes: int = 5, name: str = "test_resnet", **net: Any) -> Network:
    backbone = Backbone(name=name, weights=RandomWeights(), **net.pop("backbone", {}))
    return build(Net(backbone=backbone, head=head, **net), n_classes=n_classes, seed=seed)


def pictures(batch: int = 4, side: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def moved(network: Network) -> None:
    """Centres far from their initial values, so that the nearest one differs between images."""
    with torch.no_grad():
        for parameter in network.head.parameters():  # type: ignore[union-attr]
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


# --- sub-centres


def check_nearest_centre_counts() -> None:
    """The cosine to a class is that to its nearest centre, one at a time."""
    network = small(CosineHead(scale=20.0, centres=3)).eval()
    moved(network)
    found = network(pictures())
    for row, vector in enumerate(found.embedding):
        for column, centres in enumerate(network.head.directions):  # type: ignore[union-attr,arg-type]
            cosines = [functional.cosine_similarity(vector, centre, dim=0).item() for centre in centres]
            assert found.logits[row, column].item() == pytest.approx(20 * max(cosines), abs=1e-4)


def test_the_nearest_centre_of_each_class_counts() -> None:
    check_nearest_centre_counts()


def test_centres_reduced_by_their_mean_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "nearest_centre", lambda cosines: cosines.mean(dim=2))
    with pytest.raises(AssertionError):
        check_nearest_centre_counts()


def test_only_the_nearest_centre_gets_a_gradient() -> None:
    network = small(CosineHead(centres=2)).eval()
    moved(network)
    found = network(pictures(1))
    found.logits[0, 3].backward()  # type: ignore[index]
    gradient = network.head.directions.grad  # type: ignore[union-attr]
    learning = gradient.abs().sum(dim=2) > 0
    assert learning.sum().item() == 1
    cosines = functional.cosine_similarity(found.embedding, network.head.directions[3])  # type: ignore[union-attr]
    assert learning[3, cosines.argmax()]


def test_one_centre_is_the_plain_cosine_head() -> None:
    one, same = small(CosineHead(centres=1)), small(CosineHead())
    assert one.head.directions.shape == (5, one.width)  # type: ignore[union-attr]
    assert torch.equal(one(pictures()).logits, same(pictures()).logits)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [CosineHead(centres=2), AffinityHead(centres=2)])
def test_a_warm_start_takes_classes_with_all_their_centres(head: Head) -> None:
    trained, network = small(head, seed=1), small(head, seed=2, n_classes=2)
    start_from(network, trained, columns=[4, 0])
    (own,), (theirs,) = list(network.head.parameters()), list(trained.head.parameters())  # type: ignore[union-attr]
    assert torch.equal(own, theirs[[4, 0]])
    other = small(head.model_copy(update={"centres": 3}), n_classes=2)
    with pytest.raises(WeightsError) as refused:
        start_from(other, trained, columns=[4, 0])
    assert "number of centres" in refused.value.got
    assert "same backbone" in refused.value.fix


# --- affinities


@pytest.mark.parametrize("sigma", [None, 10.0])
def test_the_sigmoid_of_the_logits_is_the_affinity(sigma: float | None) -> None:
    head = Affinities(6, 4, centres=3, sigma=sigma).double()
    feature = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.centres.copy_(torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(1)))
    found = torch.sigmoid(head(feature))
    for row, vector in enumerate(feature):
        for column, centres in enumerate(head.centres):
            nearest = min(math.dist(vector.tolist(), centre.tolist()) for centre in centres)
            assert found[row, column].item() == pytest.approx(math.exp(-(nearest**2) / (sigma or 6)), rel=1e-9)


def test_affinities_read_the_neck_at_its_own_length() -> None:
    network = small(AffinityHead(centres=2)).train()
    found = network(pictures())
    with torch.no_grad():
        necked = copy.deepcopy(network).neck(found.feature)
    assert torch.allclose(network.head(necked), found.logits, atol=1e-4)  # type: ignore[misc,arg-type]
    assert necked.norm(dim=1).max() > 2


@pytest.mark.parametrize("length", [0.0, 1.0, 200.0, 2e4])
def test_affinities_are_finite_at_a_centre_and_far_from_all(length: float) -> None:
    head = Affinities(4, 3, centres=2, sigma=None)
    feature = (head.centres[:, 0].detach() + length).requires_grad_()
    logits = head(feature)
    torch.sigmoid(logits).sum().backward()
    assert logits.isfinite().all()
    assert feature.grad is not None
    assert feature.grad.isfinite().all()
    assert head.centres.grad.isfinite().all()  # type: ignore[union-attr]


def test_initial_gradients_are_not_zero() -> None:
    """With the paper's sigma of 10 and features of any real width all affinities would be 0, and all gradients."""
    network = small(AffinityHead()).train()
    logits = network(pictures()).logits
    near = torch.sigmoid(logits)  # type: ignore[arg-type]
    assert near.min().item() > 0.1
    assert near.max().item() < 0.9
    near.sum().backward()
    assert (network.head.centres.grad.abs().amax(dim=2) > 0).any()  # type: ignore[union-attr]


# --- stripes


def test_stripes_are_means_over_the_width_squeezed_and_of_unit_length() -> None:
    part = Stripes(6, 4, dim=5).eval()
    features = torch.randn(2, 6, 4, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        part.norm.bias.fill_(0.1)
        found = part(features)
        for picture, row in ((0, 0), (1, 3)):
            mean = features[picture, :, row].mean(dim=1)
            reduced = (part.squeeze.weight[:, :, 0] @ mean / math.sqrt(1 + part.norm.eps) + 0.1).clamp(min=0)
            assert torch.allclose(found[picture, row], reduced / reduced.norm(), atol=1e-5)
        assert torch.allclose(Stripes.forward(part, features), found)
        part.channels_last = True
        assert torch.equal(part(features.permute(0, 2, 3, 1)), found)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("pool", ["avg", "gem"])
def test_a_net_with_stripes_computes_them_also_from_cached_maps(name: str, pool: str) -> None:
    network = small(CosineHead(), name=name, stripes=2, backbone={"pool": pool}).eval()
    side = 64
    whole = network(pictures(side=side))
    assert whole.stripes is not None
    assert whole.stripes.shape == (4, 2, 512)
    assert torch.allclose(whole.stripes.norm(dim=2), torch.ones(4, 2), atol=1e-5)
    n_all = len(backbone_stages(network.backbone))
    for after in (0, n_all):
        assert not network.pools_below(after)
        kept = network.lower(after)(pictures(side=side))  # type: ignore[misc]
        found = network.upper(after)(kept)
        assert torch.equal(found.stripes, whole.stripes)  # type: ignore[arg-type]
        assert torch.equal(found.embedding, whole.embedding)


def test_stripes_are_of_the_last_map_where_two_are_pooled() -> None:
    one, two = (small(CosineHead(), stripes=2, backbone={"maps": n}).eval() for n in (1, 2))
    both = two(pictures(side=64))
    assert both.stripes is not None
    assert both.stripes.shape == (4, 2, 512)
    assert two.width > one.width
    assert two.stripes.squeeze.weight.shape == one.stripes.squeeze.weight.shape  # type: ignore[union-attr]


def test_stripes_change_nothing_else_of_a_net() -> None:
    plain, striped = small(OneVsRestHead()).train(), small(OneVsRestHead(), stripes=2).train()
    one, other = plain(pictures()), striped(pictures())
    assert torch.equal(one.embedding, other.embedding)
    assert torch.equal(one.logits, other.logits)  # type: ignore[arg-type]
    assert one.stripes is None


def test_stripes_have_the_learning_rate_of_the_head_also_with_a_frozen_backbone() -> None:
    network = small(OneVsRestHead(), stripes=2)
    freeze(network, ("all",))
    groups = parameter_groups(network, lr_head_times=10)
    mine = {id(p) for p in network.stripes.parameters()}  # type: ignore[union-attr]
    found = [g for g in groups if any(id(p) in mine for p in g["params"])]
    assert {g["name"] for g in found} == {"stripes", "stripes without decay"}
    assert all(g["lr_times"] == 10 for g in found)


def test_under_autocast_stripes_are_float32() -> None:
    network = small(OneVsRestHead(), stripes=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(pictures()).stripes.dtype == torch.float32  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "side", "n"), [("test_resnet", 64, 9), ("test_vit", 160, 2)])
def test_maps_without_enough_rows_are_refused(name: str, side: int, n: int) -> None:
    network = small(OneVsRestHead(), name=name, stripes=n).eval()
    with pytest.raises(ShapeError) as refused:
        network(pictures(2, side))
    assert "fewer stripes" in refused.value.fix
    assert "stripes = None" in refused.value.fix


def test_a_vector_has_no_stripes() -> None:
    network = small(OneVsRestHead(), stripes=2).eval()
    with pytest.raises(ShapeError) as refused:
        network.upper(len(backbone_stages(network.backbone)))(torch.zeros(2, network.width))
    assert "no map" in refused.value.got
    assert "stripes = None" in refused.value.fix


def test_no_classes_are_refused() -> None:
    with pytest.raises(PlanError) as refused:
        small(AffinityHead(), n_classes=0)
    assert '{kind = "embedding"}' in refused.value.fix


def test_heads_of_one_kind_are_equal_for_one_seed() -> None:
    one, other = (CosineLogits(8, 4, scale=30.0, centres=2) for _ in range(2))
    assert one.directions.shape == other.directions.shape == (4, 2, 8)
    heads = [small(CosineHead(centres=2), seed=9).head.directions for _ in range(2)]  # type: ignore[union-attr]
    assert torch.equal(*heads)
