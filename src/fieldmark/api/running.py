"""The commands about runs: inspect, train, plan, recipes, runs, evaluate, predict, report, relocate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fieldmark.api.guards import need_torch, sensible, vacant
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
    """What a training left.

    Attributes:
        folder: The run.
        measures: How good it is on photos it has not learnt from.
        report: The page about it.
        task: What the run is for: ``identification``, ``tagging`` or ``attributes``.
        submission: The answers for new photos in the contest's form, or None without new photos.
        skipped: Files that were left out.
    """

    folder: Path
    measures: tuple[Measure, ...]
    report: Path
    task: TaskName = "identification"
    submission: Path | None = None
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def command(self) -> str:
        """The command that asks the run about a photo."""
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
    """What lies in a collection: counts, sizes, samples, duplicates, broken files, and all that would be refused.

    Every photo is decoded once. Nothing is changed.

    Args:
        data: A table, a folder of folders, or a collection.
        html: Where to write the page about it; None writes none.
        labelled: False for new photos: names may be missing.
        force: Whether an existing page may be written over.
        n_workers: Threads that look at the photos.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: See ``fieldmark.api.photos.Reading``.

    Returns:
        What the page shows.

    Raises:
        DataError: There is no table or folder of photos at ``data``.
        RunError: The page exists.
    """
    progress = shown_by(progress)
    from fieldmark.quality import inspecting
    from fieldmark.reporting.pages import inspect_page, write_page

    page_file = vacant(html, force=force)
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
    """Run a recipe on photos with names or labels; the same call again goes on where it was interrupted.

    Args:
        recipe: A recipe's name, a plan, or a ``.toml`` or ``.json`` file that holds one.
        data: Photos with names or labels.
        run: The folder of the run; made if absent.
        new: Photos to answer. In a folder as the whale contests and iMet give it, the ``test/`` beside ``train.csv``
            is taken.
        size: Of the recipe: ``toy``, ``small`` or ``full``.
        settings: Of the recipe, such as ``{"flip_identity": False}``.
        patch: A CSV of decisions about doubtful labels, which change the photos' labels before training.
        seed: Of everything random.
        reuse: Another run of the same photos, patch and seed: stages that are equal in both plans, and read only
            such stages, are taken over.
        features: Folder in which features of frozen networks are kept for other runs on the same photos, which then
            do not compute them again; None: in the run, until it is finished.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: How to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        PlanError: The recipe or a setting does not exist, or cannot work.
        DataError: The photos have mistakes; all are told.
        RunError: The folder holds another run, or another process works in it.
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
    # Questions are answered about photos that are gone, too.
    answered = new_photos(data, new, reading, gone_too=not task.needs_files, n_workers=n_workers, progress=progress)
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
    """The stages of a recipe, of a plan in a file, or of a run, without running any.

    Args:
        what: A recipe's name, a ``.toml`` or ``.json`` file, or a run folder.
        size: Of a recipe: ``toy``, ``small`` or ``full``.
        settings: Of a recipe.

    Raises:
        PlanError: There is no such recipe, size or setting, or the file holds no plan that works.
    """
    return choose(what, size=size, settings=settings)


def recipes(name: str | None = None) -> tuple[Recipe[Any], ...]:
    """The recipes there are, or the one of a name, with what each does, its sizes and its settings.

    Args:
        name: Of a recipe; None for all.

    Raises:
        PlanError: There is no recipe of that name.
    """
    return _recipes(name)


def runs(folder: Path | str = ".") -> tuple[RunSummary, ...]:
    """The runs in a folder and below it, the latest first; hidden folders are passed over.

    Raises:
        RunError: There is no such folder.
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
    """How good a run is: on its own validation photos, or on other photos with names or labels.

    Individuals that the run does not know count as unknown individuals; labels that it does not know are told and left out.
    Photos that are, byte for byte, photos the run has learnt from are left out, as it cannot be judged by them.

    Args:
        run: The folder of a finished run.
        data: Other photos with names or labels; None for the run's validation photos.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: How to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        RunError: No finished run lies there.
        DataError: The photos have mistakes, or none is left to judge by.
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
    """Who or what is on each of many photos, and a table of it.

    Args:
        run: The folder of a finished run.
        data: A table, a folder, a single photo or a collection; names and labels in it are not looked at.
        out: The CSV to write; None writes none.
        form: ``people``: a row for each photo and place (or label), harmless in a spreadsheet; ``submission``: the
            contest's.
        k: Individuals: places an answer; None for as many as the run was made with.
        most: Labels: how many a photo to tell, the likeliest first; given ones are always told. None for 15.
        force: Whether an existing ``out`` may be written over.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: See ``fieldmark.api.photos.Reading``.

    Raises:
        RunError: No finished run lies there, or ``out`` exists.
        DataError: The photos have mistakes, or names do not fit the form.
        FieldmarkError: ``k`` was given for labels, or ``most`` for individuals.
    """
    progress = shown_by(progress)
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import task_of

    table = vacant(out, force=force)
    sensible(k, most)
    context = Context.open(run)
    task_of(context.plan).refuse_options(k=k, most=most)
    predictor = Predictor(context, device=device, n_workers=n_workers, progress=progress)
    found = predictor.answered(predictor.gathered(data, **reading), k=k, most=most)
    if table is not None:
        found.write(table, form=form)
    return found


def report(run: Path | str) -> Path:
    """Write ``metrics.json`` and ``report.html`` of a finished run anew; give the page's path.

    Raises:
        RunError: No finished run lies there.
    """
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.reporting import REPORT, write_report

    write_report(Context.open(run))
    return Path(run) / REPORT


def relocate(run: Path | str, *, photos: Path | str | None = None, new: Path | str | None = None) -> tuple[int, int]:
    """Tell a run that its photos were moved; pages, most similar photos and points are looked up there from now on.

    The photos must be the run's own: all there, under the names that its tables give them, with the same sizes.

    Args:
        run: The folder of a run.
        photos: The folder in which the photos that it knows lie now; None: they are where they were.
        new: The same of the new photos that it was trained with.

    Returns:
        How many known and new photos were found.

    Raises:
        RunError: No run lies there, or those are not its photos; nothing is changed then.
        FieldmarkError: Neither folder was named.
    """
    if photos is None and new is None:
        raise FieldmarkError("Which photos were moved?", got="no folder", fix="name it: --photos FOLDER, --new FOLDER.")
    from fieldmark.pipeline.context import Context
    from fieldmark.pipeline.relocating import note_places as move

    return move(
        Context.open(run), known=None if photos is None else Path(photos), new=None if new is None else Path(new)
    )


def _submission(context: Context) -> Path | None:
    """The contest's file that the run's plan left, if it had new photos."""
    from fieldmark.pipeline.artifacts.submission import Submission

    files = (context.artifact(Submission, stage.name).file for stage in context.plan.leaving(Submission))
    return next((file for file in files if file is not None), None)
