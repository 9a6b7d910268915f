"""A network in a folder: its weights (safetensors) and all that is needed to build it and feed it (JSON)."""

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
AGAIN = "train again, or copy the whole folder again from where it came."


class NetworkCard(Spec):
    """What ``net.json`` says."""

    format: Literal[1] = 1
    net: Net
    n_classes: Natural
    preprocess: dict[str, Any]
    """How a file becomes the network's input; written by the caller, who alone knows."""
    weights_sha256: str


@dataclass(frozen=True)
class Stored:
    """A network as it was saved.

    Args:
        network: In test mode, on the CPU.
        preprocess: What the caller gave to ``save``.
        sha256: Of the weights file: the name of this network wherever results of two must not be mixed.
    """

    network: Network
    preprocess: dict[str, Any]
    sha256: str


def save(network: Network, folder: Path, *, preprocess: dict[str, Any]) -> str:
    """Write the network into ``folder`` (made if needed): ``weights.safetensors``, then ``net.json``.

    Args:
        network: Saved with its settings; the same values give the same bytes.
        folder: Where; a network already there is replaced.
        preprocess: Plain JSON values that say how a file becomes the network's input.

    Returns:
        The SHA-256 of the weights file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Contiguous: safetensors refuses channels-last tensors, and the bytes must not depend on the memory format.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = safetensors.torch.save(state)
    digest = hashlib.sha256(data).hexdigest()
    card = NetworkCard(net=network.net, n_classes=network.n_classes, preprocess=preprocess, weights_sha256=digest)
    write_bytes(folder / WEIGHTS, data)
    # Last: a folder with a card is whole.
    write_bytes(folder / CARD, card.model_dump_json(indent=2).encode())
    return digest


def open(folder: Path) -> Stored:  # noqa: A001 - store.open(folder) is what it does, as in tarfile.open
    """The network that ``save`` wrote, in test mode; needs no pretrained weights and no network.

    Raises:
        WeightsError: Files are missing, changed by even one bit, or of another network.
    """
    try:
        card: NetworkCard = read_spec(NetworkCard, folder / CARD)
    except PlanError as error:
        raise WeightsError(f"{folder} holds no readable network.", got=error.got, fix=AGAIN) from error
    state, digest = read_state(folder / WEIGHTS, sha256=card.weights_sha256, mend=AGAIN)
    bare = card.net.model_copy(update={"backbone": card.net.backbone.model_copy(update={"weights": RandomWeights()})})
    network = build(bare, n_classes=card.n_classes, seed=0)
    fill(network, state, name=f"{card.net.backbone.name} with its neck and head")
    network.net = card.net
    return Stored(network.eval(), card.preprocess, digest)
