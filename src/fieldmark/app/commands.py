"""The commands: what was typed goes to a verb, what it gives is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.app import fetching, options
from fieldmark.app.choices import pairs

if TYPE_CHECKING:
    from fieldmark.app.verbs import Trained

ALL: list[click.Command] = []


def _command(function: Any) -> click.Command:
    """A command under the function's name, with ``--debug``, on the list of all."""
    debug = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback instead of three lines.")
    made = click.command(function.__name__, context_settings={"max_content_width": 100})(debug(function))
    ALL.append(made)
    return made


def _progress() -> Any:
    from fieldmark.app.terminal import progress

    return progress()


@_command
@click.option(
    "--folder", type=options.PATH, default=Path("fieldmark-demo"), show_default=True, help="Where to draw and train."
)
@options.size
@options.computing
def demo(folder: Path, size: str | None, device: str, workers: int) -> None:
    """Draw flukes, train on them, identify one; then tag a museum object and answer about a garment at toy size.

    Nothing is downloaded. The same command again goes on where it was.
    """
    from fieldmark.app import tables, verbs

    shown = verbs.demo(folder, size=size or "small", device=device, n_workers=workers, progress=_progress())
    tables.write(
        tables.measures(shown.trained.measures, of="Validation photos, on which the threshold was chosen"),
        "",
        tables.measures(shown.tested, of="Test photos, which nothing was chosen on"),
        "",
        f"$ fieldmark identify {_words(shown.trained.folder, shown.identified.file)}",
        tables.identification(shown.identified, root=shown.root),
        f"It is {shown.truth}.",
        "",
        f"$ fieldmark tag {_words(shown.tagged.trained.folder, shown.tagged.photo)}   (a toy: seconds of training)",
        *tables.tags(shown.tagged.said),
        "",
        f"$ fieldmark attributes {_words(shown.answered.trained.folder, shown.answered.photo)} --text ...   (a toy)",
        *tables.replies(shown.answered.said),
        "",
        f"report: {shown.trained.report}",
        f"about the photos: {shown.inspection}",
        f"reports of the toys: {shown.tagged.trained.report}, {shown.answered.trained.report}",
    )


@_command
@click.argument("data", type=options.PATH)
@click.option(
    "--html", type=options.PATH, default=Path("inspect.html"), show_default=True, help="Where to write the page."
)
@click.option("--unlabelled", is_flag=True, help="These are new photos: names may be missing.")
@options.force
@options.workers
@options.reading
def inspect(data: Path, html: Path, unlabelled: bool, force: bool, workers: int, **typed: Any) -> None:
    """Show what lies in DATA, and what will be refused.

    DATA is a table of photos (CSV, TSV, Parquet, JSON) or a folder with one folder for each individual.
    """
    from fieldmark.app import tables, verbs

    reading = options.read_by(**typed)
    page = verbs.inspect(
        data, html=html, labelled=not unlabelled, force=force, n_workers=workers, progress=_progress(), **reading
    )
    tables.write(*tables.inspection(page), f"page: {html}")


@_command
@click.argument("data", metavar="TABLE", type=options.PATH)
@click.option("--new", type=options.PATH, help="Other photos, which may repeat those of TABLE.")
@click.option(
    "--out", type=options.PATH, default=Path("twins.csv"), show_default=True, help="The CSV to write, a row a photo."
)
@click.option("--html", type=options.PATH, help="The page to write, with photos side by side.")
@click.option("--identities", type=options.PATH, help="The CSV to write of names that may be one individual.")
@click.option("--transfer", type=options.PATH, help="The CSV to write of names that new photos take from twins.")
@click.option("--texts", type=options.PATH, help="The CSV to write of ids written in photos; reads every photo.")
@click.option("--pattern", metavar="REGEX", help="How ids look in photos, in capitals and digits: HWC[0-9]{3}.")
@click.option("--run", type=options.PATH, help="A run, to suggest also names that look like one to its networks.")
@click.option(
    "--within", type=int, default=6, show_default=True, help="Bits in which hashes may differ of photos to compare."
)
@options.force
@options.workers
@options.reading
def twins(
    data: Path,
    new: Path | None,
    out: Path,
    html: Path | None,
    identities: Path | None,
    transfer: Path | None,
    texts: Path | None,
    pattern: str | None,
    run: Path | None,
    within: int,
    force: bool,
    workers: int,
    **typed: Any,
) -> None:
    """List photos in TABLE (and --new) that show one picture, and names that contradict each other.

    Nothing is changed.
    """
    from fieldmark.app import tables, verbs

    found = verbs.twins(
        data,
        new=new,
        out=out,
        html=html,
        identities=identities,
        transfer=transfer,
        texts=texts,
        pattern=pattern,
        run=run,
        within=within,
        force=force,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    written = {"written": out, "page": html, "names": identities, "taken over": transfer, "texts": texts}
    tables.write(*tables.twins(found), *(f"{what}: {path}" for what, path in written.items() if path is not None))


@_command
@click.argument("data", type=options.PATH)
@click.option("--out", type=options.PATH, required=True, help="The CSV to write.")
@click.option(
    "--by",
    default="agreed",
    show_default=True,
    metavar="NAME|FOLDER",
    help="agreed, grabcut, features, or the folder of a finder that was saved.",
)
@click.option("--clicks", type=options.PATH, help="A CSV of boxes or landmarks of some photos, to learn from.")
@click.option("--save", type=options.PATH, help="The folder for the finder that learns from --clicks.")
@click.option("--html", type=options.PATH, help="A page with a sample of photos, boxes drawn.")
@click.option("--masks", is_flag=True, help="Also write masks into the CSV.")
@options.force
@options.computing
@options.skip_broken
@options.reading
def boxes(
    data: Path,
    out: Path,
    by: str,
    clicks: Path | None,
    save: Path | None,
    html: Path | None,
    masks: bool,
    force: bool,
    device: str,
    workers: int,
    **typed: Any,
) -> None:
    """Find the subject on each photo of DATA; write a table of boxes that --boxes reads.

    Without --clicks nothing is learnt: colours tell the subject, and a network must agree. With --clicks, a CSV of
    image, x0, y0, x1, y1 and landmarks x_left_tip, y_left_tip, ..., a small finder is trained and judged by five folds.
    """
    from fieldmark.app import tables, verbs

    found = verbs.boxes(
        data,
        out=out,
        by=by,
        clicks=clicks,
        save=save,
        html=html,
        masks=masks,
        force=force,
        device=device,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    tables.write(
        *(f"{name}: {value:.3f} (on photos not learnt from)" for name, value in found.errors.items()),
        f"{found.n_boxes:,} of {found.n_photos:,} photos have a box: {out}",
        *([] if html is None else [f"page: {html}"]),
        f"next: fieldmark train RECIPE {_words(data)} --boxes {_words(out)} --run RUN",
    )


@_command
@click.argument("left", type=options.PATH)
@click.argument("right", type=options.PATH)
@click.option(
    "--by",
    type=click.Choice(["xfeat", "lighterglue", "sift", "akaze"]),
    default="xfeat",
    show_default=True,
    help="Which points; sift and akaze need no network.",
)
@click.option("--out", type=options.PATH, help="A .png or .jpg of both photos with lines between their points.")
@options.force
def match(left: Path, right: Path, by: Any, out: Path | None, force: bool) -> None:
    """Say whether photos LEFT and RIGHT show the same marks, point by point."""
    from fieldmark.app import tables, verbs

    found = verbs.match(left, right, by=by, out=out, force=force)
    tables.write(
        f"points:  {found.n_points[0]:,} and {found.n_points[1]:,}",
        f"matches: {found.n_matches:,}",
        f"inliers: {found.n_inliers:,} ({found.inlier_share:.0%} of the matches)",
        *([] if found.out is None else [f"lines: {found.out}"]),
    )


@_command
@click.argument("table", type=options.PATH)
@fetching.fetching
@options.workers
def download(
    table: Path,
    out: Path,
    again: Any,
    urls: tuple[str, ...],
    column: tuple[str, ...],
    encoding: str,
    manifest: Path | None,
    **typed: Any,
) -> None:
    """Get the photos that TABLE names by their addresses, and note what became of each address.

    The same command again asks only for what failed; a kill at any moment loses no photo that was whole.
    """
    from fieldmark.app import tables, verbs

    found = verbs.download(
        table,
        out=out,
        again=again,
        fetching=fetching.settings(**typed),
        progress=_progress(),
        **fetching.asked(urls=urls, column=column, encoding=encoding, manifest=manifest),
    )
    tables.write(*tables.downloaded(found), f"next: fieldmark inspect {_words(found.folder)}")


@_command
@click.argument("recipe")
@click.argument("data", type=options.PATH)
@click.option("--run", type=options.PATH, required=True, help="The folder of the run; made if absent.")
@click.option("--new", type=options.PATH, help="Photos to answer: a table, a folder or a photo.")
@options.size
@options.settings
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--patch", type=options.PATH, help="A CSV of decisions about doubtful labels, as `fieldmark doubts` writes it."
)
@click.option(
    "--reuse", type=options.PATH, help="A run of the same photos and seed; stages that are equal are taken over."
)
@options.computing
@options.skip_broken
@options.reading
def train(
    recipe: str,
    data: Path,
    run: Path,
    new: Path | None,
    size: str | None,
    settings: tuple[str, ...],
    seed: int,
    patch: Path | None,
    reuse: Path | None,
    device: str,
    workers: int,
    **typed: Any,
) -> None:
    """Train RECIPE (a name, or a plan in a .toml or .json file) on DATA.

    The same command again goes on where it was interrupted. Under torchrun several processes train together:
    torchrun --nproc-per-node 2 -m -- fieldmark train ...
    """
    from fieldmark.app import guards, tables, verbs

    trained = verbs.train(
        recipe,
        data,
        run=run,
        new=new,
        size=size,
        settings=pairs(settings, option="--set", example="flip_identity=false"),
        patch=patch,
        seed=seed,
        reuse=reuse,
        device=device,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    if guards.leads():
        tables.write(tables.measures(trained.measures), *_outcome(trained))


def _outcome(trained: Trained) -> list[str]:
    """Where everything lies, and what to type next."""
    lines = [f"left out: {len(trained.skipped):,} files that cannot be read"] if trained.skipped else []
    lines += [f"report: {trained.report}"]
    lines += [f"submission: {trained.submission}"] if trained.submission else []
    from fieldmark.app.guards import ASK

    verb = ASK[trained.tells]
    return [*lines, f"next: fieldmark {verb} {_words(trained.folder)} PHOTO.jpg"]


@_command
@click.argument("recipe")
@click.argument("data", type=options.PATH)
@click.option("--stage", metavar="NAME", help="A train stage that needs no other before it; the first by default.")
@click.option("--updates", type=click.IntRange(min=10), default=100, show_default=True, help="How many rates to try.")
@click.option("--out", type=options.PATH, help="An .svg file for the plot.")
@options.size
@options.settings
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@options.force
@options.computing
@options.skip_broken
@options.reading
def rates(
    recipe: str,
    data: Path,
    stage: str | None,
    updates: int,
    out: Path | None,
    size: str | None,
    settings: tuple[str, ...],
    seed: int,
    force: bool,
    device: str,
    workers: int,
    **typed: Any,
) -> None:
    """Try learning rates for RECIPE on DATA: train shortly while the rate grows, and show the loss at each."""
    from fieldmark.app import tables, verbs

    found = verbs.rates(
        recipe,
        data,
        stage=stage,
        n_updates=updates,
        out=out,
        size=size,
        settings=pairs(settings, option="--set", example="loss=bce"),
        seed=seed,
        force=force,
        device=device,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    tables.write(tables.rates(found), *([] if out is None else [f"plot: {out}"]))


@_command
@click.argument("data", type=options.PATH)
@click.option("--most", type=int, default=600, show_default=True, help="Photos to look at, drawn by lot.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the lot.")
@options.computing
@options.skip_broken
@options.reading
def flips(data: Path, most: int, seed: int, device: str, workers: int, **typed: Any) -> None:
    """Say whether mirrored photos in DATA show other individuals or the same ones, before anything is trained."""
    from fieldmark.app import tables, verbs

    found = verbs.flips(
        data,
        most_photos=most,
        seed=seed,
        device=device,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    tables.write(*tables.flips(found))


@_command
@click.argument("what", metavar="RECIPE|FILE|RUN")
@options.size
@options.settings
@options.as_json
def plan(what: str, size: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Show the stages of a recipe, a plan or a run; run none."""
    from fieldmark.app import tables, verbs

    chosen = verbs.plan(what, size=size, settings=pairs(settings, option="--set", example="flip_identity=false"))
    if as_json:
        click.echo(chosen.model_dump_json(indent=2))
    else:
        tables.write(tables.stages(chosen))


@_command
def recipes() -> None:
    """List the recipes with their sizes and settings."""
    from fieldmark.app import tables, verbs

    tables.write(tables.recipes(verbs.recipes()))


@_command
@click.argument("folder", type=options.PATH, default=Path())
def runs(folder: Path) -> None:
    """List the runs below FOLDER (here, if none is named)."""
    import datetime as dt

    from fieldmark.app import tables, verbs

    found = verbs.runs(folder)
    if found:
        tables.write(tables.runs(found, now=dt.datetime.now(tz=dt.UTC)))
    else:
        tables.write(f"No run lies in {folder} or below it.")


@_command
@options.run_argument
@click.argument("data", type=options.PATH, required=False)
@options.computing
@options.skip_broken
@options.reading
def evaluate(run: Path, data: Path | None, device: str, workers: int, **typed: Any) -> None:
    """Say how good RUN is: on its validation photos, or on DATA.

    Individuals in DATA that the run does not know count as strangers, and labels that it does not know are left out;
    so are photos that it has learnt from.
    """
    from fieldmark.app import tables, verbs

    reading = options.read_by(**typed)
    found = verbs.evaluate(run, data, device=device, n_workers=workers, progress=_progress(), **reading)
    tables.write(tables.measures(found))


@_command
@options.run_argument
@click.argument("photos", type=options.PATH)
@click.option("--out", type=options.PATH, required=True, help="The CSV to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["people", "submission"]),
    default="people",
    show_default=True,
    help="A table for people, or the contest's form.",
)
@options.places
@click.option("--most", type=int, help="Labels a photo to tell, given or not; 15 by default.")
@options.force
@options.computing
@options.skip_broken
@options.reading
def predict(
    run: Path,
    photos: Path,
    out: Path,
    form: Any,
    k: int | None,
    most: int | None,
    force: bool,
    device: str,
    workers: int,
    **typed: Any,
) -> None:
    """Say who or what is on each of PHOTOS (a table, a folder or a photo), as a CSV."""
    from fieldmark.app import tables, verbs

    found = verbs.predict(
        run,
        photos,
        out=out,
        form=form,
        k=k,
        most=most,
        force=force,
        device=device,
        n_workers=workers,
        progress=_progress(),
        **options.read_by(**typed),
    )
    tables.write(f"{len(found):,} photos answered, {tables.answered(found)}: {out}")


@_command
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@options.places
@options.as_json
@options.skip_broken
@options.computing
def identify(
    run: Path, photos: tuple[Path, ...], k: int | None, as_json: bool, skip_broken: bool, device: str, workers: int
) -> None:
    """Say who is on each PHOTO: ranked names, the most alike known photo of each, and "new" where it stands."""
    import json

    from fieldmark.app import answers, tables, verbs

    found = verbs.identify(
        run, photos, k=k, skip_broken=skip_broken, device=device, n_workers=workers, progress=_progress()
    )
    if as_json:
        for one in found:
            click.echo(json.dumps(answers.as_json(one), allow_nan=False))
        return
    tables.write(*(tables.identification(one, root=Path.cwd()) for one in found))


@_command
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--most", type=int, default=15, show_default=True, help="Labels a photo to tell; given ones are always told."
)
@options.as_json
@options.skip_broken
@options.computing
def tag(
    run: Path, photos: tuple[Path, ...], most: int, as_json: bool, skip_broken: bool, device: str, workers: int
) -> None:
    """Say what is on each PHOTO: its labels by group, each with its probability; those it is given are marked."""
    import json

    from fieldmark.app import answers, tables, verbs

    found = verbs.tag(
        run, photos, most=most, skip_broken=skip_broken, device=device, n_workers=workers, progress=_progress()
    )
    if as_json:
        for one in found:
            click.echo(json.dumps(answers.tags_as_json(one), allow_nan=False))
        return
    tables.write(*(part for one in found for part in tables.tags(one)))


@_command
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@click.option("--text", help="What is written about the photo, for runs that learnt from texts.")
@click.option("--most", type=int, default=2, show_default=True, help="Other answers to tell beside each.")
@options.as_json
@options.skip_broken
@options.computing
def attributes(
    run: Path,
    photos: tuple[Path, ...],
    text: str | None,
    most: int,
    as_json: bool,
    skip_broken: bool,
    device: str,
    workers: int,
) -> None:
    """Answer RUN's questions about each PHOTO: a tree of answers, each with its probability."""
    import json

    from fieldmark.app import answers, tables, verbs

    found = verbs.attributes(
        run,
        photos,
        text=text,
        most=most,
        skip_broken=skip_broken,
        device=device,
        n_workers=workers,
        progress=_progress(),
    )
    if as_json:
        for one in found:
            click.echo(json.dumps(answers.replies_as_json(one), allow_nan=False))
        return
    tables.write(*(part for one in found for part in tables.replies(one)))


@_command
@options.run_argument
@click.option("--out", type=options.PATH, help="The CSV to write; filled in, it is a patch for `fieldmark train`.")
@click.option("--most", type=int, default=200, show_default=True, help="How many to tell.")
@options.scores_of
@options.force
def doubts(run: Path, out: Path | None, most: int, stage: str | None, force: bool) -> None:
    """List the labels in RUN's table that are likeliest wrong or missing.

    Networks judge that have not seen the photo. Decide in the CSV's column, then train with --patch.
    """
    from fieldmark.app import tables, verbs

    found = verbs.doubts(run, out=out, most=most, stage=stage, force=force)
    tables.write(*tables.doubts(found), *([] if out is None else [f"written: {out}"]))


@_command
@options.run_argument
@click.option(
    "--rule",
    "rules",
    multiple=True,
    type=click.Choice(options.RULES),
    metavar="NAME",
    help=f"A rule to try; may be repeated, all by default: {', '.join(options.RULES)}.",
)
@options.scores_of
@click.option("--out", type=options.PATH, help="A .json file for the run's plan with the best of these rules in it.")
@options.force
def tune(run: Path, rules: tuple[Any, ...], stage: str | None, out: Path | None, force: bool) -> None:
    """Show what each rule for cutoffs is worth on RUN's out-of-fold scores; train nothing."""
    from fieldmark.app import tables, verbs

    found = verbs.tune(run, rules=rules, stage=stage, out=out, force=force, progress=_progress())
    tables.write(tables.tuned(found))
    if out is not None:
        tables.write(f"plan: {out}", f"next: fieldmark train {_words(out)} DATA --run NEW --reuse {_words(run)}")


@_command
@options.run_argument
def report(run: Path) -> None:
    """Write the page of a finished RUN anew, and print where it is."""
    from fieldmark.app import verbs

    click.echo(verbs.report(run))


def _words(*words: object) -> str:
    return " ".join(shlex.quote(str(word)) for word in words)
