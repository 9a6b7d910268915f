"""Commands that ask a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fieldmark.cli import options
from fieldmark.cli.shell import command, progress, words
from fieldmark.core.errors import FieldmarkError


@command
@options.run_argument
@click.argument("data", type=options.PATH, required=False)
@options.computing
@options.skip_broken
@options.reading
def evaluate(run: Path, data: Path | None, device: str, workers: int, **typed: Any) -> None:
    """Say how good RUN is: on its validation photos, or on DATA.

    Individuals in DATA that the run does not know count as unknown individuals, and labels that it does not know are left out;
    so are photos that it has learnt from.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    reading = options.read_by(**typed)
    found = functions.evaluate(run, data, device=device, n_workers=workers, progress=progress(), **reading)
    tables.write_lines(tables.measures(found))


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.predict(
        run,
        photos,
        out=out,
        form=form,
        k=k,
        most=most,
        force=force,
        device=device,
        n_workers=workers,
        progress=progress(),
        **options.read_by(**typed),
    )
    tables.write_lines(f"{len(found):,} photos answered, {tables.answered_lines(found)}: {out}")


@command
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@options.places
@options.boxes
@options.as_json
@options.skip_broken
@options.computing
def identify(
    run: Path,
    photos: tuple[Path, ...],
    k: int | None,
    boxes: tuple[str, ...],
    as_json: bool,
    skip_broken: bool,
    device: str,
    workers: int,
) -> None:
    """Say who is on each PHOTO: ranked names, the most similar known photo of each, and "new" where it stands."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.identify(
        run, photos, k=k, boxes=boxes, skip_broken=skip_broken, device=device, n_workers=workers, progress=progress()
    )
    if as_json:
        _write_json(found.to_json())
        return
    tables.write_lines(*(tables.identification(one, root=Path.cwd()) for one in found))


@command
@click.argument("runs", metavar="RUN...", type=options.PATH, nargs=-1, required=True)
@click.option("--out", type=options.PATH, help="The CSV to write, in the contest's form.")
@click.option(
    "--run", type=options.PATH, help="The folder of a run to make of them all, which answers as any run does."
)
@click.option("--points", is_flag=True, help="Match points on the first of the blend; needs --run.")
@click.option(
    "--by",
    type=click.Choice(["score", "rank", "vote"]),
    default="score",
    show_default=True,
    help="Mean score, mean place, or votes of first places.",
)
@click.option("--weight", "weights", type=float, multiple=True, help="Of each RUN, in their order; by default similar.")
@click.option("--k", type=int, default=5, show_default=True, help="Places an answer.")
@options.force
@options.computing
def ensemble(
    runs: tuple[Path, ...],
    out: Path | None,
    run: Path | None,
    points: bool,
    by: Any,
    weights: tuple[float, ...],
    k: int,
    force: bool,
    device: str,
    workers: int,
) -> None:
    """Blend what several RUNs say: write their answers to new photos (--out), or make one run of them all (--run)."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    if out is None and run is None:
        raise FieldmarkError(
            "A blend goes somewhere.",
            got="neither --out nor --run",
            fix="--out answers.csv for answers to the new photos, --run runs/together for a run made of all, or both.",
        )
    found = functions.ensemble(
        runs,
        out=out,
        run=run,
        points=points,
        by=by,
        weights=weights or None,
        k=k,
        force=force,
        device=device,
        n_workers=workers,
        progress=progress(),
    )
    if run is not None:
        tables.write_lines(tables.measures(found.measures))
    if found.n_photos or run is None:
        tables.write_lines(tables.ensemble_lines(found, runs=len(runs), out=out))
    if run is not None:
        tables.write_lines(f"report: {run / 'report.html'}", f"next: fieldmark identify {words(run)} PHOTO.jpg")


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.tag(
        run, photos, most=most, skip_broken=skip_broken, device=device, n_workers=workers, progress=progress()
    )
    if as_json:
        _write_json(found.to_json())
        return
    tables.write_lines(*(part for one in found for part in tables.tags(one)))


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.attributes(
        run,
        photos,
        text=text,
        most=most,
        skip_broken=skip_broken,
        device=device,
        n_workers=workers,
        progress=progress(),
    )
    if as_json:
        _write_json(found.to_json())
        return
    tables.write_lines(*(part for one in found for part in tables.replies(one)))


@command
@options.run_argument
@click.option("--out", type=options.PATH, help="The CSV to write; filled in, it is a patch for `fieldmark train`.")
@click.option("--most", type=int, default=200, show_default=True, help="How many to tell.")
@options.scores_of
@options.force
@options.computing
def issues(
    run: Path,
    out: Path | None,
    most: int,
    stage: str | None,
    force: bool,
    device: str,
    workers: int,
) -> None:
    """List what is likeliest wrong or missing in RUN's table: labels, or names of individuals.

    Labels are judged by networks that have not seen the photo, names by networks and matching points: unknown individuals who
    may have a name, individuals who may have two. Decide in the CSV's column, then train with --patch.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.issues(
        run,
        out=out,
        most=most,
        stage=stage,
        force=force,
        device=device,
        n_workers=workers,
        progress=progress(),
    )
    tables.write_lines(*tables.issues_lines(found), *([] if out is None else [f"written: {out}"]))


@command
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
def thresholds(run: Path, rules: tuple[Any, ...], stage: str | None, out: Path | None, force: bool) -> None:
    """Show what each rule for thresholds is worth on RUN's out-of-fold scores; train nothing."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.thresholds(run, rules=rules, stage=stage, out=out, force=force, progress=progress())
    tables.write_lines(tables.tuned_lines(found))
    if out is not None:
        tables.write_lines(f"plan: {out}", f"next: fieldmark train {words(out)} DATA --run NEW --reuse {words(run)}")


@command
@options.run_argument
def report(run: Path) -> None:
    """Write the page of a finished RUN anew, and print where it is."""
    from fieldmark.api import functions

    click.echo(functions.report(run))


@command
@options.run_argument
@click.option("--photos", type=options.PATH, help="The folder in which the photos that RUN knows lie now.")
@click.option("--new", type=options.PATH, help="The same of the new photos it was trained with.")
def relocate(run: Path, photos: Path | None, new: Path | None) -> None:
    """Tell RUN that its photos were moved."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    known, asked = functions.relocate(run, photos=photos, new=new)
    places = [f"{n:,} {what} photos: {at}" for n, what, at in ((known, "known", photos), (asked, "new", new)) if at]
    tables.write_lines(*places)


def _write_json(found: Iterable[dict[str, Any]]) -> None:
    """One line of JSON a photo."""
    for one in found:
        click.echo(json.dumps(one, allow_nan=False))
