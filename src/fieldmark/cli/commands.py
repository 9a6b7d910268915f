"""Commands that train runs, and that list recipes, plans and runs."""

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


@command("fieldmark demo", "fieldmark demo --folder trial --size toy")
@click.option(
    "--folder",
    type=options.PATH,
    default=Path("fieldmark-demo"),
    show_default=True,
    help="Folder for the photos and runs.",
)
@options.size
@options.computing
def demo(folder: Path, size: str | None, device: str, workers: int) -> None:
    """Try all three tasks on drawn photos.

    Draws photos of whale flukes, trains on them, evaluates on test photos and identifies one of them. Then trains at
    toy size to tag drawn museum objects and to predict attributes of drawn garments. Nothing is downloaded. Run the
    same command again to continue after an interruption.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    shown = functions.demo(folder, size=size or "small", device=device, n_workers=workers, progress=progress())
    tables.write_lines(
        tables.measures(shown.trained.measures, of="Validation photos (the threshold was chosen on them)"),
        "",
        tables.measures(shown.tested, of="Test photos (not used for any choice)"),
        "",
        f"$ fieldmark identify {words(shown.trained.folder, shown.identified.file)}",
        tables.identification(shown.identified, root=shown.root),
        f"Correct answer: {shown.truth}",
        "",
        f"$ fieldmark tag {words(shown.tagged.trained.folder, shown.tagged.photo)}   (toy size: trained for seconds)",
        *tables.tags(shown.tagged.prediction),
        "",
        f"$ fieldmark attributes {words(shown.answered.trained.folder, shown.answered.photo)} --text ...   (toy size)",
        *tables.replies(shown.answered.prediction),
        "",
        f"report: {shown.trained.report}",
        f"summary of the photos: {shown.inspection}",
        f"reports at toy size: {shown.tagged.trained.report}, {shown.answered.trained.report}",
    )


@command(
    "fieldmark train humpback-classify whales/ --run runs/whales",
    "fieldmark train reidentify lions.csv --run runs/lions --set max_fpir=0.05",
)
@click.argument("recipe")
@click.argument("data", type=options.PATH)
@click.option("--run", type=options.PATH, required=True, help="Folder of the run; created if it does not exist.")
@click.option("--new", type=options.PATH, help="Photos to predict after training: a table, a folder or a photo.")
@options.size
@options.settings
@options.seed
@click.option("--patch", type=options.PATH, help="CSV of corrected labels, as `fieldmark issues --out` writes it.")
@click.option(
    "--reuse", type=options.PATH, help="Run on the same photos and seed whose equal stages are copied, not recomputed."
)
@click.option(
    "--features",
    type=options.PATH,
    help="Folder that stores features of frozen networks for other runs on the same photos.",
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
    """Train a recipe or a plan on labelled photos.

    RECIPE is the name of a recipe, or a .toml or .json file with a plan. DATA is a table or a folder of photos with
    names or labels. Run the same command again to continue after an interruption.

    On several GPUs: torchrun --nproc-per-node 2 -m -- fieldmark train ...
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
    """Return the lines with the files of the run and the next command."""
    lines = [f"left out: {len(trained.skipped):,} files that cannot be read"] if trained.skipped else []
    lines += [f"report: {trained.report}"]
    lines += [f"submission: {trained.submission}"] if trained.submission else []
    return [*lines, f"next: fieldmark {trained.command} {words(trained.folder)} PHOTO.jpg"]


@command(
    "fieldmark lr-find imet2019 museum/ --out rates.svg",
    "fieldmark lr-find reidentify lions.csv --updates 200 --set loss=arcface",
)
@click.argument("recipe")
@click.argument("data", type=options.PATH)
@click.option(
    "--stage", metavar="NAME", help="Train stage to test; it must not build on another one (default: the first)."
)
@click.option(
    "--updates",
    type=click.IntRange(min=10),
    metavar="N",
    default=100,
    show_default=True,
    help="Number of learning rates to test.",
)
@click.option("--out", type=options.PATH, help="SVG file to write the plot to.")
@options.size
@options.settings
@options.seed
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
    """Find a learning rate: a short training, rising rate.

    Trains a network of RECIPE on DATA while the learning rate rises from 0.000001 to 1, and prints the loss at each
    rate. The trained network is discarded.
    """
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


@command(
    "fieldmark plan humpback-classify --data whales/",
    "fieldmark plan humpback-classify --set triplet=false --toml",
)
@click.argument("what", metavar="RECIPE|FILE|RUN")
@click.option(
    "--data", type=options.PATH, help="Labelled photos for the estimate: a table or a folder (default: 1,000 photos)."
)
@options.size
@options.settings
@options.device
@options.as_json
@click.option("--toml", "as_toml", is_flag=True, help="Print the plan as commented TOML, to edit and train.")
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
    """Show the stages of a plan and the cost of training.

    Shows the stages of a recipe, of a plan in a file, or of a run. Estimates time, memory and downloads on this
    machine. Nothing is trained.
    """
    from fieldmark.api import functions
    from fieldmark.cli import estimate_tables, tables

    if as_json and as_toml:
        raise FieldmarkError(
            "--json and --toml cannot be combined.", got="--json --toml", fix="leave out --json or --toml."
        )
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


@command("fieldmark recipes", "fieldmark recipes imet2019")
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes, or the settings of one.

    Without NAME, lists all recipes. With NAME, shows the settings of that recipe by group.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.recipes(name)
    if name is None:
        tables.write_lines(tables.recipes_lines(found), "", "settings of a recipe: fieldmark recipes NAME")
    else:
        tables.write_lines(*tables.recipe_lines(found[0]))


@command("fieldmark runs", "fieldmark runs runs/")
@click.argument("folder", type=options.PATH, default=Path())
def runs(folder: Path) -> None:
    """List the runs in a folder.

    Lists the runs in FOLDER and its subfolders, the latest first (default: the current folder).
    """
    import datetime as dt

    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.runs(folder)
    if found:
        tables.write_lines(tables.runs_lines(found, now=dt.datetime.now(tz=dt.UTC)))
    else:
        tables.write_lines(f"There is no run in {folder} or its subfolders.")
