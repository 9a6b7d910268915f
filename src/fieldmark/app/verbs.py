"""The commands as Python functions of the same names; ``fieldmark.train(...)`` is ``train`` here.

Photos are given as a path, which is read with the options of ``fieldmark.app.photos.Reading``, or as a
``fieldmark.data.collection.Collection`` that was read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from fieldmark.app import asked, individuals, labels
from fieldmark.app.asked import attributes
from fieldmark.app.audit import audit
from fieldmark.app.blending import blend
from fieldmark.app.choices import Setting, choose
from fieldmark.app.choices import recipes as _recipes
from fieldmark.app.download import download
from fieldmark.app.duplicates import twins
from fieldmark.app.flips import flips
from fieldmark.app.guards import leads, need_torch, sensible, vacant
from fieldmark.app.individuals import identify
from fieldmark.app.labels import doubts, tag, tune
from fieldmark.app.overview import RunSummary, list_runs
from fieldmark.app.pairs import match
from fieldmark.app.photos import Reading, gather, look_up, new_photos, tell_odd_names, tell_unmarked
from fieldmark.app.rates import rates
from fieldmark.app.subjects import boxes
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import QUIET, Progress

if TYPE_CHECKING:
    from fieldmark.app.demonstration import Demonstration
    from fieldmark.data.collection import Collection
    from fieldmark.plans.recipe import Recipe
    from fieldmark.reporting.contents import InspectPage, SkippedFile
    from fieldmark.stages.answerer import Answered
    from fieldmark.stages.expert import Identification
    from fieldmark.stages.measure import Measure
    from fieldmark.stages.plan import Plan, Told
    from fieldmark.stages.tagger import Tagged

__all__ = [
    "Form",
    "Trained",
    "attributes",
    "audit",
    "blend",
    "boxes",
    "demo",
    "doubts",
    "download",
    "evaluate",
    "flips",
    "identify",
    "inspect",
    "match",
    "plan",
    "predict",
    "rates",
    "recipes",
    "relocate",
    "report",
    "runs",
    "tag",
    "train",
    "tune",
    "twins",
]
Form = Literal["submission", "people"]


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        folder: The run.
        measures: How good it is on photos it has not learnt from.
        report: The page about it.
        tells: ``labels``, ``answers`` or ``individuals``: ``tag``, ``attributes`` or ``identify`` asks about a photo.
        submission: The answers for new photos in the contest's form, or None without new photos.
        skipped: Files that were left out.
    """

    folder: Path
    measures: tuple[Measure, ...]
    report: Path
    tells: Told = "individuals"
    submission: Path | None = None
    skipped: tuple[SkippedFile, ...] = ()


def inspect(
    data: Collection | Path | str,
    *,
    html: Path | str | None = None,
    labelled: bool = True,
    force: bool = False,
    n_workers: int = 2,
    progress: Progress = QUIET,
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
        progress: Told as photos are done.
        **reading: See ``fieldmark.app.photos.Reading``.

    Returns:
        What the page shows.

    Raises:
        DataError: There is no table or folder of photos at ``data``.
        RunError: The page exists.
    """
    from fieldmark.reporting.pages import inspect_page, write_page
    from fieldmark.stages import inspecting

    page_file = vacant(html, force=force)
    page = inspecting.inspect(look_up(data, labelled=labelled, reading=reading), n_workers=n_workers, progress=progress)
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
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
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
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.
        **reading: How to read ``data``; see ``fieldmark.app.photos.Reading``.

    Raises:
        PlanError: The recipe or a setting does not exist, or cannot work.
        DataError: The photos have mistakes; all are told.
        RunError: The folder holds another run, or another process works in it.
    """
    plan = choose(recipe, size=size, settings=settings)
    need_torch()
    from fieldmark.core.files import write_json
    from fieldmark.quality.patches import read_patch
    from fieldmark.stages.engine import execute, open_run
    from fieldmark.stages.reporting import REPORT, SKIPPED
    from fieldmark.stages.reporting import report as write_report

    decisions = None if patch is None else read_patch(Path(patch))
    pace = {"n_workers": n_workers, "progress": progress}
    known = gather(data, labelled=True, reading=reading, **pace)  # type: ignore[arg-type]
    tell_odd_names(known.collection, progress)
    if decisions is not None:
        known = labels.patched(known, decisions, progress=progress)
    # Questions are answered about photos that are gone, too.
    gone_too = plan.tells == "answers"
    answered = new_photos(data, new, reading, gone_too=gone_too, n_workers=n_workers, progress=progress)
    if answered is not None:
        tell_unmarked(answered.collection, plan, progress, whose="the new photos")
    folder = Path(run)
    execute(
        plan,
        known.collection,
        folder,
        new=answered.collection if answered else None,
        seed=seed,
        reuse=None if reuse is None else Path(reuse),
        device=device,
        n_workers=n_workers,
        progress=progress,
    )
    skipped = (*known.skipped, *(answered.skipped if answered else ()))
    if not leads():
        return Trained(folder, (), folder / REPORT, plan.tells, None, skipped)
    write_json(folder / SKIPPED, [{"file": one.file, "reason": one.reason} for one in skipped])
    measures = write_report(open_run(folder))
    return Trained(folder, measures, folder / REPORT, plan.tells, _submission(plan, folder), skipped)


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
    progress: Progress = QUIET,
    **reading: Unpack[Reading],
) -> tuple[Measure, ...]:
    """How good a run is: on its own validation photos, or on other photos with names or labels.

    Individuals that the run does not know count as strangers; labels that it does not know are told and left out.
    Photos that are, byte for byte, photos the run has learnt from are left out, as it cannot be judged by them.

    Args:
        run: The folder of a finished run.
        data: Other photos with names or labels; None for the run's validation photos.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.
        **reading: How to read ``data``; see ``fieldmark.app.photos.Reading``.

    Raises:
        RunError: No finished run lies there.
        DataError: The photos have mistakes, or none is left to judge by.
    """
    from fieldmark.stages.engine import open_run

    opened = open_run(Path(run))
    pace = {"n_workers": n_workers, "progress": progress}
    if opened.plan.tells == "answers":
        if data is None:
            return asked.judged(opened)
        answerer = asked.answerer_of(opened, device=device)
        return asked.judged_by(answerer, gather(data, labelled=True, reading=reading, **pace), **pace)
    if opened.plan.tells == "labels":
        if data is None:
            return labels.judged(opened)
        tagger = labels.tagger_of(opened, device=device)
        return labels.judged_by(tagger, gather(data, labelled=True, reading=reading, **pace), **pace)
    if data is None:
        return individuals.judged(opened)
    expert = individuals.expert_of(opened, device=device)
    return individuals.judged_by(expert, gather(data, labelled=True, reading=reading, **pace), **pace)


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
    progress: Progress = QUIET,
    **reading: Unpack[Reading],
) -> list[Identification] | list[Tagged] | list[Answered]:
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
        progress: Told what goes on.
        **reading: See ``fieldmark.app.photos.Reading``.

    Raises:
        RunError: No finished run lies there, or ``out`` exists.
        DataError: The photos have mistakes, or names do not fit the form.
        FieldmarkError: ``k`` was given for labels, or ``most`` for individuals.
    """
    from fieldmark.app.answers import write_answers, write_replies, write_tags
    from fieldmark.stages.engine import open_run

    table = vacant(out, force=force)
    sensible(k, most)
    opened = open_run(Path(run))
    _fits(k=k, most=most, tells=opened.plan.tells)
    pace = {"n_workers": n_workers, "progress": progress}
    if opened.plan.tells == "answers":
        answerer = asked.answerer_of(opened, device=device)
        given = gather(data, labelled=False, reading=reading, gone_too=True, **pace)
        replies = asked.answered(answerer, given, most=most or asked.MOST_OTHERS, **pace)
        if table is not None:
            write_replies(table, replies, form=form, vocabulary=opened.known.vocabulary)
        return replies
    if opened.plan.tells == "labels":
        tagger = labels.tagger_of(opened, device=device)
        given = gather(data, labelled=False, reading=reading, **pace)
        tags = labels.tagged(tagger, given, most=most or labels.MOST_TAGS, **pace)
        if table is not None:
            write_tags(table, tags, form=form, vocabulary=opened.known.vocabulary)
        return tags
    expert = individuals.expert_of(opened, device=device)
    given = gather(data, labelled=False, reading=reading, **pace)
    found = individuals.identified(expert, given, k=k, **pace)
    if table is not None:
        write_answers(table, found, form=form, root=opened.known.root)
    return found


def report(run: Path | str) -> Path:
    """Write ``metrics.json`` and ``report.html`` of a finished run anew; give the page's path.

    Raises:
        RunError: No finished run lies there.
    """
    from fieldmark.stages.engine import open_run
    from fieldmark.stages.reporting import REPORT
    from fieldmark.stages.reporting import report as write_report

    write_report(open_run(Path(run)))
    return Path(run) / REPORT


def relocate(run: Path | str, *, photos: Path | str | None = None, new: Path | str | None = None) -> tuple[int, int]:
    """Tell a run that its photos were moved; pages, most alike photos and points are looked up there from now on.

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
    from fieldmark.stages.engine import open_run
    from fieldmark.stages.relocating import relocate as move

    return move(
        open_run(Path(run)), known=None if photos is None else Path(photos), new=None if new is None else Path(new)
    )


def demo(
    folder: Path | str = "fieldmark-demo",
    *,
    size: str = "small",
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Demonstration:
    """Draw a collection of flukes, train on it, and identify a photo: a look at everything, with nothing to download.

    Args:
        folder: Where to draw and train; the same call again goes on where it was.
        size: Of the recipe: ``toy``, ``small`` or ``full``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads.
        progress: Told what goes on.

    Raises:
        RunError: The folder is in use by something else.
    """
    need_torch()
    from fieldmark.app.demonstration import demonstrate

    return demonstrate(Path(folder), size=size, device=device, n_workers=n_workers, progress=progress)


def _fits(*, k: int | None, most: int | None, tells: Told) -> None:
    """Tell an option that has no meaning for what the run tells.

    Raises:
        FieldmarkError: Places are for individuals, a number of labels for labels, of other answers for answers.
    """
    if tells == "labels" and k is not None:
        raise FieldmarkError("Labels have no places; cutoffs give them.", got=f"k={k}", fix="use --most 15.")
    if tells == "answers" and k is not None:
        raise FieldmarkError(
            "A question has one answer.", got=f"k={k}", fix="use --most 2 for other answers beside it."
        )
    if tells == "individuals" and most is not None:
        raise FieldmarkError("This run tells individuals, not labels.", got=f"most={most}", fix="use --k 5.")


def _submission(plan: Plan, folder: Path) -> Path | None:
    """The contest's file that an answer stage of the plan left, if it had new photos."""
    from fieldmark.stages.answer import SUBMISSION

    places = [folder / stage.name / SUBMISSION for stage in plan.stages if stage.verb == "answer"]
    return next((path for path in places if path.exists()), None)
