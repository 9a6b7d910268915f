"""The verbs' half for runs that tell individuals: who is on a photo, and how often that is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import need_torch, run_of, sensible
from fieldmark.api.judges import judging
from fieldmark.api.photos import Photos, gather, of_files
from fieldmark.core.progress import QUIET, Progress

if TYPE_CHECKING:
    from fieldmark.stages.engine import Opened
    from fieldmark.tasks.identification.measures import Measure
    from fieldmark.tasks.identification.results import Expert, Identification


def identify(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    k: int | None = None,
    boxes: Sequence[str] = (),
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> list[Identification]:
    """Who is on a photo: ranked names, each with its most alike known photo, and "new" where it stands.

    Args:
        run: The folder of a finished run that tells individuals.
        photos: One photo or several.
        k: Places an answer; None for as many as the run was made with.
        boxes: Tables of boxes, landmarks or masks of these photos, for runs that look into such: ``boxes.csv``, or
            ``NAME=boxes.csv`` for a further source. Photos are named in them as here, or by their file's name.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells labels.
        DataError: There is no such photo, or it cannot be read.
    """
    sensible(k)
    collection = of_files(photos)
    opened = run_of(run, "individuals")
    expert = expert_of(opened, device=device)
    given = gather(
        collection,
        labelled=False,
        reading={"skip_broken": skip_broken, "boxes": boxes},
        n_workers=n_workers,
        progress=progress,
    )
    return identified(expert, given, k=k, n_workers=n_workers, progress=progress)


def expert_of(opened: Opened, *, device: str) -> Expert:
    """The expert of a finished run; torch is asked for only after the run was found."""
    need_torch()
    from fieldmark.tasks.identification.results import Expert

    return Expert(opened, device=device)


def identified(
    expert: Expert, given: Photos, *, k: int | None, n_workers: int, progress: Progress
) -> list[Identification]:
    """The answers to photos, and which could not be read."""
    given.tell(progress, expert.opened.plan)
    return expert.identify(given.collection, k=k, n_workers=n_workers, progress=progress)


def judged(opened: Opened) -> tuple[Measure, ...]:
    """How good a run is on its own validation photos."""
    from fieldmark.tasks.identification.report import Judged

    return Judged(opened).measures()


def judged_by(expert: Expert, given: Photos, *, n_workers: int, progress: Progress) -> tuple[Measure, ...]:
    """How good a run is on other photos with names; those it has learnt from are left out."""
    from fieldmark.tasks.identification.measures import measure

    given.tell(progress, expert.opened.plan)
    photos, truth = judging(given.collection, expert.opened.known, progress=progress)
    scores, _ = expert.scores(photos, n_workers=n_workers, progress=progress)
    return measure(scores, truth, unknown_at=expert.decision.at(photos), k=expert.k, groups=photos.groups)
