"""Data augmentation: rotation, shift, zoom, brightness, contrast, noise and blur.

Flip, brightness, contrast, grey and blur are functions of torchvision. Their parameters are drawn here, from the numpy
generator of one sample. A sample therefore depends on its seed only, not on threads, workers or a resumed run. The
geometric change is our own code, because torchvision's affine transform cannot reflect the image at its border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.v2 import functional

from fieldmark.images.specs import Augment, ImaterialistAugment, ImetAugment, NoAugment, WhaleAugment

Picture = UInt8[Tensor, "channel height width"]
Colours = Float[Tensor, "channel height width"]
"""An image on the 0-1 scale. All changes work on this scale, so that values are rounded once."""


@dataclass(frozen=True)
class Move:
    """Parameters of one affine transform. The default values leave the image unchanged.

    Attributes:
        turn_deg: Clockwise rotation, in degrees.
        shear_deg: Slant of vertical lines, in degrees.
        zoom: Scale factor. Above 1 the subject grows; below 1 it shrinks and the border is filled.
        right: Shift to the right, as a share of the width; negative values shift to the left.
        down: Shift downwards, as a share of the height; negative values shift upwards.
    """

    turn_deg: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0


def augment(picture: Picture, spec: Augment, rng: np.random.Generator) -> Picture:
    """Return a randomly augmented copy of an image.

    Args:
        picture: RGB image, 0-255, already cropped and resized. A fourth channel (a mask) gets the same geometric
            changes; its values keep their brightness.
        spec: Augmentation with its parameters.
        rng: Random generator of the sample; the same state gives exactly the same image.

    Returns:
        An image of the same shape. The input is not modified.

    Source:
        See ``imet``, ``imaterialist`` and ``whale``.
    """
    if isinstance(spec, NoAugment):
        return picture
    colours = picture.to(torch.float32) / 255
    match spec:
        case ImetAugment():
            colours = imet(colours, rng)
        case ImaterialistAugment(strength=strength):
            colours = imaterialist(colours, strength, rng)
        case WhaleAugment():
            colours = whale(colours, spec, rng)
    return (colours * 255).round_().clamp_(0, 255).to(torch.uint8)


def imet(colours: Colours, rng: np.random.Generator) -> Colours:
    """Return the image after the augmentation of iMet: flip, brightness or contrast, shift and rotation, noise.

    Probabilities: horizontal flip 0.5; brightness or contrast 0.3; shift and rotation 0.3; noise 0.3. Brightness and
    contrast are factors of 0.9-1.1; one of the two is used, with equal probability. Shifts are up to a tenth of each
    side and rotations up to 15 degrees; the border is filled by reflection. The noise is the same in all three
    channels. Its standard deviation is drawn from 2.55-12.75 of 255.

    Source:
        iMet 2019, first place: HorizontalFlip(.5), OneOf(RandomBrightness(.1), RandomContrast(.1), p=.3),
        ShiftScaleRotate(.1, 0, 15, p=.3), IAAAdditiveGaussianNoise(p=.3). The noise's range, its single channel and
        the reflected border are the defaults of those packages in 2019 (from memory). Ours: contrast is about the
        mean grey, brightness multiplies.
    """
    if rng.random() < 0.5:
        colours = functional.horizontal_flip(colours)
    if rng.random() < 0.3:
        light = functional.adjust_brightness if rng.random() < 0.5 else functional.adjust_contrast
        factor = rng.uniform(0.9, 1.1)
        colours = _lit(colours, lambda image: light(image, factor))
    if rng.random() < 0.3:
        move = Move(turn_deg=rng.uniform(-15, 15), right=rng.uniform(-0.1, 0.1), down=rng.uniform(-0.1, 0.1))
        colours = moved(colours, move, outside="reflect")
    if rng.random() < 0.3:
        sd = rng.uniform(2.55, 12.75)
        colours = _lit(colours, lambda image: with_noise(image, sd=sd, rng=rng))
    return colours


def imaterialist(colours: Colours, strength: float, rng: np.random.Generator) -> Colours:
    """Return the image after the augmentation of iMaterialist: crop, flip, scale, rotate, shear, noise, blur, contrast.

    At strength 1: a crop of 80-100 % of the sides at a random place, scale 0.8-1.2, rotation up to 25 and shear up to
    8 degrees, contrast 0.75-1.5, noise of up to 12.75 of 255, and for every second image a blur of up to 1.5 px. All
    ranges shrink with the strength; at 0 nothing changes. The probability of a flip is ``strength``, at most one half.
    The border is filled with the image's mean colour. Crop, scale, rotation and shear are one resampling.

    Source:
        iMaterialist 2017, sixth place, slides: the names and a link to imgaug, no numbers. Ours: close to the example
        in imgaug's introduction (from memory), whose blur of 0.5 px is hardly visible.
    """
    if rng.random() < min(0.5, strength):
        colours = functional.horizontal_flip(colours)
    kept = 1 - 0.2 * strength * rng.random()
    slack = (1 / kept - 1) / 2
    move = Move(
        turn_deg=rng.uniform(-25, 25) * strength,
        shear_deg=rng.uniform(-8, 8) * strength,
        zoom=(1 + rng.uniform(-0.2, 0.2) * strength) / kept,
        right=rng.uniform(-slack, slack),
        down=rng.uniform(-slack, slack),
    )
    colours = moved(colours, move, outside="mean")
    contrast = 1 + rng.uniform(-0.25, 0.5) * strength
    colours = _lit(colours, lambda image: functional.adjust_contrast(image, contrast))
    if rng.random() < 0.5:
        sigma_px = 1.5 * strength * rng.random()
        colours = _lit(colours, lambda image: blurred(image, sigma_px=sigma_px))
    sd = 12.75 * strength * rng.random()
    return _lit(colours, lambda image: with_noise(image, sd=sd, rng=rng))


def whale(colours: Colours, spec: WhaleAugment, rng: np.random.Generator) -> Colours:
    """Return the image after the whale augmentation: rotation, shear, zoom and shift, then brightness and contrast.

    The image is never flipped. The geometric changes are one resampling; the border is filled with the image's mean
    colour. Brightness and contrast are factors of 1 - light to 1 + light.

    Source:
        Humpback 2018, Siamese notes: rotation and shear of 5 degrees, zoom 0.8-1, shift 5 %, outside filled with the
        mean. Ours: one zoom for both directions (theirs has two); light; grey.
    """
    move = Move(
        turn_deg=rng.uniform(-1, 1) * spec.rotate_deg,
        shear_deg=rng.uniform(-1, 1) * spec.shear_deg,
        zoom=rng.uniform(*spec.zoom),
        right=rng.uniform(-1, 1) * spec.shift,
        down=rng.uniform(-1, 1) * spec.shift,
    )
    colours = moved(colours, move, outside="mean")
    brightness, contrast = (1 + rng.uniform(-1, 1) * spec.light for _ in range(2))
    colours = _lit(
        colours, lambda image: functional.adjust_contrast(functional.adjust_brightness(image, brightness), contrast)
    )
    if rng.random() < spec.grey:
        colours = _lit(colours, lambda image: functional.rgb_to_grayscale(image, num_output_channels=3))
    return colours


def _lit(colours: Colours, change: Callable[[Colours], Colours]) -> Colours:
    """Apply ``change`` to the three colour channels; keep the mask channel, if there is one."""
    return change(colours) if len(colours) == 3 else torch.cat([change(colours[:3]), colours[3:]])


def moved(colours: Colours, move: Move, *, outside: Literal["mean", "reflect"]) -> Colours:
    """Return the image rotated, sheared, scaled and shifted about its centre, by one bilinear resampling.

    Args:
        colours: Image on the 0-1 scale.
        move: Parameters of the transform.
        outside: Fill of the border: ``mean`` is the image's mean colour (the mask is 0 there); ``reflect`` reflects
            the image.
    """
    if move == Move():
        return colours
    _, height, width = colours.shape
    turn, slant = np.deg2rad(move.turn_deg), np.tan(np.deg2rad(move.shear_deg))
    turning = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    back = np.linalg.inv(move.zoom * turning @ np.array([[1.0, -slant], [0.0, 1.0]])).tolist()
    x = torch.arange(width) - ((width - 1) / 2 + move.right * width)
    y = (torch.arange(height) - ((height - 1) / 2 + move.down * height))[:, None]
    # Source position of each pixel; -1 and 1 are the centres of the outermost pixels, the axes of the reflection.
    across = (back[0][0] * x + back[0][1] * y) * (2 / max(width - 1, 1))
    down = (back[1][0] * x + back[1][1] * y) * (2 / max(height - 1, 1))
    grid = torch.stack((across, down), dim=-1)[None]
    if outside == "reflect":
        return grid_sample(colours[None], grid, padding_mode="reflection", align_corners=True)[0]
    mean = colours.mean(dim=(1, 2), keepdim=True)
    mean[3:] = 0
    return grid_sample((colours - mean)[None], grid, padding_mode="zeros", align_corners=True)[0] + mean


def with_noise(colours: Colours, *, sd: float, rng: np.random.Generator) -> Colours:
    """Add Gaussian noise of standard deviation ``sd`` (of 255), the same in all channels."""
    if sd == 0:
        return colours
    noise = rng.standard_normal(tuple(colours.shape[1:]), dtype=np.float32)
    return colours + torch.from_numpy(noise) * (sd / 255)


def blurred(colours: Colours, *, sigma_px: float) -> Colours:
    """Blur the image with a Gaussian of ``sigma_px``, truncated at three sigmas."""
    if sigma_px < 0.05:  # no pixel changes by as much as 1 of 255
        return colours
    side = 2 * int(np.ceil(3 * sigma_px)) + 1
    return functional.gaussian_blur(colours, kernel_size=[side, side], sigma=[sigma_px, sigma_px])
