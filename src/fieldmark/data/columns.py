"""Which column of a user's table is which of ours: by what the user says, else by the names the field uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fieldmark.core.errors import DataError, nearest, several
from fieldmark.data.frames import SCHEMA

SYNONYMS: dict[str, tuple[str, ...]] = {
    "image": ("image", "imageid", "img", "imagename", "photo", "photoid", "key", "id"),
    "file": ("file", "path", "filename", "filepath", "imagepath", "imagefile", "relativepath"),
    "identity": ("identity", "individual", "individualid", "identityid", "animalid", "whaleid", "whale"),
    "labels": ("labels", "tags", "attributeids", "label", "tag"),
    "group": ("group", "groupid", "dupgroup", "encounter", "encounterid", "occurrenceid", "sequenceid"),
    "extra": ("extra", "playground"),
    "date": ("date", "datetime", "timestamp", "datetaken", "capturedate", "eventdate"),
    "width": ("origwidth", "originalwidth", "width", "imagewidth"),
    "height": ("origheight", "originalheight", "height", "imageheight"),
    "url": ("url", "imageurl"),
    "text": ("text", "productdisplayname", "title", "caption", "description"),
    "box": ("bbox", "box"),
    "box_x": ("boxx", "bboxx"),
    "box_y": ("boxy", "bboxy"),
    "box_w": ("boxw", "bboxw", "boxwidth", "bboxwidth"),
    "box_h": ("boxh", "bboxh", "boxheight", "bboxheight"),
    "x0": ("x0", "xmin"),
    "y0": ("y0", "ymin"),
    "x1": ("x1", "xmax"),
    "y1": ("y1", "ymax"),
}
"""Names by which our columns go elsewhere, the preferred first; letters and digits only, lower case.

``box`` is one cell "x, y, w, h"; ``x0 y0 x1 y1`` are corners. ``width`` and ``height`` prefer the size of the
original, as that is the true shape of a photo that was squashed.
"""


def place(names: Sequence[str], chosen: Mapping[str, str], *, reserved: Sequence[str] = ()) -> dict[str, str]:
    """Our column names with the user's.

    Args:
        names: The columns of the user's table.
        chosen: What the user says: ours to theirs; it wins over the synonyms.
        reserved: The user's columns that have another use (questions).

    Returns:
        For each of ours that was found, the user's column; each column of the user has one use at most.

    Raises:
        DataError: ``chosen`` names a column that is not ours, or one that the table does not have.
    """
    allowed = [*SCHEMA, *(ours for ours in SYNONYMS if ours not in SCHEMA)]
    strange = [f"{ours!r}: {nearest(ours, allowed)}" for ours in chosen if ours not in allowed]
    absent = [f"{theirs!r}: {nearest(theirs, names)}" for theirs in chosen.values() if theirs not in names]
    absent += [f"{question!r}: {nearest(question, names)}" for question in reserved if question not in names]
    if strange or absent:
        raise DataError(
            "Some columns cannot be mapped.",
            got=several(strange + absent),
            fix=f"write our name, then yours: {', '.join(f'{ours}=...' for ours in list(SCHEMA)[:5])}; "
            f"the table has {', '.join(names)}.",
        )
    found = dict(chosen)
    taken = {*chosen.values(), *reserved}
    plain = {name: re.sub(r"[^0-9a-z]", "", name.lower()) for name in names}
    for ours, synonyms in SYNONYMS.items():
        if ours in found:
            continue
        for synonym in synonyms:
            theirs = next((name for name in names if plain[name] == synonym and name not in taken), None)
            if theirs is not None:
                found[ours] = theirs
                taken.add(theirs)
                break
    return found
