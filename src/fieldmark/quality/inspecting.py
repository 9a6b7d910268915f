"""What lies in a collection: counts, sizes, samples, and everything that would be refused."""

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
"""Of each kind."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo's file after a look at all of it; ``fault`` says why it cannot be used, and the rest is then empty."""

    kind: str = ""
    width_px: int = 0
    height_px: int = 0
    fault: ImageError | None = None


def look_at_files(
    paths: Sequence[Path], *, decode: bool = True, n_workers: int = 2, progress: Progress = QUIET
) -> list[Seen]:
    """Read every photo; decode it whole, as only that tells a good file from a broken one, and drop the pixels.

    Args:
        paths: One file a photo.
        decode: False reads headers alone, for photos that will be decoded soon after.
        n_workers: Threads.
        progress: Told as photos are done.
    """
    with ThreadPoolExecutor(max_workers=max(1, n_workers)) as pool:
        return list(
            progress.track(pool.map(partial(_seen, whole=decode), paths), total=len(paths), what="looking at photos")
        )


def _seen(path: Path, *, whole: bool) -> Seen:
    try:
        photo = opened(path)
        if whole:
            decode(photo)
    except ImageError as error:
        return Seen(fault=error)
    return Seen(photo.kind, photo.width, photo.height)


def broken(collection: Collection, seen: Sequence[Seen]) -> tuple[SkippedFile, ...]:
    """The photos with a fault, and which."""
    return tuple(
        SkippedFile(file, one.fault.problem)
        for file, one in zip(collection.table["file"], seen, strict=True)
        if one.fault is not None
    )


def inspection(found: Survey, *, n_workers: int = 2, progress: Progress = QUIET) -> InspectPage:
    """Everything the page about a collection shows.

    Args:
        found: The good rows of a table, and its mistakes.
        n_workers: Threads that look at the photos.
        progress: Told as photos are done.

    Source:
        Ours; what to look at follows the data chapters of the contest write-ups: photos per individual, label
        frequencies and co-occurrence, sizes, equal pictures with different names.
    """
    photos = found.collection
    seen = look_at_files(photos.paths, n_workers=n_workers, progress=progress)
    good = np.array([one.fault is None for one in seen], dtype=bool)
    bad = broken(photos, seen)
    whole = photos.take(good)
    sizes = np.array([(one.width_px, one.height_px) for one in seen if one.fault is None], dtype=np.int64).reshape(
        -1, 2
    )
    duplicates = _duplicates(whole)
    classes = photos.classes
    counts = np.bincount(classes[classes >= 0], minlength=len(photos.vocabulary.identities))
    labels, together = _labels(photos)
    odd = names_to_look_at(photos)
    kinds = Counter(one.kind for one in seen if one.fault is None)
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
        first += f"{' and' if n_named else ','} {n_new:,} of nobody we know"
    parts = [f"{first}."]
    if n_single:
        parts.append(f"{counted(n_single, 'individual')} {'has' if n_single == 1 else 'have'} a single photo.")
    if found.mistakes:
        parts.append(f"{counted(len(found.mistakes), 'place')} must be mended before training.")
    if bad:
        parts.append(f"{counted(len(bad), 'file')} cannot be read.")
    if not found.mistakes and not bad:
        parts.append("Nothing would be refused.")
    if n_odd:
        parts.append(f"{counted(n_odd, 'name')} should be looked at.")
    return " ".join(parts)


def _contents(photos: Collection, counts: np.ndarray) -> list[Fact]:
    """What the table says: photos, individuals, labels."""
    classes, vocabulary = photos.classes, photos.vocabulary
    facts = [Fact("Photos", f"{len(photos):,}")]
    if (counts > 0).any():
        n_single = int((counts == 1).sum())
        note = f"{n_single:,} with a single photo; most photos of one: {int(counts.max()):,}"
        facts.append(Fact("Individuals", f"{int((counts > 0).sum()):,}", note))
    if (classes == -1).any():
        facts.append(Fact("Nobody we know", f"{int((classes == -1).sum()):,}", f"photos named {vocabulary.unknown}"))
    if "identity" in photos.table.columns and (classes == -2).any():
        facts.append(Fact("Without a name", f"{int((classes == -2).sum()):,}", "photos whose identity is empty"))
    if vocabulary.tags:
        a_photo = float(photos.truth.sum(axis=1).mean()) if len(photos) else 0.0
        facts.append(Fact("Labels", f"{len(vocabulary.tags):,}", f"{a_photo:.1f} a photo"))
    facts += [Fact(f"Question {one.name}", f"{len(one.answers):,}", "answers") for one in vocabulary.questions]
    if "group" in photos.table.columns:
        facts.append(
            Fact("Groups", f"{len(np.unique(photos.groups)):,}", "never split between training and validation")
        )
    return facts


def _files(sizes: np.ndarray, kinds: Counter[str]) -> list[Fact]:
    """What the files are."""
    if not len(sizes):
        return []
    middle = np.median(sizes, axis=0).astype(int)
    areas = sizes.prod(axis=1)
    least, most = sizes[areas.argmin()], sizes[areas.argmax()]
    note = f"from {least[0]:,} x {least[1]:,} to {most[0]:,} x {most[1]:,}"
    return [
        Fact("Middle size", f"{middle[0]:,} x {middle[1]:,} px", note),
        Fact("Kinds", ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())),
    ]


def _faults(found: Survey, bad: Sequence[SkippedFile], copies: Sequence[DuplicateGroup]) -> list[Fact]:
    """What is to be mended or known."""
    n_conflicts = sum(copy.is_conflict for copy in copies)
    conflicts = f"{counted(n_conflicts, 'picture')} with different names" if n_conflicts else ""
    facts = [
        Fact("To mend", f"{len(found.mistakes):,}", "places in the table" if found.mistakes else ""),
        Fact("Broken files", f"{len(bad):,}", "--skip-broken leaves them out" if bad else ""),
        Fact("Pictures in several files", f"{len(copies):,}", conflicts),
    ]
    if found.notes:
        facts.append(
            Fact("Left out rightly", f"{len(found.notes):,}", "rows that repeat others, files that are no photos")
        )
    return facts


def _problem(mistake: Mistake) -> Problem:
    return Problem(mistake.file, mistake.problem, mistake.row, mistake.column or "", mistake.value)


def names_given(photos: Collection) -> list[str]:
    """What the table calls each photo: its identity, else its labels."""
    if "identity" in photos.table.columns:
        return [name or "" for name in photos.table["identity"]]
    if "labels" in photos.table.columns:
        return [", ".join(sorted(names)) if names is not None else "" for names in photos.table["labels"].to_list()]
    return [""] * len(photos)


def _duplicates(photos: Collection) -> tuple[DuplicateGroup, ...]:
    """Groups of files with the same bytes, those under two names first."""
    files, said = photos.table["file"].to_list(), names_given(photos)
    groups = sorted(same_bytes(photos.paths), key=lambda rows: len({said[row] for row in rows}) == 1)
    return tuple(
        DuplicateGroup(
            files=tuple(files[row] for row in rows),
            names=tuple(said[row] for row in rows),
            picture=picture(photos, rows[0]) if place < N_DUPLICATE_PICTURES else None,
        )
        for place, rows in enumerate(groups)
    )


def _labels(photos: Collection) -> tuple[tuple[LabelCount, ...], Cooccurrence | None]:
    """How often each tag (or answer) occurs, and how often the commonest tags occur together."""
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
    """Labels that imply, repeat or exclude each other; of each kind those that touch the most photos."""
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
            "is spelt nearly as",
            one.second,
            f"{one.n_first:,} and {one.n_second:,}; {one.n_both:,} have both",
        )
        for one in graph.similar[:N_HINTS]
    ]
    hints += [
        NameHint(
            one.first,
            "is never with",
            one.second,
            f"{one.n_first:,} and {one.n_second:,}; chance would give {one.expected:.0f} both",
        )
        for one in graph.apart[:N_HINTS]
    ]
    return tuple(hints)


def names_to_look_at(photos: Collection) -> tuple[NameHint, ...]:
    """Names of individuals that are perhaps slips, and a word for unknown individuals that no photo bears."""
    vocabulary, hints = photos.vocabulary, []
    is_borne = bool((photos.classes == -1).any())
    if not vocabulary.has_default_unknown and "identity" in photos.table.columns and not is_borne:
        hints.append(NameHint(repr(vocabulary.unknown), "stands for nobody we know", "", "no photo bears it"))
    counts = np.bincount(photos.classes[photos.classes >= 0], minlength=len(vocabulary.identities)).tolist()
    borne = dict(zip(vocabulary.identities, counts, strict=True))
    if is_borne:
        borne[vocabulary.unknown] = int((photos.classes == -1).sum())
    for odd in odd_names(borne):
        both = "" if odd.other is None else f" and {odd.n_other:,}"
        other = "" if odd.other is None else repr(odd.other)
        plural = "s" if both or odd.n_photos != 1 else ""
        hints.append(NameHint(repr(odd.name), odd.relation, other, f"{odd.n_photos:,}{both} photo{plural}"))
    return tuple(hints)


def _samples(photos: Collection) -> tuple[Tile, ...]:
    """Photos drawn by lot, always the same ones of a collection."""
    lot = generator("inspect", len(photos)).permutation(len(photos))[:N_SAMPLES]
    said, images = names_given(photos), photos.images
    return tuple(Tile(images[row], picture(photos, row), said[row]) for row in sorted(lot.tolist()))


def _identities(photos: Collection) -> tuple[IdentityRow, ...]:
    """The individuals with the most photos, a few of each."""
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
