"""Saved networks: a folder with the weights (safetensors) and the settings of network and preprocessing (JSON)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch

from fieldmark.core.errors import PlanError, WeightsError
from fieldmark.core.files import write_bytes
from fieldmark.core.spec import Natural, Spec, read_spec
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Net, RandomWeights
from fieldmark.models.weights import fill, read_state

WEIGHTS = "weights.safetensors"
CARD = "net.json"
AGAIN = "train again, or copy the whole folder again from its source."


class NetworkCard(Spec):
    """Content of ``net.json``."""

    format: Literal[1] = 1
    net: Net
    n_classes: Natural
    preprocess: dict[str, Any]
    """Settings of the preprocessing, provided by the caller."""
    weights_sha256: str


@dataclass(frozen=True)
class Stored:
    """A saved network.

    Args:
        network: Network in evaluation mode, on the CPU.
        preprocess: Settings of the preprocessing, as passed to ``save``.
        sha256: SHA-256 of the weights file. It identifies the network, for example in caches.
    """

    network: Network
    preprocess: dict[str, Any]
    sha256: str


def save(network: Network, folder: Path, *, preprocess: dict[str, Any]) -> str:
    """Write the network into ``folder`` (created if needed): ``weights.safetensors``, then ``net.json``.

    Args:
        network: Network to save with its settings. Equal weights give equal bytes.
        folder: Target folder; an existing network is replaced.
        preprocess: Settings of the preprocessing, as plain JSON values.

    Returns:
        The SHA-256 of the weights file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Contiguous: safetensors rejects channels-last tensors, and the bytes must not depend on the memory format.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = safetensors.torch.save(state)
    digest = hashlib.sha256(data).hexdigest()
    card = NetworkCard(net=network.net, n_classes=network.n_classes, preprocess=preprocess, weights_sha256=digest)
    write_bytes(folder / WEIGHTS, data)
    # Last, so that a folder with a card is complete.
    write_bytes(folder / CARD, card.model_dump_json(indent=2).encode())
    return digest


def open(folder: Path) -> Stored:  # noqa: A001 - store.open(folder) is what it does, as in tarfile.open
    """Load a network that ``save`` wrote, in evaluation mode. It needs no pretrained weights and no internet access.

    Raises:
        WeightsError: Files are missing or changed, or belong to another network.
    """
    try:
        card: NetworkCard = read_spec(NetworkCard, folder / CARD)
    except PlanError as error:
        raise WeightsError(f"{folder} does not contain a readable network.", got=error.got, fix=AGAIN) from error
    state, digest = read_state(folder / WEIGHTS, sha256=card.weights_sha256, mend=AGAIN)
    bare = card.net.model_copy(update={"backbone": card.net.backbone.model_copy(update={"weights": RandomWeights()})})
    network = build(bare, n_classes=card.n_classes, seed=0)
    fill(network, state, name=f"{card.net.backbone.name} with its neck and head")
    network.net = card.net
    return Stored(network.eval(), card.preprocess, digest)
