"""Warm starts: copied tensors, unchanged tensors, and rejected networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fieldmark.core.errors import WeightsError
from fieldmark.models import store
from fieldmark.models.network import Network, build
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
from fieldmark.models.warm import start_from

COLUMNS = [4, 0, 2]


def small(
    seed: int = 0, *, n: int = 6, head: Head | None = None, name: str = "test_resnet", neck: str = "bn"
) -> Network:
    net = Net(backbone=Backbone(name=name, weights=RandomWeights(), pool="gem"), neck=neck, head=head or SigmoidHead())
    return build(net, n_classes=n, seed=seed).eval()


def trained(**made: object) -> Network:
    """With values and statistics that differ from the initial ones."""
    network = small(7, **made).train()  # type: ignore[arg-type]
    network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        network.pool.exponent.fill_(2.5)
    return network.eval()


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("head", [SigmoidHead(), OneVsRestHead(), CosineHead()])
def test_the_selected_labels_keep_their_logits(head: Head) -> None:
    saved, network = trained(head=head), small(n=3, head=head)
    start_from(network, saved, columns=COLUMNS)
    before, after = saved(pictures()), network(pictures())
    torch.testing.assert_close(after.logits, before.logits[:, COLUMNS])
    assert torch.equal(after.embedding, before.embedding)
    with torch.no_grad():
        saved.neck.norm.weight.fill_(9.0)
    assert torch.equal(network(pictures()).embedding, before.embedding)


def test_a_folder_can_be_given(tmp_path: Path) -> None:
    saved, network = trained(), small(n=3)
    store.save(saved, tmp_path / "net", preprocess={})
    start_from(network, tmp_path / "net", columns=COLUMNS)
    torch.testing.assert_close(network(pictures()).logits, saved(pictures()).logits[:, COLUMNS])


def test_without_columns_the_head_keeps_its_initial_weights() -> None:
    saved, network = trained(), small(n=3, head=OneVsRestHead())
    built = network.head.questions.weight.clone()
    start_from(network, saved)
    assert torch.equal(network.head.questions.weight, built)
    assert torch.equal(network(pictures()).embedding, saved(pictures()).embedding)
    embedding = small(head=EmbeddingHead())
    start_from(embedding, saved)
    assert torch.equal(embedding(pictures()).embedding, saved(pictures()).embedding)


@pytest.mark.parametrize(
    ("made", "columns", "message"),
    [
        ({"n": 3}, [0, 6, -1], "2 columns outside 0 to 5: [6, -1]"),
        ({"n": 3}, [0, 1], "2 columns for 3 labels"),
        ({"n": 3, "head": OneVsRestHead()}, COLUMNS, "head sigmoid for one_vs_rest"),
        ({"n": 3, "head": EmbeddingHead()}, COLUMNS, "head sigmoid for embedding"),
        ({"n": 3, "neck": "none"}, COLUMNS, "unexpected tensors: neck.norm"),
        ({"n": 3, "name": "test_efficientnet"}, COLUMNS, "missing tensors: backbone."),
    ],
)
def test_a_mismatch_is_reported_and_nothing_is_copied(made: dict, columns: list[int], message: str) -> None:
    network = small(**made)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as refused:
        start_from(network, trained(), columns=columns)
    assert message in refused.value.got
    assert "same backbone, pooling, neck and head" in refused.value.fix
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_heads_of_another_scale_are_refused() -> None:
    with pytest.raises(WeightsError) as refused:
        start_from(small(n=3, head=OneVsRestHead(scale=8.0)), trained(head=OneVsRestHead()), columns=COLUMNS)
    assert "another scale" in refused.value.got


def test_a_folder_without_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        start_from(small(), tmp_path, columns=COLUMNS)
    assert "train again" in refused.value.fix
