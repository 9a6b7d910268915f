"""Whole catalogues of drawn garments with questions, as a flat table whose photos also have addresses.

```
images/xxxxxxxx.jpg  all photos whose file is there
labels.csv           image,file,category,QUESTIONS,url,text,group; an empty cell: not told; several answers: a|b
questions.toml       the questions, their answers, and of which categories they are asked
new.csv              image,file,url,text of further photos
truth.csv            labels.csv with the right answer in every cell
test_truth.csv       the same of the further photos
flaws.csv            image,flaw,question,right: mistaken answers and the right ones; files that are not there
README.txt           how it was drawn
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.progress import QUIET, Progress
from fieldmark.specimens.catalogue import CATEGORY, QUESTIONS, Product, Truth, address, photos_of, stock, told
from fieldmark.specimens.files import NAME_BITS, Drawn, draw_all, jpeg, photo_names, refuse, write_csv
from fieldmark.specimens.garments import MAKERS, draw_garment, shop_shot


@dataclass(frozen=True)
class _Display:
    """What is on which photo; training photos first.

    Attributes:
        products: Those of the test part last.
        shown: For each photo its product.
        of_product: For each photo its number among those of its product.
        n_train: How many are training photos.
        missing: Whether the file of a photo is not there.
        names: The name of each photo.
    """

    products: list[Product]
    shown: Int64[np.ndarray, " photo"]
    of_product: Int64[np.ndarray, " photo"]
    n_train: int
    missing: Bool[np.ndarray, " photo"]
    names: list[str]

    def product(self, number: int) -> Product:
        return self.products[self.shown[number]]

    def file(self, number: int) -> str:
        return f"images/{self.names[number]}.jpg"

    def by_name(self, first: int, stop: int) -> list[int]:
        return sorted(range(first, stop), key=self.names.__getitem__)


def write_garments(  # noqa: PLR0913 - each is a property of the collection, and all have a default
    folder: Path,
    *,
    n_train: int = 300,
    n_test: int = 100,
    share_untold: float = 0.25,
    share_wrong: float = 0.04,
    share_leaky: float = 0.6,
    share_missing: float = 0.0,
    size_px: int = 320,
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress = QUIET,
) -> Drawn:
    """Draw a shop's catalogue of shoes, pants, outerwear and dresses, with questions, into an empty folder.

    The same arguments give the same bytes, whatever the number of workers. A product has one to three photos, all in
    the same part. ``data.reading.read(folder)`` reads it with its questions; where photos are missing, with
    ``check_files=False``.

    Args:
        folder: Where to; made if absent, refused if not empty.
        n_train: Training photos.
        n_test: Further photos, of other products.
        share_untold: Share of the cells (photo, question that applies) that are left empty; the category never is.
        share_wrong: Share of the filled cells with another answer than the right one; the category is always right.
        share_leaky: Share of the products whose photos' addresses tell what they are.
        share_missing: Share of the photos of which there is an address, but no file.
        size_px: Width and height of a photo.
        seed: Another seed, another shop.
        n_workers: Threads that draw.
        progress: Where to tell how far it is.

    Returns:
        The folder, the number of image files, and the table of the test answers.

    Raises:
        PlanError: Numbers that cannot be drawn; all are told at once.
        DataError: The folder holds something already.

    Source:
        Ours; questions and addresses after the iMaterialist challenge of 2017.
    """
    folder = Path(folder)
    shares = {"untold": share_untold, "wrong": share_wrong, "leaky": share_leaky, "missing": share_missing}
    limits: dict[str, tuple[float, float, float]] = {
        "n_train": (n_train, 1, 1 << (NAME_BITS - 2)),
        "n_test": (n_test, 0, 1 << (NAME_BITS - 2)),
        "size_px": (size_px, 48, 2048),
        "n_workers": (n_workers, 1, 256),
    }
    refuse(limits | {f"share_{name}": (share, 0.0, 1.0) for name, share in shares.items()}, folder)
    display = _display(n_train, n_test, share_leaky=share_leaky, share_missing=share_missing, seed=seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    there = np.flatnonzero(~display.missing)

    def write(place: int) -> None:
        number = int(there[place])
        garment = display.product(number).garment
        shot = shop_shot(seed, number, garment)
        picture = Image.fromarray(draw_garment(garment, shot, size_px=size_px))
        (folder / display.file(number)).write_bytes(jpeg(picture, shot.jpeg_quality))

    draw_all(write, len(there), n_workers=n_workers, progress=progress)
    _write_tables(folder, display, share_untold=share_untold, share_wrong=share_wrong, seed=seed)
    (folder / "questions.toml").write_text(_questions(), encoding="utf-8")
    arguments = (
        f"{n_train=} {n_test=} {share_untold=} {share_wrong=} {share_leaky=} {share_missing=} {size_px=} {seed=}"
    )
    (folder / "README.txt").write_text(README.format(n=len(there), arguments=arguments), encoding="utf-8")
    return Drawn(folder=folder, n_photos=len(there), truth_file=folder / "test_truth.csv")


README = """{n} pictures of garments, drawn by fieldmark.specimens: none is for sale, and no address leads anywhere.
{arguments}

labels.csv      image,file,category, a column for each question,url,text,group; an empty cell is not told
questions.toml  the questions, their answers, and of which categories they are asked
new.csv         image,file,url,text of further pictures
truth.csv       labels.csv with the right answer in every cell
test_truth.csv  the same of the further pictures
flaws.csv       image,flaw,question,right: mistaken answers with the right ones, and pictures that are not there
"""


def _display(n_train: int, n_test: int, *, share_leaky: float, share_missing: float, seed: int) -> _Display:
    """Decide what is on which photo."""
    shown, of_product, products = [], [], []
    for part, n in (("train", n_train), ("test", n_test)):
        own = photos_of(n, seed=seed, part=part)
        of_product.append(np.arange(n) - np.searchsorted(own, own))
        shown.append(own + len(products))
        n_products = int(own[-1]) + 1 if n else 0
        products += stock(n_products, share_leaky=share_leaky, seed=seed, part=part)
    n_photos = n_train + n_test
    missing = np.zeros(n_photos, bool)
    missing[seeds.generator(seed, "missing").permutation(n_photos)[: round(share_missing * n_photos)]] = True
    names = [f"{name:08x}" for name in photo_names(n_photos, seed)]
    return _Display(products, np.concatenate(shown), np.concatenate(of_product), n_train, missing, names)


def _write_tables(folder: Path, display: _Display, *, share_untold: float, share_wrong: float, seed: int) -> None:
    """Write the five tables, each in the order of the photos' names."""

    def row(number: int, answers: Truth) -> list[str]:
        cells = ["|".join(answers.get(question, ())) for question in (CATEGORY, *QUESTIONS)]
        return [display.names[number], display.file(number), *cells, *about(number), f"p{display.shown[number]}"]

    def about(number: int) -> list[str]:
        product, name = display.product(number), display.names[number]
        return [address(product, name=name, of_product=int(display.of_product[number]) + 1), product.name]

    n_train, n_photos = display.n_train, len(display.names)
    truths = [display.product(number).truth for number in range(n_photos)]
    given = told(truths[:n_train], share_untold=share_untold, share_wrong=share_wrong, seed=seed)
    train, test = display.by_name(0, n_train), display.by_name(n_train, n_photos)
    header = ["image", "file", CATEGORY, *QUESTIONS, "url", "text", "group"]
    flaws = [
        [display.names[n], "wrong", question, "|".join(truths[n][question])]
        for n in train
        for question in given[n].wrong
    ]
    flaws += [[display.names[n], "missing", "", ""] for n in display.by_name(0, n_photos) if display.missing[n]]
    write_csv(folder / "flaws.csv", ["image", "flaw", "question", "right"], flaws)
    write_csv(folder / "truth.csv", header, (row(n, truths[n]) for n in train))
    write_csv(folder / "test_truth.csv", header, (row(n, truths[n]) for n in test))
    new = ([display.names[n], display.file(n), *about(n)] for n in test)
    write_csv(folder / "new.csv", ["image", "file", "url", "text"], new)
    write_csv(folder / "labels.csv", header, (row(n, given[n].answers) for n in train))


def _questions() -> str:
    """The questions in TOML."""
    parts = [f'[[questions]]\nname = "{CATEGORY}"\nanswers = {json.dumps(list(MAKERS))}\n']
    for name, answers in QUESTIONS.items():
        category = name.partition(":")[0]
        applies = f'applies = {{ {CATEGORY} = ["{category}"] }}'
        parts.append(f'[[questions]]\nname = "{name}"\nanswers = {json.dumps(list(answers))}\n{applies}\n')
    return "\n".join(parts)
