"""Store of out-of-fold scores: scores of photos from networks that were not trained on them.

Thresholds, label issues and second-level models need scores from networks that were not trained on the photo. Therefore
rows are added together with the ids of the training photos of their network. Rows of training photos raise an error.
So the store never contains in-sample scores.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int, Int64

from fieldmark.core.errors import DataError, RunError, several
from fieldmark.core.files import disk_errors, publish, read_json, write_json

FORMAT = 1
VALUES, ROWS, COLUMNS, META = "values.npy", "rows.parquet", "columns.json", "meta.json"


class OutOfFold:
    """Writer of a store, fold by fold. The folder appears only after ``close``.

    Use it in a ``with`` block. The block closes the store at its end, and deletes the unfinished store after an error.

    Example:
        >>> with OutOfFold.create(folder, ["W1", "W2"]) as store:  # doctest: +SKIP
        ...     store.add(["a.jpg"], scores, fold=0, trained_on=["b.jpg", "c.jpg"])
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], file: BinaryIO, aside: Path) -> None:
        self._folder, self._columns, self._file, self._aside = folder, columns, file, aside
        self._fold: dict[str, int] = {}

    @classmethod
    def create(cls, folder: Path, columns: Sequence[str]) -> OutOfFold:
        """Start a new store.

        Args:
            folder: Folder of the store; it must not exist. Temporary files of a killed writer are deleted.
            columns: Unique name of each column.

        Raises:
            RunError: The folder exists or cannot be written.
            DataError: There are no columns, or some names occur twice.
        """
        names = tuple(columns)
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if isinstance(columns, str) or not names or twice:
            raise DataError(
                "columns must be unique names, at least one.",
                got=several(twice) if twice else repr(columns),
                fix="pass the label names in the order of the vocabulary.",
            )
        if folder.exists():
            raise RunError(
                f"The folder {folder} exists already.",
                got=f"{folder} exists",
                fix="choose another folder, or delete this one.",
            )
        aside = folder.with_name(f".{folder.name}.tmp")
        with disk_errors(folder):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            file = (aside / VALUES).open("w+b")
            _write_header(file, (0, len(names)))
        return cls(folder, names, file, aside)

    def add(
        self,
        images: Sequence[str],
        values: Float[np.ndarray, "image label"],
        *,
        fold: int,
        trained_on: Iterable[str],
    ) -> None:
        """Add the scores of one network (or of the mean of several networks).

        Args:
            images: Ids of the photos.
            values: Scores of the photos; -inf is allowed, NaN is not.
            fold: Fold of the network; -1 for new photos, which are scored with the networks of all folds.
            trained_on: Ids of the training photos of the network (the union, for several networks).

        Raises:
            DataError: A photo is in ``trained_on``, is already in the store, or occurs twice; a value is NaN; or the
                number of columns is wrong. The error lists all mistakes, and nothing is added.
        """
        values = np.asarray(values)
        if isinstance(trained_on, str):
            raise DataError(
                "trained_on must be a list or set of photo ids.",
                got=repr(trained_on),
                fix="pass a list or set of ids; it may be empty.",
            )
        wanted = (len(images), len(self._columns))
        if isinstance(images, str) or values.shape != wanted:
            raise DataError(
                "values must have one row for each photo and one column for each name.",
                got=f"values {values.shape} for {wanted[0]} photos and {wanted[1]} columns",
                fix="pass (image, label) scores in the order of images and of the columns of create().",
            )
        self._check(images, values, fold=fold, training=set(trained_on))
        with disk_errors(self._folder):
            self._file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self._fold.update(dict.fromkeys(images, int(fold)))

    def close(self) -> None:
        """Finish the store: write its files and rename its folder in one step.

        Raises:
            DataError: No photo was added.
            RunError: The disk is full or cannot be written.
        """
        if self._file.closed:
            return
        if not self._fold:
            self._discard()
            raise DataError(
                "The store contains no photos.",
                got=f"nothing was added to {self._folder}",
                fix="add the scores of each fold with add() before close().",
            )
        with disk_errors(self._folder):
            _write_header(self._file, (len(self._fold), len(self._columns)))
            self._file.close()
            rows = {"image": list(self._fold), "fold": list(self._fold.values())}
            pl.DataFrame(rows, schema={"image": pl.String, "fold": pl.Int64}).write_parquet(self._aside / ROWS)
            write_json(self._aside / COLUMNS, list(self._columns))
            write_json(self._aside / META, {"kind": "out_of_fold", "format": FORMAT, "n_rows": len(self._fold)})
            publish(self._aside, self._folder)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store, or delete it after an error."""
        if kind is None:
            self.close()
        else:
            self._discard()

    def _discard(self) -> None:
        self._file.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def _check(self, images: Sequence[str], values: np.ndarray, *, fold: int, training: set[str]) -> None:
        """Raise an error for rows that cannot be added."""
        mistakes: list[str] = []
        fixes: list[str] = []
        if trained := [image for image in images if image in training]:
            mistakes += [f"{image}: the network was trained on it" for image in trained]
            fixes.append("score training photos with the network of the fold that holds them out")
        if there := [image for image in images if image in self._fold]:
            mistakes += [f"{image}: already added for fold {self._fold[image]} (now fold {fold})" for image in there]
            fixes.append("use folds without common photos")
        if len(set(images)) < len(images):
            known: set[str] = set()
            mistakes += [f"{image}: twice in images" for image in images if image in known or known.add(image)]
            fixes.append("pass each photo once")
        if len(rows := np.flatnonzero(np.isnan(values).any(axis=1))):
            mistakes += [f"{images[row]}: NaN" for row in rows.tolist()]
            fixes.append("check the outputs of the network (weights or a broken photo can cause NaN)")
        if mistakes:
            raise DataError(
                f"{len(mistakes)} row(s) cannot be added to the out-of-fold store.",
                got=several(mistakes),
                fix="; ".join(fixes) + ".",
            )


class Scores:
    """Reader of a store: out-of-fold scores of photos.

    The values stay on disk (memory-mapped) until rows are read.
    """

    def __init__(
        self,
        values: Float32[np.ndarray, "image label"],
        images: Sequence[str],
        columns: Sequence[str],
        fold: Int[np.ndarray, " image"],
    ) -> None:
        self._values = values
        self._images, self._columns = tuple(images), tuple(columns)
        self._fold = np.asarray(fold, np.int64)
        self._fold.flags.writeable = False
        self._row = {image: row for row, image in enumerate(self._images)}

    @classmethod
    def open(cls, folder: Path) -> Scores:
        """Open the store in ``folder``.

        Raises:
            RunError: The store is missing or damaged, or the folder holds something else.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "out_of_fold" or meta.get("format") != FORMAT:
            raise RunError(
                f"The folder {folder} holds no out-of-fold scores that this version can read.",
                got=json.dumps(meta)[:200],
                fix="run the stage that writes the scores again.",
            )
        try:
            columns = read_json(folder / COLUMNS)
            rows = pl.read_parquet(folder / ROWS)
            values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
            if values.shape != (rows.height, len(columns)) or values.dtype != np.float32:
                raise ValueError(  # noqa: TRY301 - one error for every kind of damage
                    f"values {values.shape} {values.dtype}, rows {rows.height}, columns {len(columns)}"
                )
            return cls(values, rows["image"].to_list(), columns, rows["fold"].to_numpy())
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise RunError(
                f"The scores in {folder} are damaged.", got=error, fix="run the stage that writes the scores again."
            ) from error

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the photos, in the order in which they were added."""
        return self._images

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each column."""
        return self._columns

    @property
    def fold(self) -> Int64[np.ndarray, " image"]:
        """Fold of the network that scored each photo, in the order of ``images``; -1 for new photos."""
        return self._fold

    @property
    def values(self) -> Float32[np.ndarray, "image label"]:
        """All scores in the order of ``images``, as a read-only memory map."""
        return self._values

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image: object) -> bool:
        return image in self._row

    def rows(self, images: Sequence[str]) -> Float32[np.ndarray, "image label"]:
        """The scores of the given photos, in the given order.

        Raises:
            DataError: Some photos have no scores in this store.
        """
        if isinstance(images, str):
            raise DataError("rows() needs a list of ids.", got=repr(images), fix=f"use rows([{images!r}]).")
        missing = [image for image in images if image not in self._row]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(images)} photos have no out-of-fold scores.",
                got=several(missing),
                fix="use validation or new photos (those in .images), or train more folds, so that each photo is in "
                "a validation part.",
            )
        return np.asarray(self._values[[self._row[image] for image in images]]).reshape(len(images), len(self._columns))


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """Write the header of an .npy file. Its length is the same for any number of rows, so it can be rewritten later.

    (numpy reserves space for the length of the first axis.)
    """
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    file.flush()
