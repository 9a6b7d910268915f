"""Loading of pretrained weights. No code in a file is run, and all tensors are checked before any is copied."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from fieldmark.core.errors import WeightsError, several
from fieldmark.models.packages import locate, package_of
from fieldmark.models.specs import Backbone, FileWeights, HubWeights, PackageWeights

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "net", "weights")
"""Keys under which training scripts store the state dict in a checkpoint, the most specific first."""

DEEPEST = 3
"""Largest number of nested wrappers that are opened; a hostile file may contain itself."""


@dataclass(frozen=True)
class Origin:
    """Origin of weights, for the manifest of a run.

    Args:
        kind: Kind of the weights in the settings.
        where: Package and version, path, or location on the hub; empty for random weights.
        sha256: SHA-256 of the file; for the hub, of all names and values; None for random weights.
    """

    kind: Literal["package", "file", "hub", "random"]
    where: str
    sha256: str | None


def load_weights(backbone: Backbone, model: nn.Module) -> Origin:
    """Load the weights named by ``backbone`` into ``model``. Random weights leave the model unchanged.

    The tensors of the model and of the file must be the same; only a classifier in the file is left out. If the file is
    rejected, the model is not changed.

    Args:
        backbone: Name, weights and number of input channels.
        model: timm network of that name, built without classifier and with ``backbone.in_channels``.

    Returns:
        The origin of the loaded weights.

    Raises:
        WeightsError: The weights are missing, damaged, have another checksum, or belong to another network.
        PlanError: No package provides weights for this backbone.
    """
    wanted = backbone.weights
    if isinstance(wanted, PackageWeights):
        package = package_of(backbone.name)
        state, digest = read_state(
            locate(package), sha256=package.sha256, mend=f"run `{package.install} --force-reinstall`."
        )
        state = {package.rename(key): value for key, value in state.items()}
        origin = Origin("package", f"{package.distribution} {package.version}", digest)
    elif isinstance(wanted, FileWeights):
        state, digest = read_state(Path(wanted.path), sha256=wanted.sha256)
        origin = Origin("file", wanted.path, digest)
    elif isinstance(wanted, HubWeights):
        state, where = _fetch(backbone.name)
        origin = Origin("hub", where, digest_of(state))
    else:
        return Origin("random", "", None)
    fill(model, state, name=backbone.name)
    return origin


def read_state(path: Path, *, sha256: str | None = None, mend: str | None = None) -> tuple[State, str]:
    """Return the tensors of a ``.safetensors`` file or a PyTorch state dict, and the SHA-256 of the file.

    The file is read once, so that the hash belongs to the decoded bytes. Pickles are decoded by PyTorch's weights-only
    reader, which allows tensors and plain containers and calls no function named in a file.

    Args:
        path: Weights file.
        sha256: Expected SHA-256 of the file; None accepts any.
        mend: Advice in the error about a file with another hash.

    Raises:
        WeightsError: The file cannot be read, has another hash, or contains anything but tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            "The weights file cannot be read.",
            got=f"{path}: {error.strerror}",
            fix="give the path of a readable weights file.",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise WeightsError(
            "The weights file has a wrong checksum.",
            got=f"{path.name} with SHA-256 {digest}, expected {sha256.lower()}",
            fix=mend or "download the file again, or correct sha256 if you trust this file.",
        )
    content = _decode(data, path)
    for _ in range(DEEPEST):
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        content = content if wrapper is None else content[wrapper]
    strange = [f"{key}: {type(value).__name__}" for key, value in content.items() if not isinstance(value, Tensor)]
    if strange or not content:
        raise WeightsError(
            "The weights file contains values other than named tensors.",
            got=f"{path}\n{several(strange)}" if strange else f"{path}: empty",
            fix="save only `model.state_dict()`, best with safetensors.",
        )
    return {str(key): value for key, value in content.items()}, digest


def fill(model: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """Copy all tensors of ``state`` into ``model``, or none if they do not fit.

    Prefixes such as ``module.`` or ``backbone.`` are removed, classifiers are left out, and a first convolution for RGB
    is adapted to the model's number of input channels.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """
    expected: State = dict(model.state_dict())
    found = _without_classifier(_without_prefix(state, expected), model)
    # Files older than PyTorch 0.4.1 lack the counters; only a BatchNorm with momentum=None uses them.
    counters = {key: torch.zeros_like(value) for key, value in expected.items() if key.endswith("num_batches_tracked")}
    found = counters | {key: _widen(value, expected.get(key)) for key, value in found.items()}

    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{key}: {tuple(found[key].shape)} for {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & found.keys())
        if found[key].shape != expected[key].shape
    ]
    differences = [
        f"{what}: {several(keys, most=3)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("other shape", misshapen))
        if keys
    ]
    if differences:
        raise WeightsError(
            f"The weights do not belong to the backbone {name!r}.",
            got="\n".join(differences),
            fix="use the weights file of this network, or set the backbone's name to the network of the file.",
        )
    model.load_state_dict(found, strict=True)


def digest_of(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of all names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _decode(data: bytes, path: Path) -> Mapping[Any, Any]:
    """Return the content of a weights file as a mapping, without running code in it."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(data)
        _refuse_compressed(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "The weights file contains code, or is damaged; no code was run.",
            got=f"{path}: {str(error).splitlines()[0]}",
            fix="save only `model.state_dict()`, best with safetensors, and use that file.",
        ) from error
    # Decoders raise many kinds of exceptions on damaged or hostile files; all of them have the same meaning here.
    except Exception as error:
        raise WeightsError(
            "The weights file is damaged or of an unknown format.",
            got=f"{path}: {type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}",
            fix="use a .safetensors file, or a .pt or .pth file written by torch.save.",
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(
            "The weights file does not contain a state dict.",
            got=f"{path}: {type(content).__name__}",
            fix="save `model.state_dict()`, best with safetensors.",
        )
    return content


def _refuse_compressed(data: bytes) -> None:
    """Reject compressed archives, which may be zip bombs. ``torch.save`` never compresses."""
    stream = io.BytesIO(data)
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("the archive is compressed, as torch.save never does")


def _fetch(name: str) -> tuple[State, str]:
    """Return the weights from timm's hub and their location there. timm keeps them in its cache."""
    try:
        # With the classifier: timm loads strictly only if the number of classes matches the file.
        model = timm.create_model(name, pretrained=True)
    # timm, its hub client and the HTTP library raise unrelated exceptions without an internet connection.
    except Exception as error:
        raise WeightsError(
            f"timm cannot download the weights of the backbone {name!r}.",
            got=f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}",
            fix='check the internet connection, or copy the file and use weights = {kind = "file", path = "..."}.',
        ) from error
    settings: dict[str, Any] = dict(getattr(model, "pretrained_cfg", {}))
    where = settings.get("file") or settings.get("hf_hub_id") or settings.get("url") or name
    return dict(model.state_dict()), str(where)


def _without_prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> State:
    """Return the tensors under the prefix that fits the network best, without the prefix.

    Wrappers call the backbone ``module.``, ``model.``, ``backbone.`` and so on. No list of such names is complete, so
    the prefixes are found from the name of the network's first tensor. Tensors outside the prefix (necks and heads of
    other networks) are left out.
    """
    probe = next(iter(expected))
    prefixes = [key.removesuffix(probe) for key in state if key == probe or key.endswith(f".{probe}")]
    best = max(prefixes, key=lambda prefix: sum(f"{prefix}{key}" in state for key in expected), default="")
    return {key.removeprefix(best): value for key, value in state.items() if key.startswith(best)}


def _without_classifier(state: State, model: nn.Module) -> State:
    """Return all tensors except those of timm's classifier and of removed children."""
    settings: dict[str, Any] = dict(getattr(model, "pretrained_cfg", {}))
    named = settings.get("classifier") or ()
    names = [*((named,) if isinstance(named, str) else named)]
    names += [name for name, child in model.named_children() if type(child) is nn.Identity]
    return {key: value for key, value in state.items() if not key.startswith(tuple(f"{name}." for name in names))}


def _widen(weight: Tensor, expected: Tensor | None) -> Tensor:
    """Return the weights of a first convolution for RGB, adapted to another number of channels.

    With more than three channels, the first three are RGB and each further one is initialised with their mean (random
    values would harm the first epochs). With fewer channels, the sum is divided evenly, so that a grey image gives the
    same output as its RGB copy.
    """
    if expected is None or weight.ndim != 4 or weight.shape[1] != 3 or expected.ndim != 4:
        return weight
    channels = expected.shape[1]
    if channels == 3 or weight.shape[0] != expected.shape[0] or weight.shape[2:] != expected.shape[2:]:
        return weight
    if channels > 3:
        return torch.cat([weight, weight.mean(dim=1, keepdim=True).expand(-1, channels - 3, -1, -1)], dim=1)
    return (weight.sum(dim=1, keepdim=True) / channels).expand(-1, channels, -1, -1).clone()
