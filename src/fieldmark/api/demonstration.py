"""The demo: collections drawn by code and a recipe for each job; scores, one photo answered, a page about all."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fieldmark.api import answering, running
from fieldmark.api.guards import need_torch
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.metrics.measure import Measure
    from fieldmark.specimens.files import Drawn
    from fieldmark.tasks.attributes.results import Answered
    from fieldmark.tasks.identification.results import Identification
    from fieldmark.tasks.tagging.results import Tagged

SaidT = TypeVar("SaidT")
RECIPE = "humpback-classify"
ANSWERS = "test_truth.csv"
DRAWN: Mapping[str, Mapping[str, Any]] = {
    "toy": {"n_identities": 12, "photos_per_identity": 4, "n_unknown": 12, "n_test": 16, "n_near_duplicates": 2},
    "small": {"n_identities": 60, "n_unknown": 40, "n_test": 60, "n_near_duplicates": 6},
    "full": {"n_identities": 1000, "n_unknown": 400, "n_test": 400, "n_near_duplicates": 40},
}
"""What is drawn for each size of the recipe."""
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "imet2019": {"n_train": 150, "n_test": 12, "n_broken": 0, "shorter_px": 96},
    "imaterialist2017": {"n_train": 150, "n_test": 12, "size_px": 96},
}
"""What is drawn for the other two jobs, which are shown at toy size: how it looks, not how good it gets."""


@dataclass(frozen=True)
class OtherJob(Generic[SaidT]):
    """What the demo shows of another job: a toy run, and what it says of one new photo."""

    trained: running.Trained
    photo: Path
    said: SaidT


@dataclass(frozen=True)
class Demonstration:
    """What the demo has to show.

    Attributes:
        trained: The run, judged by its validation photos.
        tested: The measures on drawn test photos, which nothing in the run has learnt from.
        identified: The answer for one test photo.
        truth: Who is on it.
        root: The folder of the known photos.
        inspection: The page about the collection.
        tagged: The second job: labels of museum objects.
        answered: The third: questions about garments.
    """

    trained: running.Trained
    tested: tuple[Measure, ...]
    identified: Identification
    truth: str
    root: Path
    inspection: Path
    tagged: OtherJob[Tagged]
    answered: OtherJob[Answered]


def demo(
    folder: Path | str = "fieldmark-demo",
    *,
    size: str = "small",
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> Demonstration:
    """Draw a collection of flukes, train on it, and identify a photo: a look at everything, with nothing to download.

    Args:
        folder: Where to draw and train; the same call again goes on where it was.
        size: Of the recipe: ``toy``, ``small`` or ``full``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        RunError: The folder is in use by something else.
    """
    progress = shown_by(progress)
    need_torch()
    return demonstrate(Path(folder), size=size, device=device, n_workers=n_workers, progress=progress)


def demonstrate(
    folder: Path, *, size: str = "small", device: str = "auto", n_workers: int = 2, progress: ShowProgress = None
) -> Demonstration:
    """Draw, inspect, train, score, identify; then tag and answer at toy size. What was done before is not done again.

    Args:
        folder: Holds ``photos/``, ``inspect.html`` and ``run/`` afterwards, and the same in ``museum/`` and ``shop/``.
        size: Of the recipe for flukes; larger ones get more photos.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        PlanError: The recipe has no such size.
        RunError: The folder holds another run.
    """
    progress = shown_by(progress)
    plan = running.plan(RECIPE, size=size)
    photos = _drawn(folder / "photos", DRAWN.get(size, DRAWN["small"]), n_workers=n_workers, progress=progress)
    inspection = folder / "inspect.html"
    page = running.inspect(photos, html=inspection, force=True, n_workers=n_workers, progress=progress)
    progress.say(page.summary)
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    trained = running.train(plan, photos, run=folder / "run", skip_broken=True, **pace)  # type: ignore[arg-type]
    tested = running.evaluate(trained.folder, photos / ANSWERS, photos=photos / "test", **pace)  # type: ignore[arg-type]
    image, truth = _a_known_one(photos)
    (identified,) = answering.identify(trained.folder, photos / "test" / image, device=device, n_workers=n_workers)
    tagged = _tagging(folder / "museum", device=device, n_workers=n_workers, progress=progress)
    answered = _answering(folder / "shop", device=device, n_workers=n_workers, progress=progress)
    return Demonstration(trained, tested, identified, truth, photos / "train", inspection, tagged, answered)


def _tagging(folder: Path, *, device: str, n_workers: int, progress: Progress) -> OtherJob[Tagged]:
    """Museum objects: drawn, learnt at toy size, one new one tagged."""
    from fieldmark.specimens.museum import draw_museum

    photos = _once(draw_museum, folder / "photos", OTHERS["imet2019"], n_workers=n_workers, progress=progress)
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    trained = running.train("imet2019", photos, run=folder / "run", size="toy", **pace)  # type: ignore[arg-type]
    photo = min((photos / "test").iterdir())
    (said,) = answering.tag(trained.folder, photo, most=8, device=device, n_workers=n_workers)
    return OtherJob(trained, photo, said)


def _answering(folder: Path, *, device: str, n_workers: int, progress: Progress) -> OtherJob[Answered]:
    """Garments: drawn, learnt at toy size from pictures and names, one new one asked about."""
    from fieldmark.specimens.shop import write_garments

    photos = _once(
        write_garments, folder / "photos", OTHERS["imaterialist2017"], n_workers=n_workers, progress=progress
    )
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    new = photos / "new.csv"
    trained = running.train("imaterialist2017", photos, new=new, run=folder / "run", size="toy", **pace)  # type: ignore[arg-type]
    with new.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    photo = photos / row["file"]
    (said,) = answering.attributes(trained.folder, photo, text=row["text"], device=device, n_workers=n_workers)
    return OtherJob(trained, photo, said)


def _drawn(folder: Path, numbers: Mapping[str, Any], *, n_workers: int, progress: Progress) -> Path:
    """The drawn collection, whole or not there: an interrupted drawing is begun again."""
    from fieldmark.specimens.collections import draw_flukes

    return _once(draw_flukes, folder, numbers, n_workers=n_workers, progress=progress)


def _once(
    draw: Callable[..., Drawn], folder: Path, numbers: Mapping[str, Any], *, n_workers: int, progress: Progress
) -> Path:
    if not folder.exists():
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        drawn = draw(aside, n_workers=max(1, n_workers), progress=progress, **numbers)
        aside.rename(folder)
        progress.say(f"drawn: {drawn.n_photos:,} photos in {folder}")
    return folder


def _a_known_one(photos: Path) -> tuple[str, str]:
    """A test photo of the whale with the most training photos, and its name; of several the first."""
    from fieldmark.specimens.collections import UNKNOWN_INDIVIDUAL

    counts = Counter(who for _, who in _rows(photos / "train.csv"))
    known = [(image, who) for image, who in _rows(photos / ANSWERS) if who != UNKNOWN_INDIVIDUAL]
    return min(known, key=lambda one: (-counts[one[1]], one[0]))


def _rows(table: Path) -> list[tuple[str, str]]:
    """Image and name in each row of a contest's table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [(row["Image"], row["Id"]) for row in csv.DictReader(file)]
