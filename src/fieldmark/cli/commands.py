"""Commands that make runs, or tell which there are and could be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.api.recipe_plans import pairs
from fieldmark.cli import options
from fieldmark.cli.shell import command, progress, words
from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    from fieldmark.api.functions import Trained


@command
@click.option(
    "--folder", type=options.PATH, default=Path("fieldmark-demo"), show_default=True, help="Where to draw and train."
)
@options.size
@options.computing
def demo(folder: Path, size: str | None, device: str, workers: int) -> None:
    """Draw flukes, train on them, identify one; then tag a museum object and answer about a garment at toy size.

    Nothing is downloaded. The same command again goes on where it was.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    shown = functions.demo(folder, size=size or "small", device=device, n_workers=workers, progress=progress())
    tables.write_lines(
        tables.measures(shown.trained.measures, of="Validation photos, on which the threshold was chosen"),
        "",
        tables.measures(shown.tested, of="Test photos, which nothing was chosen on"),
        "",
        f"$ fieldmark identify {words(shown.trained.folder, shown.identified.file)}",
        tables.identification(shown.identified, root=shown.root),
        f"It is {shown.truth}.",
        "",
        f"$ fieldmark tag {words(shown.tagged.trained.folder, shown.tagged.photo)}   (a toy: seconds of training)",
        *tables.tags(shown.tagged.said),
        "",
        f"$ fieldmark attributes {words(shown.answered.trained.folder, shown.answered.photo)} --text ...   (a toy)",
        *tables.replies(shown.answered.said),
        "",
        f"report: {shown.trained.report}",
        f"about the photos: {shown.inspection}",
        f"reports of the toys: {shown.tagged.trained.report}, {shown.answered.trained.report}",
    )


@command
@click.argument("recipe")
@click.argument("data", type=options.PATH)
@click.option("--run", type=options.PATH, required=True, help="The folder of the run; made if absent.")
@click.option("--new", type=options.PATH, help="Photos to answer: a table, a folder or a photo.")
@options.size
@options.settings
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--patch", type=options.PATH, help="A CSV of decisions about doubtful labels, as `fieldmark issues` writes it."
)
@click.option(
    "--reuse", type=options.PATH, help="A run of the same photos and seed; stages that are equal are taken over."
)
@click.option(
    "--features",
    type=options.PATH,
    help="A folder that keeps features of frozen networks for other runs on the same photos.",
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
    features: Path | None,
    device: str,
    workers: int,
    **typed: Any,
) -> None:
    """Train RECIPE (a name, or a plan in a .toml or .json file) on DATA.

    The same command again goes on where it was interrupted. Under torchrun several processes train together:
    torchrun --nproc-per-node 2 -m -- fieldmark train ...
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables
    from fieldmark.core.progress import is_first_process

    trained = functions.train(
        recipe,
        data,
        run=run,
        new=new,
        size=size,
        settings=pairs(settings, option="--set", example="flip_identity=false"),
        patch=patch,
        seed=seed,
        reuse=reuse,
        features=features,
        device=device,
        n_workers=workers,
        progress=progress(),
        **options.read_by(**typed),
    )
    if is_first_process():
        tables.write_lines(tables.measures(trained.measures), *_outcome(trained))


def _outcome(trained: Trained) -> list[str]:
    """Where everything lies, and what to type next."""
    lines = [f"left out: {len(trained.skipped):,} files that cannot be read"] if trained.skipped else []
    lines += [f"report: {trained.report}"]
    lines += [f"submission: {trained.submission}"] if trained.submission else []
    return [*lines, f"next: fieldmark {trained.command} {words(trained.folder)} PHOTO.jpg"]


@command
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
def lr_find(
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.lr_find(
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
        progress=progress(),
        **options.read_by(**typed),
    )
    tables.write_lines(tables.lr_lines(found), *([] if out is None else [f"plot: {out}"]))


@command
@click.argument("what", metavar="RECIPE|FILE|RUN")
@click.option(
    "--data", type=options.PATH, help="Labelled photos to estimate for: a table or a folder; 1,000 photos by default."
)
@options.size
@options.settings
@options.device
@options.as_json
@click.option("--toml", "as_toml", is_flag=True, help="Print TOML with comments, as a plan of your own to edit.")
@options.reading
def plan(
    what: str,
    data: Path | None,
    size: str | None,
    settings: tuple[str, ...],
    device: str,
    as_json: bool,
    as_toml: bool,
    **typed: Any,
) -> None:
    """Show the stages of a recipe, a plan or a run, and what training would cost; run none."""
    from fieldmark.api import functions
    from fieldmark.cli import estimate_tables, tables

    if as_json and as_toml:
        raise FieldmarkError("A plan is printed in one form.", got="--json --toml", fix="leave out one of the two.")
    chosen = functions.plan(what, size=size, settings=pairs(settings, option="--set", example="flip_identity=false"))
    if as_toml:
        from fieldmark.plans.toml import plan_toml

        click.echo(plan_toml(chosen), nl=False)
        return
    cost = functions.estimate(chosen, data, device=device, **options.read_by(**typed))
    if as_json:
        both = {**chosen.with_needs().model_dump(mode="json"), "estimate": cost.model_dump(mode="json")}
        click.echo(json.dumps(both, indent=2, ensure_ascii=False))
    else:
        tables.write_lines(tables.stages_lines(chosen), "", *estimate_tables.estimated(cost))


@command
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes; with NAME, show the settings of one by group."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.recipes(name)
    if name is None:
        tables.write_lines(tables.recipes_lines(found), "", "settings of one: fieldmark recipes NAME")
    else:
        tables.write_lines(*tables.recipe_lines(found[0]))


@command
@click.argument("folder", type=options.PATH, default=Path())
def runs(folder: Path) -> None:
    """List the runs below FOLDER (here, if none is named)."""
    import datetime as dt

    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.runs(folder)
    if found:
        tables.write_lines(tables.runs_lines(found, now=dt.datetime.now(tz=dt.UTC)))
    else:
        tables.write_lines(f"No run lies in {folder} or below it.")
