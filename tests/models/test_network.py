"""Networks: random draws, heads, dropout, freezing, parameter groups, splits, mixed precision."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fieldmark.core.errors import PlanError, ShapeError
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.network import Network, build, freeze, parameter_groups
from fieldmark.models.specs import (
    Backbone,
    CosineHead,
    EmbeddingHead,
    Head,
    Net,
    OneVsRestHead,
    RandomWeights,
    SigmoidHead,
)
from fieldmark.models.weights import digest_of

HEADS = [SigmoidHead(dropout=0.5), OneVsRestHead(), CosineHead(), EmbeddingHead(), EmbeddingHead(dim=6)]


def small(
    head: Head | None = None, *, name: str = "test_resnet", seed: int = 3, n_classes: int = 5, **net: Any
) -> Network:
    backbone = Backbone(name=name, weights=RandomWeights(), **net.pop("backbone", {}))
    return build(Net(backbone=backbone, head=head or OneVsRestHead(), **net), n_classes=n_classes, seed=seed)


def pictures(batch: int = 4, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, channels, 64, 64, generator=torch.Generator().manual_seed(seed))


# --- two maps


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("pool", ["avg", "gem"])
def test_two_maps_are_pooled_side_by_side(name: str, pool: str) -> None:
    one, two = (small(name=name, backbone={"pool": pool, "maps": maps}).eval() for maps in (1, 2))
    assert two.shrinking is not None
    with torch.no_grad():
        feature, whole = two(pictures()).feature, one(pictures()).feature
    assert two.width == feature.shape[1] == two.shrinking.channels + whole.shape[1]
    torch.testing.assert_close(feature[:, two.shrinking.channels :], whole)
    # The last map that is larger than the last one, of all outputs of parts of the backbone.
    outputs = []
    for module in one.backbone.modules():
        module.register_forward_hook(lambda module, given, gave: outputs.append(gave))
    with torch.no_grad():
        one(pictures())
        larger = [gave for gave in outputs if gave.ndim == 4 and gave.shape[-1] > outputs[-1].shape[-1]]
        before = [gave for gave in larger if gave.shape[1] == two.shrinking.channels]
        pooled = torch.stack([two.pool_before(gave) for gave in before])
    assert before[-1].shape[-1] == min(gave.shape[-1] for gave in larger)
    assert (pooled - feature[:, : two.shrinking.channels]).abs().amax(dim=(1, 2)).min() < 1e-5


def test_two_maps_can_be_split_before_the_first_map_only() -> None:
    network = small(backbone={"maps": 2}).eval()
    n_cut = 0
    for after in range(1, len(backbone_stages(network.backbone)) + 1):
        lower = network.lower(after)
        if lower is None:
            with pytest.raises(PlanError):
                network.upper(after)
            continue
        n_cut += 1
        with torch.no_grad():
            cut, whole = network.upper(after)(lower(pictures())), network(pictures())
        torch.testing.assert_close(cut.feature, whole.feature)
    assert 0 < n_cut < len(backbone_stages(network.backbone))


def test_two_maps_need_stages_one_after_the_other() -> None:
    with pytest.raises(PlanError) as raised:
        small(name="test_vit", backbone={"maps": 2})
    assert "maps = 1" in raised.value.fix


# --- random draws


def test_initial_weights_depend_on_the_seed_only() -> None:
    first = digest_of(small(seed=1).state_dict())
    torch.rand(7)
    assert digest_of(small(seed=1).state_dict()) == first
    assert digest_of(small(seed=2).state_dict()) != first


def test_torchs_global_generator_is_not_changed() -> None:
    before = torch.random.get_rng_state()
    network = small(OneVsRestHead(dropout=0.5)).train()
    network(pictures())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_initial_head_does_not_depend_on_the_backbone() -> None:
    plain, wide = small(), small(backbone={"in_channels": 4})
    assert torch.equal(plain.head.questions.weight, wide.head.questions.weight)  # type: ignore[union-attr]


def test_dropout_repeats_from_the_state_of_its_generator() -> None:
    network = small(OneVsRestHead(dropout=0.5), neck="none").train()
    assert network.chance is not None
    state = network.chance.get_state()
    first, second = network(pictures()).embedding, network(pictures()).embedding
    network.chance.set_state(state)
    assert torch.equal(network(pictures()).embedding, first)
    assert not torch.equal(first, second)


def test_dropout_is_off_in_evaluation_mode() -> None:
    """The winner's code did not disable dropout: a fifth of all features was zero in its predictions."""
    network = small(SigmoidHead(dropout=0.9)).eval()
    assert network.chance is not None
    state = network.chance.get_state()
    first, second = network(pictures()), network(pictures())
    assert torch.equal(first.embedding, second.embedding)
    assert first.logits is not None
    assert torch.equal(first.logits, network.head(first.feature))  # type: ignore[misc]
    assert torch.equal(network.chance.get_state(), state)


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    network = small(OneVsRestHead(dropout=0.2)).train()
    thinned = network.dropout(torch.ones(200, 500))
    assert (thinned == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert thinned.mean().item() == pytest.approx(1, abs=0.01)


def test_a_copy_of_the_network_has_its_own_generator() -> None:
    network = small(OneVsRestHead(dropout=0.5), neck="none").train()
    duplicate = copy.deepcopy(network)
    first = network(pictures()).embedding
    assert torch.equal(duplicate(pictures()).embedding, first)


# --- heads


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head.kind}{getattr(head, 'dim', '')}")
@pytest.mark.parametrize("neck", ["none", "bn"])
def test_embeddings_have_unit_length_and_logits_a_column_a_class(head: Head, neck: str) -> None:
    network = small(head, neck=neck)
    for mode in (True, False):
        found = network.train(mode)(pictures())
        assert found.embedding.shape == (4, network.width)
        assert torch.allclose(found.embedding.norm(dim=1), torch.ones(4), atol=1e-5)
        if isinstance(head, EmbeddingHead):
            assert found.logits is None
        else:
            assert found.logits is not None
            assert found.logits.shape == (4, 5)


def test_one_vs_rest_is_16_times_a_linear_layer_on_the_embedding() -> None:
    network = small(OneVsRestHead(scale=16.0)).eval()
    with torch.no_grad():
        network.head.questions.bias.copy_(torch.arange(5.0))  # type: ignore[union-attr]
    found = network(pictures())
    weight, bias = network.head.questions.weight, network.head.questions.bias  # type: ignore[union-attr]
    assert torch.allclose(found.logits, 16 * (found.embedding @ weight.T + bias), atol=1e-5)


def test_one_vs_rest_starts_at_a_thousandth() -> None:
    network = small(OneVsRestHead(), n_classes=2000)
    assert network.head.questions.weight.std().item() == pytest.approx(0.001, rel=0.02)  # type: ignore[union-attr]
    assert not network.head.questions.bias.any()  # type: ignore[union-attr]


def test_the_embedding_is_unit_of_neck_of_pooled() -> None:
    network = small().train()
    found = network(pictures())
    feature = found.feature
    thin = small(OneVsRestHead(dropout=0.0)).train()(pictures())
    mean, var = feature.mean(0), feature.var(0, unbiased=False)
    assert torch.allclose(
        thin.embedding, functional.normalize((feature - mean) / (var + 1e-5).sqrt(), dim=1), atol=1e-4
    )


def test_the_neck_has_a_weight_and_never_a_bias() -> None:
    network = small()
    freeze(network, [])
    assert [name for name, _ in network.neck.named_parameters()] == ["norm.weight"]


def test_the_sigmoid_head_reads_the_pooled_feature_whatever_the_neck() -> None:
    network = small(SigmoidHead()).eval()
    found = network(pictures())
    assert torch.allclose(found.logits, network.head.questions(found.feature))  # type: ignore[union-attr]


def test_cosine_logits_are_scaled_cosines() -> None:
    network = small(CosineHead(scale=30.0)).eval()
    with torch.no_grad():
        network.head.directions.mul_(7)  # type: ignore[union-attr]
    found = network(pictures())
    expected = functional.cosine_similarity(found.embedding[:, None], network.head.directions[None], dim=2)  # type: ignore[union-attr]
    assert torch.allclose(found.logits, 30 * expected, atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("pool", ["avg", "max", "gem"])
def test_every_family_and_pooling_gives_its_width(name: str, pool: str) -> None:
    network = small(name=name, backbone={"pool": pool}).eval()
    side = 160 if name == "test_vit" else 64
    found = network(torch.rand(2, 3, side, side))
    assert found.feature.shape == (2, network.backbone.num_features)


def test_channels_beyond_rgb_reach_the_network() -> None:
    network = small(backbone={"in_channels": 4}).eval()
    images = pictures(channels=4)
    masked = images.clone()
    masked[:, 3] = 0
    assert not torch.equal(network(images).embedding, network(masked).embedding)


def test_a_batch_of_one_cannot_train_through_the_neck() -> None:
    network = small().train()
    with pytest.raises(ShapeError) as refused:
        network(pictures(1))
    assert "at least 2" in refused.value.fix
    assert network.eval()(pictures(1)).embedding.shape[0] == 1


def test_no_classes_are_refused_but_for_an_embedding() -> None:
    with pytest.raises(PlanError) as refused:
        small(n_classes=0)
    assert '{kind = "embedding"}' in refused.value.fix
    assert small(EmbeddingHead(), n_classes=0)(pictures()).logits is None


@pytest.mark.parametrize("head", HEADS[:3], ids=lambda head: head.kind)
def test_above_the_backbone_all_is_float32_under_autocast(head: Head) -> None:
    network = small(head, backbone={"pool": "gem"}).train()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(pictures())
    assert {part.dtype for part in found if part is not None} == {torch.float32}
    assert torch.allclose(found.embedding.norm(dim=1), torch.ones(4), atol=1e-5)
    found.logits.square().sum().backward()  # type: ignore[union-attr]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


# --- trainable parameters


def train_a_step(network: Network) -> None:
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    found = network.train()(pictures())
    (found.logits.square().sum() + (found.embedding * torch.arange(network.width)).sum()).backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_frozen_stages_and_their_statistics_stay_and_all_else_is_trained(name: str) -> None:
    network = small(name=name)
    named = backbone_stages(network.backbone)
    frozen = list(named)[:2]
    freeze(network, frozen)
    with torch.no_grad():  # timm starts the last norm of a block at zero, so that the block gets no gradient
        for module in network.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train_a_step(network)
    still = tuple(f"backbone.{p.rpartition('.')[0]}." for stage in frozen for p in named[stage])
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            assert int(value) == (0 if key.startswith(still) else 1), key
        else:
            assert torch.equal(value, before[key]) == key.startswith(still), key


def test_frozen_batch_norms_stay_in_evaluation_mode_after_train() -> None:
    network = small()
    freeze(network, ["stem", "layer1"])
    for _ in range(2):
        network.eval()
        network.train()
    asleep = {
        name
        for name, module in network.backbone.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not module.training
    }
    assert asleep
    assert all(name.startswith(("conv1", "bn1", "layer1")) for name in asleep)
    assert network.neck.training
    freeze(network, [])
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_freezing_leaves_test_mode_as_it_is() -> None:
    network = small().eval()
    freeze(network, ["stem"])
    assert not any(module.training for module in network.modules())


def test_all_stages_frozen_leave_neck_and_head() -> None:
    network = small()
    freeze(network, backbone_stages(network.backbone))
    learning = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"neck", "head"}
    assert not any(module.training for module in network.train().backbone.modules())


def test_all_is_every_stage_of_the_backbone() -> None:
    by_word, by_names = small(), small()
    freeze(by_word, ("all",))
    freeze(by_names, backbone_stages(by_names.backbone))
    assert by_word.frozen == by_names.frozen == tuple(backbone_stages(by_word.backbone))
    assert not any(p.requires_grad for p in by_word.backbone.parameters())
    assert all(p.requires_grad for p in by_word.head.parameters())


def test_unknown_stages_are_refused_and_nothing_is_frozen() -> None:
    network = small()
    with pytest.raises(PlanError) as refused:
        freeze(network, ["layer11", "stem"])
    assert refused.value.got == "layer11"
    assert "did you mean 'layer1'?" in refused.value.fix
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_groups_hold_every_learning_parameter_once_and_spare_norms_and_biases() -> None:
    network = small(backbone={"pool": "gem"})
    freeze(network, ["stem", "layer1"])
    groups = parameter_groups(network, lr_head_times=10, weight_decay=0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters() if parameter.requires_grad)
    for group in groups:
        assert group["lr_times"] == (1 if group["name"].startswith("backbone") else 10)
        assert all((parameter.ndim > 1) == (group["weight_decay"] == 0.1) for parameter in group["params"])
    assert {group["name"].split()[0] for group in groups} == {"backbone", "pool", "neck", "head"}
    torch.optim.AdamW(groups, lr=1e-3)


def test_what_the_backbone_exempts_is_not_decayed() -> None:
    network = small(name="test_vit")
    spared = {id(p) for g in parameter_groups(network, weight_decay=0.1) if g["weight_decay"] == 0 for p in g["params"]}
    assert id(network.backbone.pos_embed) in spared


# --- splits


@pytest.mark.parametrize("pool", ["avg", "gem"])
def test_upper_on_cached_features_equals_the_network(pool: str) -> None:
    network = small(name="test_efficientnet", backbone={"pool": pool}).eval()
    whole = network(pictures())
    n_all = len(backbone_stages(network.backbone))
    for after in range(n_all + 1):
        lower = network.lower(after)
        assert lower is not None
        kept = lower(pictures())
        assert (kept.ndim == 2) == (after == n_all and pool == "avg")
        found = network.upper(after)(kept)
        assert torch.equal(found.embedding, whole.embedding)
        assert torch.equal(found.logits, whole.logits)


def test_gradients_of_the_upper_part_are_the_same_from_cached_features() -> None:
    """With the lower part frozen, training on cached features gives the same gradients."""
    network = small(OneVsRestHead(dropout=0.0))
    freeze(network, ["stem", "layer1", "layer2"])
    network.train()
    grads = []
    for way in (lambda: network(pictures()), lambda: network.upper(3)(network.lower(3)(pictures()))):  # type: ignore[misc]
        network.zero_grad()
        way().logits.square().sum().backward()
        grads.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


def test_a_net_that_cannot_be_split_suggests_another() -> None:
    network = small(name="test_vit")
    assert network.lower(2) is None
    with pytest.raises(PlanError) as refused:
        network.upper(2)(torch.rand(1, 3, 160, 160))
    assert "'resnet50'" in refused.value.fix
