"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fieldmark.api.recipe_plans import pairs

if TYPE_CHECKING:
    from fieldmark.api.photos import Reading

Command = TypeVar("Command", bound=Callable[..., Any])

LAYOUTS = (
    "auto",
    "table",
    "folders",
    "coco",
    "coco_identities",
    "humpback",
    "imet2019",
    "imaterialist2017",
    "imaterialist2018",
)
RULES = ("preset", "global", "group", "group-limits", "label", "relative", "count", "own")
"""As ``fieldmark.tasks.tagging.tuning`` knows them; written out, as that would load numpy for ``--help``."""
PATH = click.Path(path_type=Path)

run_argument = click.argument("run", type=PATH)
skip_broken = click.option(
    "--skip-broken", is_flag=True, help="Leave out photos that are missing or cannot be read, and list them."
)
force = click.option("--force", is_flag=True, help="Write over a file that exists.")
places = click.option("--k", type=int, help="Places an answer; by default as many as the run was made with.")
scores_of = click.option("--stage", metavar="NAME", help="Whose scores to go by; by default the last that fit.")
size = click.option("--size", help="Size of the recipe: toy, small or full.")
settings = click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe; may be repeated."
)
boxes = click.option(
    "--boxes",
    multiple=True,
    metavar="[NAME=]FILE",
    help="A CSV of boxes, landmarks or masks of these photos; with a name, a further source.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
workers = click.option(
    "--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Threads that read photos ahead."
)

_READING = (
    click.option(
        "--layout",
        metavar="NAME",
        default="auto",
        show_default=True,
        help=f"How the table is laid out: {', '.join(LAYOUTS)}, or as an installed package reads it.",
    ),
    click.option("--column", multiple=True, metavar="OURS=THEIRS", help="Which column is which; may be repeated."),
    click.option(
        "--photos", "photo_folder", type=PATH, help="The folder of the photos, if it is not beside the table."
    ),
    click.option("--unknown", help='The name that stands for "nobody we know".'),
    click.option("--encoding", default="utf-8", show_default=True, help="How a text table is written."),
    click.option("--allow-outside", is_flag=True, help="Photos may lie outside of the folder of photos."),
    click.option("--question", multiple=True, metavar="COLUMN", help="A column that is a question; may be repeated."),
    click.option(
        "--questions",
        type=PATH,
        metavar="FILE",
        help="A TOML file about the questions; by default questions.toml beside the table.",
    ),
    boxes,
)


def computing(command: Command) -> Command:
    """The options ``--device`` and ``--workers``."""
    return device(workers(command))


def reading(command: Command) -> Command:
    """The options by which a table of photos is read; ``read_by`` makes the reader's settings of them."""
    for option in reversed(_READING):
        command = option(command)
    return command


def read_by(
    *,
    layout: str,
    column: tuple[str, ...],
    photo_folder: Path | None,
    unknown: str | None,
    encoding: str,
    allow_outside: bool,
    question: tuple[str, ...] = (),
    questions: Path | None = None,
    boxes: tuple[str, ...] = (),
    skip_broken: bool = False,
) -> Reading:
    """The reader's settings, of those that differ from its defaults."""
    chosen = {
        "layout": layout if layout != "auto" else None,
        "columns": pairs(column, option="--column", example="identity=whale") or None,
        "photos": photo_folder,
        "unknown": unknown,
        "encoding": encoding if encoding != "utf-8" else None,
        "allow_outside": allow_outside or None,
        "questions": questions or question or None,
        "boxes": boxes or None,
        "skip_broken": skip_broken or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}  # type: ignore[return-value]


def retyped(reading: Reading) -> list[str]:
    """The options that made ``reading``, of those by which the next command must read the same photos."""
    typed = [word for both in reading.get("columns", {}).items() for word in ("--column", "=".join(both))]
    for name in ("layout", "photos", "unknown", "encoding"):
        if name in reading:
            typed += [f"--{name}", str(reading[name])]
    return typed + ["--allow-outside"] * reading.get("allow_outside", False)
