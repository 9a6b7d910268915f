"""Commands that look at photos and train nothing (but a finder of subjects)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.cli import fetching, options
from fieldmark.cli.shell import command, progress, words

if TYPE_CHECKING:
    from fieldmark.api.subjects import Located
    from fieldmark.images.texts import Engine


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    reading = options.read_by(**typed)
    page = functions.inspect(
        data, html=html, labelled=not unlabelled, force=force, n_workers=workers, progress=progress(), **reading
    )
    tables.write_lines(*tables.inspection(page), f"page: {html}")


@command
@click.argument("data", metavar="TABLE", type=options.PATH)
@click.option("--new", type=options.PATH, help="Other photos, which may repeat those of TABLE.")
@click.option(
    "--out",
    type=options.PATH,
    default=Path("duplicates.csv"),
    show_default=True,
    help="The CSV to write, a row a photo.",
)
@click.option("--html", type=options.PATH, help="The page to write, with photos side by side.")
@click.option("--identities", type=options.PATH, help="The CSV to write of names that may be one individual.")
@click.option(
    "--transfer", type=options.PATH, help="The CSV to write of names that new photos take from near-duplicates."
)
@click.option("--texts", type=options.PATH, help="The CSV to write of ids written in photos; reads every photo.")
@click.option("--pattern", metavar="REGEX", help="How ids look in photos, in capitals and digits: HWC[0-9]{3}.")
@click.option(
    "--ocr",
    type=click.Choice(["rapidocr", "tesseract"]),
    default="rapidocr",
    show_default=True,
    help="Who reads them: a package (extra text), or a program of this machine.",
)
@click.option("--run", type=options.PATH, help="A run, to suggest also names that look like one to its networks.")
@click.option(
    "--within", type=int, default=6, show_default=True, help="Bits in which hashes may differ of photos to compare."
)
@options.force
@options.workers
@options.reading
def duplicates(
    data: Path,
    new: Path | None,
    out: Path,
    html: Path | None,
    identities: Path | None,
    transfer: Path | None,
    texts: Path | None,
    pattern: str | None,
    ocr: Engine,
    run: Path | None,
    within: int,
    force: bool,
    workers: int,
    **typed: Any,
) -> None:
    """List photos in TABLE (and --new) that show one picture, and names that contradict each other.

    Nothing is changed.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.duplicates(
        data,
        new=new,
        out=out,
        html=html,
        identities=identities,
        transfer=transfer,
        texts=texts,
        pattern=pattern,
        ocr=ocr,
        run=run,
        within=within,
        force=force,
        n_workers=workers,
        progress=progress(),
        **options.read_by(**typed),
    )
    written = {"written": out, "page": html, "names": identities, "taken over": transfer, "texts": texts}
    tables.write_lines(
        *tables.duplicates_lines(found), *(f"{what}: {path}" for what, path in written.items() if path is not None)
    )


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    reading = options.read_by(**typed)
    found = functions.boxes(
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
        progress=progress(),
        **reading,
    )
    tables.write_lines(
        *(f"{name}: {value:.3f} (on photos not learnt from)" for name, value in found.errors.items()),
        f"{found.n_boxes:,} of {found.n_photos:,} photos have a box: {out}"
        if found.n_boxes or not found.errors
        else f"landmarks of {found.n_photos:,} photos: {out}",
        *([] if html is None else [f"page: {html}"]),
        *_after_boxes(found, [str(data), *options.retyped(reading)], out),
    )


def _after_boxes(found: Located, read: list[str], out: Path) -> list[str]:
    """What to type next, with what was found."""
    if not found.n_boxes:
        return ["next: a plan with `align` turns photos by landmarks; see docs/reference/stages.md"] if found.errors else []
    if found.named:
        return [f"next: fieldmark train reidentify {words(*read)} --boxes {words(out)} --set boxes=table --run RUN"]
    return [f"next: fieldmark predict RUN {words(*read)} --boxes {words(out)} --out answers.csv"]


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.match(left, right, by=by, out=out, force=force)
    tables.write_lines(
        f"points:  {found.n_points[0]:,} and {found.n_points[1]:,}",
        f"matches: {found.n_matches:,}",
        f"inliers: {found.n_inliers:,} ({found.inlier_share:.0%} of the matches)",
        *([] if found.out is None else [f"lines: {found.out}"]),
    )


@command
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
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.download(
        table,
        out=out,
        again=again,
        fetching=fetching.settings(**typed),
        progress=progress(),
        **fetching.asked(urls=urls, column=column, encoding=encoding, manifest=manifest),
    )
    tables.write_lines(*tables.downloaded(found), f"next: fieldmark inspect {words(found.folder)}")


@command
@click.argument("data", type=options.PATH)
@click.option("--most", type=int, default=600, show_default=True, help="Photos to look at, drawn by lot.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the lot.")
@options.computing
@options.skip_broken
@options.reading
def symmetry(data: Path, most: int, seed: int, device: str, workers: int, **typed: Any) -> None:
    """Say whether mirrored photos in DATA show other individuals or the same ones, before anything is trained."""
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.symmetry(
        data,
        most_photos=most,
        seed=seed,
        device=device,
        n_workers=workers,
        progress=progress(),
        **options.read_by(**typed),
    )
    tables.write_lines(*tables.symmetry_lines(found))
