"""What a user points at, as photos: tables, folders and single files, with the broken ones told or left out."""

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
"""Layouts in which photos to answer lie beside the training table."""
SAMPLE = "sample_submission.csv"
TEST = "test"
OF_NEW = ("image", "file", "url", "text", "width", "height")
"""Columns that a table of new photos shares with that of known ones; who or what is on them it does not tell."""


class Reading(TypedDict, total=False):
    """How to read a table of photos; every kind that takes photos takes these by keyword.

    Attributes:
        layout: ``auto`` goes by the looks; else ``table``, ``folders``, ``coco``, ``coco_identities``, ``humpback``,
            ``imet2019``, ``imaterialist2017`` or ``imaterialist2018``.
        columns: Our column names with the table's: ``{"identity": "whale"}``.
        photos: The folder of the photos, if it is not one that is usual beside the table.
        unknown: The name that stands for "nobody we know"; without it new_whale, unknown and new_individual are
            understood.
        encoding: How a text table is written.
        allow_outside: Photos may lie outside of the folder of photos.
        skip_broken: Leave out photos that are missing or cannot be read, instead of refusing the table.
        questions: The columns that are questions, or a TOML file about them; without it ``questions.toml`` beside the
            table, if there is one.
        boxes: Tables of boxes, landmarks or masks of these photos: ``boxes.csv``, or ``NAME=boxes.csv`` for a further
            source under that name.
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
    """Photos that can be read, and the files that were left out.

    Attributes:
        collection: The photos.
        skipped: Files that were left out, and why.
        decoded: Gathers the same photos again and decodes every file, where only headers were read; else None.
    """

    collection: Collection
    skipped: tuple[SkippedFile, ...] = ()
    decoded: Callable[[], Photos] | None = field(default=None, compare=False)

    def further(self) -> Photos:
        """The same photos, every file decoded; ``skipped`` holds those that were not among the skipped before.

        Raises:
            DataError: Some cannot be decoded, and are not to be skipped; all are named.
        """
        found = self if self.decoded is None else self.decoded()
        return replace(found, skipped=tuple(one for one in found.skipped if one not in self.skipped))

    def tell(self, progress: Progress, plan: Plan) -> None:
        """Say which files were left out, and what a run of ``plan`` looks for in a table and this one does not have."""
        for one in self.skipped:
            progress.say(f"left out: {one.file}: {one.reason}")
        warn_unmarked(self.collection, plan, progress)


def warn_unmarked(photos: Collection, plan: Plan, progress: Progress, *, whose: str = "these photos") -> None:
    """Say what networks take from a table of photos (boxes, masks, landmarks) and this table does not have."""
    from fieldmark.quality.regions.finding import unlabelled
    from fieldmark.stages.common.train import Train

    nets = [stage for stage in plan.stages if isinstance(stage, Train)]
    ways = [way for net in nets for way in net.preprocess.in_use()]
    for what in sorted({one for way in ways for one in unlabelled(photos, way)}):
        progress.say(f"no {what} of {whose}: this run looks at photos by {what} of a table; name it with --boxes TABLE")


def warn_odd_names(photos: Collection, progress: Progress, *, most: int = 5) -> None:
    """Say which names of individuals are perhaps slips; nothing is refused for them."""
    from fieldmark.quality.inspecting import names_to_look_at

    hints = names_to_look_at(photos)
    for one in hints[:most]:
        progress.say(f"look at the name {' '.join(filter(None, (one.label, one.relation, one.other)))}: {one.seen}")
    if len(hints) > most:
        progress.say(f"... and {len(hints) - most:,} more names; `fieldmark inspect` shows them")


def gather(
    data: Collection | Path | str,
    *,
    labelled: bool,
    reading: Reading,
    gone_too: bool = False,
    decode: bool = True,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Photos:
    """The photos at ``data``, all of which can be read.

    Args:
        data: A collection, or where to read one: a table, a folder, or a single photo.
        labelled: Whether the table must say who or what is on them.
        reading: The reader's options; only ``skip_broken`` has a meaning for a collection.
        gone_too: Keep the rows of photos that are missing or broken, with an empty file name: texts may answer.
        decode: Decode every file whole. False reads headers alone: for photos that are decoded soon after anyway, and
            gathered by ``Photos.decoded`` if that fails.
        n_workers: Threads that look at the files.
        progress: Told as photos are done.

    Raises:
        DataError: The table has mistakes, or photos cannot be read (and are not to be skipped); all are told.
    """
    from fieldmark.data.mistakes import refusal
    from fieldmark.data.photos import MISSING, NOT_A_FILE
    from fieldmark.reporting.contents import SkippedFile

    pace: dict[str, Any] = {"n_workers": n_workers, "progress": progress}
    again = None if decode else partial(gather, data, labelled=labelled, reading=reading, gone_too=gone_too, **pace)
    if gone_too:
        return replace(_with_the_gone(data, labelled=labelled, reading=reading, decode=decode, **pace), decoded=again)
    skip_broken = reading.get("skip_broken", False)
    found, name = (
        look_up(data, labelled=labelled, reading=reading),
        str(data) if isinstance(data, Path | str) else data.name,
    )
    lost = [mistake for mistake in found.mistakes if skip_broken and mistake.problem in {MISSING, NOT_A_FILE}]
    wrong = [mistake for mistake in found.mistakes if mistake not in lost]
    if wrong:
        raise refusal(name, wrong)
    skipped = tuple(SkippedFile(mistake.value, mistake.problem) for mistake in lost)
    collection, faulty = _decodable(found.collection, name, skip_broken=skip_broken, decode=decode, **pace)
    skipped += faulty
    if not len(collection):
        raise DataError(
            f"No photo of {name} can be read.",
            got=several([f"{one.file}: {one.reason}" for one in skipped]),
            fix=f"`fieldmark inspect {name}` shows what is wrong."
            if isinstance(data, Path | str)
            else "give photos that can be read.",
        )
    return Photos(_without_the_gone(collection) if skipped else collection, skipped, again)


def _with_the_gone(
    data: Collection | Path | str,
    *,
    labelled: bool,
    reading: Reading,
    decode: bool,
    n_workers: int,
    progress: Progress,
) -> Photos:
    """All rows; those whose photo is missing or broken without a file."""
    import polars as pl

    from fieldmark.data.mistakes import refusal
    from fieldmark.quality.inspecting import broken, look_at_files

    name = str(data) if isinstance(data, Path | str) else data.name
    unlooked: Reading = {**reading}
    unlooked.pop("skip_broken", None)
    found = look_up(data, labelled=labelled, reading=unlooked, check_files=False)
    if found.mistakes:
        raise refusal(name, found.mistakes)
    photos = found.collection
    there = [path.is_file() for path in photos.paths]
    files = [path for path, is_there in zip(photos.paths, there, strict=True) if is_there]
    seen = look_at_files(files, decode=decode, n_workers=n_workers, progress=progress)
    faulty = broken(photos.take(there), seen)
    kept = iter(one.fault is None for one in seen)
    good = [is_there and next(kept) for is_there in there]
    if not any(good):
        raise DataError(
            f"No photo of {name} can be read.",
            got=several([str(path) for path in photos.paths]),
            fix="say where the photos are: --photos FOLDER.",
        )
    if n_gone := good.count(False):
        progress.say(f"gone: {n_gone:,} of {len(good):,} photos have no file that can be read; texts answer, if any")
    table = photos.table.with_columns(file=pl.when(pl.Series(good)).then("file").otherwise(pl.lit("")))
    return Photos(replace(photos, table=table), faulty)


def look_up(data: Collection | Path | str, *, labelled: bool, reading: Reading, check_files: bool = True) -> Survey:
    """The good rows of ``data`` and its mistakes.

    Raises:
        DataError: There is nothing to read.
        FieldmarkError: Reading options were given for what is a collection already.
    """
    from fieldmark.data.collection import Collection
    from fieldmark.data.photos import is_photo
    from fieldmark.data.reading import Survey, survey

    options = {name: value for name, value in reading.items() if name not in {"skip_broken", "boxes"}}
    marks = reading.get("boxes", ())
    if isinstance(data, Collection):
        if options:
            raise FieldmarkError(
                "A collection is read already; options of reading have no meaning for it.",
                got=", ".join(options),
                fix="give them to fieldmark.read(), or give the path instead of the collection.",
            )
        return Survey(_with_marks(data, marks), ())
    path = Path(data)
    if not labelled and path.is_file() and is_photo(path.name):
        return Survey(_with_marks(of_files(path), marks), ())
    found = survey(path, labelled=labelled, check_files=check_files, **options)  # type: ignore[arg-type]
    return replace(found, collection=_with_marks(found.collection, marks)) if marks else found


def _with_marks(photos: Collection, tables: Sequence[str], *, strict: bool = True) -> Collection:
    """The photos with what tables of boxes say of them; unless ``strict``, a table may be of other photos.

    Raises:
        DataError: A table has mistakes, or names none of these photos.
    """
    from fieldmark.data.marks import marked, read_marks

    for name in tables:
        source, is_named, file = str(name).partition("=")
        source, file = (source, file) if is_named else ("", source)
        photos = marked(photos, read_marks(file), source=source, strict=strict)
    return photos


def of_files(photos: Path | str | Sequence[Path | str]) -> Collection:
    """One photo or several as a collection; each is called what the user typed.

    Raises:
        DataError: A path is no file.
    """
    from fieldmark.data.collection import Collection

    typed = [photos] if isinstance(photos, Path | str) else photos
    files = list(dict.fromkeys(Path(photo) for photo in typed))
    lost = [path for path in files if not path.is_file()]
    folders = [path for path in lost if path.is_dir()]
    if lost or not files:
        raise DataError(
            "There is no photo of that name.",
            got=several(lost) or "no photo at all",
            fix=f"`fieldmark predict RUN {folders[0]} --out answers.csv` takes a folder."
            if folders
            else "check the path.",
        )
    strange = [repr(str(path)) for path in files if not _is_text(path)]
    if strange:
        raise DataError("A photo's name is no Unicode text.", got=several(strange), fix="rename the photo.")
    table = {"image": [str(path) for path in files], "file": [str(path.absolute()) for path in files]}
    return Collection.of(table, root=Path("/"), name="photos")


def _is_text(path: Path) -> bool:
    """Whether the path is Unicode; Linux takes any bytes for a name."""
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
    gone_too: bool = False,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Photos | None:
    """The photos to answer: those that were named, else those that lie beside the contest's table; None without any.

    Args:
        data: The photos to learn from.
        new: The photos to answer, if the user named any.
        reading: How ``data`` is read; of it, ``new`` shares the encoding and what is done with broken files, the names
            of columns that both tables have, and the folder of photos where its own are not beside it.
        gone_too: Keep the rows of photos that are missing or broken.
        n_workers: Threads that look at the files.
        progress: Told as photos are done.

    Raises:
        DataError: The photos have mistakes; all are told.
    """
    options = _shared(reading, new)
    if new is None:
        new = _beside(data)
        if new is None:
            return None
        progress.say(f"new photos to answer: {len(new):,} in {new.root}")
    found = gather(new, labelled=False, reading=options, gone_too=gone_too, n_workers=n_workers, progress=progress)
    # One table may hold the boxes of both, or of the known ones alone.
    marked = _with_marks(found.collection, reading.get("boxes", ()), strict=False)
    return replace(found, collection=_unnamed(marked))


def _shared(reading: Reading, new: Collection | Path | str | None) -> Reading:
    """Of the options for the known photos, those that hold for the new ones."""
    if not isinstance(new, Path | str):
        return {"skip_broken": reading["skip_broken"]} if "skip_broken" in reading else {}
    from fieldmark.data.sheets import read_sheet

    names = ("skip_broken", "encoding", "allow_outside")
    options: Reading = {name: reading[name] for name in names if name in reading}  # type: ignore[misc, assignment]
    path = Path(new)
    if path.is_file() and path.suffix.lower() in {".csv", ".tsv", ".parquet"} and reading.get("columns"):
        there = read_sheet(path, encoding=reading.get("encoding", "utf-8")).names
        both = {ours: theirs for ours, theirs in reading["columns"].items() if theirs in there and ours in OF_NEW}
        if both:
            options["columns"] = both
    folder = reading.get("photos")
    if folder is not None and path.is_file():
        seen = look_up(path, labelled=False, reading=options, check_files=False).collection
        if not any(one.is_file() for one in seen.paths):
            options["photos"] = folder
    return options


def _beside(data: Collection | Path | str) -> Collection | None:
    """The photos to answer that lie beside the training table in a contest's folder, in the contest's order.

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
    """The same photos without names and labels: a sample submission's are mere examples, and new photos need none."""
    from fieldmark.data.collection import Collection

    table = photos.table.drop("identity", "labels", strict=False)
    return Collection.of(table, root=photos.root, name=photos.name, unknown=None)


def _decodable(
    collection: Collection, name: str, *, skip_broken: bool, decode: bool, n_workers: int, progress: Progress
) -> tuple[Collection, tuple[SkippedFile, ...]]:
    """The photos that can be decoded (or have a header, without ``decode``), and the others."""
    from fieldmark.quality.inspecting import broken, look_at_files

    seen = look_at_files(collection.paths, decode=decode, n_workers=n_workers, progress=progress)
    faulty = broken(collection, seen)
    if faulty and not skip_broken:
        raise DataError(
            f"{len(faulty)} photo(s) of {name} cannot be read.",
            got=several([f"{one.file}: {one.reason}" for one in faulty]),
            fix="mend or replace them, or leave them out with --skip-broken.",
        )
    return collection.take([row for row, one in enumerate(seen) if one.fault is None]), faulty


def _without_the_gone(collection: Collection) -> Collection:
    """The vocabulary without individuals of whom no photo is left."""
    from fieldmark.data.collection import occurring

    vocabulary = occurring(
        collection.table,
        unknown=collection.vocabulary.unknown,
        tags=collection.vocabulary.tags,
        tag_groups=dict(zip(collection.vocabulary.tags, collection.vocabulary.tag_groups, strict=True)),
    )
    questions = collection.vocabulary.questions
    return replace(collection, vocabulary=vocabulary.model_copy(update={"questions": questions}))
