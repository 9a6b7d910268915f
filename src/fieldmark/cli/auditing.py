"""The command ``fieldmark audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fieldmark.cli import options
from fieldmark.cli.shell import command, progress


@command
@click.argument("data", metavar="TABLE", type=options.PATH)
@click.option("--new", type=options.PATH, help="New photos, to see whether they lie in TABLE already.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="What to guess: identity, labels or a question; may be repeated, all by default.",
)
@click.option(
    "--side feature",
    "side_features",
    multiple=True,
    metavar="COLUMN",
    help="A further column to guess from; may be repeated.",
)
@click.option(
    "--within", type=int, default=0, show_default=True, help="Bits in which hashes may differ of photos that look one."
)
@click.option(
    "--most",
    type=int,
    default=20_000,
    show_default=True,
    help="Photos to try side features on, drawn by lot from more.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the lot.")
@click.option("--all", "everything", is_flag=True, help="Also print side features that tell nothing.")
@click.option("--out", type=options.PATH, help="The CSV to write, a row for each target and side feature.")
@click.option("--html", type=options.PATH, help="The page to write.")
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
    """Say how well answers in TABLE can be guessed from all that is not the picture.

    Addresses, file names, sizes, cameras, encoders, the order of rows, copies. Files may be missing; nothing is
    changed.
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
    written = {"written": out, "page": html}
    tables.write_lines(
        *tables.leaks(found, everything=everything),
        *(f"{what}: {path}" for what, path in written.items() if path is not None),
    )
