"""Functions about data sets, plans and runs, from ``inspect`` and ``train`` to ``report`` and ``relocate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fieldmark.api.guards import check_counts, need_torch, writable_path
from fieldmark.api.labels import patched
from fieldmark.api.overview import RunSummary, list_runs
from fieldmark.api.photos import Reading, gather, look_up, new_photos, warn_odd_names, warn_unmarked
from fieldmark.api.predictor import Predictor
from fieldmark.api.recipe_plans import Setting, choose
from fieldmark.api.recipe_plans import recipes as _recipes
from fieldmark.api.results import Results
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, is_first_process, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.metrics.measure import Measure
    from fieldmark.pipeline.context import Context
    from fieldmark.pipeline.plan import Plan
    from fieldmark.plans.recipe import Recipe
    from fieldmark.reporting.contents import InspectPage, SkippedFile
    from fieldmark.tasks.task import Form, TaskName


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        folder: Folder of the run.
        measures: Measures on the validation photos.
        report: Path of the report page.
        task: Task of the run: ``identification``, ``tagging`` or ``attributes``.
        submission: File with the predictions for new photos, as a contest submission; None without new photos.
        skipped: Files that were left out, each with the reason.
    """

    folder: Path
    measures: tuple[Measure, ...]
    report: Path
    task: TaskName = "identification"
    submission: Path | None = None
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def command(self) -> str:
        """Name of the command that predicts single photos with the run."""
        return {"identification": "identify", "tagging": "tag", "attributes": "attributes"}[self.task]


def inspect(
    data: Collection | Path | str,
    *,
    html: Path | str | None = None,
    labelled: bool = True,
    force: bool = False,
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> InspectPage:
    """Summarise a data set: counts, sizes, samples, duplicates, broken files, and errors in the table.

    Every photo is decoded once. Nothing is changed.

    Args:
        data: A table, a folder of folders, or a collection.
        html: HTML page to write; None: no page.
        labelled: Whether photos must have names or labels; False for new photos.
        force: Whether to overwrite an existing page.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Returns:
        The contents of the page.

    Raises:
        DataError: ``data`` does not exist.
        RunError: The page exists.
    """
    progress = shown_by(progress)
    from fieldmark.quality import inspecting
    from fieldmark.reporting.pages import inspect_page, write_page

    page_file = writable_path(html, force=force)
    page = inspecting.inspection(
        look_up(data, labelled=labelled, reading=reading), n_workers=n_workers, progress=progress
    )
    if page_file is not None:
        write_page(page_file, inspect_page(page))
    return page


def train(
    recipe: str | Path | Plan,
    data: Collection | Path | str,
    *,
    run: Path | str,
    new: Collection | Path | str | None = None,
    size: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    patch: Path | str | None = None,
    seed: int = 0,
    reuse: Path | str | None = None,
    features: Path | str | None = None,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> Trained:
    """Train a recipe or a plan on labelled photos. The same call continues an interrupted training.

    Args:
        recipe: Name of a recipe, a plan, or a ``.toml`` or ``.json`` file with a plan.
        data: Photos with names or labels.
        run: Folder of the run; created if it does not exist.
        new: New photos to predict after training. In a folder of the whale contests or iMet, None uses the ``test/``
            beside ``train.csv``.
        size: Size of the recipe: ``toy``, ``small`` or ``full``.
        settings: Settings of the recipe, such as ``{"flip_identity": False}``.
        patch: CSV of decisions about label issues, which change the labels before training.
        seed: Random seed.
        reuse: Folder of a run with the same photos, patch and seed. Stages that are equal in both plans, and read only
            such stages, are copied from it.
        features: Folder that stores features of frozen networks, so that other runs on the same photos need not
            compute them again. None: a temporary folder in the run.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        PlanError: The recipe or a setting does not exist or is not valid.
        DataError: The photos have errors; the error lists all.
        RunError: The folder holds another run, or another process is using it.
    """
    progress = shown_by(progress)
    plan = choose(recipe, size=size, settings=settings)
    need_torch()
    from fieldmark.core.files import write_json
    from fieldmark.pipeline.context import Context
    from fieldmark.pipeline.engine import execute
    from fieldmark.quality.patches import read_patch
    from fieldmark.tasks.reporting import REPORT, SKIPPED, write_report
    from fieldmark.tasks.task import task_of

    decisions = None if patch is None else read_patch(Path(patch))
    pace = {"n_workers": n_workers, "progress": progress}
    known = gather(data, labelled=True, reading=reading, **pace)  # type: ignore[arg-type]
    warn_odd_names(known.collection, progress)
    if decisions is not None:
        known = patched(known, decisions, progress=progress)
    task = task_of(plan)
    photos = task.prepared(known.collection)
    task.check(plan, photos)
    # Attributes are also predicted for photos without a file, from their texts.
    answered = new_photos(data, new, reading, keep_missing=not task.needs_files, n_workers=n_workers, progress=progress)
    if answered is not None:
        warn_unmarked(answered.collection, plan, progress, whose="the new photos")
    folder = Path(run)
    execute(
        plan,
        photos,
        folder,
        new=answered.collection if answered else None,
        seed=seed,
        reuse=None if reuse is None else Path(reuse),
        features=None if features is None else Path(features),
        device=device,
        n_workers=n_workers,
        progress=progress,
    )
    skipped = (*known.skipped, *(answered.skipped if answered else ()))
    if not is_first_process():
        return Trained(folder, (), folder / REPORT, task.name, None, skipped)
    write_json(folder / SKIPPED, [{"file": one.file, "reason": one.reason} for one in skipped])
    measures = write_report(Context.open(folder))
    return Trained(folder, measures, folder / REPORT, task.name, _submission(Context.open(folder)), skipped)


def plan(what: str | Path | Plan, *, size: str | None = None, settings: Mapping[str, Setting] | None = None) -> Plan:
    """Return the plan of a recipe, of a file, or of a run. Nothing is trained.

    Args:
        what: Name of a recipe, a ``.toml`` or ``.json`` file, or a run folder.
        size: Size of a recipe: ``toy``, ``small`` or ``full``.
        settings: Settings of a recipe.

    Raises:
        PlanError: The recipe, size or setting does not exist, or the file holds no valid plan.
    """
    return choose(what, size=size, settings=settings)


def recipes(name: str | None = None) -> tuple[Recipe[Any], ...]:
    """Return all recipes, or the recipe of a name, with descriptions, sizes and settings.

    Args:
        name: Name of a recipe; None: all recipes.

    Raises:
        PlanError: There is no recipe of that name.
    """
    return _recipes(name)


def runs(folder: Path | str = ".") -> tuple[RunSummary, ...]:
    """Return summaries of the runs in a folder and its subfolders, the latest first. Hidden folders are skipped.

    Raises:
        RunError: The folder does not exist.
    """
    return list_runs(Path(folder))


def evaluate(
    run: Path | str,
    data: Collection | Path | str | None = None,
    *,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> tuple[Measure, ...]:
    """Measure the error rates of a run on its validation photos, or on other labelled photos.

    Individuals that are not in the run count as unknown individuals. Labels that are not in the run are reported and
    left out. Files that are identical to training photos are left out, because they would make the measures too good.

    Args:
        run: Folder of a finished run.
        data: Other photos with names or labels; None: the validation photos of the run.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        RunError: The folder holds no finished run.
        DataError: The table has errors, or no photo is left for the evaluation.
    """
    progress = shown_by(progress)
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import task_of

    context = Context.open(run)
    if data is None:
        return task_of(context.plan).validated(context)
    return Predictor(context, device=device, n_workers=n_workers, progress=progress).evaluate(data, **reading)


def predict(
    run: Path | str,
    data: Collection | Path | str,
    *,
    out: Path | str | None = None,
    form: Form = "people",
    k: int | None = None,
    most: int | None = None,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> Results:
    """Predict many photos, and write the predictions to a CSV file.

    Args:
        run: Folder of a finished run.
        data: A table, a folder, a single photo or a collection; its names and labels are not used.
        out: CSV file to write; None: no file.
        form: ``people``: one row per photo and candidate (or label), with spreadsheet formulas disabled.
            ``submission``: the format of the contest.
        k: Identification: number of candidates per photo; None: as trained.
        most: Tagging: number of labels per photo, the most likely first; labels above the threshold are always
            included. None: 15.
        force: Whether to overwrite an existing ``out``.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        RunError: The folder holds no finished run, or ``out`` exists.
        DataError: The table has errors, photos cannot be read, or names do not fit the format.
        FieldmarkError: ``k`` or ``most`` does not apply to the task of the run.
    """
    progress = shown_by(progress)
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import task_of

    table = writable_path(out, force=force)
    check_counts(k, most)
    context = Context.open(run)
    task_of(context.plan).refuse_options(k=k, most=most)
    predictor = Predictor(context, device=device, n_workers=n_workers, progress=progress)
    found = predictor.answered(predictor.gathered(data, **reading), k=k, most=most)
    if table is not None:
        found.write(table, form=form)
    return found


def report(run: Path | str) -> Path:
    """Write ``metrics.json`` and ``report.html`` of a finished run again, and return the path of the page.

    Raises:
        RunError: The folder holds no finished run.
    """
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.reporting import REPORT, write_report

    write_report(Context.open(run))
    return Path(run) / REPORT


def relocate(run: Path | str, *, photos: Path | str | None = None, new: Path | str | None = None) -> tuple[int, int]:
    """Update the photo folders of a run after its photos were moved.

    Report pages, most similar photos and keypoint matching then read the photos from there. The photos must be the
    same: all present, under the names in the tables of the run, with the same sizes.

    Args:
        run: Folder of a run.
        photos: New folder of the photos the run was trained on; None: not moved.
        new: New folder of the new photos that the run predicted; None: not moved.

    Returns:
        The numbers of training photos and of new photos found.

    Raises:
        RunError: The folder holds no run, or the photos are not those of the run. Nothing is changed.
        FieldmarkError: Neither ``photos`` nor ``new`` is given.
    """
    if photos is None and new is None:
        raise FieldmarkError(
            "relocate needs a new folder: --photos, --new, or both.",
            got="neither",
            fix="add --photos FOLDER or --new FOLDER.",
        )
    from fieldmark.pipeline.context import Context
    from fieldmark.pipeline.relocating import note_places as move

    return move(
        Context.open(run), known=None if photos is None else Path(photos), new=None if new is None else Path(new)
    )


def _submission(context: Context) -> Path | None:
    """Return the submission file that the run wrote for new photos; None without new photos."""
    from fieldmark.pipeline.artifacts.submission import Submission

    files = (context.artifact(Submission, stage.name).file for stage in context.plan.leaving(Submission))
    return next((file for file in files if file is not None), None)
