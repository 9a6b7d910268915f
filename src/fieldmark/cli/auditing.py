"""The command ``fieldmark audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fieldmark.cli import options
from fieldmark.cli.shell import command, progress


@command(
    "fieldmark audit whales.csv --html audit.html",
    "fieldmark audit garments.csv --question colour --question category --out audit.csv",
)
@click.argument("data", metavar="TABLE", type=options.PATH)
@click.option("--new", type=options.PATH, help="New photos, to find those that TABLE already holds.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Target to predict: identity, labels or a question (default: all). Repeatable.",
)
@click.option(
    "--side-feature",
    "side_features",
    multiple=True,
    metavar="COLUMN",
    help="Additional column to predict from. Repeatable.",
)
@click.option(
    "--within",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    help="Maximum number of differing hash bits between copies, 0 to 16.",
)
@click.option(
    "--most",
    type=int,
    metavar="N",
    default=20_000,
    show_default=True,
    help="Maximum number of photos used, drawn at random from a larger table.",
)
@options.seed
@click.option("--all", "everything", is_flag=True, help="Also print side features without any gain.")
@click.option("--out", type=options.PATH, help="CSV file to write, one row per target and side feature.")
@click.option("--html", type=options.PATH, help="HTML page to write.")
@options.force
@options.workers
@options.reading
def audit(
    data: Path,
    new: Path | None,
    targets: tuple[str, ...],
    side_features: tuple[str, ...],
    within: int,
    most: int,
    seed: int,
    everything: bool,
    out: Path | None,
    html: Path | None,
    force: bool,
    workers: int,
    **typed: Any,
) -> None:
    """Find leaks: labels predictable without the image.

    Measures how well each side feature of TABLE predicts the labels: addresses, file names, image sizes, cameras,
    encoders, the order of rows, and copies. Files may be missing. Nothing is changed.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.audit(
        data,
        new=new,
        targets=targets,
        side_features=side_features,
        within=within,
        most_photos=most,
        seed=seed,
        out=out,
        html=html,
        force=force,
        n_workers=workers,
        progress=progress(),
        **options.read_by(**typed),
    )
    files = {"written": out, "page": html}
    tables.write_lines(
        *tables.leaks(found, everything=everything),
        *(f"{what}: {path}" for what, path in files.items() if path is not None),
    )
