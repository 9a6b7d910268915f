"""What stages that score labels leave, and how later stages read it.

Such a stage (``score``, ``stack``) writes an out-of-fold store for each of its voices (a network, the trees) and for
their ``mean``: known photos by networks that have not seen them, new photos by all networks together. Beside each
lies ``<voice>.new.npy``: new photos by the networks of each fold alone. What is learnt anew for fold k may only use the
latter, as the other networks have learnt from the photos of fold k.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from fieldmark.data.scores import OutOfFold, Scores
from fieldmark.stages.job import Job
from fieldmark.stages.lessons import Extra

MEAN = "mean"
NEW = ".new.npy"
DROPPED = "dropped.parquet"
ABSENT, KNOWN_ABSENT = "absent.npy", "known_absent.npy"
"""Which new and which known photos a stage knows nothing of: no file, no text. Not there where it knows all."""


def write_scored(
    folder: Path,
    voice: str,
    job: Job,
    *,
    columns: Sequence[str],
    fold: Int64[np.ndarray, " image"],
    proba: Float32[np.ndarray, "image label"],
    new: Float32[np.ndarray, "fold photo label"] | None,
) -> None:
    """Write what one voice says: of all known photos out of fold, of new photos by fold and in the mean."""
    images = np.array(job.known.images, dtype=object)
    if new is not None:
        np.save(folder / f"{voice}{NEW}", new)
    with OutOfFold.create(folder / voice, columns) as store:
        for k in range(int(fold.max()) + 1):
            judged = fold == k
            store.add(list(images[judged]), proba[judged], fold=k, trained_on=list(images[~judged]))
        if new is not None and job.new is not None:
            store.add(job.new.images, new.mean(axis=0), fold=-1, trained_on=list(images))


def write_absent(folder: Path, job: Job, absent: Bool[np.ndarray, " photo"] | None = None) -> None:
    """Note which new photos a stage knows nothing of: by default those whose file is gone."""
    if absent is None and job.new is not None:
        absent = ~job.new.present
    if absent is not None and absent.any():
        np.save(folder / ABSENT, absent)


def absent_of(job: Job, name: str, *, known: bool = False) -> Bool[np.ndarray, " photo"]:
    """Which new photos (or known ones) a stage with scores knows nothing of."""
    place = job.run.stage(name) / (KNOWN_ABSENT if known else ABSENT)
    photos = job.known if known else job.new
    n = len(photos) if photos is not None else 0
    return np.load(place, allow_pickle=False) if place.exists() else np.zeros(n, dtype=np.bool_)


def labels_of(job: Job, name: str, *, voice: str = MEAN) -> tuple[str, ...]:
    """The labels that a voice answers."""
    return Scores.open(job.run.stage(name) / voice).columns


def known_proba(job: Job, name: str, *, voice: str = MEAN) -> Float32[np.ndarray, "image label"]:
    """The out-of-fold probabilities of all known photos; columns are the vocabulary's tags, 0 for unanswered ones."""
    scores = Scores.open(job.run.stage(name) / voice)
    return _all_columns(scores.rows(job.known.images), scores.columns, job)


def new_proba(job: Job, name: str, *, voice: str = MEAN, k: int | None = None) -> Float32[np.ndarray, "photo label"]:
    """Probabilities of the new photos: by all networks, or only by those that have not seen fold ``k``."""
    place = job.run.stage(name)
    if job.new is None or not len(job.new):
        return np.zeros((0, len(job.known.vocabulary.tags)), dtype=np.float32)
    scores = Scores.open(place / voice)
    rows = scores.rows(job.new.images) if k is None else np.load(place / f"{voice}{NEW}", mmap_mode="r")[k]
    return _all_columns(rows, scores.columns, job)


def speaks_by_fold(job: Job, name: str) -> bool:
    """Whether a stage's new photos are scored by the networks of each fold alone, too; trees speak once for all."""
    n_folds = np.load(job.run.stage(name) / f"{MEAN}{NEW}", mmap_mode="r").shape[0]
    return n_folds > 1


def filled_by(
    job: Job, name: str, truth: Float32[np.ndarray, "image label"], *, times: float
) -> Float32[np.ndarray, "image label"]:
    """Targets in which a label that the table lacks counts ``times`` its out-of-fold probability."""
    from fieldmark.quality.distill import missing_filled

    return missing_filled(truth, known_proba(job, name), times=times)


def kept_by(job: Job, name: str | None) -> Bool[np.ndarray, " image"]:
    """Which known photos a drop stage kept; all of them without one."""
    if name is None:
        return np.ones(len(job.known), dtype=np.bool_)
    dropped = pl.read_parquet(job.run.stage(name) / DROPPED)
    return ~np.isin(np.array(job.known.images), dropped["image"].to_numpy())


def picked_by(job: Job, name: str, *, k: int, columns: Int64[np.ndarray, " column"]) -> Extra:
    """The new photos that an enlarge stage picked for network ``k``, with the targets of some labels."""
    place = job.run.stage(name)
    targets = np.load(place / f"targets{k}.npy", allow_pickle=False)
    return Extra(np.load(place / f"picked{k}.npy", allow_pickle=False), np.ascontiguousarray(targets[:, columns]))


def _all_columns(rows: np.ndarray, columns: Sequence[str], job: Job) -> np.ndarray:
    """Rows with a column for each tag of the vocabulary: 0 for labels that the stage does not answer."""
    tags = job.known.vocabulary.tags
    if tuple(columns) == tuple(tags):
        return np.asarray(rows)
    place = {name: column for column, name in enumerate(tags)}
    wide = np.zeros((len(rows), len(tags)), dtype=np.float32)
    wide[:, [place[name] for name in columns]] = rows
    return wide
