"""Mapping of the columns of a user's table to the columns of a collection, by settings or by common names."""

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
"""Common names of each column of a collection, the preferred one first; letters and digits only, in lower case.

``box`` is one cell "x, y, w, h"; ``x0 y0 x1 y1`` are corners. For ``width`` and ``height`` the size of the original
photo is preferred, because a resized photo may have another aspect ratio.
"""


def place(names: Sequence[str], chosen: Mapping[str, str], *, reserved: Sequence[str] = ()) -> dict[str, str]:
    """Map the columns of a collection to the columns of the user's table.

    Args:
        names: Columns of the user's table.
        chosen: Settings of the user: column of a collection to column of the table. They have priority over common
            names.
        reserved: Columns of the table with another use (questions).

    Returns:
        For each column of a collection that was found, the column of the table. Each column of the table is used once
        at most.

    Raises:
        DataError: ``chosen`` contains a column that collections do not have, or one that the table does not have.
    """
    allowed = [*SCHEMA, *(ours for ours in SYNONYMS if ours not in SCHEMA)]
    invalid = [f"{ours!r}: {nearest(ours, allowed)}" for ours in chosen if ours not in allowed]
    absent = [f"{theirs!r}: {nearest(theirs, names)}" for theirs in chosen.values() if theirs not in names]
    absent += [f"{question!r}: {nearest(question, names)}" for question in reserved if question not in names]
    if invalid or absent:
        raise DataError(
            "Some columns of the setting columns (--column) do not exist.",
            got=several(invalid + absent),
            fix=f"write FIELD=COLUMN with fields such as {', '.join(list(SCHEMA)[:5])}; "
            f"the table has the columns {', '.join(names)}.",
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
