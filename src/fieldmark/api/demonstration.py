"""The function ``demo``: drawn data sets, a short training for each task, error rates and predictions."""

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

PredictionT = TypeVar("PredictionT")
RECIPE = "humpback-classify"
ANSWERS = "test_truth.csv"
DRAWN: Mapping[str, Mapping[str, Any]] = {
    "toy": {"n_identities": 12, "photos_per_identity": 4, "n_unknown": 12, "n_test": 16, "n_near_duplicates": 2},
    "small": {"n_identities": 60, "n_unknown": 40, "n_test": 60, "n_near_duplicates": 6},
    "full": {"n_identities": 1000, "n_unknown": 400, "n_test": 400, "n_near_duplicates": 40},
}
"""Numbers of drawn photos for each size of the recipe."""
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "imet2019": {"n_train": 150, "n_test": 12, "n_broken": 0, "shorter_px": 96},
    "imaterialist2017": {"n_train": 150, "n_test": 12, "size_px": 96},
}
"""Numbers of drawn photos for the other two tasks, which are trained at toy size to show the output only."""


@dataclass(frozen=True)
class TaskDemo(Generic[PredictionT]):
    """A run at toy size and its prediction for one new photo.

    Attributes:
        trained: The run.
        photo: Path of the new photo.
        prediction: The prediction of the run for it.
    """

    trained: running.Trained
    photo: Path
    prediction: PredictionT


@dataclass(frozen=True)
class Demonstration:
    """The results of the demo.

    Attributes:
        trained: The run that identifies, with the measures on its validation photos.
        tested: Measures on drawn test photos, which the run was not trained on.
        identified: Prediction for one test photo.
        truth: Name of the individual in that photo.
        root: Folder of the known photos.
        inspection: Path of the page about the data set.
        tagged: The second task: labels of museum objects.
        answered: The third task: attributes of garments.
    """

    trained: running.Trained
    tested: tuple[Measure, ...]
    identified: Identification
    truth: str
    root: Path
    inspection: Path
    tagged: TaskDemo[Tagged]
    answered: TaskDemo[Answered]


def demo(
    folder: Path | str = "fieldmark-demo",
    *,
    size: str = "small",
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> Demonstration:
    """Try all three tasks on drawn photos, without any download.

    Draws photos of whale flukes, trains on them, evaluates on test photos and identifies one. Then trains at toy size
    to tag museum objects and to predict attributes of garments.

    Args:
        folder: Folder for the photos and runs. The same call continues an interrupted demo.
        size: Size of the recipe: ``toy``, ``small`` or ``full``.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        RunError: The folder holds another run.
    """
    progress = shown_by(progress)
    need_torch()
    return demonstrate(Path(folder), size=size, device=device, n_workers=n_workers, progress=progress)


def demonstrate(
    folder: Path, *, size: str = "small", device: str = "auto", n_workers: int = 2, progress: ShowProgress = None
) -> Demonstration:
    """Draw, inspect, train, evaluate and identify; then tag and predict attributes at toy size.

    Finished parts are not repeated.

    Args:
        folder: Folder for ``photos/``, ``inspect.html`` and ``run/``, and for the same in ``museum/`` and ``shop/``.
        size: Size of the recipe for flukes; larger sizes draw more photos.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        PlanError: The recipe has no size of that name.
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
    image, truth = _example_photo(photos)
    (identified,) = answering.identify(trained.folder, photos / "test" / image, device=device, n_workers=n_workers)
    tagged = _tagging(folder / "museum", device=device, n_workers=n_workers, progress=progress)
    answered = _answering(folder / "shop", device=device, n_workers=n_workers, progress=progress)
    return Demonstration(trained, tested, identified, truth, photos / "train", inspection, tagged, answered)


def _tagging(folder: Path, *, device: str, n_workers: int, progress: Progress) -> TaskDemo[Tagged]:
    """Draw museum objects, train at toy size, and tag one new object."""
    from fieldmark.specimens.museum import draw_museum

    photos = _once(draw_museum, folder / "photos", OTHERS["imet2019"], n_workers=n_workers, progress=progress)
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    trained = running.train("imet2019", photos, run=folder / "run", size="toy", **pace)  # type: ignore[arg-type]
    photo = min((photos / "test").iterdir())
    (prediction,) = answering.tag(trained.folder, photo, most=8, device=device, n_workers=n_workers)
    return TaskDemo(trained, photo, prediction)


def _answering(folder: Path, *, device: str, n_workers: int, progress: Progress) -> TaskDemo[Answered]:
    """Draw garments, train at toy size on images and names, and predict the attributes of one new garment."""
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
    (prediction,) = answering.attributes(trained.folder, photo, text=row["text"], device=device, n_workers=n_workers)
    return TaskDemo(trained, photo, prediction)


def _drawn(folder: Path, numbers: Mapping[str, Any], *, n_workers: int, progress: Progress) -> Path:
    """Draw the data set of flukes unless it exists; an interrupted drawing starts again."""
    from fieldmark.specimens.collections import draw_flukes

    return _once(draw_flukes, folder, numbers, n_workers=n_workers, progress=progress)


def _once(
    draw: Callable[..., Drawn], folder: Path, numbers: Mapping[str, Any], *, n_workers: int, progress: Progress
) -> Path:
    if not folder.exists():
        temporary = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        drawn = draw(temporary, n_workers=max(1, n_workers), progress=progress, **numbers)
        temporary.rename(folder)
        progress.say(f"drawn: {drawn.n_photos:,} photos in {folder}")
    return folder


def _example_photo(photos: Path) -> tuple[str, str]:
    """Return a test photo of the individual with the most training photos, and its name."""
    from fieldmark.specimens.collections import UNKNOWN_INDIVIDUAL

    counts = Counter(name for _, name in _rows(photos / "train.csv"))
    known = [(image, name) for image, name in _rows(photos / ANSWERS) if name != UNKNOWN_INDIVIDUAL]
    return min(known, key=lambda one: (-counts[one[1]], one[0]))


def _rows(table: Path) -> list[tuple[str, str]]:
    """Return the image and the name in each row of a contest table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [(row["Image"], row["Id"]) for row in csv.DictReader(file)]
