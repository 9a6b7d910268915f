"""The commands that ask a finished run about photos: identify, tag, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import run_of, sensible
from fieldmark.api.photos import Reading, gather, of_files
from fieldmark.api.predictor import Predictor
from fieldmark.api.results import Results
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import TaskName

MOST_TAGS = 15
MOST_OTHERS = 2


def identify(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    k: int | None = None,
    boxes: Sequence[str] = (),
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> Results:
    """Who is on a photo: ranked names, each with its most similar known photo, and "new" where it stands.

    Args:
        run: The folder of a finished run that tells individuals.
        photos: One photo or several.
        k: Places an answer; None for as many as the run was made with.
        boxes: Tables of boxes, landmarks or masks of these photos, for runs that look into such: ``boxes.csv``, or
            ``NAME=boxes.csv`` for a further source. Photos are named in them as here, or by their file's name.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells labels.
        DataError: There is no such photo, or it cannot be read.
    """
    progress = shown_by(progress)
    sensible(k)
    collection = of_files(photos)
    predictor = predictor_of(run, "identification", device=device, n_workers=n_workers, progress=progress)
    return predictor.answered(predictor.gathered(collection, skip_broken=skip_broken, boxes=boxes), k=k)


def tag(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    most: int = MOST_TAGS,
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> Results:
    """What is on a photo: its labels with probabilities; those that the run's thresholds give it are marked.

    Args:
        run: The folder of a finished run that tells labels.
        photos: One photo or several.
        most: How many labels a photo to tell, the likeliest first; given ones are always told.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells individuals.
        DataError: There is no such photo, or it cannot be read.
    """
    progress = shown_by(progress)
    sensible(most=most)
    collection = of_files(photos)
    predictor = predictor_of(run, "tagging", device=device, n_workers=n_workers, progress=progress)
    return predictor.answered(predictor.gathered(collection, skip_broken=skip_broken), most=most)


def attributes(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    text: str | None = None,
    most: int = MOST_OTHERS,
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> Results:
    """What is asked about a photo, answered: one answer a question, with its probability and the next likeliest.

    Args:
        run: The folder of a finished run that answers questions.
        photos: One photo or several.
        text: What is written about the photo (a product name), for runs that learnt from texts.
        most: How many other answers to tell beside each.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells something else.
        DataError: There is no such photo, or it cannot be read.
        FieldmarkError: A text for several photos, or for a run that looks at no text.
    """
    progress = shown_by(progress)
    sensible(most=most)
    collection = of_files(photos)
    context = run_of(run, "attributes")
    if text is not None:
        collection = _with_text(collection, text, context)
    predictor = Predictor(context, device=device, n_workers=n_workers, progress=progress)
    reading: Reading = {"skip_broken": skip_broken}
    given = gather(collection, labelled=False, reading=reading, decode=False, **predictor.context.pace)
    return predictor.answered(given, most=most)


def predictor_of(run: Path | str, task: TaskName, *, device: str, n_workers: int, progress: Progress) -> Predictor:
    """The predictor of a run that must be for ``task``; torch is asked for only after the run was found.

    Raises:
        RunError: No finished run lies there, or it is for something else.
    """
    return Predictor(run_of(run, task), device=device, n_workers=n_workers, progress=progress)


def _with_text(photos: Collection, text: str, context: Context) -> Collection:
    import polars as pl

    from fieldmark.stages.labels.texts import Texts

    columns = [column for one in context.plan.stages if isinstance(one, Texts) for column in (*one.columns, *one.leaks)]
    if not columns or len(photos) > 1:
        raise FieldmarkError(
            "A text is for one photo, and for a run that learnt from texts.",
            got=f"{len(photos)} photo(s); the run looks at {', '.join(columns) or 'no text'}",
            fix="leave out --text, or `fieldmark predict RUN TABLE` with a table that has a text for each photo.",
        )
    return replace(photos, table=photos.table.with_columns(pl.lit(text).alias(columns[0])))
