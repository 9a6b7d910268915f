"""Settings of preprocessing and augmentation (no torch): what a plan says about pictures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Fraction, Natural, Positive, Spec

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


class TableBoxes(Spec):
    """The boxes that the table of photos has, or those of one of its further sources.

    ``source`` names a column ``box.SOURCE`` (left, top, width, height in one cell), as further boxes tables add it;
    empty: the table's own box columns.
    """

    kind: Literal["table"] = "table"
    source: str = ""


class GrabCut(Spec):
    """The subject by colour: what is unlike the picture's border (OpenCV's GrabCut; extra ``boxes``)."""

    kind: Literal["grabcut"] = "grabcut"
    side_px: Side = 320
    border: Annotated[float, Field(gt=0, lt=0.5)] = 0.04
    """Share of each side that is background for certain."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 5
    seed: Natural = 0


class FeatureNorm(Spec):
    """The subject by what a pretrained network reacts to: places with long feature vectors, split by Otsu's rule."""

    kind: Literal["feature_norm"] = "feature_norm"
    backbone: str = "tf_efficientnet_lite0"
    side_px: Side = 320


class Agreed(Spec):
    """GrabCut's box, where the network's box overlaps it by ``least_iou`` at least; elsewhere the full frame.

    Two ways that know nothing of each other seldom err similar: strong disagreement says that no box can be trusted.
    """

    kind: Literal["agreed"] = "agreed"
    colour: GrabCut = GrabCut()
    network: FeatureNorm = FeatureNorm()
    least_iou: Fraction = 0.3


class TrainedFinder(Spec):
    """A small regressor that has learnt from clicks; ``fieldmark boxes --clicks`` makes the folder.

    With ``sha256`` (of its weights) no other regressor can take its place unnoticed.
    """

    kind: Literal["trained"] = "trained"
    folder: str
    sha256: str | None = None


Finder = Annotated[TableBoxes | GrabCut | FeatureNorm | Agreed | TrainedFinder, Field(discriminator="kind")]
"""Where boxes come from."""


class BoxSource(Spec):
    """One way to boxes among several.

    ``weight`` is how often training takes it, in proportion to the others'. ``in_use`` says whether photos are looked
    at by it when the network is asked; with several in use their answers are averaged.
    """

    by: Finder | FullFrame = TableBoxes()
    weight: Positive = 1.0
    in_use: bool = True


class BoxCrop(Spec):
    """The photo's box, enlarged by ``margin`` of its sides and then widened to the target's aspect ratio.

    Photos without a box are taken whole. What lies outside the picture is filled with the picture's mean colour.
    Training with augmentation moves each edge of the box by up to ``jitter`` of its sides and, where there are several
    ``sources``, draws one for every sample; without augmentation the first in use counts.

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
            raise ValueError("one of the sources must be in_use, or nothing says how the network is to be asked")
        return self


Crop = Annotated[FullFrame | CropIfNeeded | BoxCrop, Field(discriminator="kind")]


class Point(Spec):
    """A landmark and where the reference shape has it: shares of the target's width and height.

    ``mirror`` names the landmark it becomes in the mirrored photo (the left tip becomes the right one); None: itself.
    """

    name: str
    x: float
    y: float
    mirror: str | None = None


class Align(Spec):
    """Photos are moved so that their landmarks lie where the reference shape has them, as well as an affine map can.

    Photos with fewer than three landmarks are cropped instead. Training with augmentation aligns a share ``p`` of the
    samples and moves each landmark by up to ``jitter`` of the target's sides. ``in_use`` says what the network is shown
    when it is asked: the aligned photo, the cropped one, or both, averaged.

    Source: Humpback 2018, third place (p = 0.5, jitter 5 %, both at test).
    """

    points: Annotated[tuple[Point, ...], Field(min_length=3)]
    by: Annotated[TableBoxes | TrainedFinder, Field(discriminator="kind")] = TableBoxes()
    """Whose landmarks; a table has them in columns ``x_NAME`` and ``y_NAME``."""
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
            raise ValueError(f"mirror must name pairs, each the other's: {', '.join(odd)}")
        return self


class MaskChannel(Spec):
    """A fourth channel: 1 where the subject is, 0 elsewhere and in photos without a mask.

    Training with augmentation empties it for a share ``dropped`` of the samples, so that the network stays good where
    no mask is known. The backbone needs ``in_channels = 4``.

    Source: Humpback 2018, first place.
    """

    dropped: Fraction = 0.5
    by: Finder = TableBoxes()
    """Whose masks; a table has them in its column ``mask``, or ``mask.SOURCE``."""


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
    align: Align | None = None
    mask: MaskChannel | None = None

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return 3 if self.mask is None else 4

    def finders(self) -> tuple[Finder, ...]:
        """Where boxes and masks come from, each once, as far as they are not in the table of photos."""
        wanted = [source.by for source in self.crop.sources] if isinstance(self.crop, BoxCrop) else []
        wanted += [part.by for part in (self.mask, self.align) if part is not None]
        return tuple(dict.fromkeys(one for one in wanted if not isinstance(one, FullFrame | TableBoxes)))

    def in_use(self) -> tuple[Self, ...]:
        """The ways in which photos are shown to the network when it is asked, each with nothing left to choose.

        One for each box source in use, aligned or not as ``align.in_use`` says; their answers are averaged.
        """
        crops: tuple[Crop, ...] = (self.crop,)
        if isinstance(self.crop, BoxCrop):
            used = [source for source in self.crop.sources if source.in_use]
            crops = tuple(self.crop.model_copy(update={"sources": (source,)}) for source in used)
        cropped = tuple(self.model_copy(update={"crop": crop, "align": None}) for crop in crops)
        if self.align is None or self.align.in_use == "cropped":
            return cropped
        sure = self.align.model_copy(update={"p": 1.0})
        aligned = self.model_copy(update={"crop": crops[0], "align": sure})
        return (aligned, *cropped) if self.align.in_use == "both" else (aligned,)


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
