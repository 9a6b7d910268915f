"""Settings of preprocessing and data augmentation in a plan (no torch)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Fraction, Natural, Positive, Spec

Side = Annotated[int, Field(ge=16, le=4096)]
Triple = tuple[float, float, float]


class FullFrame(Spec):
    """The whole image, resized to the target size; its aspect ratio is not kept."""

    kind: Literal["full"] = "full"


class CropIfNeeded(Spec):
    """A crop of at most ``times`` the target size, then resized (RandomCropIfNeeded).

    The position is random in training and central otherwise. A smaller image is kept whole.
    """

    kind: Literal["crop_if_needed"] = "crop_if_needed"
    times: Positive = 2.0


class TableBoxes(Spec):
    """The boxes in the table of photos.

    ``source`` names a column ``box.SOURCE`` (left, top, width, height in one cell), which an additional table of boxes
    adds. If it is empty, the table's own box columns are used.
    """

    kind: Literal["table"] = "table"
    source: str = ""


class GrabCut(Spec):
    """Segmentation by colour: the part of the image unlike its border (OpenCV's GrabCut; extra ``boxes``)."""

    kind: Literal["grabcut"] = "grabcut"
    side_px: Side = 320
    border: Annotated[float, Field(gt=0, lt=0.5)] = 0.04
    """Share of each side that always counts as background."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 5
    seed: Natural = 0


class FeatureNorm(Spec):
    """Segmentation by a pretrained network: positions with large feature norms, split by Otsu's method."""

    kind: Literal["feature_norm"] = "feature_norm"
    backbone: str = "tf_efficientnet_lite0"
    side_px: Side = 320


class Agreed(Spec):
    """GrabCut's box if the network's box overlaps it by at least ``least_iou``; otherwise the full frame.

    Two independent methods rarely make the same error. If they disagree strongly, neither box is reliable.
    """

    kind: Literal["agreed"] = "agreed"
    colour: GrabCut = GrabCut()
    network: FeatureNorm = FeatureNorm()
    least_iou: Fraction = 0.3


class TrainedFinder(Spec):
    """A small regression model trained on marked boxes; ``fieldmark boxes --clicks`` writes its folder.

    ``sha256`` is the checksum of its weights. A model with other weights is rejected.
    """

    kind: Literal["trained"] = "trained"
    folder: str
    sha256: str | None = None


Finder = Annotated[TableBoxes | GrabCut | FeatureNorm | Agreed | TrainedFinder, Field(discriminator="kind")]
"""Source of boxes."""


class BoxSource(Spec):
    """One of several sources of boxes.

    Training uses each source in proportion to its ``weight``. Prediction uses the sources with ``in_use``; the
    predictions of several sources are averaged.
    """

    by: Finder | FullFrame = TableBoxes()
    weight: Positive = 1.0
    in_use: bool = True


class BoxCrop(Spec):
    """The photo's box with a margin of ``margin`` of its sides, widened to the target's aspect ratio.

    Photos without a box are used whole. Parts outside the image are filled with its mean colour. Training with
    augmentation moves each edge of the box by up to ``jitter`` of its sides. With several ``sources``, training draws
    one for each sample; without augmentation it takes the first one with ``in_use``.

    Source: Happywhale 2022, first place, for several sources; Humpback 2018, third place, for the jitter (0.05).
    """

    kind: Literal["box"] = "box"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.05
    margin_px: Annotated[float, Field(ge=0, le=1000)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    sources: Annotated[tuple[BoxSource, ...], Field(min_length=1)] = (BoxSource(),)

    @model_validator(mode="after")
    def _one_in_use(self) -> Self:
        if not any(source.in_use for source in self.sources):
            raise ValueError("one of the sources must have in_use = true, or prediction has no crop")
        return self


Crop = Annotated[FullFrame | CropIfNeeded | BoxCrop, Field(discriminator="kind")]


class Point(Spec):
    """A landmark and its position in the reference shape, as shares of the target's width and height.

    ``mirror`` names the corresponding landmark in the flipped photo (the left tip becomes the right one); None means
    the landmark itself.
    """

    name: str
    x: float
    y: float
    mirror: str | None = None


class Align(Spec):
    """Alignment of photos with a reference shape, by the affine map that fits their landmarks best.

    Photos with fewer than three landmarks are cropped instead. Training with augmentation aligns a share ``p`` of the
    samples and moves each landmark by up to ``jitter`` of the target's sides. ``in_use`` selects the input for
    prediction: the aligned photo, the cropped photo, or both, whose predictions are averaged.

    Source: Humpback 2018, third place (p = 0.5, jitter 5 %, both at test).
    """

    points: Annotated[tuple[Point, ...], Field(min_length=3)]
    by: Annotated[TableBoxes | TrainedFinder, Field(discriminator="kind")] = TableBoxes()
    """Source of the landmarks; a table has them in columns ``x_NAME`` and ``y_NAME``."""
    p: Fraction = 0.5
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    in_use: Literal["aligned", "cropped", "both"] = "aligned"

    @model_validator(mode="after")
    def _mirrors_are_pairs(self) -> Self:
        mirror = {point.name: point.mirror or point.name for point in self.points}
        if len(mirror) < len(self.points):
            raise ValueError("two landmarks have the same name")
        odd = [name for name, other in mirror.items() if mirror.get(other) != name]
        if odd:
            raise ValueError(f"mirror must name pairs of landmarks that name each other: {', '.join(odd)}")
        return self


class MaskChannel(Spec):
    """A fourth input channel with the mask: 1 on the subject, 0 elsewhere and in photos without a mask.

    Training with augmentation sets it to 0 for a share ``dropped`` of the samples, so that the network also works
    without masks. The backbone needs ``in_channels = 4``.

    Source: Humpback 2018, first place.
    """

    dropped: Fraction = 0.5
    by: Finder = TableBoxes()
    """Source of the masks; a table has them in its column ``mask``, or ``mask.SOURCE``."""


class Preprocess(Spec):
    """Preprocessing from a file to the network's input; stored with the model and used by every command.

    ``mean`` and ``std`` are on the 0-1 scale and come from the backbone's own configuration.
    """

    height_px: Side
    width_px: Side
    crop: Crop = FullFrame()
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    colour: Literal["rgb", "grey"] = "rgb"
    align: Align | None = None
    mask: MaskChannel | None = None

    @property
    def n_channels(self) -> int:
        """Number of channels of the network's input."""
        return 3 if self.mask is None else 4

    def finders(self) -> tuple[Finder, ...]:
        """Return the finders of boxes, masks and landmarks, each once, without those that read the table of photos."""
        wanted = [source.by for source in self.crop.sources] if isinstance(self.crop, BoxCrop) else []
        wanted += [part.by for part in (self.mask, self.align) if part is not None]
        return tuple(dict.fromkeys(one for one in wanted if not isinstance(one, FullFrame | TableBoxes)))

    def in_use(self) -> tuple[Self, ...]:
        """Return the deterministic preprocessings used for prediction; their predictions are averaged.

        There is one for each box source with ``in_use``, aligned or not according to ``align.in_use``.
        """
        crops: tuple[Crop, ...] = (self.crop,)
        if isinstance(self.crop, BoxCrop):
            used = [source for source in self.crop.sources if source.in_use]
            crops = tuple(self.crop.model_copy(update={"sources": (source,)}) for source in used)
        cropped = tuple(self.model_copy(update={"crop": crop, "align": None}) for crop in crops)
        if self.align is None or self.align.in_use == "cropped":
            return cropped
        always = self.align.model_copy(update={"p": 1.0})
        aligned = self.model_copy(update={"crop": crops[0], "align": always})
        return (aligned, *cropped) if self.align.in_use == "both" else (aligned,)


class NoAugment(Spec):
    """No augmentation."""

    kind: Literal["none"] = "none"


class ImetAugment(Spec):
    """Augmentation of the iMet 2019 first place: flip, brightness or contrast, shift and rotation, noise."""

    kind: Literal["imet"] = "imet"


class ImaterialistAugment(Spec):
    """Augmentation of the iMaterialist 2017 slides: crop, flip, scale, rotate, shear, noise, blur, contrast."""

    kind: Literal["imaterialist"] = "imaterialist"
    strength: Fraction = 0.5


class WhaleAugment(Spec):
    """Augmentation of the Humpback 2018 notes: rotation, shear, zoom, shift, brightness and contrast.

    There is no flip, because the horizontal flip of a fluke looks like another whale. ``zoom`` below 1 shrinks the
    subject.
    """

    kind: Literal["whale"] = "whale"
    rotate_deg: Annotated[float, Field(ge=0, le=45)] = 5.0
    shear_deg: Annotated[float, Field(ge=0, le=45)] = 5.0
    zoom: tuple[Positive, Positive] = (0.8, 1.0)
    shift: Fraction = 0.05
    light: Fraction = 0.2
    grey: Fraction = 0.0
    """Share of photos converted to grey. Use it if a collection has grey and colour photos of the same whale."""


Augment = Annotated[NoAugment | ImetAugment | ImaterialistAugment | WhaleAugment, Field(discriminator="kind")]
