"""A toy collection for the second level: two models with different errors, four folds, nine labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fieldmark.stacking.inputs import SecondLevelInputs
from fieldmark.stacking.specs import Candidates, Negatives, Relevance, Stacking, TableColumns, Trees

N_LABELS, N_CLASSES, DIM = 9, 12, 5


@dataclass(frozen=True)
class Toy:
    inputs: SecondLevelInputs
    truth: np.ndarray
    fold: np.ndarray

    def part(self, images: slice) -> Toy:
        return Toy(self.inputs.part(images), self.truth[images], self.fold[images])

    def with_truth(self, truth: np.ndarray) -> Toy:
        return replace(self, truth=truth)


def draw(n_images: int, seed: int = 0, n_folds: int = 4) -> Toy:
    chance = np.random.default_rng(seed)
    shares = np.linspace(0.4, 0.02, N_LABELS)
    truth = chance.random((n_images, N_LABELS)) < shares
    truth[:, -1] = False  # a label without positives
    of_label = np.random.default_rng(99)  # the same labels and features for every seed
    dark = chance.random(n_images)
    noise = chance.normal(size=(2, n_images, N_LABELS))
    # One model is weak on dark photos, the other on every second label.
    trust = (2.5 * dark[:, None] * np.ones(N_LABELS), 2.5 * np.ones((n_images, 1)) * (np.arange(N_LABELS) % 2))
    logits = [np.log(shares / (1 - shares)) + t * (t * (truth - 0.5) + n) for t, n in zip(trust, noise, strict=True)]
    latent = truth @ of_label.normal(size=(N_LABELS, DIM)) + chance.normal(size=(n_images, DIM))
    heat = np.exp(latent @ of_label.normal(size=(DIM, N_CLASSES)))
    inputs = SecondLevelInputs(
        scores={name: (1 / (1 + np.exp(-z))).astype(np.float32) for name, z in zip(("a", "b"), logits, strict=True)},
        statistics=np.stack([dark, chance.random(n_images), 300 + dark, dark > 0.5], axis=1).astype(np.float32),
        imagenet=(heat / heat.sum(axis=1, keepdims=True)).astype(np.float32),
        embeddings=(latent / np.linalg.norm(latent, axis=1, keepdims=True)).astype(np.float32),
    )
    return Toy(inputs, truth, (np.arange(n_images) * 7) % n_folds)


SMALL = Stacking(
    candidates=Candidates(top_k=5, unite_positives=True),
    negatives=Negatives(per_positive=2.0),
    features=TableColumns(n_components=3, relevance=Relevance(k=4, sharpness=3.0)),
    trees=Trees(n_rounds=12, num_leaves=8, min_data_in_leaf=5, learning_rate=0.2),
)


@pytest.fixture(scope="session")
def small() -> Stacking:
    return SMALL


@pytest.fixture(scope="session")
def drawn():
    return draw


@pytest.fixture(scope="session")
def toy() -> Toy:
    return draw(400)
