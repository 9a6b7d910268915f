"""Keypoint detectors with descriptors: XFeat and SuperPoint.

The layers are implemented here, and only the weights are read from a file. The package with XFeat's weights is never
imported: its code needs four more packages, two of them for training only, and prints during the import.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from fieldmark.core.errors import WeightsError, several
from fieldmark.models.packages import XFEAT_FILE, XFEAT_INSTALL, XFEAT_PACKAGE, file_of
from fieldmark.models.weights import read_state

XFEAT_SHA256 = "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b"
CELL_PX = 8
"""Side of a cell in pixels. Both networks predict for each cell of 8 x 8 pixels the position of a keypoint, or none."""


class DetectedPoints(NamedTuple):
    """Keypoints of one photo: positions in px, detection scores, and descriptors of length 1."""

    xy: Float32[np.ndarray, "point 2"]
    score: Float32[np.ndarray, " point"]
    descriptors: Float32[np.ndarray, "point dim"]


class XfeatNet:
    """XFeat, with batch norms folded into the preceding convolutions.

    Source:
        Potje et al. 2024, arXiv:2404.19174, figure 3; the order of layers follows the names in the weights file.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._layers = _folded(state)

    @classmethod
    def load(cls) -> XfeatNet:
        """Return the network with the weights of the installed package.

        Raises:
            WeightsError: The package or its file is missing, or the file has another checksum.
        """
        path = file_of(XFEAT_PACKAGE, XFEAT_FILE, install=XFEAT_INSTALL)
        state, _ = read_state(path, sha256=XFEAT_SHA256, mend=f"run `{XFEAT_INSTALL} --force-reinstall`.")
        return cls(state)

    @torch.inference_mode()
    def maps(
        self, pictures: Float[Tensor, "batch 1 height width"]
    ) -> tuple[Float[Tensor, "batch 64 h w"], Float[Tensor, "batch 65 h w"], Float[Tensor, "batch 1 h w"]]:
        """Return the maps of descriptors, of keypoint logits for each cell, and of the reliability of descriptors.

        Args:
            pictures: Grey images whose sides are multiples of 32. Brightness and contrast have no effect.
        """
        flat = functional.instance_norm(pictures)
        low = self._block("block1", flat, strides=(1, 2, 1, 2))
        low = low + self._layer("skip1.1", functional.avg_pool2d(flat, 4), relu=False)
        third = self._block("block3", self._block("block2", low, strides=(1, 1)), strides=(2, 1, 1))
        fourth = self._block("block4", third, strides=(2, 1, 1))
        fifth = self._block("block5", fourth, strides=(2, 1, 1, 1))
        size = third.shape[-2:]
        joined = third + sum(functional.interpolate(coarse, size, mode="bilinear") for coarse in (fourth, fifth))
        features = self._layer("block_fusion.2", self._block("block_fusion", joined, strides=(1, 1)), relu=False)
        relied = self._layer("heatmap_head.2", self._block("heatmap_head", features, strides=(1, 1)), relu=False)
        cells = functional.pixel_unshuffle(flat, CELL_PX)
        votes = self._layer("keypoint_head.3", self._block("keypoint_head", cells, strides=(1, 1, 1)), relu=False)
        return features, votes, relied.sigmoid()

    @torch.inference_mode()
    def find(self, pixels: UInt8[np.ndarray, "height width 3"], *, threshold: float) -> DetectedPoints:
        """Return the keypoints of one photo.

        Args:
            pixels: Upright RGB image, 0-255.
            threshold: Smallest detection score of a keypoint, 0-1.
        """
        height, width = pixels.shape[:2]
        inner = tuple(max(32, side // 32 * 32) for side in (height, width))
        grey = torch.from_numpy(pixels.astype(np.float32)).mean(dim=2)[None, None]
        features, votes, relied = self.maps(functional.interpolate(grey, inner, mode="bilinear"))
        heat = _heat(votes)
        place = _peaks(heat, radius_px=2, threshold=threshold)
        # The authors' sampling drops the keypoints in the last row and column of the image.
        place = place[(place < torch.tensor([inner[1] - 1, inner[0] - 1])).all(dim=1)]
        score = heat[0, 0, place[:, 1], place[:, 0]] * _sampled(relied, place, inner, mode="bilinear")[:, 0]
        described = functional.normalize(_sampled(functional.normalize(features, dim=1), place, inner, mode="bicubic"))
        scale = torch.tensor([width / inner[1], height / inner[0]])
        return DetectedPoints((place * scale).numpy(), score.numpy(), described.numpy())

    def _block(self, name: str, signal: Tensor, *, strides: tuple[int, ...]) -> Tensor:
        for number, stride in enumerate(strides):
            signal = self._layer(f"{name}.{number}", signal, stride=stride)
        return signal

    def _layer(self, name: str, signal: Tensor, *, stride: int = 1, relu: bool = True) -> Tensor:
        return _convolved(self._layers[name], signal, stride=stride, relu=relu)


class SuperpointNet:
    """SuperPoint: a sequence of convolutions with two heads.

    Source:
        DeTone et al. 2018, arXiv:1712.07629, section 3, and the names in the authors' published weights.
    """

    SHAPES = {  # noqa: RUF012 - never changed
        "conv1a": (64, 1, 3), "conv1b": (64, 64, 3), "conv2a": (64, 64, 3), "conv2b": (64, 64, 3),
        "conv3a": (128, 64, 3), "conv3b": (128, 128, 3), "conv4a": (128, 128, 3), "conv4b": (128, 128, 3),
        "convPa": (256, 128, 3), "convPb": (65, 256, 1), "convDa": (256, 128, 3), "convDb": (256, 256, 1),
    }  # fmt: skip
    """Output channels, input channels and kernel size of each layer."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        wrong = [
            f"{name}.weight: {tuple(state[f'{name}.weight'].shape) if f'{name}.weight' in state else 'missing'}"
            for name, (out, into, side) in self.SHAPES.items()
            if f"{name}.bias" not in state
            or f"{name}.weight" not in state
            or tuple(state[f"{name}.weight"].shape) != (out, into, side, side)
        ]
        if wrong:
            raise WeightsError(
                "The weights are not those of SuperPoint.",
                got=several(wrong),
                fix="give the published superpoint_v1.pth, or a state dict with the same names and shapes.",
            )
        self._layers = {name: (state[f"{name}.weight"], state[f"{name}.bias"]) for name in self.SHAPES}

    @classmethod
    def load(cls, path: Path, *, sha256: str | None = None) -> SuperpointNet:
        """Return the network with the weights of a local file.

        Raises:
            WeightsError: The file is missing, has another checksum, or belongs to another network.
        """
        if not path.is_file():
            raise WeightsError(
                "SuperPoint needs a local weights file, because its licence forbids redistribution.",
                got=f"no file {path}",
                fix='download superpoint_v1.pth from its authors and give its path, or use points = {kind = "xfeat"}.',
            )
        return cls(read_state(path, sha256=sha256)[0])

    @torch.inference_mode()
    def find(self, pixels: UInt8[np.ndarray, "height width 3"], *, threshold: float) -> DetectedPoints:
        """Return the keypoints of one photo; see ``XfeatNet.find``. Rows and columns beyond whole cells are cropped."""
        height, width = (side // CELL_PX * CELL_PX for side in pixels.shape[:2])
        luma = pixels[:height, :width].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
        signal = torch.from_numpy(luma)[None, None]
        for step in "1234":
            signal = self._layer(f"conv{step}b", self._layer(f"conv{step}a", signal))
            signal = functional.max_pool2d(signal, 2) if step != "4" else signal
        heat = _heat(self._layer("convPb", self._layer("convPa", signal), relu=False))
        features = functional.normalize(self._layer("convDb", self._layer("convDa", signal), relu=False), dim=1)
        place = _peaks(heat, radius_px=4, threshold=threshold)
        described = functional.normalize(_sampled(features, place, (height, width), mode="bilinear"))
        return DetectedPoints(place.float().numpy(), heat[0, 0, place[:, 1], place[:, 0]].numpy(), described.numpy())

    def _layer(self, name: str, signal: Tensor, *, relu: bool = True) -> Tensor:
        return _convolved(self._layers[name], signal, stride=1, relu=relu)


def _folded(state: Mapping[str, Tensor], *, eps: float = 1e-5) -> dict[str, tuple[Tensor, Tensor]]:
    """Return weight and bias of each convolution by name, with the norm after it folded in."""
    layers = {}
    for key, weight in state.items():
        name, _, last = key.rpartition(".")
        if last != "weight" or weight.ndim != 4:
            continue
        plain = name.removesuffix(".layer.0")
        if plain == name:
            layers[name] = (weight, state[f"{name}.bias"])
        else:
            scale = (state[f"{plain}.layer.1.running_var"] + eps).rsqrt()
            layers[plain] = (weight * scale[:, None, None, None], -state[f"{plain}.layer.1.running_mean"] * scale)
    return layers


def _convolved(layer: tuple[Tensor, Tensor], signal: Tensor, *, stride: int, relu: bool) -> Tensor:
    weight, bias = layer
    made = functional.conv2d(signal, weight, bias, stride=stride, padding=weight.shape[-1] // 2)
    return made.relu() if relu else made


def _heat(votes: Float[Tensor, "1 65 h w"]) -> Float[Tensor, "1 1 height width"]:
    """Return the probability of a keypoint at each pixel; the 65th logit of a cell stands for no keypoint."""
    return functional.pixel_shuffle(votes.softmax(dim=1)[:, :-1], CELL_PX)


def _peaks(heat: Float[Tensor, "1 1 height width"], *, radius_px: int, threshold: float) -> Tensor:
    """Return column and row of each local maximum above the threshold within ``radius_px`` pixels."""
    highest = functional.max_pool2d(heat, 2 * radius_px + 1, stride=1, padding=radius_px)
    return ((heat == highest) & (heat > threshold))[0, 0].nonzero().flip(1)


def _sampled(maps: Tensor, place: Tensor, size: tuple[int, ...], *, mode: str) -> Tensor:
    """Return the values of a map at positions given in px of the image, one row per position."""
    height, width = size
    # The authors scale by the last pixel and sample by cell edges; the weights were trained with this convention.
    at = 2 * place.float() / torch.tensor([width - 1, height - 1]) - 1
    return functional.grid_sample(maps, at[None, None], mode=mode, align_corners=False)[0, :, 0].T
