"""Data loading: batches of photos that threads prepare in advance. The result does not depend on the number of threads.

Threads are enough: the decoder and the resize release Python's global lock, and no data has to be copied between
processes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from fieldmark.core.errors import ShapeError
from fieldmark.core.seeds import generator
from fieldmark.images.crops import Box
from fieldmark.images.prefetch import stream
from fieldmark.images.preprocess import SPARE, prepare
from fieldmark.images.reading import DEFAULT, Limits
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.images.subjects import ANYWHERE, Subject

Batch = UInt8[Tensor, "batch channel height width"]


class PhotoSource:
    """Data set of photos for training or embedding. An item is a photo or its horizontal flip.

    Item ``i`` below ``n`` is photo ``i``; item ``i + n`` is the flip of photo ``i``. The random generator of a sample
    depends on (seed, epoch, position in the epoch). The order of work, threads and resuming therefore change nothing.

    With ``versions`` there are ``versions * 2n`` different images, called rows: row ``item + 2n * version``.

    Args:
        paths: One file per photo.
        preprocess: Steps from a file to the network's input.
        boxes: One box per photo in pixels of the upright image, or None for a photo without a box. Short form of
            ``subjects`` with one box each.
        subjects: Boxes, landmarks and mask of each photo; use it instead of ``boxes``.
        augment: Data augmentation; with ``NoAugment`` every item is a fixed image.
        versions: Number of fixed augmented versions of each item, one of which is drawn each time. None draws a new
            augmentation each time. With fixed versions the number of images is finite, so that their features can be
            cached.
        seed: Random seed of the run.
        limits: Largest files and images that are accepted.

    Raises:
        ShapeError: There are no paths, or the number of boxes or subjects differs from the number of paths.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        *,
        boxes: Sequence[Box | None] | None = None,
        subjects: Sequence[Subject] | None = None,
        augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
        versions: int | None = None,
        seed: int = 0,
        limits: Limits = DEFAULT,
    ) -> None:
        if boxes is not None and subjects is None:
            subjects = [Subject((box,)) for box in boxes]
        if not paths or (subjects is not None and len(subjects) != len(paths)):
            raise ShapeError(
                "PhotoSource needs at least one photo, and one box (or None) per photo.",
                got=f"{len(paths)} paths, {'no' if subjects is None else len(subjects)} boxes",
                fix="pass boxes=None, or as many boxes as paths.",
            )
        self.paths = tuple(paths)
        self.subjects = None if subjects is None else tuple(subjects)
        self.preprocess = preprocess
        self.augment = augment
        self.versions = 1 if isinstance(augment, NoAugment) else versions
        self.seed = seed
        self.limits = limits

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    @property
    def n_rows(self) -> int | None:
        """Number of different images, flips included; None if each load draws a new augmentation."""
        return None if self.versions is None else 2 * len(self.paths) * self.versions

    def fingerprint(self) -> str:
        """Return a hash of everything that the images of the rows depend on.

        Files enter with path, size and time of modification, so that features cached under this hash cannot be stale.
        The seed enters only with data augmentation.
        """
        settings = {
            "preprocess": self.preprocess.model_dump(mode="json"),
            "spare": SPARE,
            "augment": None
            if isinstance(self.augment, NoAugment)
            else [self.augment.model_dump(mode="json"), self.versions, self.seed],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for at, path in enumerate(self.paths):
            about, subject = path.stat(), None if self.subjects is None else self.subjects[at]
            row = f"\n{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}\0{subject!r}"
            digest.update(os.fsencode(row))
        return digest.hexdigest()

    def rows(self, items: Int64[np.ndarray, " batch"], *, epoch: int, start: int) -> Int64[np.ndarray, " batch"]:
        """Return the row of each item at its position in an epoch (see ``n_rows``)."""
        if self.versions is None or self.versions == 1:
            return items
        version = generator(self.seed, "version", epoch, start).integers(self.versions, size=len(items))
        return items + 2 * len(self.paths) * version

    def load_rows(self, rows: Int64[np.ndarray, " batch"]) -> Batch:
        """Return the images of some rows."""
        return torch.stack([self._row(int(row)) for row in rows])

    def load(self, items: Int64[np.ndarray, " batch"], *, epoch: int, start: int) -> Batch:
        """Return the images of some items.

        Args:
            items: Item numbers, 0 to 2n - 1; items from n on are flips.
            epoch: Number of the epoch, from 0.
            start: Position of the first item in the epoch, from 0.

        Raises:
            ImageError: A photo cannot be read; the error names the file.
            ShapeError: There is no item, or an item is out of range.
        """
        n_photos = len(self.paths)
        if len(items) == 0 or min(items) < 0 or max(items) >= 2 * n_photos:
            raise ShapeError(
                "items: some numbers are outside the data set, or the list is empty.",
                got=f"{len(items)} items" + (f" from {min(items)} to {max(items)}" if len(items) else ""),
                fix=f"use 0 to {n_photos - 1}, and {n_photos} to {2 * n_photos - 1} for the flipped photos.",
            )
        if self.versions is not None:
            return self.load_rows(self.rows(items, epoch=epoch, start=start))
        return torch.stack(
            [
                self._picture(int(item), generator(self.seed, "augment", epoch, start + at))
                for at, item in enumerate(items)
            ]
        )

    def batches(
        self,
        order: Sequence[Int64[np.ndarray, " batch"]] | Int64[np.ndarray, "n_batches batch"],
        *,
        epoch: int,
        n_workers: int,
        skip_batches: int = 0,
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch in order. Threads load them in advance.

        Args:
            order: Items of each batch; the last batch may be shorter.
            epoch: Number of the epoch, from 0.
            n_workers: Number of threads; 0 loads in the calling thread.
            skip_batches: Number of batches completed before an interruption; they are not read.
        """
        starts = accumulate((len(items) for items in order), initial=0)
        jobs = islice(zip(order, starts, strict=False), skip_batches, None)
        return stream(jobs, lambda job: self.load(job[0], epoch=epoch, start=job[1]), n_workers=n_workers)

    def _row(self, row: int) -> UInt8[Tensor, "channel height width"]:
        version, item = divmod(row, 2 * len(self.paths))
        return self._picture(item, generator(self.seed, "augment", item, version))

    def _picture(self, item: int, rng: np.random.Generator) -> UInt8[Tensor, "channel height width"]:
        mirrored, at = divmod(item, len(self.paths))
        return prepare(
            self.paths[at],
            self.preprocess,
            subject=ANYWHERE if self.subjects is None else self.subjects[at],
            augment=self.augment,
            flip=bool(mirrored),
            rng=rng,
            limits=self.limits,
        )
