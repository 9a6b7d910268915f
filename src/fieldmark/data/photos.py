"""Search for photo files below a folder, with checks that no file is outside of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp")
"""Extensions of photo files, in order of preference."""

OUTSIDE = "leaves the folder of photos"
MISSING = "no such photo"
NOT_A_FILE = "not a readable file"
EMPTY = "empty file name"


def is_photo(name: str) -> bool:
    """Whether a file name has the extension of a photo."""
    return name.lower().endswith(SUFFIXES)


def tidy(files: pl.Series) -> pl.Series:
    r"""Normalise file names: ``\`` (from tables written on Windows) becomes ``/``, and ``.`` steps are removed."""
    text = files.str.replace_all("\\", "/", literal=True)
    return text.str.replace_all(r"(/)(?:\.?/)+", "/").str.replace(r"^(\./)+", "")


def leaves(files: pl.Series) -> pl.Series:
    """Whether a (normalised) name points outside of the folder. The text of the name decides; no file is read.

    True for absolute paths, ``..`` steps, ``~``, drive letters, network shares, and names with control characters (for
    the operating system, NUL ends a name). Windows rules apply on every system, because tables are shared.
    """
    out = (
        files.str.contains(r"^[/~]")
        | files.str.contains(r"(^|/) *\.\.[. ]*(/|$)")
        | files.str.contains(r"^[A-Za-z]:")
        | files.str.contains(r"[\x00-\x1f\x7f]")
    )
    return out.fill_null(value=False)


def find_files(files: pl.Series, root: Path, *, by_stem: bool = False, allow_outside: bool = False) -> pl.DataFrame:
    """Find the file of every name, and the problems of missing or unusable files. Each folder is listed once.

    A symbolic link counts as inside of the folder only if its target is below ``root``.

    Args:
        files: Normalised names, none of which ``leaves`` the folder (unless ``allow_outside``).
        root: Folder of the photos.
        by_stem: Whether a name may lack its extension (``1000483014d91860`` for ``1000483014d91860.png``).
        allow_outside: Whether links and absolute paths may lead outside of ``root``.

    Returns:
        One row per name: ``file`` (the name, with its extension added if needed), ``problem`` (null if there is none)
        and ``hint`` (a file with nearly the same name, or null).
    """
    wanted = files.fill_null("").to_frame("file").with_row_index("at")
    wanted = wanted.with_columns(
        parent=pl.col("file").str.extract(r"^(.*)/[^/]*$").fill_null(""),
        name=pl.col("file").str.extract(r"([^/]*)$"),
    )
    wanted = wanted.with_columns(  # the parent of "/a.jpg" is "/", not ""
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
    outside = {parent for parent, name in present.filter(pl.col("name") == "").select("parent", "name").iter_rows()}
    problem = (
        pl.when(pl.col("file") == "")
        .then(pl.lit(EMPTY))
        .when(pl.col("parent").is_in(list(outside)))
        .then(pl.lit(OUTSIDE))
        .when(pl.col("problem").is_null())
        .then(pl.lit(MISSING))
        .when(pl.col("problem") != "")
        .then("problem")
    )
    return found.with_columns(problem=problem).sort("at").select("file", "problem", "hint")


def walk(root: Path) -> Iterator[tuple[str, bool]]:
    """All visible files below ``root``: the relative path of each file, and whether it is a link to a folder.

    Links to folders are not followed. So there are no loops and no paths outside of ``root``. Bytes of names that are
    not UTF-8 are replaced by a question mark.
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
    """All entries of the folders. ``problem`` is "" for usable files. A folder outside ``root`` has one entry ""."""
    rows: dict[str, list[str]] = {"parent": [], "name": [], "problem": []}
    base = _real(root)
    for parent in parents:
        for name, problem in _entries(root / parent, base, allow_outside=allow_outside):
            rows["parent"].append(parent)
            rows["name"].append(name)
            rows["problem"].append(problem)
    return pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String))


def _entries(folder: Path, base: Path | None, *, allow_outside: bool) -> Iterator[tuple[str, str]]:
    """Name and problem of each entry in one folder."""
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
    except OSError:  # not a folder, or no permission: its photos are reported as missing
        return


def _problem(entry: os.DirEntry[str], base: Path, *, allow_outside: bool) -> str:
    """The problem of one entry in a folder; "" for a readable file inside of ``base``."""
    if entry.is_symlink() and not allow_outside:
        target = _real(Path(entry.path))
        if target is not None and not target.is_relative_to(base):
            return OUTSIDE
    try:
        return "" if entry.is_file() else NOT_A_FILE
    except OSError:
        return NOT_A_FILE


def _complete(found: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Complete names without extension: where no file has exactly this name, use the photo with this stem."""
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
    """The path with all links resolved; None if that is not possible (a loop, a name that is too long, a NUL)."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _is_broken_text(name: str) -> bool:
    """Whether a file name is not valid UTF-8. No table can contain such a name."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
