"""Photos in batches, read ahead by threads; the result is the same for any number of them.

Threads rather than processes: the decoder and the resize let go of Python's lock, and nothing has to be copied.
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
    """The photos of a training or of a collection, addressed by item: an item is a photo, as it is or mirrored.

    Item ``i`` below ``n`` is photo ``i``; item ``i + n`` is photo ``i`` mirrored. A sample's chance is a function of
    (seed, epoch, position in the epoch), so that order of work, threads and resuming change nothing.

    With ``versions`` there are ``versions * 2n`` different pictures, called rows: row ``item + 2n * version``.

    Args:
        paths: One file a photo.
        preprocess: How a file becomes the network's input.
        boxes: One box a photo, None where there is none; in pixels of the upright picture. Short for ``subjects`` that
            have one box each.
        subjects: What is known of where each photo's subject is; instead of ``boxes``.
        augment: How photos are varied; ``NoAugment`` makes every item a fixed picture.
        versions: Vary each item in so many fixed ways and show one of them each time; None: anew each time. With
            fixed ways there is a finite number of pictures, so that features of them can be kept.
        seed: Of the run.
        limits: What to refuse.

    Raises:
        ShapeError: There are no paths, or not as many boxes or subjects as paths.
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
                "PhotoSource needs at least one photo, and a box (or None) for each of them.",
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
        """How many photos there are."""
        return len(self.paths)

    @property
    def n_rows(self) -> int | None:
        """How many different pictures there are, mirrored ones included; None where chance makes ever new ones."""
        return None if self.versions is None else 2 * len(self.paths) * self.versions

    def fingerprint(self) -> str:
        """A hash of all that decides what the rows look like.

        Files count by path, size and time of change: what is kept under this hash cannot be stale. The seed counts only
        where photos are varied.
        """
        told = {
            "preprocess": self.preprocess.model_dump(mode="json"),
            "spare": SPARE,
            "augment": None
            if isinstance(self.augment, NoAugment)
            else [self.augment.model_dump(mode="json"), self.versions, self.seed],
        }
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for at, path in enumerate(self.paths):
            seen, subject = path.stat(), None if self.subjects is None else self.subjects[at]
            row = f"\n{path.resolve()}\0{seen.st_size}\0{seen.st_mtime_ns}\0{subject!r}"
            digest.update(os.fsencode(row))
        return digest.hexdigest()

    def rows(self, items: Int64[np.ndarray, " batch"], *, epoch: int, start: int) -> Int64[np.ndarray, " batch"]:
        """Which picture each item shows at its position of an epoch, where pictures are numbered (see ``n_rows``)."""
        if self.versions is None or self.versions == 1:
            return items
        version = generator(self.seed, "version", epoch, start).integers(self.versions, size=len(items))
        return items + 2 * len(self.paths) * version

    def load_rows(self, rows: Int64[np.ndarray, " batch"]) -> Batch:
        """The pictures of some rows."""
        return torch.stack([self._row(int(row)) for row in rows])

    def load(self, items: Int64[np.ndarray, " batch"], *, epoch: int, start: int) -> Batch:
        """The pictures of some items.

        Args:
            items: 0 to 2n - 1; those from n on are mirrored.
            epoch: From 0.
            start: Position of the first item in its epoch, from 0.

        Raises:
            ImageError: A photo cannot be read; it names the file.
            ShapeError: There is no item, or one is none of ours.
        """
        n_photos = len(self.paths)
        if len(items) == 0 or min(items) < 0 or max(items) >= 2 * n_photos:
            raise ShapeError(
                "load() takes items of its own photos.",
                got=f"{len(items)} items" + (f" from {min(items)} to {max(items)}" if len(items) else ""),
                fix=f"use 0 to {n_photos - 1}, and {n_photos} to {2 * n_photos - 1} for the mirrored ones.",
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
        """The batches of an epoch, in order, read ahead by threads.

        Args:
            order: The items of every batch; the last may be shorter.
            epoch: From 0.
            n_workers: Threads; 0 reads in the caller's own.
            skip_batches: Batches already done before an interruption; they are not read.
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
