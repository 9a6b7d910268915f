"""Reading of photos from tables, folders and single files; broken files are reported or left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from fieldmark.core.errors import DataError, FieldmarkError, several
from fieldmark.core.progress import QUIET, Progress

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.data.reading import Survey
    from fieldmark.pipeline.plan import Plan
    from fieldmark.reporting.contents import SkippedFile

CONTESTS = ("humpback", "imet2019")
"""Layouts whose folder also holds the new photos of the contest."""
SAMPLE = "sample_submission.csv"
TEST = "test"
NEW_COLUMNS = ("image", "file", "url", "text", "width", "height")
"""Columns that a table of new photos may share with the training table; labels are not among them."""


class Reading(TypedDict, total=False):
    """Keyword options to read a table of photos, accepted by every function that takes photos.

    Attributes:
        layout: ``auto`` (recognised), ``table``, ``folders``, ``coco``, ``coco_identities``, ``humpback``,
            ``imet2019``, ``imaterialist2017`` or ``imaterialist2018``.
        columns: Names of columns in the table: ``{"identity": "whale"}``.
        photos: Folder of the photos; without it, the usual folders beside the table are tried.
        unknown: Label used in the table for unknown individuals. Without it, ``new_whale``, ``unknown`` and
            ``new_individual`` are recognised.
        encoding: Text encoding of the table.
        allow_outside: Whether photos may be outside the folder of photos.
        skip_broken: Whether to leave out photos that are missing or cannot be read, instead of raising an error.
        questions: Columns that hold the answers to questions, or a TOML file that describes them. Without it,
            ``questions.toml`` beside the table is read if it exists.
        boxes: Tables of boxes, landmarks or masks of these photos: ``boxes.csv``, or ``NAME=boxes.csv`` for a second
            source of that name.
    """

    layout: str
    columns: Mapping[str, str]
    photos: Path | str | None
    unknown: str | None
    encoding: str
    allow_outside: bool
    skip_broken: bool
    questions: Sequence[str] | Path | str
    boxes: Sequence[str]


@dataclass(frozen=True)
class Photos:
    """The readable photos of a data set, and the files that were left out.

    Attributes:
        collection: The photos.
        skipped: Files that were left out, each with the reason.
        decoded: Function that reads the same photos again and decodes every file; None if they were decoded.
    """

    collection: Collection
    skipped: tuple[SkippedFile, ...] = ()
    decoded: Callable[[], Photos] | None = field(default=None, compare=False)

    def further(self) -> Photos:
        """Decode every file; ``skipped`` of the result holds only newly skipped files.

        Raises:
            DataError: Photos cannot be decoded and ``skip_broken`` is False; the error lists all.
        """
        found = self if self.decoded is None else self.decoded()
        return replace(found, skipped=tuple(one for one in found.skipped if one not in self.skipped))

    def report(self, progress: Progress, plan: Plan) -> None:
        """Report the skipped files, and boxes, masks or landmarks that ``plan`` uses and the table lacks."""
        for one in self.skipped:
            progress.say(f"left out: {one.file}: {one.reason}")
        warn_unmarked(self.collection, plan, progress)


def warn_unmarked(photos: Collection, plan: Plan, progress: Progress, *, of: str = "these photos") -> None:
    """Report boxes, masks or landmarks that the networks of ``plan`` use and the table lacks."""
    from fieldmark.quality.regions.finding import unlabelled
    from fieldmark.stages.common.train import Train

    nets = [stage for stage in plan.stages if isinstance(stage, Train)]
    crops = [crop for net in nets for crop in net.preprocess.in_use()]
    for what in sorted({one for crop in crops for one in unlabelled(photos, crop)}):
        progress.say(f"missing {what} of {of}: this run crops photos by a table of {what}; add it with --boxes TABLE")


def warn_odd_names(photos: Collection, progress: Progress, *, most: int = 5) -> None:
    """Report names of individuals that may be misspelled."""
    from fieldmark.quality.inspecting import names_to_look_at

    hints = names_to_look_at(photos)
    for one in hints[:most]:
        progress.say(f"check the name {' '.join(filter(None, (one.label, one.relation, one.other)))}: {one.seen}")
    if len(hints) > most:
        progress.say(f"... and {len(hints) - most:,} more names; `fieldmark inspect` lists them")


def gather(
    data: Collection | Path | str,
    *,
    labelled: bool,
    reading: Reading,
    keep_missing: bool = False,
    decode: bool = True,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Photos:
    """Read the photos of ``data``, and check that every file can be read.

    Args:
        data: A collection, or the path of a table, a folder, or a single photo.
        labelled: Whether the table must have names or labels.
        reading: Options of the reader; only ``skip_broken`` and ``boxes`` apply to a collection.
        keep_missing: Whether to keep the rows of missing and broken photos, with an empty file name, so that texts
            can be used for them.
        decode: Whether to decode every file completely. False reads only the headers, for photos that are decoded
            soon afterwards; ``Photos.decoded`` reads them again if that fails.
        n_workers: Number of image-loading threads.
        progress: Display that counts the photos.

    Raises:
        DataError: The table has errors, or photos cannot be read and ``skip_broken`` is False; the error lists all.
    """
    from fieldmark.data.mistakes import refusal
    from fieldmark.data.photos import MISSING, NOT_A_FILE
    from fieldmark.reporting.contents import SkippedFile

    pace: dict[str, Any] = {"n_workers": n_workers, "progress": progress}
    again = (
        None if decode else partial(gather, data, labelled=labelled, reading=reading, keep_missing=keep_missing, **pace)
    )
    if keep_missing:
        return replace(_with_missing(data, labelled=labelled, reading=reading, decode=decode, **pace), decoded=again)
    skip_broken = reading.get("skip_broken", False)
    found, name = (
        look_up(data, labelled=labelled, reading=reading),
        str(data) if isinstance(data, Path | str) else data.name,
    )
    missing = [mistake for mistake in found.mistakes if skip_broken and mistake.problem in {MISSING, NOT_A_FILE}]
    wrong = [mistake for mistake in found.mistakes if mistake not in missing]
    if wrong:
        raise refusal(name, wrong)
    skipped = tuple(SkippedFile(mistake.value, mistake.problem) for mistake in missing)
    collection, faulty = _decodable(found.collection, name, skip_broken=skip_broken, decode=decode, **pace)
    skipped += faulty
    if not len(collection):
        raise DataError(
            f"No photo of {name} can be read.",
            got=several([f"{one.file}: {one.reason}" for one in skipped]),
            fix=f"run `fieldmark inspect {name}`, which lists the errors."
            if isinstance(data, Path | str)
            else "give photos that can be read.",
        )
    return Photos(_present_vocabulary(collection) if skipped else collection, skipped, again)


def _with_missing(
    data: Collection | Path | str,
    *,
    labelled: bool,
    reading: Reading,
    decode: bool,
    n_workers: int,
    progress: Progress,
) -> Photos:
    """Return all rows; those of missing or broken photos have an empty file name."""
    import polars as pl

    from fieldmark.data.mistakes import refusal
    from fieldmark.quality.inspecting import broken, look_at_files

    name = str(data) if isinstance(data, Path | str) else data.name
    unchecked: Reading = {**reading}
    unchecked.pop("skip_broken", None)
    found = look_up(data, labelled=labelled, reading=unchecked, check_files=False)
    if found.mistakes:
        raise refusal(name, found.mistakes)
    photos = found.collection
    exists = [path.is_file() for path in photos.paths]
    files = [path for path, is_file in zip(photos.paths, exists, strict=True) if is_file]
    checked = look_at_files(files, decode=decode, n_workers=n_workers, progress=progress)
    faulty = broken(photos.take(exists), checked)
    readable = iter(one.fault is None for one in checked)
    good = [is_file and next(readable) for is_file in exists]
    if not any(good):
        raise DataError(
            f"No photo of {name} can be read.",
            got=several([str(path) for path in photos.paths]),
            fix="give the folder of the photos: --photos FOLDER.",
        )
    if n_missing := good.count(False):
        progress.say(
            f"missing: {n_missing:,} of {len(good):,} photos have no readable file; predictions use their texts, if any"
        )
    table = photos.table.with_columns(file=pl.when(pl.Series(good)).then("file").otherwise(pl.lit("")))
    return Photos(replace(photos, table=table), faulty)


def look_up(data: Collection | Path | str, *, labelled: bool, reading: Reading, check_files: bool = True) -> Survey:
    """Return the valid rows of ``data`` and its errors.

    Raises:
        DataError: ``data`` does not exist.
        FieldmarkError: Reading options are given for a collection.
    """
    from fieldmark.data.collection import Collection
    from fieldmark.data.photos import is_photo
    from fieldmark.data.reading import Survey, survey

    options = {name: value for name, value in reading.items() if name not in {"skip_broken", "boxes"}}
    marks = reading.get("boxes", ())
    if isinstance(data, Collection):
        if options:
            raise FieldmarkError(
                "Reading options do not apply to a collection.",
                got=", ".join(options),
                fix="pass them to fieldmark.read(), or pass the path instead of the collection.",
            )
        return Survey(_with_marks(data, marks), ())
    path = Path(data)
    if not labelled and path.is_file() and is_photo(path.name):
        return Survey(_with_marks(of_files(path), marks), ())
    found = survey(path, labelled=labelled, check_files=check_files, **options)  # type: ignore[arg-type]
    return replace(found, collection=_with_marks(found.collection, marks)) if marks else found


def _with_marks(photos: Collection, tables: Sequence[str], *, strict: bool = True) -> Collection:
    """Return the photos with boxes, landmarks and masks from tables; unless ``strict``, a table may have none of them.

    Raises:
        DataError: A table has errors, or names none of these photos.
    """
    from fieldmark.data.marks import marked, read_marks

    for name in tables:
        source, is_named, file = str(name).partition("=")
        source, file = (source, file) if is_named else ("", source)
        photos = marked(photos, read_marks(file), source=source, strict=strict)
    return photos


def of_files(photos: Path | str | Sequence[Path | str]) -> Collection:
    """Return photo files as a collection; the id of a photo is its path as given.

    Raises:
        DataError: A path is not a file.
    """
    from fieldmark.data.collection import Collection

    typed = [photos] if isinstance(photos, Path | str) else photos
    files = list(dict.fromkeys(Path(photo) for photo in typed))
    missing = [path for path in files if not path.is_file()]
    folders = [path for path in missing if path.is_dir()]
    if missing or not files:
        raise DataError(
            "The photo does not exist.",
            got=several(missing) or "no photo",
            fix=f"for a folder, use `fieldmark predict RUN {folders[0]} --out answers.csv`."
            if folders
            else "check the path.",
        )
    undecodable = [repr(str(path)) for path in files if not _is_unicode(path)]
    if undecodable:
        raise DataError(
            "The file name of a photo is not valid Unicode.", got=several(undecodable), fix="rename the photo."
        )
    table = {"image": [str(path) for path in files], "file": [str(path.absolute()) for path in files]}
    return Collection.of(table, root=Path("/"), name="photos")


def _is_unicode(path: Path) -> bool:
    """Return whether the path is valid Unicode; Linux accepts any bytes as a file name."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def new_photos(
    data: Collection | Path | str,
    new: Collection | Path | str | None,
    reading: Reading,
    *,
    keep_missing: bool = False,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Photos | None:
    """Return the new photos to predict: ``new``, else those in the folder of a contest; None if there are none.

    Args:
        data: Photos to train on.
        new: New photos; None: those of the contest's folder.
        reading: Options of the reader for ``data``. Encoding and the treatment of broken files also apply to ``new``,
            as do the names of columns that both tables have, and the folder of photos if those of ``new`` are not
            beside their table.
        keep_missing: Whether to keep the rows of missing and broken photos.
        n_workers: Number of image-loading threads.
        progress: Display that counts the photos.

    Raises:
        DataError: The table has errors, or photos cannot be read; the error lists all.
    """
    options = _shared(reading, new)
    if new is None:
        new = _contest_photos(data)
        if new is None:
            return None
        progress.say(f"new photos to predict: {len(new):,} in {new.root}")
    found = gather(
        new, labelled=False, reading=options, keep_missing=keep_missing, n_workers=n_workers, progress=progress
    )
    # One table of boxes may cover both the training photos and the new ones, or only the training photos.
    marked = _with_marks(found.collection, reading.get("boxes", ()), strict=False)
    return replace(found, collection=_unnamed(marked))


def _shared(reading: Reading, new: Collection | Path | str | None) -> Reading:
    """Return the reading options of the training photos that also apply to the new photos."""
    if not isinstance(new, Path | str):
        return {"skip_broken": reading["skip_broken"]} if "skip_broken" in reading else {}
    from fieldmark.data.sheets import read_sheet

    shared = ("skip_broken", "encoding", "allow_outside")
    options: Reading = {name: reading[name] for name in shared if name in reading}  # type: ignore[misc, assignment]
    path = Path(new)
    if path.is_file() and path.suffix.lower() in {".csv", ".tsv", ".parquet"} and reading.get("columns"):
        names = read_sheet(path, encoding=reading.get("encoding", "utf-8")).names
        both = {ours: theirs for ours, theirs in reading["columns"].items() if theirs in names and ours in NEW_COLUMNS}
        if both:
            options["columns"] = both
    folder = reading.get("photos")
    if folder is not None and path.is_file():
        found = look_up(path, labelled=False, reading=options, check_files=False).collection
        if not any(one.is_file() for one in found.paths):
            options["photos"] = folder
    return options


def _contest_photos(data: Collection | Path | str) -> Collection | None:
    """Return the test photos in the folder of a contest, in the order of its sample submission.

    Source:
        Kaggle Humpback Whale Identification 2018/19 and iMet Collection 2019: ``train.csv``, ``train/``, ``test/``,
        ``sample_submission.csv``.
    """
    if not isinstance(data, Path | str):
        return None
    from fieldmark.data.layouts import recognise
    from fieldmark.data.reading import read

    layout, table = recognise(Path(data))
    sample, photos = table.with_name(SAMPLE), table.with_name(TEST)
    if layout not in CONTESTS or table.name == SAMPLE or not sample.is_file() or not photos.is_dir():
        return None
    found = read(sample, layout=layout, photos=photos, labelled=False, unknown=None)
    return _unnamed(replace(found, name=TEST))


def _unnamed(photos: Collection) -> Collection:
    """Return the photos without names and labels; those of a sample submission are only examples."""
    from fieldmark.data.collection import Collection

    table = photos.table.drop("identity", "labels", strict=False)
    return Collection.of(table, root=photos.root, name=photos.name, unknown=None)


def _decodable(
    collection: Collection, name: str, *, skip_broken: bool, decode: bool, n_workers: int, progress: Progress
) -> tuple[Collection, tuple[SkippedFile, ...]]:
    """Return the photos that can be decoded (or whose header can be read, without ``decode``), and the others."""
    from fieldmark.quality.inspecting import broken, look_at_files

    checked = look_at_files(collection.paths, decode=decode, n_workers=n_workers, progress=progress)
    faulty = broken(collection, checked)
    if faulty and not skip_broken:
        raise DataError(
            f"{len(faulty)} photo(s) of {name} cannot be read.",
            got=several([f"{one.file}: {one.reason}" for one in faulty]),
            fix="replace them, or leave them out with --skip-broken.",
        )
    return collection.take([row for row, one in enumerate(checked) if one.fault is None]), faulty


def _present_vocabulary(collection: Collection) -> Collection:
    """Return the photos with a vocabulary of the individuals and labels that still occur."""
    from fieldmark.data.collection import occurring

    vocabulary = occurring(
        collection.table,
        unknown=collection.vocabulary.unknown,
        tags=collection.vocabulary.tags,
        tag_groups=dict(zip(collection.vocabulary.tags, collection.vocabulary.tag_groups, strict=True)),
    )
    questions = collection.vocabulary.questions
    return replace(collection, vocabulary=vocabulary.model_copy(update={"questions": questions}))
