"""A small regression model for boxes and landmarks on a frozen pretrained backbone, with one heat map per target."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fieldmark.core.errors import PlanError, WeightsError
from fieldmark.core.files import write_bytes
from fieldmark.core.spec import Spec, read_spec
from fieldmark.models.backbone import backbone_stages, build_backbone, split
from fieldmark.models.specs import Backbone
from fieldmark.models.weights import read_state

WEIGHTS, CARD = "finder.safetensors", "finder.json"
FINE = 16
"""Stride of the finer map, in pixels: a compromise of semantic depth and spatial resolution."""
BOX_AXES = (0, 1, 0, 1)
"""Axis of each of left, top, right and bottom: x, y, x, y."""
AGAIN = "train it again: `fieldmark boxes PHOTOS --clicks CLICKS.csv --save FOLDER --out boxes.csv`."


class Maps(NamedTuple):
    """Two feature maps of the same images: one fine and shallow, one coarse and deep."""

    fine: Float[Tensor, "batch channel row column"]
    coarse: Float[Tensor, "batch channel2 row2 column2"]


class PinpointBackbone(nn.Module):
    """A frozen pretrained backbone that returns its last feature map and a finer one from an earlier stage.

    Args:
        backbone: Backbone, with packaged weights by default.
        side_px: Side of the square input images, in px.

    Raises:
        PlanError: The backbone has no feature map (a transformer), or timm has no network of that name.
    """

    def __init__(self, backbone: Backbone, *, side_px: int) -> None:
        super().__init__()
        model, _ = build_backbone(backbone)
        self.lower, self.upper = _cut(model, side_px=side_px, name=backbone.name)
        self.eval().requires_grad_(requires_grad=False)

    @torch.inference_mode()
    def forward(self, pictures: Float[Tensor, "batch 3 side side"]) -> Maps:
        """Return both maps."""
        fine = self.lower(pictures)
        return Maps(fine, self.upper(fine))


def strength(maps: Maps) -> Float[Tensor, "batch row column"]:
    """Return the norm of the feature vector at each position of the coarse map."""
    return maps.coarse.float().norm(dim=1)


class Pinpointer(nn.Module):
    """Predict box edges and landmarks as shares of the image.

    Each landmark has a heat map, a weighted sum of the channels of the feature maps. Its position is the mean of all
    positions, weighted by the softmax of the heat map. Each edge of the box has a heat map, too, of which only x or y
    is used. A linear function of each coordinate then corrects its scale, because a mean of positions cannot reach the
    border of the image.

    Args:
        widths: Number of channels of the fine and of the coarse map.
        points: Names of the landmarks.
        has_box: Whether the model predicts a box.

    Source:
        Soft-argmax: Luvizon et al. 2017, arXiv:1710.02322, equation 4. Ours: one heat map for each edge.
    """

    def __init__(self, widths: tuple[int, int], *, points: Sequence[str], has_box: bool) -> None:
        super().__init__()
        self.points, self.has_box = tuple(points), has_box
        edges = BOX_AXES if has_box else ()
        self.maps = [*range(len(edges)), *(len(edges) + at // 2 for at in range(2 * len(self.points)))]
        self.axes = [*edges, *(at % 2 for at in range(2 * len(self.points)))]
        n_maps = len(edges) + len(self.points)
        self.fine, self.coarse = nn.Conv2d(widths[0], n_maps, 1), nn.Conv2d(widths[1], n_maps, 1)
        for part in (self.fine, self.coarse):  # zeros give even heat maps and need no seed
            nn.init.zeros_(part.weight)
            nn.init.zeros_(cast("Tensor", part.bias))
        self.scale, self.shift = nn.Parameter(torch.ones(len(self.axes))), nn.Parameter(torch.zeros(len(self.axes)))
        for name, width in zip(("fine", "coarse"), widths, strict=True):
            self.register_buffer(f"{name}_mean", torch.zeros(1, width, 1, 1))
            self.register_buffer(f"{name}_sd", torch.ones(1, width, 1, 1))

    def measure(self, maps: Maps) -> None:
        """Set mean and standard deviation of every channel from these maps. Later inputs are normalised by them."""
        for name, half in zip(("fine", "coarse"), maps, strict=True):
            values = half.float()
            getattr(self, f"{name}_mean").copy_(values.mean(dim=(0, 2, 3), keepdim=True))
            getattr(self, f"{name}_sd").copy_(values.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3))

    def heat(self, maps: Maps) -> Float[Tensor, "batch map row column"]:
        """Return the heat maps before the softmax."""
        heats = []
        for name, values in zip(("fine", "coarse"), maps, strict=True):
            scaled = (values.float() - getattr(self, f"{name}_mean")) / getattr(self, f"{name}_sd")
            heats.append(getattr(self, name)(scaled) / scaled.shape[1] ** 0.5)
        rows_columns = heats[0].shape[-2:]
        return heats[0] + interpolate(heats[1], size=rows_columns, mode="bilinear", align_corners=False)

    def forward(self, maps: Maps) -> Float[Tensor, "batch coordinate"]:
        """Return left, top, right, bottom (if the model predicts a box), then x and y of each landmark, as shares."""
        heat = self.heat(maps)
        rows, columns = heat.shape[-2:]
        weights = heat.flatten(2).softmax(dim=2).unflatten(2, (rows, columns))
        x = (torch.arange(columns, device=heat.device) + 0.5) / columns
        y = (torch.arange(rows, device=heat.device) + 0.5) / rows
        places = torch.stack((weights.sum(dim=2) @ x, weights.sum(dim=3) @ y), dim=2)
        return (places[:, self.maps, self.axes] - 0.5) * self.scale + 0.5 + self.shift


class FinderCard(Spec):
    """Content of ``finder.json``."""

    format: Literal[1] = 1
    backbone: Backbone
    side_px: int
    widths: tuple[int, int]
    points: tuple[str, ...]
    has_box: bool
    weights_sha256: str
    errors: dict[str, float]
    """Errors measured by cross-validation."""


@dataclass(frozen=True)
class StoredPinpointer:
    """A saved regression model with the settings of its input."""

    pinpointer: Pinpointer
    card: FinderCard


def save_pinpointer(
    pinpointer: Pinpointer, folder: Path, *, backbone: Backbone, side_px: int, errors: dict[str, float]
) -> str:
    """Write the model into ``folder`` (created if needed) and return the SHA-256 of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save({name: value.contiguous() for name, value in pinpointer.state_dict().items()})
    digest = hashlib.sha256(data).hexdigest()
    fine, coarse = pinpointer.fine.in_channels, pinpointer.coarse.in_channels
    card = FinderCard(
        backbone=backbone,
        side_px=side_px,
        widths=(fine, coarse),
        points=pinpointer.points,
        has_box=pinpointer.has_box,
        weights_sha256=digest,
        errors=errors,
    )
    write_bytes(folder / WEIGHTS, data)
    write_bytes(folder / CARD, card.model_dump_json(indent=2).encode())
    return digest


def open_pinpointer(folder: Path, *, sha256: str | None = None) -> StoredPinpointer:
    """Load a model that ``save_pinpointer`` wrote.

    Args:
        folder: Folder of the model.
        sha256: Expected SHA-256 of its weights; None means the value in its card.

    Raises:
        WeightsError: Files are missing or changed, or belong to another model.
    """
    try:
        card: FinderCard = read_spec(FinderCard, folder / CARD)
    except PlanError as error:
        raise WeightsError(
            f"{folder} does not contain a model for boxes or landmarks.", got=error.got, fix=AGAIN
        ) from error
    state, _ = read_state(folder / WEIGHTS, sha256=sha256 or card.weights_sha256, mend=AGAIN)
    pinpointer = Pinpointer(card.widths, points=card.points, has_box=card.has_box)
    try:
        pinpointer.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{folder} contains the weights of another model.", got=str(error)[:200], fix=AGAIN
        ) from error
    return StoredPinpointer(pinpointer.eval(), card)


def _cut(model: nn.Module, *, side_px: int, name: str) -> tuple[nn.Module, nn.Module]:
    """Split the backbone after its last stage with a fine map; return it unsplit if it cannot be split."""
    model.eval()
    picture = torch.zeros(1, 3, side_px, side_px)
    n_all = len(backbone_stages(model))
    whole = split(model, n_all)
    with torch.inference_mode():
        last: Any = whole[0](picture) if whole else None
        if last is None or last.ndim != 4 or getattr(model, "output_fmt", "NCHW") != "NCHW":
            raise PlanError(
                f"The backbone {name!r} has no feature map, which finding subjects needs.",
                got="no map" if last is None else f"shape {tuple(last.shape)}",
                fix="use a convolutional backbone such as 'tf_efficientnet_lite0'.",
            )
        for n_lower in range(n_all - 1, 0, -1):
            parts = split(model, n_lower)
            if parts is not None and parts[0](picture).shape[-1] >= side_px // FINE:
                return parts
    return split(model, n_all) or (model, nn.Identity())
