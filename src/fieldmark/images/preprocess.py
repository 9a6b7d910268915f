"""From a file to the network's input: read, crop, resize, mirror, augment; and the scaling of colours.

The same two functions serve training, embedding and one photo at the door, so that what a network sees in use is what
it has seen in training.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.images.augment import augment as augmented
from fieldmark.images.crops import Box, Rect, landing, source_rect
from fieldmark.images.reading import DEFAULT, Limits, Size, decode, opened
from fieldmark.images.specs import Augment, NoAugment, Preprocess

SPARE = 2.0
"""How much larger than its target a picture is decoded at least: the resize then filters, and hardly anything differs
from a full decode. At 1.25 decoding is half as dear again, but embeddings move: the least cosine to those of a full
decode was 0.998, at 2.0 it is 0.9994 (lab book)."""


def prepare(
    source: Path | bytes,
    preprocess: Preprocess,
    *,
    box: Box | None = None,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    flip: bool = False,
    rng: np.random.Generator | None = None,
    limits: Limits = DEFAULT,
) -> UInt8[Tensor, "3 height width"]:
    """A photo as the network sees it, before its colours are scaled.

    The order is: read, crop, resize, mirror, augment. The mirror comes before the augmentation, as a mirrored fluke
    is another whale: it is a photo in its own right, and its augmentation is drawn as for any photo.

    Args:
        source: A file, or the bytes of one.
        preprocess: Size, crop, interpolation, colour.
        box: (left, top, right, bottom) in pixels of the upright picture, for ``BoxCrop``.
        augment: How to vary it. With ``NoAugment`` the crop is the central one too: nothing is left to chance.
        flip: Whether to mirror it left to right.
        rng: The sample's own generator; needed only where ``augment`` is given.
        limits: What to refuse.

    Returns:
        Three channels, also of a grey picture.

    Raises:
        ImageError: The picture cannot be read.
        FieldmarkError: The box lies outside the picture, or ``augment`` came without ``rng``.
    """
    if not isinstance(augment, NoAugment) and rng is None:
        raise FieldmarkError(
            "prepare() cannot augment without a source of chance.",
            got=f"augment={augment.kind}, rng=None",
            fix="pass rng=core.seeds.generator(seed, ...), or leave augment out.",
        )
    target = (preprocess.height_px, preprocess.width_px)
    photo = opened(source, limits=limits)
    size = (photo.height, photo.width)
    chance = None if isinstance(augment, NoAugment) else rng
    try:
        rect = source_rect(preprocess.crop, size, target, box=box, rng=chance)
    except FieldmarkError as error:
        raise FieldmarkError(error.problem, got=f"{photo.name}: {error.got}", fix=error.fix) from error

    pixels = decode(photo, at_least=_enough(rect, size, target), colour=preprocess.colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    down, across = picture.shape[1] / size[0], picture.shape[2] / size[1]
    rect = Rect(rect.top * down, rect.left * across, rect.height * down, rect.width * across)
    picture = _resized(picture, rect, target, preprocess.interpolation).expand(3, *target)
    if flip:
        picture = functional.horizontal_flip(picture)
    if chance is not None:
        picture = augmented(picture, augment, chance)
    return picture.contiguous()


def normalise(
    batch: UInt8[Tensor, "batch 3 height width"], preprocess: Preprocess
) -> Float[Tensor, "batch 3 height width"]:
    """The colours as the backbone was trained on: (x / 255 - mean) / std, in channels-last order.

    Args:
        batch: Prepared pictures, 0-255, on any device.
        preprocess: ``mean`` and ``std``, on the 0-1 scale.

    Raises:
        ShapeError: The batch is not four-dimensional with three channels.
    """
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise ShapeError(
            "normalise() takes a batch of RGB pictures.",
            got=f"shape {tuple(batch.shape)}",
            fix="pass (batch, 3, height, width); stack() single pictures first.",
        )
    mean = torch.tensor(preprocess.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocess.std, device=batch.device).view(1, 3, 1, 1)
    colours = batch.to(torch.float32, memory_format=torch.channels_last)
    return colours.sub_(mean * 255).div_(std * 255)


def _enough(rect: Rect, size: Size, target: Size) -> Size:
    """How large the whole picture must be decoded so that the rectangle has ``SPARE`` times the target's pixels."""
    height_px = math.ceil(size[0] * target[0] * SPARE / rect.height)
    width_px = math.ceil(size[1] * target[1] * SPARE / rect.width)
    return min(height_px, size[0]), min(width_px, size[1])


def _resized(
    picture: UInt8[Tensor, "channel height width"], rect: Rect, target: Size, interpolation: str
) -> UInt8[Tensor, "channel height2 width2"]:
    """The rectangle at the target's size; what lies outside the picture has the mean colour of what is seen."""
    part = landing(rect, (picture.shape[1], picture.shape[2]), target)
    inside = picture[:, part.source[0], part.source[1]]
    filled = [side.stop - side.start for side in part.target]
    inside = functional.resize(inside, filled, interpolation=InterpolationMode(interpolation), antialias=True)
    if filled == list(target):
        return inside
    mean = inside.to(torch.float32).mean(dim=(1, 2), keepdim=True).round().to(torch.uint8)
    canvas = mean.repeat(1, *target)
    canvas[:, part.target[0], part.target[1]] = inside
    return canvas
