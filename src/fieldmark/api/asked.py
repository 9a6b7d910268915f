"""The verbs' half for runs that answer questions: one answer each, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import need_torch, run_of, sensible
from fieldmark.api.judges import judging_answers
from fieldmark.api.photos import Photos, gather, of_files
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import QUIET, Progress

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.stages.engine import Opened
    from fieldmark.tasks.attributes.results import Answered, Answerer
    from fieldmark.tasks.identification.measures import Measure

MOST_OTHERS = 2


def attributes(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    text: str | None = None,
    most: int = MOST_OTHERS,
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> list[Answered]:
    """What is asked about a photo, answered: one answer a question, with its probability and the next likeliest.

    Args:
        run: The folder of a finished run that answers questions.
        photos: One photo or several.
        text: What is written about the photo (a product name), for runs that learnt from texts.
        most: How many other answers to tell beside each.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells something else.
        DataError: There is no such photo, or it cannot be read.
        FieldmarkError: A text for several photos, or for a run that looks at no text.
    """
    sensible(most=most)
    collection = of_files(photos)
    opened = run_of(run, "answers")
    if text is not None:
        collection = _with_text(collection, text, opened)
    answerer = answerer_of(opened, device=device)
    given = gather(
        collection, labelled=False, reading={"skip_broken": skip_broken}, n_workers=n_workers, progress=progress
    )
    return answered(answerer, given, most=most, n_workers=n_workers, progress=progress)


def answerer_of(opened: Opened, *, device: str) -> Answerer:
    """The answerer of a finished run; torch is asked for only after the run was found."""
    need_torch()
    from fieldmark.tasks.attributes.results import Answerer

    return Answerer(opened, device=device)


def answered(answerer: Answerer, given: Photos, *, most: int, n_workers: int, progress: Progress) -> list[Answered]:
    """The answers about photos, and which could not be read."""
    given.tell(progress, answerer.opened.plan)
    return answerer.answer(given.collection, most=most, n_workers=n_workers, progress=progress)


def judged(opened: Opened) -> tuple[Measure, ...]:
    """How good a run is on its own photos, each answered by networks that have not seen it."""
    from fieldmark.tasks.attributes.validation import JudgedAnswers

    return JudgedAnswers(opened).measures()


def judged_by(answerer: Answerer, given: Photos, *, n_workers: int, progress: Progress) -> tuple[Measure, ...]:
    """How good a run is on other photos whose answers are told; those it has learnt from are left out."""
    from fieldmark.decisions.settling import filled
    from fieldmark.tasks.attributes.validation import measure_answers

    given.tell(progress, answerer.opened.plan)
    vocabulary = answerer.opened.known.vocabulary
    photos, truth, told = judging_answers(given.collection, answerer.opened.known, progress=progress)
    proba = answerer.proba(photos, n_workers=n_workers, progress=progress)
    answer = filled(answerer.settle.settled(proba, vocabulary), proba, vocabulary.question_of)
    return measure_answers(answer, truth, told, vocabulary, groups=photos.groups)


def _with_text(photos: Collection, text: str, opened: Opened) -> Collection:
    import polars as pl

    from fieldmark.stages.labels.texts import Texts

    columns = [column for one in opened.plan.stages if isinstance(one, Texts) for column in (*one.columns, *one.leaks)]
    if not columns or len(photos) > 1:
        raise FieldmarkError(
            "A text is for one photo, and for a run that learnt from texts.",
            got=f"{len(photos)} photo(s); the run looks at {', '.join(columns) or 'no text'}",
            fix="leave out --text, or `fieldmark predict RUN TABLE` with a table that has a text for each photo.",
        )
    return replace(photos, table=photos.table.with_columns(pl.lit(text).alias(columns[0])))
