"""Pretrained weights that a plan uses, and whether they are on this machine; does not import torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fieldmark.core.errors import WeightsError
from fieldmark.core.spec import Spec
from fieldmark.gallery.specs import Superpoint, Xfeat
from fieldmark.models.costs import cost_of
from fieldmark.models.packages import (
    MINILM_FILE,
    MINILM_INSTALL,
    MINILM_PACKAGE,
    PACKAGES,
    XFEAT_FILE,
    XFEAT_INSTALL,
    XFEAT_PACKAGE,
    file_of,
)
from fieldmark.models.specs import Backbone, FileWeights, HubWeights, PackageWeights
from fieldmark.pipeline.plan import Plan
from fieldmark.stacking.specs import MiniLm

HUB_FILES = ("model.safetensors", "pytorch_model.bin")


class WeightsNeeded(Spec):
    """Pretrained weights that a plan uses.

    Attributes:
        name: Name of the network.
        source: Package, file, repository on the Hugging Face hub, or address of the weights.
        here: Whether the weights are on this machine; None: only timm can find out.
        get: How to get the weights: a command to type, or "fetched when training begins".
        megabytes: Approximate size of the download in megabytes; None: unknown.
    """

    name: str
    source: str
    here: bool | None
    get: str
    megabytes: int | None = None


def settings_within(value: object) -> Iterator[Spec]:
    """Yield all ``Spec`` objects inside a value, at any depth, including the value itself."""
    if isinstance(value, Spec):
        yield value
        for name in type(value).model_fields:
            yield from settings_within(getattr(value, name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from settings_within(one)


def backbones(plan: Plan) -> tuple[Backbone, ...]:
    """Return the distinct backbones of a plan in order; backbones of finders use packaged weights."""
    found: dict[Backbone, None] = {}
    for part in settings_within(plan):
        if isinstance(part, Backbone):
            found[part] = None
        elif isinstance(name := getattr(part, "backbone", None), str):
            found[Backbone(name=name)] = None
    return tuple(found)


def weights_needed(plan: Plan) -> tuple[WeightsNeeded, ...]:
    """Return the distinct pretrained weights that a plan uses, and whether they are on this machine."""
    found = [one for backbone in backbones(plan) if (one := _of_backbone(backbone)) is not None]
    for part in settings_within(plan):
        if isinstance(part, Xfeat):
            found.append(_packaged("xfeat", XFEAT_PACKAGE, XFEAT_FILE, XFEAT_INSTALL))
        elif isinstance(part, MiniLm):
            found.append(_packaged("minilm", MINILM_PACKAGE, MINILM_FILE, MINILM_INSTALL))
        elif isinstance(part, Superpoint):
            found.append(_local("superpoint", part.path))
    return tuple(dict.fromkeys(found))


def _of_backbone(backbone: Backbone) -> WeightsNeeded | None:
    match backbone.weights:
        case PackageWeights() if backbone.name in PACKAGES:
            package = PACKAGES[backbone.name]
            return _packaged(backbone.name, package.distribution, package.file, package.install)
        case FileWeights(path=path):
            return _local(backbone.name, path)
        case HubWeights():
            return _fetched(backbone.name)
        case _:
            return None


def _packaged(name: str, distribution: str, file: str, install: str) -> WeightsNeeded:
    try:
        here = file_of(distribution, file, install=install).is_file()
    except WeightsError:
        here = False
    return WeightsNeeded(name=name, source=f"package {distribution}", here=here, get=install)


def _local(name: str, path: str) -> WeightsNeeded:
    return WeightsNeeded(name=name, source=path, here=Path(path).is_file(), get=f"put the file at {path}")


def _fetched(name: str) -> WeightsNeeded:
    """Return weights that timm downloads; the caches of the Hugging Face hub and of torch are searched for them."""
    cost = cost_of(name)
    get = "fetched when training begins"
    if cost is None or cost.source is None:
        return WeightsNeeded(name=name, source="timm", here=None, get=get)
    if "://" in cost.source:
        here = (_torch_cache() / cost.source.rpartition("/")[2]).is_file()
    else:
        folder = _hub_cache() / f"models--{cost.source.replace('/', '--')}" / "snapshots"
        here = any(path.name in HUB_FILES and path.is_file() for path in folder.glob("*/*"))
    megabytes = round(4 * cost.parameters / 1e6)
    return WeightsNeeded(name=name, source=cost.source, here=here, get=get, megabytes=megabytes)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _hub_cache() -> Path:
    """Return the cache folder of the Hugging Face hub's client, from its environment variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder).expanduser()
    home = os.environ.get("HF_HOME")
    return (Path(home).expanduser() if home else _cache() / "huggingface") / "hub"


def _torch_cache() -> Path:
    """Return the folder in which torch stores downloaded files."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else _cache() / "torch") / "hub" / "checkpoints"
