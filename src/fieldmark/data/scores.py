"""Scores of photos by networks that have not seen them: the out-of-fold store.

What a photo's score is used for (a threshold, a doubtful label, a second level) must come from a network that was
not trained on that photo. The store therefore takes rows only together with the photos their network was trained on,
and refuses rows of those. No other door leads in: in-sample scores cannot be read, as they were never there.
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
    """Writes a store, fold by fold; nothing is there until ``close``.

    Use it as a ``with`` block: it closes at the end, and leaves nothing behind where the block fails.

    Example:
        >>> with OutOfFold.create(folder, ["W1", "W2"]) as store:  # doctest: +SKIP
        ...     store.add(["a.jpg"], scores, fold=0, trained_on=["b.jpg", "c.jpg"])
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], file: BinaryIO, aside: Path) -> None:
        self._folder, self._columns, self._file, self._aside = folder, columns, file, aside
        self._fold: dict[str, int] = {}

    @classmethod
    def create(cls, folder: Path, columns: Sequence[str]) -> OutOfFold:
        """Begin a store.

        Args:
            folder: Where; must not exist. What a killed writer left beside it is cleared away.
            columns: Name of each column, all different.

        Raises:
            RunError: The folder exists or cannot be written.
            DataError: There are no columns, or some names occur twice.
        """
        names = tuple(columns)
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if isinstance(columns, str) or not names or twice:
            raise DataError(
                "Columns need names, each a different one.",
                got=several(twice) if twice else repr(columns),
                fix="pass the label names in their order, as the vocabulary has them.",
            )
        if folder.exists():
            raise RunError(
                "A store is written once.", got=f"{folder} exists", fix="choose another folder or remove this one."
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
        """Add photos that one network (or the mean of several) has scored.

        Args:
            images: Ids of the photos.
            values: Their scores; -inf is allowed, NaN is not.
            fold: The fold whose network scored them; -1 for new photos, scored by all networks together.
            trained_on: Ids of all photos that network was trained on (the union, for several networks).

        Raises:
            DataError: A photo is in ``trained_on``, is here already, or occurs twice; a value is NaN; the width is
                not that of the columns. All mistakes are told at once, and nothing is added.
        """
        values = np.asarray(values)
        if isinstance(trained_on, str):
            raise DataError(
                "trained_on must be the ids of photos.",
                got=repr(trained_on),
                fix="pass a list or set of ids, empty for none.",
            )
        wanted = (len(images), len(self._columns))
        if isinstance(images, str) or values.shape != wanted:
            raise DataError(
                "A store needs one row of scores for each photo and one column for each name.",
                got=f"values {values.shape} for {wanted[0]} photos and {wanted[1]} columns",
                fix="pass (image, label) scores in the order of images and of the columns given to create().",
            )
        self._refuse(images, values, fold=fold, seen=set(trained_on))
        with disk_errors(self._folder):
            self._file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self._fold.update(dict.fromkeys(images, int(fold)))

    def close(self) -> None:
        """Put the whole store in place, in one move.

        Raises:
            DataError: No photo was added.
            RunError: The disk is full or cannot be written.
        """
        if self._file.closed:
            return
        if not self._fold:
            self._discard()
            raise DataError(
                "A store needs photos.",
                got=f"nothing was added to {self._folder}",
                fix="add() the scores of each fold first.",
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
        """Close the store, or clear everything away after an error."""
        if kind is None:
            self.close()
        else:
            self._discard()

    def _discard(self) -> None:
        self._file.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def _refuse(self, images: Sequence[str], values: np.ndarray, *, fold: int, seen: set[str]) -> None:
        mistakes: list[str] = []
        fixes: list[str] = []
        if trained := [image for image in images if image in seen]:
            mistakes += [f"{image}: the network was trained on it" for image in trained]
            fixes.append("score training photos with the network of the fold that holds them back")
        if there := [image for image in images if image in self._fold]:
            mistakes += [f"{image}: here already, of fold {self._fold[image]} (now fold {fold})" for image in there]
            fixes.append("let the folds have no photo in common")
        if len(set(images)) < len(images):
            known: set[str] = set()
            mistakes += [f"{image}: twice in images" for image in images if image in known or known.add(image)]
            fixes.append("give each photo once")
        if len(rows := np.flatnonzero(np.isnan(values).any(axis=1))):
            mistakes += [f"{images[row]}: NaN" for row in rows.tolist()]
            fixes.append("check the network's outputs (NaN comes from its weights or a broken photo)")
        if mistakes:
            raise DataError(
                f"{len(mistakes)} row(s) cannot be added to the out-of-fold store.",
                got=several(mistakes),
                fix="; ".join(fixes) + ".",
            )


class Scores:
    """Reads a store: scores of photos, each by a network that has not seen it.

    The values stay on disk (memory-mapped) until rows are asked for.
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
        """The store in ``folder``.

        Raises:
            RunError: It is not there, is another kind of folder, or is damaged.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "out_of_fold" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} holds no out-of-fold scores that this version reads.",
                got=json.dumps(meta)[:200],
                fix="run the stage that writes the scores again.",
            )
        try:
            columns = read_json(folder / COLUMNS)
            rows = pl.read_parquet(folder / ROWS)
            values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
            if values.shape != (rows.height, len(columns)) or values.dtype != np.float32:
                raise ValueError(  # noqa: TRY301 - one way out for every kind of damage
                    f"values {values.shape} {values.dtype}, rows {rows.height}, columns {len(columns)}"
                )
            return cls(values, rows["image"].to_list(), columns, rows["fold"].to_numpy())
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise RunError(
                f"The scores in {folder} are damaged.", got=error, fix="run the stage that writes the scores again."
            ) from error

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the photos, in the order they were added."""
        return self._images

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each column."""
        return self._columns

    @property
    def fold(self) -> Int64[np.ndarray, " image"]:
        """For each of ``images``, the fold whose network scored it; -1 for new photos."""
        return self._fold

    @property
    def values(self) -> Float32[np.ndarray, "image label"]:
        """All scores in the order of ``images``: a read-only memory map."""
        return self._values

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image: object) -> bool:
        return image in self._row

    def rows(self, images: Sequence[str]) -> Float32[np.ndarray, "image label"]:
        """The scores of ``images``, in their order.

        Raises:
            DataError: Some photos have no scores here.
        """
        if isinstance(images, str):
            raise DataError("rows() takes several ids.", got=repr(images), fix=f"ask for rows([{images!r}]).")
        missing = [image for image in images if image not in self._row]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(images)} photos have no scores here.",
                got=several(missing),
                fix="only photos that the network has not seen have scores: ask for validation or new photos "
                "(those in .images), or add folds until each photo is validation once.",
            )
        return np.asarray(self._values[[self._row[image] for image in images]]).reshape(len(images), len(self._columns))


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """The head of an .npy file; it is equally long for any number of rows, so it can be written again at the end.

    (numpy leaves room for the first axis to grow.)
    """
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    file.flush()
