"""Commands that work on photos without a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.cli import fetching, options
from fieldmark.cli.shell import command, progress, words

if TYPE_CHECKING:
    from fieldmark.api.subjects import Located
    from fieldmark.images.texts import Engine


@command(
    "fieldmark inspect whales/",
    "fieldmark inspect whales.csv --column identity=whale --photos pictures/ --html whales.html",
)
@click.argument("data", type=options.PATH)
@click.option("--html", type=options.PATH, default=Path("inspect.html"), show_default=True, help="HTML page to write.")
@click.option("--unlabelled", is_flag=True, help="Accept photos without names or labels.")
@options.force
@options.workers
@options.reading
def inspect(data: Path, html: Path, unlabelled: bool, force: bool, workers: int, **typed: Any) -> None:
    """Summarise a data set and list its errors.

    DATA is a table of photos (CSV, TSV, Parquet, JSON) or a folder with one folder for each individual. Every photo
    is decoded. Nothing is changed.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    reading = options.read_by(**typed)
    page = functions.inspect(
        data, html=html, labelled=not unlabelled, force=force, n_workers=workers, progress=progress(), **reading
    )
    tables.write_lines(*tables.inspection(page), f"page: {html}")


@command(
    "fieldmark duplicates whales.csv --html duplicates.html",
    "fieldmark duplicates whales.csv --new challenge/ --identities names.csv --run runs/whales",
)
@click.argument("data", metavar="TABLE", type=options.PATH)
@click.option("--new", type=options.PATH, help="Other photos to compare with those of TABLE.")
@click.option(
    "--out",
    type=options.PATH,
    default=Path("duplicates.csv"),
    show_default=True,
    help="CSV file to write, one row per photo that has a near-duplicate.",
)
@click.option("--html", type=options.PATH, help="HTML page to write, with the photos side by side.")
@click.option("--identities", type=options.PATH, help="CSV file to write: pairs of names that may be one individual.")
@click.option(
    "--transfer", type=options.PATH, help="CSV file to write: names of near-duplicates for unnamed new photos."
)
@click.option(
    "--texts", type=options.PATH, help="CSV file to write: identifiers visible in photos (text recognition, slow)."
)
@click.option(
    "--pattern",
    metavar="REGEX",
    help="Regular expression of identifiers in photos, in capitals and digits: HWC[0-9]{3}.",
)
@click.option(
    "--ocr",
    type=click.Choice(["rapidocr", "tesseract"]),
    default="rapidocr",
    show_default=True,
    help="Text recognition: rapidocr (extra text) or the program tesseract.",
)
@click.option("--run", type=options.PATH, help="Run whose networks also suggest names that may be one individual.")
@click.option(
    "--within",
    type=int,
    metavar="N",
    default=6,
    show_default=True,
    help="Maximum number of differing hash bits between compared photos, 0 to 16.",
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
    """Find near-duplicate photos and conflicting names.

    Lists photos of TABLE (and --new) that show the same picture, resized, saved again or renamed, and near-duplicates
    with different names. Nothing is changed.
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
    files = {"written": out, "page": html, "names": identities, "transferred names": transfer, "texts": texts}
    tables.write_lines(
        *tables.duplicates_lines(found), *(f"{what}: {path}" for what, path in files.items() if path is not None)
    )


@command(
    "fieldmark boxes whales.csv --out boxes.csv --html boxes.html",
    "fieldmark boxes whales.csv --clicks clicks.csv --save finder --out boxes.csv",
)
@click.argument("data", type=options.PATH)
@click.option("--out", type=options.PATH, required=True, help="CSV file to write.")
@click.option(
    "--by",
    default="agreed",
    show_default=True,
    metavar="NAME|FOLDER",
    help="Method: agreed, grabcut, features, or the folder of a saved finder.",
)
@click.option("--clicks", type=options.PATH, help="CSV of boxes or landmarks of some photos, to train a finder.")
@click.option("--save", type=options.PATH, help="Folder for the finder trained with --clicks.")
@click.option("--html", type=options.PATH, help="HTML page to write, with a sample of photos and their boxes.")
@click.option("--masks", is_flag=True, help="Also write masks to the CSV.")
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
    """Find the subject in each photo and write boxes.

    Writes a table that --boxes of other commands reads. Without --clicks, GrabCut segments the subject by colour, and
    a pretrained network must agree. With --clicks (columns image, x0, y0, x1, y1 and landmarks x_left_tip, y_left_tip,
    ...), a small finder is trained and evaluated by five-fold cross-validation.
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
        *(f"{name}: {value:.3f} (cross-validated)" for name, value in found.errors.items()),
        f"boxes of {found.n_boxes:,} of {found.n_photos:,} photos: {out}"
        if found.n_boxes or not found.errors
        else f"landmarks of {found.n_photos:,} photos: {out}",
        *([] if html is None else [f"page: {html}"]),
        *_after_boxes(found, [str(data), *options.retyped(reading)], out),
    )


def _after_boxes(found: Located, read: list[str], out: Path) -> list[str]:
    """Return the line with the next command for these boxes."""
    if not found.n_boxes:
        return (
            ["next: add `align` to a plan to align photos by landmarks; see docs/reference/stages.md"]
            if found.errors
            else []
        )
    if found.named:
        return [f"next: fieldmark train reidentify {words(*read)} --boxes {words(out)} --set boxes=table --run RUN"]
    return [f"next: fieldmark predict RUN {words(*read)} --boxes {words(out)} --out answers.csv"]


@command("fieldmark match left.jpg right.jpg --out lines.png", "fieldmark match left.jpg right.jpg --by sift")
@click.argument("left", type=options.PATH)
@click.argument("right", type=options.PATH)
@click.option(
    "--by",
    type=click.Choice(["xfeat", "lighterglue", "sift", "akaze"]),
    default="xfeat",
    show_default=True,
    help="Keypoint method; sift and akaze need no network.",
)
@click.option("--out", type=options.PATH, help="PNG or JPEG file to write: both photos with lines between matches.")
@options.force
def match(left: Path, right: Path, by: Any, out: Path | None, force: bool) -> None:
    """Match the keypoints of two photos.

    Counts the keypoints of photo LEFT that occur in photo RIGHT in a geometry that one change of viewpoint explains.
    Many inliers mean that both photos show the same marks. No run is needed.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.match(left, right, by=by, out=out, force=force)
    tables.write_lines(
        f"keypoints: {found.n_points[0]:,} and {found.n_points[1]:,}",
        f"matches:   {found.n_matches:,}",
        f"inliers:   {found.n_inliers:,} ({found.inlier_share:.0%} of the matches)",
        *([] if found.out is None else [f"picture:   {found.out}"]),
    )


@command(
    "fieldmark download photos.csv --out photos",
    "fieldmark download photos.csv --out photos --resize 512 --mirror '^https?://old[.]org/=https://new.org/'",
)
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
    """Download photos from a table of web addresses.

    Records the result for each address. Run the same command again to retry only the failed addresses. After a kill
    at any moment, all complete photos are kept.
    """
    from fieldmark.api import functions
    from fieldmark.cli import tables

    found = functions.download(
        table,
        out=out,
        again=again,
        fetching=fetching.settings(**typed),
        progress=progress(),
        **fetching.table_options(urls=urls, column=column, encoding=encoding, manifest=manifest),
    )
    tables.write_lines(*tables.downloaded(found), f"next: fieldmark inspect {words(found.folder)}")


@command("fieldmark symmetry lions.csv", "fieldmark symmetry lions.csv --column identity=lion --most 1000")
@click.argument("data", type=options.PATH)
@click.option(
    "--most",
    type=int,
    metavar="N",
    default=600,
    show_default=True,
    help="Maximum number of photos used, drawn at random.",
)
@options.seed
@options.computing
@options.skip_broken
@options.reading
def symmetry(data: Path, most: int, seed: int, device: str, workers: int, **typed: Any) -> None:
    """Test whether mirrored photos show other individuals.

    A pretrained network embeds photos of DATA and their mirror images. The result helps to choose the settings
    `horizontal_flip` and `flip_identity` before training. Some individuals need two photos.
    """
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
