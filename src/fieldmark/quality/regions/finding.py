"""Run finders on photos: boxes, masks and landmarks are computed once and stored as columns of the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float32

from fieldmark.core.errors import DataError, PlanError, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import BOX, Collection
from fieldmark.data.marks import MASK, Marks, boxes_of, marked, masks_of, points_of
from fieldmark.images.crops import Box
from fieldmark.images.finding import FoundSubject, agreed, by_strength, grabcut, small_picture
from fieldmark.images.masks import to_text
from fieldmark.images.prefetch import stream
from fieldmark.images.reading import probe
from fieldmark.images.specs import (
    Agreed,
    BoxCrop,
    FeatureNorm,
    Finder,
    FullFrame,
    GrabCut,
    Preprocess,
    TableBoxes,
    TrainedFinder,
)
from fieldmark.images.subjects import Place, Subject

if TYPE_CHECKING:
    import torch

    from fieldmark.models.pinpoint import Maps, PinpointBackbone


def source_name(finder: Finder) -> str:
    """Return the name under which the marks of a finder are stored: its kind and a hash of its settings."""
    return finder.source if isinstance(finder, TableBoxes) else f"{finder.kind}-{finder.fingerprint()[:8]}"


def find_subjects(
    photos: Collection, finder: Finder, *, device: str = "auto", n_workers: int = 2, progress: Progress = QUIET
) -> list[FoundSubject]:
    """Find the subject of each photo.

    Args:
        photos: A collection.
        finder: Any finder except the table, whose boxes already exist.
        device: Device of the networks.
        n_workers: Number of image-loading threads.
        progress: Receives the number of finished photos.

    Raises:
        PlanError: The finder is the table.
        ImageError: A photo cannot be read.
        WeightsError: The trained finder's folder is missing or damaged.
        FieldmarkError: OpenCV is required but not installed.
    """
    pace = {"n_workers": n_workers, "progress": progress}
    match finder:
        case GrabCut():
            return _by_colour(photos.paths, finder, n_workers=n_workers, progress=progress)
        case FeatureNorm():
            return _by_network(photos.paths, finder, device=device, **pace)
        case Agreed():
            first = find_subjects(photos, finder.colour, device=device, **pace)
            second = find_subjects(photos, finder.network, device=device, **pace)
            return [agreed(one, other, least_iou=finder.least_iou) for one, other in zip(first, second, strict=True)]
        case TrainedFinder():
            return _by_clicks(photos.paths, finder, device=device, **pace)
        case TableBoxes():
            raise PlanError(
                "Finder 'table' has nothing to find: its boxes are already in the table.",
                got=f"kind = {finder.kind}",
                fix="use grabcut, feature_norm, agreed or trained.",
            )


def marks_of(
    photos: Collection, found: Sequence[FoundSubject], *, points: Sequence[str] = (), source: str = ""
) -> Marks:
    """Convert found subjects to marks, in pixels of the true size of each photo.

    Args:
        photos: The photos that the finder was run on.
        found: One subject for each photo.
        points: Names of the landmarks that the finder predicts.
        source: Name of the finder.
    """
    sizes = true_sizes(photos)
    boxes = np.array([one.box or (np.nan,) * 4 for one in found], dtype=np.float64).reshape(-1, 4) * np.tile(sizes, 2)
    boxes[:, 2:] -= boxes[:, :2]
    columns: dict[str, object] = {"image": photos.images}
    columns |= {name: boxes[:, at].astype(np.float32) for at, name in enumerate(BOX)}
    for at, name in enumerate(points):
        places = np.array([one.points[at] for one in found]) * sizes
        columns |= {f"{axis}_{name}": places[:, which].astype(np.float32) for which, axis in enumerate("xy")}
    columns[MASK] = pl.Series([None if one.mask is None else to_text(one.mask) for one in found], dtype=pl.String)
    table = pl.DataFrame(columns).with_columns(pl.col(pl.Float32).fill_nan(None))
    return Marks(table, tuple(points), source)


def has_marks(photos: Collection, finder: Finder) -> bool:
    """Whether the table already has the marks of this finder; always true for boxes of the table itself."""
    return isinstance(finder, TableBoxes) or f"box.{source_name(finder)}" in photos.table.columns


def with_found(
    photos: Collection,
    finders: Sequence[Finder],
    *,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Collection:
    """Return the photos with the marks of these finders added. Existing marks are not computed again."""
    for finder in finders:
        if not has_marks(photos, finder):
            name = source_name(finder)
            found = find_subjects(photos, finder, device=device, n_workers=n_workers, progress=progress)
            photos = marked(photos, marks_of(photos, found, points=landmarks_given(finder), source=name), source=name)
    return photos


def subjects_of(photos: Collection, preprocess: Preprocess) -> list[Subject] | None:
    """Return the subject of each photo for preprocessing, in pixels of the file; None if it is not needed.

    Finders that were not run yet are run now, so that every photo has the boxes that the network was trained with.
    """
    crop, align, mask = preprocess.crop, preprocess.align, preprocess.mask
    if not isinstance(crop, BoxCrop) and align is None and mask is None:
        return None
    photos = with_found(photos, preprocess.finders())
    sources = [source.by for source in crop.sources] if isinstance(crop, BoxCrop) else []
    boxes = [None if isinstance(by, FullFrame) else boxes_of(photos, source_name(by)) for by in sources]
    points = None
    if align is not None:
        end = f".{source_name(align.by)}" if source_name(align.by) else ""
        points = _landmarks(photos, [f"{point.name}{end}" for point in align.points])
    masks = masks_of(photos, source_name(mask.by)) if mask is not None else [None] * len(photos)
    if all(part is None for part in (*boxes, points)) and not any(masks):
        return None
    subjects = []
    for row in range(len(photos)):
        across, down = _file_scale(photos, row)
        subjects.append(
            Subject(
                boxes=tuple(None if source is None else _corners(source[row], across, down) for source in boxes),
                points=() if points is None else tuple(_place(one, across, down) for one in points[row]),
                mask=masks[row],
            )
        )
    return subjects


def unlabelled(photos: Collection, preprocess: Preprocess) -> tuple[str, ...]:
    """Return the kinds of marks that preprocessing needs but the table lacks: boxes, masks, landmarks."""
    align, mask = preprocess.align, preprocess.mask
    is_given = dict[str, bool]()
    if tables := box_tables(preprocess):
        boxes = [boxes_of(photos, table.source) for table in tables]
        is_given["boxes"] = all(one is not None and not np.isnan(one).all() for one in boxes)
    if mask is not None and isinstance(mask.by, TableBoxes):
        is_given["masks"] = any(masks_of(photos, mask.by.source))
    if align is not None and isinstance(align.by, TableBoxes):
        end = f".{align.by.source}" if align.by.source else ""
        points = _landmarks(photos, [f"{point.name}{end}" for point in align.points])
        is_given["landmarks"] = points is not None and not np.isnan(points).all()
    return tuple(what for what, there in is_given.items() if not there)


def box_tables(preprocess: Preprocess) -> tuple[TableBoxes, ...]:
    """Return the finders of the crop that take boxes from the table."""
    crop = preprocess.crop
    return tuple(one.by for one in crop.sources if isinstance(one.by, TableBoxes)) if isinstance(crop, BoxCrop) else ()


def refuse_outside(photos: Collection, tables: Sequence[Finder]) -> None:
    """Reject boxes in the table that do not overlap their picture, and cells that are not masks.

    Other finders are not checked.

    Raises:
        DataError: There are such boxes or cells; the error names their photos.
        ImageError: A photo with a box cannot be read.
    """
    wrong = []
    for table in tables:
        if not isinstance(table, TableBoxes):
            continue
        masks_of(photos, table.source)
        boxes = boxes_of(photos, table.source)
        if boxes is None:
            continue
        rows = np.flatnonzero(~np.isnan(boxes).any(axis=1) & photos.present)
        sizes = true_sizes(photos.take(rows))
        for row, (width, height) in zip(rows.tolist(), sizes.tolist(), strict=True):
            left, top, across, down = boxes[row].tolist()
            if left >= width or top >= height or left + across <= 0 or top + down <= 0:
                wrong.append(
                    f"{photos.images[row]}: {left:g}, {top:g}, {across:g}, {down:g} in {width:g} x {height:g} pixels"
                )
    if wrong:
        raise DataError(
            f"{len(wrong)} box(es) are outside their photos.",
            got=several(wrong),
            fix="write left, top, width and height in pixels of the upright picture, or of the columns width and "
            "height if the table has them; or leave these boxes empty.",
        )


def landmarks_given(finder: Finder) -> tuple[str, ...]:
    """Return the names of the landmarks that a finder predicts."""
    if not isinstance(finder, TrainedFinder):
        return ()
    from fieldmark.models.pinpoint import open_pinpointer

    return open_pinpointer(Path(finder.folder), sha256=finder.sha256).card.points


def true_sizes(photos: Collection) -> np.ndarray:
    """Return width and height of each photo, from the table if given, else from the upright file."""
    given = [(None, None)] * len(photos)
    if {"width", "height"} <= set(photos.table.columns):
        given = photos.table.select("width", "height").rows()
    sizes = []
    for path, size in zip(photos.paths, given, strict=True):
        file = probe(path) if None in size else None
        sizes.append(size if file is None else (file.width, file.height))
    return np.array(sizes, dtype=np.float64).reshape(-1, 2)


def _by_colour(paths: Sequence[Path], spec: GrabCut, *, n_workers: int, progress: Progress) -> list[FoundSubject]:
    def one(path: Path) -> FoundSubject:
        return grabcut(small_picture(path, longest_px=spec.side_px), spec)

    found = stream(paths, one, n_workers=n_workers)
    return list(progress.track(found, total=len(paths), what="finding subjects by colour"))


def _by_network(
    paths: Sequence[Path], spec: FeatureNorm, *, device: str, n_workers: int, progress: Progress
) -> list[FoundSubject]:
    from fieldmark.models.pinpoint import PinpointBackbone, strength
    from fieldmark.models.specs import Backbone

    backbone = Backbone(name=spec.backbone)
    network = PinpointBackbone(backbone, side_px=spec.side_px)
    found: list[FoundSubject] = []

    def add_maps(maps: Maps) -> None:
        found.extend(by_strength(one) for one in strength(maps).cpu().numpy())

    _run_network(
        network, paths, backbone.name, spec.side_px, add_maps, device=device, n_workers=n_workers, progress=progress
    )
    return found


def _by_clicks(
    paths: Sequence[Path], spec: TrainedFinder, *, device: str, n_workers: int, progress: Progress
) -> list[FoundSubject]:
    from fieldmark.models.pinpoint import Maps, PinpointBackbone, open_pinpointer
    from fieldmark.training.pinpoint import predict_coordinates

    stored = open_pinpointer(Path(spec.folder), sha256=spec.sha256)
    card = stored.card
    network = PinpointBackbone(card.backbone, side_px=card.side_px)
    found: list[FoundSubject] = []

    def add_maps(maps: Maps) -> None:
        for values in predict_coordinates(stored.pinpointer, Maps(maps.fine.cpu(), maps.coarse.cpu())).tolist():
            box, rest = (tuple(values[:4]), values[4:]) if card.has_box else (None, values)
            places = tuple((rest[at], rest[at + 1]) for at in range(0, len(rest), 2))
            found.append(FoundSubject(box, points=places))  # type: ignore[arg-type]

    _run_network(
        network,
        paths,
        card.backbone.name,
        card.side_px,
        add_maps,
        device=device,
        n_workers=n_workers,
        progress=progress,
    )
    return found


def square(backbone: str, side_px: int) -> Preprocess:
    """Return the preprocessing of finders: the whole photo, resized to a square, normalised for the backbone."""
    from fieldmark.models.backbone import data_config

    config = data_config(backbone)
    return Preprocess(
        height_px=side_px, width_px=side_px, mean=config.mean, std=config.std, interpolation=config.interpolation
    )


def _run_network(
    network: PinpointBackbone,
    paths: Sequence[Path],
    backbone: str,
    side_px: int,
    add_maps: Callable[[Maps], None],
    *,
    device: str,
    n_workers: int,
    progress: Progress,
) -> None:
    """Run the network on all photos in small batches, and pass its feature maps to ``add_maps``."""
    from fieldmark.images.batches import PhotoSource
    from fieldmark.images.preprocess import normalise
    from fieldmark.training.ranks import ranks

    at: torch.device = ranks(device).device
    network = network.to(at)
    few = 8 if at.type == "cpu" else 64
    preprocess = square(backbone, side_px)
    order = [np.arange(start, min(start + few, len(paths))) for start in range(0, len(paths), few)]
    if not order:
        return
    batches = PhotoSource(paths, preprocess).batches(order, epoch=0, n_workers=n_workers)
    for batch in progress.track(batches, total=len(order), what="finding subjects by a network"):
        add_maps(network(normalise(batch.to(at), preprocess)))


def _landmarks(photos: Collection, names: Sequence[str]) -> Float32[np.ndarray, "image point 2"] | None:
    """Return the landmarks of photos; None if the table has none of these columns."""
    if not any(f"x_{name}" in photos.table.columns for name in names):
        return None
    return points_of(photos, names)


def _file_scale(photos: Collection, row: int) -> tuple[float, float]:
    """Return the scale from true size to file size, in x and y; the file may have been resized."""
    if not {"width", "height"} <= set(photos.table.columns):
        return 1.0, 1.0
    width, height = photos.table["width"][row], photos.table["height"][row]
    if width is None or height is None:
        return 1.0, 1.0
    file = probe(photos.paths[row])
    return file.width / width, file.height / height


def _corners(box: np.ndarray, across: float, down: float) -> Box | None:
    left, top, width, height = box.tolist()
    if math.isnan(left + top + width + height):
        return None
    return (left * across, top * down, (left + width) * across, (top + height) * down)


def _place(point: np.ndarray, across: float, down: float) -> Place | None:
    x, y = point.tolist()
    return None if math.isnan(x + y) else (x * across, y * down)
