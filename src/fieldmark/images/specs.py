"""Settings of preprocessing and augmentation (no torch): what a plan says about pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Fraction, Positive, Spec

Side = Annotated[int, Field(ge=16, le=4096)]
Triple = tuple[float, float, float]


class FullFrame(Spec):
    """The whole picture, resized to the target; its aspect ratio is not kept."""

    kind: Literal["full"] = "full"


class CropIfNeeded(Spec):
    """At most ``times`` the target side is cut out, then resized (RandomCropIfNeeded).

    At random places in training, from the centre elsewhere; a picture smaller than that is kept whole.
    """

    kind: Literal["crop_if_needed"] = "crop_if_needed"
    times: Positive = 2.0


class BoxCrop(Spec):
    """The photo's box, enlarged by ``margin`` of its sides and then widened to the target's aspect ratio.

    Photos without a box are taken whole. What lies outside the picture is filled with the picture's mean colour.
    """

    kind: Literal["box"] = "box"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.05


Crop = Annotated[FullFrame | CropIfNeeded | BoxCrop, Field(discriminator="kind")]


class Preprocess(Spec):
    """How a file becomes the network's input; stored with the model and used by every door.

    ``mean`` and ``std`` are on the 0-1 scale and come from the backbone's own configuration.
    """

    height_px: Side
    width_px: Side
    crop: Crop = FullFrame()
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    colour: Literal["rgb", "grey"] = "rgb"


class NoAugment(Spec):
    """Every photo as it is, each time."""

    kind: Literal["none"] = "none"


class ImetAugment(Spec):
    """The list of the iMet 2019 first place, with its numbers."""

    kind: Literal["imet"] = "imet"


class ImaterialistAugment(Spec):
    """The list of the iMaterialist 2017 slides: crop, mirror, scale, rotate, shear, noise, blur, contrast."""

    kind: Literal["imaterialist"] = "imaterialist"
    strength: Fraction = 0.5


class WhaleAugment(Spec):
    """The list of the whale notes: rotation, shear, zoom, shift, and light.

    No mirror, as a mirrored fluke is another whale. ``zoom`` below 1 shrinks the subject.
    """

    kind: Literal["whale"] = "whale"
    rotate_deg: Annotated[float, Field(ge=0, le=45)] = 5.0
    shear_deg: Annotated[float, Field(ge=0, le=45)] = 5.0
    zoom: tuple[Positive, Positive] = (0.8, 1.0)
    shift: Fraction = 0.05
    light: Fraction = 0.2
    grey: Fraction = 0.0
    """Share of photos turned grey (a collection that mixes grey and colour photos of one whale wants some)."""


Augment = Annotated[NoAugment | ImetAugment | ImaterialistAugment | WhaleAugment, Field(discriminator="kind")]
