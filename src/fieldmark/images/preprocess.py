"""Preprocessing from a file to the network's input: read, crop, resize, flip, augment, normalise.

Training, embedding and single predictions use the same two functions, so that a network always gets the same kind of
input as in training.
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
"""Smallest decoded size of an image, as a multiple of its target size. The resize then filters, and the result is
nearly that of a full decode. At 1.25 decoding costs about half of that at 2.0, but embeddings change: the
smallest cosine to the embeddings of a full decode was 0.998; at 2.0 it is 0.9994 (measured)."""


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
    """Return the preprocessed photo as 8-bit values, before the colours are normalised.

    The order is: read, crop (or align), resize, flip, augment. The flip comes before the augmentation, because the
    horizontal flip of a fluke counts as a separate identity: it is augmented as any other photo.

    Args:
        source: An image file, or the bytes of one.
        preprocess: Size, crop, alignment, mask, interpolation, colour.
        box: (left, top, right, bottom) in pixels of the upright image: short form of a ``subject`` with this box.
        subject: Boxes, landmarks and mask, as far as they are known.
        augment: Data augmentation. With ``NoAugment`` crop, alignment and mask are deterministic, too.
        flip: Whether to flip the photo horizontally.
        rng: Random generator of the sample; needed only with ``augment``.
        limits: Largest files and images that are accepted.

    Returns:
        An image of three channels, also for grey photos. With ``preprocess.mask`` there is a fourth channel, 255 on the
        subject and 0 elsewhere.

    Raises:
        ImageError: The image cannot be read.
        FieldmarkError: The box lies outside the image, or ``augment`` is given without ``rng``.
    """
    if not isinstance(augment, NoAugment) and rng is None:
        raise FieldmarkError(
            "prepare() needs a random generator for data augmentation.",
            got=f"augment={augment.kind}, rng=None",
            fix="pass rng=core.seeds.generator(seed, ...), or leave augment out.",
        )
    subject = subject if box is None else Subject((box,), subject.points, subject.mask)
    sample_rng = None if isinstance(augment, NoAugment) else rng
    photo = opened(source, limits=limits)
    laid = _laid(photo, preprocess, subject, flip=flip, rng=sample_rng)
    if laid is not None:
        picture = _aligned(photo, preprocess, subject, laid)
    else:
        picture = _cropped(photo, preprocess, subject, rng=sample_rng)
        if flip:
            picture = functional.horizontal_flip(picture)
    if preprocess.mask is not None and sample_rng is not None and sample_rng.random() < preprocess.mask.dropped:
        picture[3] = 0
    if sample_rng is not None:
        picture = augmented(picture, augment, sample_rng)
    return picture.contiguous()


def normalise(batch: UInt8[Tensor, "batch channel height width"], preprocess: Preprocess) -> Float[Tensor, ...]:
    """Return the batch normalised for the backbone: (x / 255 - mean) / std, in channels-last order.

    The values of a mask channel become 0 and 1. An empty mask adds nothing.

    Args:
        batch: Preprocessed images, 0-255, on any device.
        preprocess: Preprocessing with ``mean`` and ``std``, on the 0-1 scale.

    Raises:
        ShapeError: The batch is not four-dimensional with three channels (four with a mask).
    """
    n_channels = preprocess.n_channels
    if batch.ndim != 4 or batch.shape[1] != n_channels:
        raise ShapeError(
            "normalise() takes a batch of RGB images" + ("." if n_channels == 3 else " with a mask."),
            got=f"shape {tuple(batch.shape)}",
            fix=f"pass (batch, {n_channels}, height, width); stack() single images first.",
        )
    extra = n_channels - 3
    mean = torch.tensor((*preprocess.mean, *[0.0] * extra), device=batch.device).view(1, n_channels, 1, 1)
    std = torch.tensor((*preprocess.std, *[1.0] * extra), device=batch.device).view(1, n_channels, 1, 1)
    colours = batch.to(torch.float32, memory_format=torch.channels_last)
    return colours.sub_(mean * 255).div_(std * 255)


def _cropped(photo: Photo, preprocess: Preprocess, subject: Subject, *, rng: np.random.Generator | None) -> Picture:
    """Return the cropped photo at the target size, with the same part of the mask."""
    target, size = (preprocess.height_px, preprocess.width_px), (photo.height, photo.width)
    try:
        box = chosen_box(subject, preprocess.crop, rng=rng)
        rect = source_rect(preprocess.crop, size, target, box=box, rng=rng)
    except FieldmarkError as error:
        raise FieldmarkError(error.problem, got=f"{photo.name}: {error.got}", fix=error.fix) from error
    pixels = decode(photo, at_least=_enough(rect, size, target), colour=preprocess.colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    colours = _resized(picture, _scaled(rect, size, picture), target, preprocess.interpolation).expand(3, *target)
    if preprocess.mask is None:
        return colours
    mask = _mask(subject)
    part = _resized(mask, _scaled(rect, size, mask), target, "bilinear", outside=0)
    return torch.cat([colours, part])


def _laid(
    photo: Photo, preprocess: Preprocess, subject: Subject, *, flip: bool, rng: np.random.Generator | None
) -> Affine | None:
    """Return the affine map from the upright photo to the target, flip included; None if the photo is not aligned.

    In a flipped photo, the left tip of the flipped subject is aligned with the left tip of the reference shape.
    """
    align = preprocess.align
    if align is None:
        return None
    wanted = align.in_use != "cropped" if rng is None else rng.random() < align.p
    if not wanted:
        return None
    subject = mirrored(subject, photo.width, align=align) if flip else subject
    map_ = alignment(subject.points, align, (preprocess.height_px, preprocess.width_px), rng=rng)
    if map_ is None or not flip:
        return map_
    turn = np.array([[-1.0, 0.0, photo.width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # x becomes width - x
    return map_ @ turn


def _aligned(photo: Photo, preprocess: Preprocess, subject: Subject, laid: Affine) -> Picture:
    """Return the photo under an affine map, by one resampling. The border is filled with the image's mean colour."""
    target, size = (preprocess.height_px, preprocess.width_px), (photo.height, photo.width)
    back = inverse(laid)
    finest = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))  # pixels of the photo per pixel of the target
    shrink = min(1.0, SPARE / finest)
    enough = (math.ceil(size[0] * shrink), math.ceil(size[1] * shrink))
    pixels = decode(photo, at_least=enough, colour=preprocess.colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    if picture.shape[1] > 1.5 * enough[0]:  # for formats without scaled decoding: bilinear sampling would alias
        picture = functional.resize(picture, list(enough), antialias=True)
    colours = _sampled(picture, back, size, target).expand(3, *target)
    if preprocess.mask is None:
        return colours.contiguous()
    return torch.cat([colours, _sampled(_mask(subject), back, size, target, outside=0)])


def _sampled(picture: Picture, back: Affine, size: Size, target: Size, *, outside: int | None = None) -> Picture:
    """Return the pixels of the target, sampled at the positions in the image that ``back`` maps them to."""
    x = torch.arange(target[1], dtype=torch.float64) + 0.5
    y = torch.arange(target[0], dtype=torch.float64)[:, None] + 0.5
    # From pixels of the upright photo to -1 .. 1, the outer edges of the decoded image.
    across = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) * (2 / size[1]) - 1
    down = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) * (2 / size[0]) - 1
    grid = torch.stack((across, down), dim=-1)[None].float()
    colours = picture.to(torch.float32)
    fill = colours.mean(dim=(1, 2), keepdim=True) if outside is None else torch.tensor(float(outside))
    sampled = grid_sample((colours - fill)[None], grid, padding_mode="zeros", align_corners=False)[0] + fill
    return sampled.round_().clamp_(0, 255).to(torch.uint8)


def _mask(subject: Subject) -> UInt8[Tensor, "1 height width"]:
    """Return the mask of the subject as an image of 0 and 255; all 0 if there is no mask."""
    if subject.mask is None:
        return torch.zeros((1, 2, 2), dtype=torch.uint8)
    return torch.from_numpy(from_text(subject.mask)).to(torch.uint8).mul_(255)[None]


def _scaled(rect: Rect, size: Size, picture: Picture) -> Rect:
    """Return the rectangle in pixels of an image that was decoded at a smaller size."""
    down, across = picture.shape[1] / size[0], picture.shape[2] / size[1]
    return Rect(rect.top * down, rect.left * across, rect.height * down, rect.width * across)


def _enough(rect: Rect, size: Size, target: Size) -> Size:
    """Return the decoded size of the image at which the rectangle has ``SPARE`` times the target's size."""
    height_px = math.ceil(size[0] * target[0] * SPARE / rect.height)
    width_px = math.ceil(size[1] * target[1] * SPARE / rect.width)
    return min(height_px, size[0]), min(width_px, size[1])


def _resized(picture: Picture, rect: Rect, target: Size, interpolation: str, *, outside: int | None = None) -> Picture:
    """Return the rectangle resized to the target. Parts outside the image get the mean colour of the part inside."""
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
