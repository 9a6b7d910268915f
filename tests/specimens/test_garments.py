import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.reading import read
from fieldmark.specimens.files import Drawn
from fieldmark.specimens.garments import QUESTIONS, Garment, draw_garment
from fieldmark.specimens.shop import BRANDS, CATEGORY, COLUMNS, NOUNS, given_answers, product, write_garments

SMALL = {"n_train": 60, "n_test": 20, "size_px": 64, "seed": 3}


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return write_garments(tmp_path_factory.mktemp("drawn") / "shop", **SMALL)


def garment(category: str, **answers: str) -> Garment:
    first = {name: (allowed[0],) for name, allowed in QUESTIONS[category].items()}
    return Garment(category, first | {name.replace("_", " "): (answer,) for name, answer in answers.items()}, key=7)


def picture(garment: Garment, number: int = 0, size_px: int = 64) -> np.ndarray:
    return draw_garment(garment, number, size_px=size_px).astype(float)


def test_the_table_is_read_with_its_questions(drawn: Drawn) -> None:
    collection = read(drawn.folder, check_files=False)
    assert len(collection) == 60
    questions = collection.vocabulary.questions
    assert [one.name for one in questions] == [CATEGORY, *COLUMNS]
    assert [one.answers for one in questions] == [tuple(QUESTIONS), *COLUMNS.values()]
    for one in questions[1:]:
        assert one.applies is not None
        assert (one.applies.question, one.applies.answers) == (CATEGORY, (one.name.partition(":")[0],))
    for file, n in (("truth.csv", 60), ("test_truth.csv", 20)):
        truth = read(drawn.folder / file, check_files=False)
        assert len(truth) == n
        assert truth.vocabulary == collection.vocabulary
    assert len(read(drawn.folder / "new.csv", check_files=False, labelled=False)) == 20


def test_questions_are_answered_only_in_their_category(drawn: Drawn) -> None:
    for file in ("labels.csv", "truth.csv", "test_truth.csv"):
        for row in table(drawn.folder / file):
            other = [name for name in COLUMNS if row[name] and not name.startswith(f"{row[CATEGORY]}:")]
            assert not other
    for row in table(drawn.folder / "truth.csv"):
        assert all(row[name] for name in COLUMNS if name.startswith(f"{row[CATEGORY]}:"))


def test_empty_and_wrong_cells_have_the_requested_numbers(drawn: Drawn) -> None:
    given, truth = table(drawn.folder / "labels.csv"), table(drawn.folder / "truth.csv")
    cells = [(row["image"], name) for row in truth for name in COLUMNS if row[name]]
    filled = {(row["image"], name): row[name] for row in given for name in COLUMNS if row[name]}
    right = {(row["image"], name): row[name] for row in truth for name in COLUMNS}
    assert len(cells) - len(filled) == round(0.25 * len(cells))
    wrong = {cell for cell, answer in filled.items() if answer != right[cell]}
    assert len(wrong) == round(0.04 * len(filled))
    assert all(not set(filled[cell].split("|")) & set(right[cell].split("|")) for cell in wrong)


def test_some_garments_have_two_colours(drawn: Drawn) -> None:
    cells = [row[f"{row[CATEGORY]}:colour"].split("|") for row in table(drawn.folder / "truth.csv")]
    counts = Counter(len(set(cell)) for cell in cells)
    assert set(counts) == {1, 2}
    assert counts[1] > counts[2]


def test_photos_of_one_product_have_equal_answers_and_one_part(drawn: Drawn) -> None:
    parts = {part: table(drawn.folder / f"{part}.csv") for part in ("truth", "test_truth")}
    groups = [{row["group"] for row in rows} for rows in parts.values()]
    assert not groups[0] & groups[1]
    found: dict[str, set[tuple[str, ...]]] = {}
    for row in parts["truth"]:
        found.setdefault(row["group"], set()).add((row["text"], *(row[name] for name in (CATEGORY, *COLUMNS))))
    assert all(len(rows) == 1 for rows in found.values())
    sizes = Counter(Counter(row["group"] for row in parts["truth"]).values())
    assert set(sizes) == {2}


def test_every_row_has_its_photo_and_an_address(drawn: Drawn) -> None:
    rows = table(drawn.folder / "truth.csv") + table(drawn.folder / "new.csv")
    assert {row["file"] for row in rows} == {f"images/{file.name}" for file in (drawn.folder / "images").iterdir()}
    assert all(row["url"].startswith("http://") and row["image"] in row["url"] for row in rows)
    assert drawn.n_photos == len(rows) == 80
    for row in rows:
        with Image.open(drawn.folder / row["file"]) as photo:
            assert photo.size == (64, 64)


def test_a_share_of_addresses_contains_the_category(tmp_path: Path) -> None:
    drawn = write_garments(tmp_path / "shop", n_train=80, n_test=0, share_leaky=0.5, size_px=48)
    rows = table(drawn.folder / "truth.csv")
    leaks: dict[str, set[bool]] = {}
    for row in rows:
        leaky = "shop.example" in row["url"]
        leaks.setdefault(row["group"], set()).add(leaky)
        assert leaky == (f"/im/{row[CATEGORY]}-" in row["url"])
        assert leaky or row["url"] == f"http://cdn.example/{row['image'][:2]}/{row['image']}.jpg"
    assert all(len(each) == 1 for each in leaks.values())
    assert 0.25 < sum(each == {True} for each in leaks.values()) / len(leaks) < 0.75
    assert len({row["url"] for row in rows}) == 80


def test_the_same_arguments_give_the_same_bytes_with_any_number_of_workers(drawn: Drawn, tmp_path: Path) -> None:
    again = write_garments(tmp_path / "again", **SMALL, n_workers=3)
    assert digests(again.folder) == digests(drawn.folder)
    other = write_garments(tmp_path / "other", **{**SMALL, "seed": 4, "n_train": 4, "n_test": 2})
    assert not {name for name in digests(drawn.folder) if name.endswith(".jpg")} & set(digests(other.folder))


def test_every_answer_is_visible() -> None:
    for category, attributes in QUESTIONS.items():
        for name, answers in attributes.items():
            pictures = [picture(garment(category, **{name: answer})) for answer in answers]
            for i, one in enumerate(pictures):
                for other in pictures[i + 1 :]:
                    assert np.abs(one - other).mean() > 0.5, (category, name)


def test_the_category_can_be_predicted_from_the_pixels(drawn: Drawn) -> None:
    rows = [row for row in table(drawn.folder / "truth.csv") if (drawn.folder / row["file"]).exists()]
    rows_of_pixels = []
    for row in rows:
        with Image.open(drawn.folder / row["file"]) as photo:
            grey = np.asarray(photo.convert("L").resize((16, 16)), dtype=float)
        edge = np.abs(grey - np.median(np.concatenate([grey[0], grey[-1]])))
        rows_of_pixels.append((edge / edge.max()).ravel())
    vectors = np.stack(rows_of_pixels) / np.linalg.norm(rows_of_pixels, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    groups = np.array([row["group"] for row in rows])
    similar[groups[:, None] == groups[None]] = -1
    category = np.array([row[CATEGORY] for row in rows])
    right = (category[similar.argmax(axis=1)] == category).mean()
    prior = max(Counter(category.tolist()).values()) / len(category)
    assert right > prior + 0.2


def test_two_photos_of_a_garment_differ() -> None:
    one = garment("dress", colour="red")
    first, second = picture(one, 0), picture(one, 1)
    assert np.abs(first - second).mean() > 3
    assert (draw_garment(one, 0, size_px=64) == first).all()


def test_names_contain_no_wrong_answers() -> None:
    products = [product(1, number, share_leaky=0.5) for number in range(60)]
    for one in products:
        words = {word for right in one.garment.answers.values() for answer in right for word in answer.split()}
        words |= {NOUNS[one.garment.category], one.garment.category, ""}
        assert set(one.text.split()) - set(BRANDS) <= words
        assert set(one.slug.split("-")) <= words
    assert any(len(one.text.split()) <= 2 for one in products)


def test_without_mistakes_the_table_is_the_truth() -> None:
    truths = [{CATEGORY: ("shoe",), "shoe:colour": ("red", "blue"), "shoe:gender": ("men",)}]
    (given,) = given_answers(truths, unanswered=0, wrong=0, seed=0)
    assert given == truths[0]
    (given,) = given_answers(truths, unanswered=0, wrong=1, seed=0)
    assert given["shoe:gender"] == ("women",)
    assert len(given["shoe:colour"]) == 1
    assert given["shoe:colour"][0] not in {"red", "blue"}
    (given,) = given_answers(truths, unanswered=1, wrong=0, seed=0)
    assert given == {CATEGORY: ("shoe",)}


def test_all_numbers_out_of_range_are_listed(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        write_garments(tmp_path, n_train=0, share_wrong=1.5, size_px=8)
    assert {line.split(" = ")[0] for line in str(caught.value.got).splitlines()} == {
        "n_train",
        "share_wrong",
        "size_px",
    }
    assert "n_train from 1 to" in caught.value.fix
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError) as caught_too:
        write_garments(tmp_path)
    assert "use another folder" in caught_too.value.fix
