"""Photo files below a folder: which names stay inside it, which exist, without a look outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp")
"""Endings of photo files, the preferred first."""

OUTSIDE = "leaves the folder of photos"
MISSING = "no such photo"
NOT_A_FILE = "is no readable file"
EMPTY = "has no file name"


def is_photo(name: str) -> bool:
    """Whether a file name ends like a photo's."""
    return name.lower().endswith(SUFFIXES)


def tidy(files: pl.Series) -> pl.Series:
    r"""File names with ``/`` between folders and no ``.`` steps, as tables written on Windows have ``\``."""
    text = files.str.replace_all("\\", "/", literal=True)
    return text.str.replace_all(r"(/)(?:\.?/)+", "/").str.replace(r"^(\./)+", "")


def leaves(files: pl.Series) -> pl.Series:
    """Whether a (tidy) name points out of the folder by its mere words; the disk is not looked at.

    True for absolute paths, ``..`` steps, ``~``, drive letters, network shares, and names with control characters (NUL
    would end the name early for the system). Windows rules hold everywhere, as tables travel.
    """
    out = (
        files.str.contains(r"^[/~]")
        | files.str.contains(r"(^|/) *\.\.[. ]*(/|$)")
        | files.str.contains(r"^[A-Za-z]:")
        | files.str.contains(r"[\x00-\x1f\x7f]")
    )
    return out.fill_null(value=False)


def find_files(files: pl.Series, root: Path, *, by_stem: bool = False, allow_outside: bool = False) -> pl.DataFrame:
    """For every name the file that is meant and what is wrong with it; each folder is listed once.

    Symbolic links count as inside only where they end below ``root``.

    Args:
        files: Tidy names, none of which ``leaves`` (unless ``allow_outside``).
        root: The folder of photos.
        by_stem: Also accept a name without its ending (``1000483014d91860`` for ``1000483014d91860.png``).
        allow_outside: Links and absolute paths may lead anywhere.

    Returns:
        One row a name: ``file`` (the name, completed by its ending where needed), ``problem`` (null where all is
        well) and ``hint`` (a file of nearly the same name, or null).
    """
    wanted = files.fill_null("").to_frame("file").with_row_index("at")
    wanted = wanted.with_columns(
        parent=pl.col("file").str.extract(r"^(.*)/[^/]*$").fill_null(""),
        name=pl.col("file").str.extract(r"([^/]*)$"),
    )
    wanted = wanted.with_columns(  # the root of an absolute path is "/", not ""
        parent=pl.when(pl.col("file").str.starts_with("/") & (pl.col("parent") == ""))
        .then(pl.lit("/"))
        .otherwise("parent")
    )
    present = _listings(wanted["parent"].unique().to_list(), root, allow_outside=allow_outside)
    folded = pl.col("name").str.to_lowercase()
    similar = present.group_by("parent", folded=folded).agg(hint=pl.col("name").first())
    found = wanted.join(present, on=["parent", "name"], how="left", maintain_order="left")
    found = found.join(
        similar, left_on=["parent", folded], right_on=["parent", "folded"], how="left", maintain_order="left"
    )
    if by_stem:
        found = _complete(found, present)
    shut = {parent for parent, name in present.filter(pl.col("name") == "").select("parent", "name").iter_rows()}
    problem = (
        pl.when(pl.col("file") == "")
        .then(pl.lit(EMPTY))
        .when(pl.col("parent").is_in(list(shut)))
        .then(pl.lit(OUTSIDE))
        .when(pl.col("problem").is_null())
        .then(pl.lit(MISSING))
        .when(pl.col("problem") != "")
        .then("problem")
    )
    return found.with_columns(problem=problem).sort("at").select("file", "problem", "hint")


def walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Every visible entry below ``root`` but folders: its path relative to it, and whether it links to a folder.

    Folders behind links are not entered, so no loop and no way out exists. Names that are no UTF-8 come with "?" marks.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = os.fsencode(entry.name).decode("utf-8", errors="replace")
                if name.startswith("."):
                    continue
                path = f"{folder}{name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{path}/")
                else:
                    yield path, entry.is_symlink() and Path(entry.path).is_dir()  # False for a loop of links


def _listings(parents: list[str], root: Path, *, allow_outside: bool) -> pl.DataFrame:
    """All entries of the folders; ``problem`` is "" for good files. A folder outside ``root`` is one entry named ""."""
    rows: dict[str, list[str]] = {"parent": [], "name": [], "problem": []}
    base = _real(root)
    for parent in parents:
        for name, problem in _entries(root / parent, base, allow_outside=allow_outside):
            rows["parent"].append(parent)
            rows["name"].append(name)
            rows["problem"].append(problem)
    return pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String))


def _entries(folder: Path, base: Path | None, *, allow_outside: bool) -> Iterator[tuple[str, str]]:
    """Name and problem of each entry of one folder."""
    real = _real(folder)
    if real is None or base is None:
        return
    if not allow_outside and not real.is_relative_to(base):
        yield "", OUTSIDE
        return
    try:
        with os.scandir(real) as entries:
            for entry in entries:
                if _is_broken_text(entry.name):
                    continue
                yield entry.name, _problem(entry, base, allow_outside=allow_outside)
    except OSError:  # not a folder, or shut to us: its photos are missing
        return


def _problem(entry: os.DirEntry[str], base: Path, *, allow_outside: bool) -> str:
    """What is wrong with one entry of a folder; "" for a readable file inside."""
    if entry.is_symlink() and not allow_outside:
        target = _real(Path(entry.path))
        if target is not None and not target.is_relative_to(base):
            return OUTSIDE
    try:
        return "" if entry.is_file() else NOT_A_FILE
    except OSError:
        return NOT_A_FILE


def _complete(found: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Where no file has exactly the name, the photo whose name without ending it is."""
    suffix = pl.col("name").str.extract(r"(\.[^.]*)$").str.to_lowercase()
    photos = present.with_columns(
        stem=pl.col("name").str.replace(r"\.[^.]*$", ""),
        preference=suffix.replace_strict(list(SUFFIXES), list(range(len(SUFFIXES))), default=None),
    ).drop_nulls("preference")
    best = photos.sort("preference", "name").group_by("parent", "stem", maintain_order=True).first()
    best = best.select("parent", "stem", full="name", full_problem="problem")
    found = found.join(best, left_on=["parent", "name"], right_on=["parent", "stem"], how="left", maintain_order="left")
    use = pl.col("problem").is_null() & pl.col("full").is_not_null()
    prefix = pl.when(pl.col("parent") == "").then(pl.lit("")).otherwise(pl.col("parent") + "/")
    return found.with_columns(
        file=pl.when(use).then(prefix + pl.col("full")).otherwise("file"),
        problem=pl.when(use).then("full_problem").otherwise("problem"),
    )


def _real(path: Path) -> Path | None:
    """The path with every link followed, or None where it cannot be (a loop, a name too long, a NUL)."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _is_broken_text(name: str) -> bool:
    """Whether a name of the file system is no UTF-8 (no table can name it)."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
