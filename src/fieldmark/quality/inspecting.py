"""Summarise a collection: counts, image sizes, samples, and everything that training would reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fieldmark.core.errors import ImageError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator
from fieldmark.data.collection import Collection
from fieldmark.data.copies import same_bytes
from fieldmark.data.mistakes import Mistake
from fieldmark.data.reading import Survey
from fieldmark.images.reading import decode, opened
from fieldmark.quality.labels.label_graph import inspect_labels
from fieldmark.quality.odd_names import odd_names
from fieldmark.reporting.contents import (
    Cooccurrence,
    DuplicateGroup,
    Fact,
    IdentityRow,
    InspectPage,
    LabelCount,
    NameHint,
    Problem,
    SkippedFile,
    Tile,
)
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted

N_SAMPLES = 36
N_IDENTITIES = 8
N_TILES = 6
N_TOGETHER = 16
N_DUPLICATE_PICTURES = 40
N_HINTS = 15
"""Maximum number of label hints of each kind."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """Result of reading one photo file. For an unusable file, ``fault`` is the error and the rest is empty."""

    kind: str = ""
    width_px: int = 0
    height_px: int = 0
    fault: ImageError | None = None


def look_at_files(
    paths: Sequence[Path], *, decode: bool = True, n_workers: int = 2, progress: Progress = QUIET
) -> list[FileCheck]:
    """Read every photo file and return its format, size and error.

    Files are decoded completely, because only that detects every broken file. The pixels are not kept.

    Args:
        paths: One file per photo.
        decode: Whether to decode the pixels. False reads only the headers, for photos that are decoded soon after.
        n_workers: Number of threads.
        progress: Receives the number of finished photos.
    """
    with ThreadPoolExecutor(max_workers=max(1, n_workers)) as pool:
        return list(
            progress.track(
                pool.map(partial(_check_file, whole=decode), paths), total=len(paths), what="checking photos"
            )
        )


def _check_file(path: Path, *, whole: bool) -> FileCheck:
    try:
        photo = opened(path)
        if whole:
            decode(photo)
    except ImageError as error:
        return FileCheck(fault=error)
    return FileCheck(photo.kind, photo.width, photo.height)


def broken(collection: Collection, checks: Sequence[FileCheck]) -> tuple[SkippedFile, ...]:
    """Return the broken files with their errors."""
    return tuple(
        SkippedFile(file, one.fault.problem)
        for file, one in zip(collection.table["file"], checks, strict=True)
        if one.fault is not None
    )


def inspection(found: Survey, *, n_workers: int = 2, progress: Progress = QUIET) -> InspectPage:
    """Return the content of the page about a collection.

    Args:
        found: The valid rows of a table, and its mistakes.
        n_workers: Number of threads that read photos.
        progress: Receives the number of finished photos.

    Source:
        Ours. The selection follows the data sections of contest write-ups: photos per individual, label frequencies
        and co-occurrence, image sizes, and equal pictures with different names.
    """
    photos = found.collection
    checks = look_at_files(photos.paths, n_workers=n_workers, progress=progress)
    good = np.array([one.fault is None for one in checks], dtype=bool)
    bad = broken(photos, checks)
    whole = photos.take(good)
    sizes = np.array([(one.width_px, one.height_px) for one in checks if one.fault is None], dtype=np.int64).reshape(
        -1, 2
    )
    duplicates = _duplicates(whole)
    classes = photos.classes
    counts = np.bincount(classes[classes >= 0], minlength=len(photos.vocabulary.identities))
    labels, together = _labels(photos)
    odd = names_to_look_at(photos)
    kinds = Counter(one.kind for one in checks if one.fault is None)
    return InspectPage(
        title=photos.name,
        summary=_summary(found, counts, bad, n_odd=len(odd)),
        facts=(*_contents(photos, counts), *_files(sizes, kinds), *_faults(found, bad, duplicates)),
        problems=tuple(_problem(mistake) for mistake in found.mistakes),
        broken=bad,
        duplicates=duplicates,
        photos_per_identity=counts[counts > 0] if (counts > 0).any() else None,
        labels=labels,
        cooccurrence=together,
        name_hints=_name_hints(photos),
        odd_names=odd,
        widths_px=sizes[:, 0] if len(sizes) else None,
        heights_px=sizes[:, 1] if len(sizes) else None,
        samples=_samples(whole),
        identities=_identities(whole),
    )


def _summary(found: Survey, counts: np.ndarray, bad: Sequence[SkippedFile], *, n_odd: int) -> str:
    photos = found.collection
    n_named, n_single = int((counts > 0).sum()), int((counts == 1).sum())
    n_new = int((photos.classes == -1).sum())
    first = counted(len(photos), "photo")
    if n_named:
        first += f" of {counted(n_named, 'individual')}"
    if n_new:
        first += f"{' and' if n_named else ','} {n_new:,} of unknown individuals"
    parts = [f"{first}."]
    if n_single:
        parts.append(f"{counted(n_single, 'individual')} {'has' if n_single == 1 else 'have'} a single photo.")
    if found.mistakes:
        parts.append(f"{counted(len(found.mistakes), 'mistake')} in the table must be corrected before training.")
    if bad:
        parts.append(f"{counted(len(bad), 'file')} cannot be read.")
    if not found.mistakes and not bad:
        parts.append("No mistakes or broken files were found.")
    if n_odd:
        parts.append(f"{counted(n_odd, 'name')} should be checked.")
    return " ".join(parts)


def _contents(photos: Collection, counts: np.ndarray) -> list[Fact]:
    """Return the counts of photos, individuals and labels in the table."""
    classes, vocabulary = photos.classes, photos.vocabulary
    facts = [Fact("Photos", f"{len(photos):,}")]
    if (counts > 0).any():
        n_single = int((counts == 1).sum())
        note = f"{n_single:,} with a single photo; at most {int(counts.max()):,} photos of one individual"
        facts.append(Fact("Individuals", f"{int((counts > 0).sum()):,}", note))
    if (classes == -1).any():
        facts.append(
            Fact("Unknown individuals", f"{int((classes == -1).sum()):,}", f"photos labelled {vocabulary.unknown}")
        )
    if "identity" in photos.table.columns and (classes == -2).any():
        facts.append(Fact("Without a name", f"{int((classes == -2).sum()):,}", "photos whose identity is empty"))
    if vocabulary.tags:
        per_photo = float(photos.truth.sum(axis=1).mean()) if len(photos) else 0.0
        facts.append(Fact("Labels", f"{len(vocabulary.tags):,}", f"{per_photo:.1f} per photo"))
    facts += [Fact(f"Question {one.name}", f"{len(one.answers):,}", "answers") for one in vocabulary.questions]
    if "group" in photos.table.columns:
        facts.append(
            Fact("Groups", f"{len(np.unique(photos.groups)):,}", "never split between training and validation")
        )
    return facts


def _files(sizes: np.ndarray, kinds: Counter[str]) -> list[Fact]:
    """Return the image sizes and formats of the files."""
    if not len(sizes):
        return []
    middle = np.median(sizes, axis=0).astype(int)
    areas = sizes.prod(axis=1)
    least, most = sizes[areas.argmin()], sizes[areas.argmax()]
    note = f"from {least[0]:,} x {least[1]:,} to {most[0]:,} x {most[1]:,}"
    return [
        Fact("Median size", f"{middle[0]:,} x {middle[1]:,} px", note),
        Fact("File formats", ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())),
    ]


def _faults(found: Survey, bad: Sequence[SkippedFile], copies: Sequence[DuplicateGroup]) -> list[Fact]:
    """Return the counts of mistakes, broken files and copies."""
    n_conflicts = sum(copy.is_conflict for copy in copies)
    conflicts = f"{counted(n_conflicts, 'picture')} with different names" if n_conflicts else ""
    facts = [
        Fact("Mistakes", f"{len(found.mistakes):,}", "in the table; correct them" if found.mistakes else ""),
        Fact("Broken files", f"{len(bad):,}", "--skip-broken leaves them out" if bad else ""),
        Fact("Pictures in several files", f"{len(copies):,}", conflicts),
    ]
    if found.notes:
        facts.append(Fact("Left out", f"{len(found.notes):,}", "repeated rows, and files that are not photos"))
    return facts


def _problem(mistake: Mistake) -> Problem:
    return Problem(mistake.file, mistake.problem, mistake.row, mistake.column or "", mistake.value)


def names_given(photos: Collection) -> list[str]:
    """Return the identity of each photo, else its labels, as given in the table; empty where there is neither."""
    if "identity" in photos.table.columns:
        return [name or "" for name in photos.table["identity"]]
    if "labels" in photos.table.columns:
        return [", ".join(sorted(names)) if names is not None else "" for names in photos.table["labels"].to_list()]
    return [""] * len(photos)


def _duplicates(photos: Collection) -> tuple[DuplicateGroup, ...]:
    """Return groups of files with the same bytes, groups with conflicting names first."""
    files, names = photos.table["file"].to_list(), names_given(photos)
    groups = sorted(same_bytes(photos.paths), key=lambda rows: len({names[row] for row in rows}) == 1)
    return tuple(
        DuplicateGroup(
            files=tuple(files[row] for row in rows),
            names=tuple(names[row] for row in rows),
            picture=picture(photos, rows[0]) if place < N_DUPLICATE_PICTURES else None,
        )
        for place, rows in enumerate(groups)
    )


def _labels(photos: Collection) -> tuple[tuple[LabelCount, ...], Cooccurrence | None]:
    """Return the count of each tag and answer, and the co-occurrence of the commonest tags."""
    vocabulary = photos.vocabulary
    answers = [
        LabelCount(f"{question.name}: {answer}", int(count))
        for question in vocabulary.questions
        for answer, count in zip(question.answers, photos.answers(question.name).sum(axis=0), strict=True)
    ]
    if not vocabulary.tags:
        return tuple(answers), None
    truth = photos.truth
    counts = truth.sum(axis=0)
    tags = [LabelCount(name, int(count)) for name, count in zip(vocabulary.tags, counts, strict=True)]
    commonest = np.argsort(-counts, kind="stable")[:N_TOGETHER]
    chosen = truth[:, commonest]
    together = Cooccurrence(tuple(vocabulary.tags[at] for at in commonest), (chosen.T @ chosen).astype(np.int64))
    return (*tags, *answers), together if len(commonest) > 1 else None


def _name_hints(photos: Collection) -> tuple[NameHint, ...]:
    """Return hints about labels that imply, repeat or exclude each other, those with the most photos first."""
    if not photos.vocabulary.tags or not len(photos):
        return ()
    graph = inspect_labels(photos.vocabulary.tags, photos.truth > 0)
    hints = [
        NameHint(one.label, "implies", one.implied, f"{one.n_missing:,} of {counted(one.n, 'photo')} lack it")
        for one in graph.implications[:N_HINTS]
        if one.n_missing
    ]
    hints += [
        NameHint(
            one.first,
            "has nearly the same spelling as",
            one.second,
            f"{one.n_first:,} and {one.n_second:,}; {one.n_both:,} have both",
        )
        for one in graph.similar[:N_HINTS]
    ]
    hints += [
        NameHint(
            one.first,
            "never occurs with",
            one.second,
            f"{one.n_first:,} and {one.n_second:,}; {one.expected:.0f} photos with both expected by chance",
        )
        for one in graph.exclusive[:N_HINTS]
    ]
    return tuple(hints)


def names_to_look_at(photos: Collection) -> tuple[NameHint, ...]:
    """Return names that may be typing mistakes, and a label for unknown individuals that no photo has."""
    vocabulary, hints = photos.vocabulary, []
    is_used = bool((photos.classes == -1).any())
    if not vocabulary.has_default_unknown and "identity" in photos.table.columns and not is_used:
        hints.append(NameHint(repr(vocabulary.unknown), "is the label for unknown individuals", "", "no photo has it"))
    counts = np.bincount(photos.classes[photos.classes >= 0], minlength=len(vocabulary.identities)).tolist()
    n_photos = dict(zip(vocabulary.identities, counts, strict=True))
    if is_used:
        n_photos[vocabulary.unknown] = int((photos.classes == -1).sum())
    for odd in odd_names(n_photos):
        both = "" if odd.other is None else f" and {odd.n_other:,}"
        other = "" if odd.other is None else repr(odd.other)
        plural = "s" if both or odd.n_photos != 1 else ""
        hints.append(NameHint(repr(odd.name), odd.relation, other, f"{odd.n_photos:,}{both} photo{plural}"))
    return tuple(hints)


def _samples(photos: Collection) -> tuple[Tile, ...]:
    """Return a random sample of photos, always the same for a collection."""
    drawn = generator("inspect", len(photos)).permutation(len(photos))[:N_SAMPLES]
    names, images = names_given(photos), photos.images
    return tuple(Tile(images[row], picture(photos, row), names[row]) for row in sorted(drawn.tolist()))


def _identities(photos: Collection) -> tuple[IdentityRow, ...]:
    """Return the individuals with the most photos, and a few photos of each."""
    classes, images = photos.classes, photos.images
    counts = np.bincount(classes[classes >= 0], minlength=len(photos.vocabulary.identities))
    commonest = [int(number) for number in np.argsort(-counts, kind="stable")[:N_IDENTITIES] if counts[number] > 1]
    return tuple(
        IdentityRow(
            photos.vocabulary.identities[number],
            int(counts[number]),
            tuple(
                Tile(images[row], picture(photos, row)) for row in np.flatnonzero(classes == number)[:N_TILES].tolist()
            ),
        )
        for number in commonest
    )
