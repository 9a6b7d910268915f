"""Create synthetic catalogues of garments: a table with questions, image addresses and product names.

```
images/xxxxxxxx.jpg  all photos
labels.csv           image,file,category,QUESTIONS,url,text,group; empty cell: no answer; several answers: a|b
questions.toml       the questions, their answers, and the categories they apply to
new.csv              image,file,url,text of further photos
truth.csv            labels.csv with the true answer in every cell
test_truth.csv       the true answers for the further photos
README.txt           settings of the collection
```
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.progress import QUIET, Progress
from fieldmark.specimens.files import NAME_BITS, Drawn, DrawnPhotos, check_arguments, jpeg, weighted, write_csv
from fieldmark.specimens.garments import QUESTIONS, Answers, Garment, draw_garment

CATEGORY = "category"
COLUMNS = {f"{kind}:{question}": answers for kind, each in QUESTIONS.items() for question, answers in each.items()}
"""Answers of each question, by column name: ``category:attribute``, as in the contest."""
SHARE_TWO_COLOURS = 0.15
NOUNS = {"dress": "dress", "shoe": "shoes", "pants": "trousers"}
BRANDS = ("Aurora", "Bellamy", "Cleo", "Dahlia", "Ellis", "Fjord", "Gala", "Harper")


class Product(NamedTuple):
    """A product: its garment, its name, and the slug in the addresses of its photos ("" for neutral addresses)."""

    garment: Garment
    text: str
    slug: str

    @property
    def truth(self) -> Answers:
        """True answers by column, the category first."""
        kind, answers = self.garment.category, self.garment.answers
        return {CATEGORY: (kind,), **{f"{kind}:{question}": right for question, right in answers.items()}}


def product(seed: int, number: int, *, share_leaky: float) -> Product:
    """Return product ``number`` of the shop ``seed``. Its name and slug contain some true answers and no wrong ones."""
    chance = seeds.generator(seed, "product", number)
    (category,) = weighted(tuple(QUESTIONS), chance)
    answers = {question: weighted(allowed, chance) for question, allowed in QUESTIONS[category].items()}
    if chance.random() < SHARE_TWO_COLOURS:
        answers["colour"] = weighted(QUESTIONS[category]["colour"], chance, n=2)
    if answers.get("gender") == ("men",) and category == "shoe":  # no thin heels and no open toes
        answers["heel type"], answers["toe shape"] = weighted(("flat", "block"), chance), ("round",)
    words = [word for right in answers.values() for word in right if chance.random() < 0.5]
    words += [NOUNS[category]] if chance.random() < 0.85 else []
    slug = "-".join([category, *words]) if chance.random() < share_leaky else ""
    garment = Garment(category, answers, seeds.hash_seed(seed, "build", number))
    return Product(garment, " ".join([BRANDS[number % len(BRANDS)], *words]), slug.replace(" ", "-"))


def write_garments(  # noqa: PLR0913 - each is a property of the collection, and all have a default
    folder: Path,
    *,
    n_train: int = 300,
    n_test: int = 100,
    share_unanswered: float = 0.25,
    share_wrong: float = 0.04,
    share_leaky: float = 0.6,
    size_px: int = 320,
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress = QUIET,
) -> Drawn:
    """Create a synthetic catalogue of dresses, shoes and pants, with questions, in an empty folder.

    The same arguments give the same bytes, for any number of workers. A product has two photos, both in the same part.
    ``data.reading.read(folder)`` reads the catalogue with its questions.

    Args:
        folder: Folder to write to; created if it does not exist, rejected if it is not empty.
        n_train: Number of training photos.
        n_test: Number of further photos, of other products.
        share_unanswered: Share of empty cells (photo, question that applies); the category is always filled.
        share_wrong: Share of wrong answers among the filled cells; the category is always right.
        share_leaky: Share of the products whose image addresses contain answers.
        size_px: Width and height of a photo.
        seed: Random seed.
        n_workers: Number of drawing threads.
        progress: Receives the number of finished photos.

    Returns:
        The folder, the number of image files, and the table with the true answers for the further photos.

    Raises:
        PlanError: Numbers are out of range; all are listed.
        DataError: The folder is not empty.

    Source:
        Ours; questions and addresses follow the iMaterialist challenge of 2017.
    """
    folder = Path(folder)
    limits: dict[str, tuple[float, float, float]] = {
        "n_train": (n_train, 1, 1 << (NAME_BITS - 2)),
        "n_test": (n_test, 0, 1 << (NAME_BITS - 2)),
        "share_unanswered": (share_unanswered, 0, 1),
        "share_wrong": (share_wrong, 0, 1),
        "share_leaky": (share_leaky, 0, 1),
        "size_px": (size_px, 48, 2048),
        "n_workers": (n_workers, 1, 256),
    }
    check_arguments(limits, folder)
    photos = DrawnPhotos(n_train, np.arange(0), 0, n_test, seed)
    numbers = [*(n // 2 for n in photos.train), *((n_train + 1) // 2 + n // 2 for n in range(n_test))]
    products = [product(seed, number, share_leaky=share_leaky) for number in range(max(numbers) + 1)]
    n = len(numbers)
    readme = f"""{n} synthetic pictures of garments, drawn by fieldmark.specimens. The addresses do not exist.
{n_train=} {n_test=} {share_unanswered=} {share_wrong=} {share_leaky=} {size_px=} {seed=}
"""

    def draw(number: int) -> bytes:
        garment, shot = products[numbers[number]].garment, seeds.hash_seed(seed, "shot", number)
        return jpeg(Image.fromarray(draw_garment(garment, shot, size_px=size_px)), 85)

    drawn = photos.write(
        folder, draw, parts=("images", "images"), readme=readme, n_workers=n_workers, progress=progress
    )
    truths = [products[number].truth for number in numbers[:n_train]]
    given = given_answers(truths, unanswered=share_unanswered, wrong=share_wrong, seed=seed)
    _write_tables(folder, photos, given, products, numbers)
    return drawn


def given_answers(
    truths: Sequence[Answers], *, unanswered: float, wrong: float, seed: int
) -> list[dict[str, tuple[str, ...]]]:
    """Return answers with simulated mistakes of annotators. The category is always given and right.

    A share ``unanswered`` of the other cells is empty. A share ``wrong`` of the remaining cells has a wrong answer.
    """
    chance = seeds.generator(seed, "given")
    given = [dict(truth) for truth in truths]
    cells = [(photo, question) for photo, truth in enumerate(truths) for question in truth if question != CATEGORY]
    order = [cells[at] for at in chance.permutation(len(cells))]
    n_empty = round(unanswered * len(cells))
    for photo, question in order[:n_empty]:
        del given[photo][question]
    for photo, question in order[n_empty : n_empty + round(wrong * (len(cells) - n_empty))]:
        others = [answer for answer in COLUMNS[question] if answer not in truths[photo][question]]
        given[photo][question] = (others[int(chance.integers(len(others)))],)
    return given


def _write_tables(
    folder: Path, photos: DrawnPhotos, given: Sequence[Answers], products: list[Product], numbers: list[int]
) -> None:
    """Write the tables, each sorted by photo name; ``numbers`` holds the product number of each photo."""
    header = ["image", "file", CATEGORY, *COLUMNS, "url", "text", "group"]

    def row(n: int, answers: Answers) -> list[str]:
        name, one = photos.names[n], products[numbers[n]]
        address = f"shop.example/im/{one.slug}-{name}.jpg" if one.slug else f"cdn.example/{name[:2]}/{name}.jpg"
        cells = ["|".join(answers.get(column, ())) for column in (CATEGORY, *COLUMNS)]
        return [name, f"images/{name}.jpg", *cells, f"http://{address}", one.text, f"p{numbers[n]}"]

    train = photos.by_name(photos.train)
    test = [row(n, products[numbers[n]].truth) for n in photos.by_name(photos.test)]
    write_csv(folder / "labels.csv", header, (row(n, given[n]) for n in train))
    write_csv(folder / "truth.csv", header, (row(n, products[numbers[n]].truth) for n in train))
    write_csv(folder / "test_truth.csv", header, test)
    write_csv(folder / "new.csv", [*header[:2], *header[-3:-1]], ([*one[:2], *one[-3:-1]] for one in test))
    lines = [f'[[questions]]\nname = "{CATEGORY}"\nanswers = {json.dumps(list(QUESTIONS))}\n']
    for name, answers in COLUMNS.items():
        applies = f'applies = {{ {CATEGORY} = ["{name.partition(":")[0]}"] }}'
        lines.append(f'[[questions]]\nname = "{name}"\nanswers = {json.dumps(list(answers))}\n{applies}\n')
    (folder / "questions.toml").write_text("\n".join(lines), encoding="utf-8")
