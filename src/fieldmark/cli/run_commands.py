"""Commands that use a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fieldmark.cli import options
from fieldmark.cli.shell import command, progress, words
from fieldmark.core.errors import FieldmarkError


@command(
    "fieldmark evaluate runs/whales",
    "fieldmark evaluate runs/whales next_season.csv --column identity=whale",
)
@options.run_argument
@click.argument("data", type=options.PATH, required=False)
@options.computing
@options.skip_broken
@options.reading
def evaluate(run: Path, data: Path | None, device: str, workers: int, **typed: Any) -> None:
    """Measure the error rates of a run.

    Evaluates RUN on its validation photos, or on the labelled photos of DATA. Individuals that are not in the run
    count as unknown individuals. Labels that are not in the run, and photos it was trained on, are left out.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    reading = options.read_by(**typed)
    found = functions.evaluate(run, data, device=device, n_workers=workers, progress=progress(), **reading)
    tables.write_lines(tables.measures(found))


@command(
    "fieldmark predict runs/whales new_photos/ --out answers.csv",
    "fieldmark predict runs/whales challenge.csv --out submission.csv --format submission",
)
@options.run_argument
@click.argument("photos", type=options.PATH)
@click.option("--out", type=options.PATH, required=True, help="CSV file to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["people", "submission"]),
    default="people",
    show_default=True,
    help="Format of the CSV: a table to read, or a contest submission.",
)
@options.candidates
@click.option(
    "--most", type=int, metavar="N", help="Number of labels per photo in the output, predicted or not (default: 15)."
)
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
    """Predict many photos and write a CSV.

    PHOTOS is a table, a folder or a single photo. Works with runs of all three tasks.
    """
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
    tables.write_lines(f"{len(found):,} photos predicted, {tables.prediction_counts(found)}: {out}")


@command(
    "fieldmark identify runs/whales photo.jpg",
    "fieldmark identify runs/whales photo.jpg other.jpg --json --k 3",
)
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@options.candidates
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
    """Identify the individual in single photos.

    Prints the ranked candidates for each PHOTO, each with its most similar known photo. "New" is one of the
    candidates: the photo then shows an unknown individual.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.identify(
        run, photos, k=k, boxes=boxes, skip_broken=skip_broken, device=device, n_workers=workers, progress=progress()
    )
    if as_json:
        _write_json(found.to_json())
        return
    tables.write_lines(*(tables.identification(one, root=Path.cwd()) for one in found))


@command(
    "fieldmark ensemble runs/reidentify runs/classify --run runs/together --points",
    "fieldmark ensemble runs/classify runs/siamese --out answers.csv",
)
@click.argument("runs", metavar="RUN...", type=options.PATH, nargs=-1, required=True)
@click.option("--out", type=options.PATH, help="CSV file to write, as a contest submission.")
@click.option("--run", type=options.PATH, help="Folder of a new run that holds all runs and predicts like any run.")
@click.option("--points", is_flag=True, help="Re-rank the first candidates by keypoint matching; needs --run.")
@click.option(
    "--by",
    type=click.Choice(["score", "rank", "vote"]),
    default="score",
    show_default=True,
    help="Average: mean score, mean rank, or votes of the first ranks.",
)
@click.option(
    "--weight",
    "weights",
    type=float,
    metavar="W",
    multiple=True,
    help="Weight of one RUN, given once per RUN in their order (default: equal).",
)
@click.option("--k", type=int, metavar="N", default=5, show_default=True, help="Number of candidates per photo.")
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
    """Average several runs that identify.

    Writes the averaged predictions for the new photos of the RUNs (--out), or combines the RUNs into one run (--run).
    No network is trained.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    if out is None and run is None:
        raise FieldmarkError(
            "ensemble needs an output: --out, --run, or both.",
            got="neither --out nor --run",
            fix="add --out answers.csv for the predictions of new photos, or --run runs/together for a combined run.",
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


@command(
    "fieldmark tag runs/museum photo.jpg",
    "fieldmark tag runs/museum photo.jpg other.jpg --json --most 5",
)
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--most",
    type=int,
    metavar="N",
    default=15,
    show_default=True,
    help="Number of labels per photo in the output; predicted labels are always shown.",
)
@options.as_json
@options.skip_broken
@options.computing
def tag(
    run: Path, photos: tuple[Path, ...], most: int, as_json: bool, skip_broken: bool, device: str, workers: int
) -> None:
    """Predict the labels of single photos.

    Prints the labels of each PHOTO by group with their probabilities. Marks the labels above the threshold.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.tag(
        run, photos, most=most, skip_broken=skip_broken, device=device, n_workers=workers, progress=progress()
    )
    if as_json:
        _write_json(found.to_json())
        return
    tables.write_lines(*(part for one in found for part in tables.tags(one)))


@command(
    "fieldmark attributes runs/shop photo.jpg",
    "fieldmark attributes runs/shop photo.jpg --text 'Red maxi dress' --json",
)
@options.run_argument
@click.argument("photos", metavar="PHOTO...", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--text", metavar="TEXT", help="Description of the photo, such as a product name, for runs trained with texts."
)
@click.option(
    "--most",
    type=int,
    metavar="N",
    default=2,
    show_default=True,
    help="Number of alternative answers shown per question.",
)
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
    """Predict the attributes of single photos.

    Prints the answer to each question of RUN for each PHOTO, with its probability. Questions that depend on another
    question are indented.
    """
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


@command(
    "fieldmark issues runs/museum",
    "fieldmark issues runs/museum --out issues.csv --most 500",
)
@options.run_argument
@click.option(
    "--out", type=options.PATH, help="CSV file to write; with your decisions it is a patch for `fieldmark train`."
)
@click.option("--most", type=int, metavar="N", default=200, show_default=True, help="Maximum number of issues.")
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
    """List likely errors in the labels of a run.

    Lists labels that are likely wrong or missing in the table of RUN, by out-of-fold predictions. For a run that
    identifies: unknown individuals that may have a name, and individuals that may have two, by networks and keypoint
    matching. Write your decisions into the CSV, then train with --patch.
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


@command(
    "fieldmark thresholds runs/museum",
    "fieldmark thresholds runs/museum --rule group --rule label --out tuned.json",
)
@options.run_argument
@click.option(
    "--rule",
    "rules",
    multiple=True,
    type=click.Choice(options.RULES),
    metavar="NAME",
    help=f"Rule to compare (default: all): {', '.join(options.RULES)}. Repeatable.",
)
@options.scores_of
@click.option("--out", type=options.PATH, help="JSON file to write: the plan of the run with the best of these rules.")
@options.force
def thresholds(run: Path, rules: tuple[Any, ...], stage: str | None, out: Path | None, force: bool) -> None:
    """Compare rules for label thresholds.

    Measures the F2 score of each rule on the out-of-fold scores of RUN. Nothing is trained.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.thresholds(run, rules=rules, stage=stage, out=out, force=force, progress=progress())
    tables.write_lines(tables.tuned_lines(found))
    if out is not None:
        tables.write_lines(f"plan: {out}", f"next: fieldmark train {words(out)} DATA --run NEW --reuse {words(run)}")


@command("fieldmark report runs/whales", "fieldmark report fieldmark-demo/run")
@options.run_argument
def report(run: Path) -> None:
    """Write the report page of a run again.

    Writes report.html and metrics.json of the finished RUN again, and prints the path of the page.
    """
    from fieldmark.api import functions

    click.echo(functions.report(run))


@command(
    "fieldmark relocate fieldmark-demo/run --photos fieldmark-demo/photos/train",
    "fieldmark relocate runs/whales --photos /data/whales/train --new /data/whales/test",
)
@options.run_argument
@click.option("--photos", type=options.PATH, help="New location of the photos RUN was trained on.")
@click.option("--new", type=options.PATH, help="New location of the new photos that RUN predicted.")
def relocate(run: Path, photos: Path | None, new: Path | None) -> None:
    """Update the photo folder of a run.

    Use this after the photos of RUN were moved. The photos must be the same: all present, under the same names and of
    the same sizes. Otherwise nothing is changed.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    n_known, n_new = functions.relocate(run, photos=photos, new=new)
    folders = ((n_known, "known", photos), (n_new, "new", new))
    tables.write_lines(*(f"{n:,} {what} photos: {folder}" for n, what, folder in folders if folder))


def _write_json(found: Iterable[dict[str, Any]]) -> None:
    """Print one line of JSON per photo."""
    for one in found:
        click.echo(json.dumps(one, allow_nan=False))
