"""Write found boxes, masks and landmarks as a CSV file, and draw them on sample photos for a page."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fieldmark.core.errors import ImageError
from fieldmark.core.files import write_text
from fieldmark.core.seeds import generator
from fieldmark.data.collection import BOX, Collection
from fieldmark.data.marks import MASK, Marks
from fieldmark.images.finding import FoundSubject
from fieldmark.images.thumbnails import thumbnail
from fieldmark.quality.regions.finding import true_sizes
from fieldmark.reporting.contents import Fact, InspectPage, Tile

N_SHOWN = 60
COLOURS = ((255, 214, 0), (0, 229, 255), (255, 64, 129), (118, 255, 3))
"""RGB colours of the box and of the landmarks; visible on water, savanna and white backgrounds."""


def write_marks(path: Path, marks: Marks, found: Sequence[FoundSubject], *, masks: bool = False) -> None:
    """Write a CSV file for ``data.marks.read_marks``: image, x0, y0, x1, y1, landmarks, optional mask, note."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    points = [f"{axis}_{name}" for name in marks.points for axis in "xy"]
    writer.writerow(["image", "x0", "y0", "x1", "y1", *points, *([MASK] if masks else []), "note"])
    for row, one in zip(marks.table.iter_rows(named=True), found, strict=True):
        left, top, width, height = (row[name] for name in BOX)
        corners = [None] * 4 if left is None else [left, top, left + width, top + height]
        cells = [*corners, *(row[name] for name in points)]
        numbers = ["" if cell is None else f"{cell:.1f}" for cell in cells]
        writer.writerow([row["image"], *numbers, *([row[MASK] or ""] if masks else []), one.note])
    write_text(path, file.getvalue())


def sheet(photos: Collection, found: Sequence[FoundSubject], *, errors: Mapping[str, float], how: str) -> InspectPage:
    """Return the content of a page about boxes: counts, errors, and sample photos with drawn boxes.

    Args:
        photos: The photos that the finder was run on.
        found: One subject for each photo.
        errors: Cross-validated errors of a trained finder; else empty.
        how: Description of the finder.
    """
    without = [row for row, one in enumerate(found) if one.box is None]
    notes = Counter(found[row].note.split(":")[0].split(" (")[0] or "only landmarks" for row in without)
    shares = [(b[2] - b[0]) * (b[3] - b[1]) for one in found if (b := one.box) is not None]
    facts = [Fact("Photos", f"{len(photos):,}"), Fact("With a box", f"{len(found) - len(without):,}", how)]
    facts += [Fact("Full frame", f"{count:,}", note) for note, count in notes.most_common()]
    if shares:
        facts.append(Fact("Median box area", f"{float(np.median(shares)):.0%}", "of the picture area"))
    facts += [Fact(name.capitalize(), f"{value:.3f}", "out-of-fold error") for name, value in errors.items()]
    drawn_rows = sorted(generator("boxes", len(photos)).permutation(len(photos))[:N_SHOWN].tolist())
    tiles = tuple(Tile(photos.images[row], drawn(photos, row, found[row]), found[row].note) for row in drawn_rows)
    return InspectPage(
        title=f"Boxes of {photos.name}",
        summary=f"{len(found) - len(without):,} of {len(photos):,} photos have a box."
        + (" The other photos are used without a crop." if without else ""),
        facts=tuple(facts),
        samples=tiles,
    )


def drawn(photos: Collection, row: int, found: FoundSubject, *, longest_px: int = 320) -> bytes | None:
    """Return a JPEG of a photo with its box, landmarks and mask outline; None if the photo cannot be read."""
    width, height = true_sizes(photos.take(np.array([row])))[0]
    try:
        small = thumbnail(photos.paths[row], longest_px=longest_px, true_size=(int(width), int(height)))
    except ImageError:
        return None
    with Image.open(io.BytesIO(small)) as opened:
        picture = opened.convert("RGB")
    if found.mask is not None:
        mask = np.asarray(Image.fromarray(found.mask).resize(picture.size, Image.Resampling.NEAREST))
        inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        pixels = np.asarray(picture).copy()
        pixels[mask & ~inner] = COLOURS[1]
        picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    across, down = picture.size
    if found.box is not None:
        left, top, right, bottom = found.box
        pen.rectangle((left * across, top * down, right * across - 1, bottom * down - 1), outline=COLOURS[0], width=2)
    for at, (x, y) in enumerate(found.points):
        place = (x * across - 3, y * down - 3, x * across + 3, y * down + 3)
        pen.ellipse(place, fill=COLOURS[1 + at % (len(COLOURS) - 1)], outline=(0, 0, 0))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
