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
"""As in ``fieldmark.tasks.tagging.tuning``; repeated here, because that module loads numpy, and ``--help`` must not."""
PATH = click.Path(path_type=Path)

run_argument = click.argument("run", type=PATH)
skip_broken = click.option(
    "--skip-broken", is_flag=True, help="Leave out and list photos that are missing or cannot be read."
)
force = click.option("--force", is_flag=True, help="Overwrite existing files.")
candidates = click.option("--k", type=int, metavar="N", help="Number of candidates per photo (default: as trained).")
scores_of = click.option("--stage", metavar="NAME", help="Stage whose scores are used (default: the last with scores).")
size = click.option("--size", metavar="SIZE", help="Size of the recipe: toy, small or full.")
seed = click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Random seed.")
settings = click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Setting of the recipe. Repeatable."
)
boxes = click.option(
    "--boxes",
    multiple=True,
    metavar="[NAME=]FILE",
    help="CSV of boxes, landmarks or masks of these photos. NAME= adds it as a second source.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
device = click.option(
    "--device",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Device for networks: auto, cpu, cuda, cuda:1 or mps.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    default=2,
    show_default=True,
    help="Number of image-loading threads.",
)

_READING = (
    click.option(
        "--layout",
        metavar="NAME",
        default="auto",
        show_default=True,
        help=f"Layout of the table: {', '.join(LAYOUTS)}, or one that an installed package adds.",
    ),
    click.option(
        "--column",
        multiple=True,
        metavar="OURS=THEIRS",
        help="Name of a column in the table, such as identity=whale. Repeatable.",
    ),
    click.option(
        "--photos", "photo_folder", type=PATH, help="Folder of the photos (default: looked for beside the table)."
    ),
    click.option("--unknown", metavar="LABEL", help="Label used in the table for unknown individuals."),
    click.option("--encoding", metavar="NAME", default="utf-8", show_default=True, help="Text encoding of the table."),
    click.option("--allow-outside", is_flag=True, help="Allow photos outside the folder of photos."),
    click.option(
        "--question",
        multiple=True,
        metavar="COLUMN",
        help="Column that holds the answers to one question. Repeatable.",
    ),
    click.option(
        "--questions",
        type=PATH,
        metavar="FILE",
        help="TOML file that describes the questions (default: questions.toml beside the table).",
    ),
    boxes,
)


def computing(command: Command) -> Command:
    """Add the options ``--device`` and ``--workers``."""
    return device(workers(command))


def reading(command: Command) -> Command:
    """Add the options that describe a table of photos; ``read_by`` turns them into settings of the reader."""
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
    """Return the settings of the reader that differ from its defaults."""
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
    """Return the options that a following command needs to read the same photos."""
    typed = [word for both in reading.get("columns", {}).items() for word in ("--column", "=".join(both))]
    for name in ("layout", "photos", "unknown", "encoding"):
        if name in reading:
            typed += [f"--{name}", str(reading[name])]
    return typed + ["--allow-outside"] * reading.get("allow_outside", False)
