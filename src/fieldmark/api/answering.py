"""Functions that predict single photos with a finished run: identify, tag, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import check_counts, open_run
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
"""Default number of labels per photo."""
MOST_OTHERS = 2
"""Default number of alternative answers per question."""


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
    """Identify the individual in each photo.

    The candidates of a photo are ranked, each with its most similar known photo. "New" is one of the candidates: the
    photo then shows an unknown individual.

    Args:
        run: Folder of a finished run that identifies.
        photos: Path of one photo, or several.
        k: Number of candidates per photo; None: as trained.
        boxes: Tables of boxes, landmarks or masks of these photos, for runs that use them: ``boxes.csv``, or
            ``NAME=boxes.csv`` for a second source. They name a photo by its path as given here, or by its file name.
        skip_broken: Whether to leave out photos that cannot be read.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        One prediction per photo, in the order of ``photos``; a photo given twice is predicted once.

    Raises:
        RunError: ``run`` holds no finished run, or a run for another task.
        DataError: A photo does not exist or cannot be read.
    """
    progress = shown_by(progress)
    check_counts(k)
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
    """Predict the labels of each photo, with probabilities.

    Labels whose probability is above the threshold of the run are marked as ``given``.

    Args:
        run: Folder of a finished run that tags.
        photos: Path of one photo, or several.
        most: Number of labels per photo, the most likely first; labels above the threshold are always included.
        skip_broken: Whether to leave out photos that cannot be read.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        One prediction per photo, in the order of ``photos``; a photo given twice is predicted once.

    Raises:
        RunError: ``run`` holds no finished run, or a run for another task.
        DataError: A photo does not exist or cannot be read.
    """
    progress = shown_by(progress)
    check_counts(most=most)
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
    """Predict the attributes of each photo: one answer per question.

    Each answer has a probability and the next most likely alternatives.

    Args:
        run: Folder of a finished run that predicts attributes.
        photos: Path of one photo, or several.
        text: Description of the photo, such as a product name, for runs trained with texts.
        most: Number of alternative answers per question.
        skip_broken: Whether to leave out photos that cannot be read.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        One prediction per photo, in the order of ``photos``; a photo given twice is predicted once.

    Raises:
        RunError: ``run`` holds no finished run, or a run for another task.
        DataError: A photo does not exist or cannot be read.
        FieldmarkError: ``text`` is given for several photos, or for a run trained without texts.
    """
    progress = shown_by(progress)
    check_counts(most=most)
    collection = of_files(photos)
    context = open_run(run, "attributes")
    if text is not None:
        collection = _with_text(collection, text, context)
    predictor = Predictor(context, device=device, n_workers=n_workers, progress=progress)
    reading: Reading = {"skip_broken": skip_broken}
    given = gather(collection, labelled=False, reading=reading, decode=False, **predictor.context.pace)
    return predictor.answered(given, most=most)


def predictor_of(run: Path | str, task: TaskName, *, device: str, n_workers: int, progress: Progress) -> Predictor:
    """Return the predictor of a run for ``task``. A missing run is reported before a missing torch.

    Raises:
        RunError: ``run`` holds no finished run, or a run for another task.
    """
    return Predictor(open_run(run, task), device=device, n_workers=n_workers, progress=progress)


def _with_text(photos: Collection, text: str, context: Context) -> Collection:
    import polars as pl

    from fieldmark.stages.labels.texts import Texts

    columns = [column for one in context.plan.stages if isinstance(one, Texts) for column in (*one.columns, *one.leaks)]
    if not columns or len(photos) > 1:
        raise FieldmarkError(
            "--text needs a single photo and a run trained with texts.",
            got=f"{len(photos)} photo(s); text columns of the run: {', '.join(columns) or 'none'}",
            fix="leave out --text, or use `fieldmark predict RUN TABLE` with a table that has a text for each photo.",
        )
    return replace(photos, table=photos.table.with_columns(pl.lit(text).alias(columns[0])))
