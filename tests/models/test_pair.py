"""Pair head: comparison with slow loops, symmetry, bounded memory."""

from pathlib import Path

import pytest
import torch

from fieldmark.models import store
from fieldmark.models.network import build, parameter_groups
from fieldmark.models.pair import Pair
from fieldmark.models.specs import Backbone, Net, PairHead, RandomWeights
from fieldmark.models.warm import start_from

NET = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights(), pool="max"), head=PairHead(dim=12))


def head(dim: int = 6, hidden: int = 5, seed: int = 0) -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Pair(dim, hidden=hidden)


def vectors(n: int, dim: int = 6, seed: int = 1) -> torch.Tensor:
    drawn = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def slow(pair: Pair, one: torch.Tensor, other: torch.Tensor) -> float:
    """The formula of the source, feature by feature."""
    total = pair.weigh.bias.item()
    for at in range(pair.dim):
        a, b = one[at].item() * pair.dim**0.5, other[at].item() * pair.dim**0.5
        inputs = (a * b, a + b, abs(a - b), (a - b) ** 2)
        output = pair.say.bias.item()
        for unit in range(pair.look.out_features):
            hidden = pair.look.bias[unit].item() + sum(
                w.item() * value for w, value in zip(pair.look.weight[unit], inputs, strict=True)
            )
            output += pair.say.weight[0, unit].item() * max(0.0, hidden)
        total += pair.weigh.weight[0, at].item() * output
    return total


def test_a_logit_agrees_with_the_source() -> None:
    pair, rows = head(), vectors(4)
    logits = pair(rows[[0, 1, 2]], rows[[1, 3, 2]])
    wanted = [slow(pair, rows[i], rows[j]) for i, j in ((0, 1), (1, 3), (2, 2))]
    assert logits.tolist() == pytest.approx(wanted, abs=1e-5)


def test_the_order_of_the_photos_has_no_effect() -> None:
    pair, rows = head(), vectors(20)
    first, second = torch.arange(20), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    compare = pair.among(rows)
    assert torch.equal(compare(first, second), compare(second, first))


def test_blocks_are_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, rows = head(), vectors(11)
    monkeypatch.setattr("fieldmark.models.pair.ON_CPU", 18)  # three pairs at once
    square = torch.full((11, 11), torch.nan)
    for some, others, logits in pair.blocks(rows, side=4):
        assert others.start >= some.start
        square[some, others] = logits
        square[others, some] = logits.T
    wanted = torch.tensor([[slow(pair, a, b) for b in rows] for a in rows])
    assert torch.allclose(square, wanted, atol=1e-5)


def test_chunks_of_pairs_have_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For many pairs hidden values are recomputed; the gradient is the same."""
    grads = []
    for at_once in (10**6, 6 * 7):
        monkeypatch.setattr("fieldmark.models.pair.LEARNT_AT_ONCE", at_once)
        pair, rows = head(), vectors(30).requires_grad_()
        pair(rows, rows.flip(0)).square().sum().backward()
        grads.append([rows.grad, *(parameter.grad for parameter in pair.parameters())])
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(*grads, strict=True))


def test_identical_photos_have_a_gradient() -> None:
    pair, rows = head(), vectors(3).requires_grad_()
    pair(rows, rows).sum().backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_a_pair_head_is_saved_and_loaded(tmp_path: Path) -> None:
    network = build(NET, n_classes=0, seed=3)
    assert (network.width, network.head) == (12, None)
    outputs = network.eval()(torch.zeros(2, 3, 32, 32))
    assert outputs.logits is None
    assert outputs.embedding.shape == (2, 12)
    store.save(network, tmp_path, preprocess={})
    again = store.open(tmp_path).network
    rows = vectors(5, 12)
    assert network.pair is not None
    assert again.pair is not None
    assert torch.equal(network.pair(rows, rows.flip(0)), again.pair(rows, rows.flip(0)))
    other = build(NET, n_classes=0, seed=4)
    start_from(other, tmp_path, columns=None)
    assert other.pair is not None
    assert torch.equal(other.pair.look.weight, network.pair.look.weight)


def test_the_pair_head_has_the_learning_rate_of_heads() -> None:
    groups = parameter_groups(build(NET, n_classes=0, seed=0), lr_head_times=10, weight_decay=0.1)
    found = {group["name"]: (group["lr_times"], group["weight_decay"]) for group in groups}
    assert found["pair"] == (10, 0.1)
    assert found["pair without decay"] == (10, 0.0)
