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
from torch.nn.functional import grid_sample
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.images.alignment import Affine, alignment, inverse
from fieldmark.images.augment import augment as augmented
from fieldmark.images.crops import Box, Rect, landing, source_rect
from fieldmark.images.masks import from_text
from fieldmark.images.reading import DEFAULT, Limits, Photo, Size, decode, opened
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.images.subjects import ANYWHERE, Subject, chosen_box, mirrored

Picture = UInt8[Tensor, "channel height width"]
SPARE = 2.0
"""How much larger than its target a picture is decoded at least: the resize then filters, and hardly anything differs
from a full decode. At 1.25 decoding is half as dear again, but embeddings move: the least cosine to those of a full
decode was 0.998, at 2.0 it is 0.9994 (lab book)."""


def prepare(
    source: Path | bytes,
    preprocess: Preprocess,
    *,
    box: Box | None = None,
    subject: Subject = ANYWHERE,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    flip: bool = False,
    rng: np.random.Generator | None = None,
    limits: Limits = DEFAULT,
) -> Picture:
    """A photo as the network sees it, before its colours are scaled.

    The order is: read, crop (or align), resize, mirror, augment. The mirror comes before the augmentation, as a
    mirrored fluke is another whale: it is a photo in its own right, and its augmentation is drawn as for any photo.

    Args:
        source: A file, or the bytes of one.
        preprocess: Size, crop, alignment, mask, interpolation, colour.
        box: (left, top, right, bottom) in pixels of the upright picture: short for a ``subject`` with this box.
        subject: Boxes, landmarks and mask, as far as they are known.
        augment: How to vary it. With ``NoAugment`` crop, alignment and mask are fixed too: nothing is left to chance.
        flip: Whether to mirror it left to right.
        rng: The sample's own generator; needed only where ``augment`` is given.
        limits: What to refuse.

    Returns:
        Three channels, also of a grey picture; a fourth with ``preprocess.mask``: 255 where the subject is.

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
    subject = subject if box is None else Subject((box,), subject.points, subject.mask)
    chance = None if isinstance(augment, NoAugment) else rng
    photo = opened(source, limits=limits)
    laid = _laid(photo, preprocess, subject, flip=flip, rng=chance)
    if laid is not None:
        picture = _aligned(photo, preprocess, subject, laid)
    else:
        picture = _cropped(photo, preprocess, subject, rng=chance)
        if flip:
            picture = functional.horizontal_flip(picture)
    if preprocess.mask is not None and chance is not None and chance.random() < preprocess.mask.dropped:
        picture[3] = 0
    if chance is not None:
        picture = augmented(picture, augment, chance)
    return picture.contiguous()


def normalise(batch: UInt8[Tensor, "batch channel height width"], preprocess: Preprocess) -> Float[Tensor, ...]:
    """The colours as the backbone was trained on: (x / 255 - mean) / std, in channels-last order.

    A mask keeps its 0 and 1: where it is empty, the fourth channel adds nothing.

    Args:
        batch: Prepared pictures, 0-255, on any device.
        preprocess: ``mean`` and ``std``, on the 0-1 scale.

    Raises:
        ShapeError: The batch is not four-dimensional with three channels (four with a mask).
    """
    n_channels = preprocess.n_channels
    if batch.ndim != 4 or batch.shape[1] != n_channels:
        raise ShapeError(
            "normalise() takes a batch of RGB pictures" + ("." if n_channels == 3 else " with a mask."),
            got=f"shape {tuple(batch.shape)}",
            fix=f"pass (batch, {n_channels}, height, width); stack() single pictures first.",
        )
    extra = n_channels - 3
    mean = torch.tensor((*preprocess.mean, *[0.0] * extra), device=batch.device).view(1, n_channels, 1, 1)
    std = torch.tensor((*preprocess.std, *[1.0] * extra), device=batch.device).view(1, n_channels, 1, 1)
    colours = batch.to(torch.float32, memory_format=torch.channels_last)
    return colours.sub_(mean * 255).div_(std * 255)


def _cropped(photo: Photo, preprocess: Preprocess, subject: Subject, *, rng: np.random.Generator | None) -> Picture:
    """The part of the photo that the crop asks for, at the target's size, with the mask's same part."""
    target, size = (preprocess.height_px, preprocess.width_px), (photo.height, photo.width)
    try:
        box = chosen_box(subject, preprocess.crop, rng=rng)
        rect = source_rect(preprocess.crop, size, target, box=box, rng=rng)
    except FieldmarkError as error:
        raise FieldmarkError(error.problem, got=f"{photo.name}: {error.got}", fix=error.fix) from error
    pixels = decode(photo, at_least=_enough(rect, size, target), colour=preprocess.colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    seen = _resized(picture, _scaled(rect, size, picture), target, preprocess.interpolation).expand(3, *target)
    if preprocess.mask is None:
        return seen
    mask = _mask(subject)
    part = _resized(mask, _scaled(rect, size, mask), target, "bilinear", outside=0)
    return torch.cat([seen, part])


def _laid(
    photo: Photo, preprocess: Preprocess, subject: Subject, *, flip: bool, rng: np.random.Generator | None
) -> Affine | None:
    """From pixels of the upright photo to those of the target, mirror and all; None: not to be aligned.

    A mirrored photo is aligned as the photo it shows: its own left tip to the reference's left tip.
    """
    align = preprocess.align
    if align is None:
        return None
    wanted = align.in_use != "cropped" if rng is None else rng.random() < align.p
    if not wanted:
        return None
    seen = mirrored(subject, photo.width, align=align) if flip else subject
    map_ = alignment(seen.points, align, (preprocess.height_px, preprocess.width_px), rng=rng)
    if map_ is None or not flip:
        return map_
    turn = np.array([[-1.0, 0.0, photo.width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # x becomes width - x
    return map_ @ turn


def _aligned(photo: Photo, preprocess: Preprocess, subject: Subject, laid: Affine) -> Picture:
    """The photo under an affine map, resampled once; what lies outside has the picture's mean colour."""
    target, size = (preprocess.height_px, preprocess.width_px), (photo.height, photo.width)
    back = inverse(laid)
    finest = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))  # pixels of the photo for one of the target
    shrink = min(1.0, SPARE / finest)
    enough = (math.ceil(size[0] * shrink), math.ceil(size[1] * shrink))
    pixels = decode(photo, at_least=enough, colour=preprocess.colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    if picture.shape[1] > 1.5 * enough[0]:  # of files that cannot be decoded smaller: bilinear sampling would alias
        picture = functional.resize(picture, list(enough), antialias=True)
    seen = _sampled(picture, back, size, target).expand(3, *target)
    if preprocess.mask is None:
        return seen.contiguous()
    return torch.cat([seen, _sampled(_mask(subject), back, size, target, outside=0)])


def _sampled(picture: Picture, back: Affine, size: Size, target: Size, *, outside: int | None = None) -> Picture:
    """The target's pixels, each from the place in the picture where ``back`` says it comes from."""
    x = torch.arange(target[1], dtype=torch.float64) + 0.5
    y = torch.arange(target[0], dtype=torch.float64)[:, None] + 0.5
    # Of the upright photo to -1 .. 1 of the decoded picture, whose outermost edges those are.
    across = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) * (2 / size[1]) - 1
    down = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) * (2 / size[0]) - 1
    grid = torch.stack((across, down), dim=-1)[None].float()
    colours = picture.to(torch.float32)
    fill = colours.mean(dim=(1, 2), keepdim=True) if outside is None else torch.tensor(float(outside))
    sampled = grid_sample((colours - fill)[None], grid, padding_mode="zeros", align_corners=False)[0] + fill
    return sampled.round_().clamp_(0, 255).to(torch.uint8)


def _mask(subject: Subject) -> UInt8[Tensor, "1 height width"]:
    """The subject's mask as a picture of 0 and 255; empty where none is known."""
    if subject.mask is None:
        return torch.zeros((1, 2, 2), dtype=torch.uint8)
    return torch.from_numpy(from_text(subject.mask)).to(torch.uint8).mul_(255)[None]


def _scaled(rect: Rect, size: Size, picture: Picture) -> Rect:
    """The rectangle in pixels of a picture that was decoded smaller."""
    down, across = picture.shape[1] / size[0], picture.shape[2] / size[1]
    return Rect(rect.top * down, rect.left * across, rect.height * down, rect.width * across)


def _enough(rect: Rect, size: Size, target: Size) -> Size:
    """How large the whole picture must be decoded so that the rectangle has ``SPARE`` times the target's pixels."""
    height_px = math.ceil(size[0] * target[0] * SPARE / rect.height)
    width_px = math.ceil(size[1] * target[1] * SPARE / rect.width)
    return min(height_px, size[0]), min(width_px, size[1])


def _resized(picture: Picture, rect: Rect, target: Size, interpolation: str, *, outside: int | None = None) -> Picture:
    """The rectangle at the target's size; what lies outside the picture has the mean colour of what is seen."""
    part = landing(rect, (picture.shape[1], picture.shape[2]), target)
    inside = picture[:, part.source[0], part.source[1]]
    filled = [side.stop - side.start for side in part.target]
    inside = functional.resize(inside, filled, interpolation=InterpolationMode(interpolation), antialias=True)
    if filled == list(target):
        return inside
    mean = inside.to(torch.float32).mean(dim=(1, 2), keepdim=True).round().to(torch.uint8)
    canvas = (mean if outside is None else torch.full_like(mean, outside)).repeat(1, *target)
    canvas[:, part.target[0], part.target[1]] = inside
    return canvas
