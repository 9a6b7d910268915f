"""``fieldmark.load``: a run in memory, the photos it accepts, and its predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fieldmark
from fieldmark.api.predictor import Predictor
from fieldmark.api.results import Results
from fieldmark.cli.main import main
from fieldmark.core.errors import DataError, FieldmarkError, RunError
from fieldmark.images.reading import read_pixels
from fieldmark.pipeline import networks
from fieldmark.tasks.identification.results import Identification

ROTATED = 6
"""EXIF orientation of a camera held upright: the first row of the file is the right side of the photo."""

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whales_run(trained: Path) -> Predictor:
    return fieldmark.load(trained / "run", n_workers=0)


@pytest.fixture(scope="module")
def museum_predictor(museum_run: Path) -> Predictor:
    return fieldmark.load(museum_run, n_workers=0)


@pytest.fixture
def photos(trained: Path, tmp_path: Path) -> list[Path]:
    """The three new photos in a lossless format, so that every reader returns the same pixels."""
    files = [tmp_path / f"t{number}.png" for number in range(3)]
    for file in files:
        with Image.open(trained / "whales" / "test" / f"{file.stem}.jpg") as photo:
            photo.save(file)
    return files


def opened(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        photo.load()
        return photo


def same(found: Iterable[Identification], expected: Iterable[Identification]) -> bool:
    """Return whether predictions agree, whatever the ids of the photos; the batch size changes the last digits."""

    def identities(answers: Iterable[Identification]) -> list[list[tuple[str, Path | None]]]:
        return [[(match.identity, match.photo) for match in one.matches] for one in answers]

    def numbers(answers: Iterable[Identification]) -> list[list[float]]:
        return [[match.similarity or 0.0 for match in one.matches] for one in answers]

    return identities(found) == identities(expected) and np.allclose(numbers(found), numbers(expected), atol=1e-5)


def names(results: Any) -> list[str]:
    return [one.image for one in results]


def embedded_alone(photo: Any, predictor: Predictor) -> np.ndarray:
    (row,) = predictor.embed([photo])
    return row


@pytest.mark.parametrize(
    "of",
    [str, Path, Path.read_bytes, opened, read_pixels, lambda path: __import__("torch").from_numpy(read_pixels(path))],
    ids=["text", "path", "bytes", "pillow", "array", "tensor"],
)
def test_every_form_of_a_photo_gets_the_prediction_of_its_file(
    of: Callable[[Path], Any], photos: list[Path], whales_run: Predictor
) -> None:
    expected = whales_run.answered(whales_run.gathered(photos[0].parent))
    assert not any(
        same([one], [other]) for one, other in combinations(expected, 2)
    )  # otherwise swapped photos would not be noticed
    given = [of(path) for path in photos]
    assert same(whales_run(given), expected)
    assert same(whales_run(tuple(reversed(given))), expected[::-1])
    assert same(whales_run(given[1]), expected[1:2])


def test_photos_are_named_by_path_or_position(photos: list[Path], whales_run: Predictor) -> None:
    assert names(whales_run(photos)) == [str(path) for path in photos]
    assert names(whales_run([opened(photos[0]), photos[1], photos[2].read_bytes()])) == ["0", str(photos[1]), "2"]
    assert names(whales_run(photos[0].parent)) == [path.name for path in photos]
    assert names(whales_run([photos[1], photos[0], photos[1]])) == [str(photos[1]), str(photos[0])]


def test_photos_of_mixed_forms_keep_their_order(photos: list[Path], whales_run: Predictor) -> None:
    photos_of_all_forms = [read_pixels(photos[2]), str(photos[0]), opened(photos[1])]
    first, second, third = whales_run(photos)
    assert same(whales_run(photos_of_all_forms), [third, first, second])


def test_tables_are_predicted_row_by_row(photos: list[Path], whales_run: Predictor) -> None:
    files = [str(path) for path in reversed(photos)]
    expected = whales_run(photos)[::-1]
    frame = whales_run(pl.DataFrame({"image": ["c", "b", "a"], "file": files}))
    assert names(frame) == ["c", "b", "a"]
    assert same(frame, expected)
    columns = whales_run({"file": files})
    assert names(columns) == files
    assert same(columns, expected)
    (photos[0].parent / "table.csv").write_text("image,file\nc,t2.png\nb,t1.png\na,t0.png\n")
    table = whales_run(photos[0].parent / "table.csv")
    assert names(table) == ["c", "b", "a"]
    assert same(table, expected)
    collection = fieldmark.Collection.of({"file": [path.name for path in photos]}, root=photos[0].parent)
    assert same(whales_run(collection), expected[::-1])


def test_images_in_memory_have_the_pixels_of_their_files(photos: list[Path], whales_run: Predictor) -> None:
    """Rotated upright, and over white where transparent."""
    picture = opened(photos[0])
    notes = Image.Exif()
    notes[0x0112] = ROTATED
    rotated, clear = photos[0].with_name("rotated.png"), photos[0].with_name("clear.png")
    picture.save(rotated, exif=notes)
    see_through = picture.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(picture.size))
    see_through.save(clear)
    plain = embedded_alone(photos[0], whales_run)
    for file in (rotated, clear):
        from_file = embedded_alone(file, whales_run)
        assert np.array_equal(embedded_alone(opened(file), whales_run), from_file)
        assert not np.allclose(from_file, plain, atol=1e-3)


@pytest.mark.parametrize(
    ("unsupported", "got"),
    [
        (3.5, "photo 0: float"),
        (None, "photo 0: NoneType"),
        (np.zeros((4, 5, 3), dtype=np.float32), "photo 0: ndarray (4, 5, 3) float32"),
        (np.zeros((2, 4, 5, 3), dtype=np.uint8), "photo 0: ndarray (2, 4, 5, 3) uint8"),
        (np.zeros((4, 5, 4), dtype=np.uint8), "photo 0: ndarray (4, 5, 4) uint8"),
        ([b"", 7, {"a"}], "photo 1: int\nphoto 2: set"),
    ],
)
def test_unsupported_types_are_refused_with_type_and_position(
    unsupported: Any, got: str, whales_run: Predictor
) -> None:
    for call in (whales_run, whales_run.embed):
        with pytest.raises(FieldmarkError) as refused:
            call(unsupported)
        assert refused.value.problem == "The photo has an unsupported type."
        assert refused.value.got == got
        assert "PIL images" in refused.value.fix


def test_photos_that_cannot_be_read_are_refused_or_left_out(photos: list[Path], whales_run: Predictor) -> None:
    with pytest.raises(DataError) as refused:
        whales_run([photos[0], photos[0].with_name("gone.png")])
    assert "gone.png" in str(refused.value.got)
    with pytest.raises(DataError):
        whales_run([])
    with pytest.raises(DataError, match="cannot be read"):
        whales_run([opened(photos[0]), b"no picture"])
    left = whales_run([opened(photos[0]), b"no picture", photos[2]], skip_broken=True)
    assert names(left) == ["0", str(photos[2])]


def test_options_of_another_task_and_numbers_out_of_range_are_refused(
    photos: list[Path], whales_run: Predictor, museum_predictor: Predictor
) -> None:
    for predictor, options in (
        (whales_run, {"most": 3}),
        (museum_predictor, {"k": 3}),
        (whales_run, {"k": 0}),
        (museum_predictor, {"most": -1}),
    ):
        with pytest.raises(FieldmarkError):
            predictor(photos[0], **options)
    assert [len(one.matches) for one in whales_run(photos, k=2)] == [2, 2, 2]
    (tagged,) = museum_predictor(photos[0], most=1)
    assert len(tagged.tags) == max(1, len(tagged.answer))


def test_networks_are_loaded_with_the_first_call_and_kept(
    trained: Path, museum_run: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    original = networks.open_net

    def counted(folder: Path, **options: Any) -> Any:
        loaded.append(folder)
        return original(folder, **options)

    monkeypatch.setattr(networks, "open_net", counted)
    for run in (trained / "run", museum_run):
        predictor = fieldmark.load(run, n_workers=0)
        assert loaded == []
        first = predictor(photos)
        assert len(loaded) == len(set(loaded)) > 0
        loaded.clear()
        assert predictor(photos).to_json() == first.to_json()
        assert loaded == []
        predictor.embed(photos)  # may load a network that is not used for predictions
        loaded.clear()
        predictor.embed(photos)
        assert loaded == []


def test_a_batch_gets_the_predictions_of_its_single_photos(
    photos: list[Path], whales_run: Predictor, museum_predictor: Predictor
) -> None:
    for predictor in (whales_run, museum_predictor):
        alone = [one for path in photos for one in predictor(path).to_polars().iter_rows()]
        together = list(predictor([read_pixels(path) for path in photos]).to_polars().iter_rows())
        assert len(alone) == len(together)
        for one, other in zip(alone, together, strict=True):
            for mine, its in list(zip(one, other, strict=True))[1:]:
                assert mine == (pytest.approx(its, abs=1e-3) if isinstance(its, float) else its)


def test_the_same_json_as_the_commands(
    capsys: Printed, trained: Path, museum: Path, museum_run: Path, shop: Path, shop_run: Path
) -> None:
    garments = [shop / name for name in pl.read_csv(shop / "new.csv")["file"].to_list() if (shop / name).exists()]
    for command, run, shown in (
        ("identify", trained / "run", sorted((trained / "whales" / "test").iterdir())),
        ("tag", museum_run, sorted((museum / "test").iterdir())[:3]),
        ("attributes", shop_run, garments[:3]),
    ):
        assert main([command, str(run), *map(str, shown), "--json", "--workers", "0"]) == 0
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found = fieldmark.load(run, n_workers=0)(shown)
        assert found.to_json() == printed
        assert [one["photo"] for one in printed] == [str(path) for path in shown]


def test_results_are_a_list_and_a_table(photos: list[Path], whales_run: Predictor) -> None:
    found = whales_run(photos, k=2)
    assert isinstance(found, list)
    table = found.to_polars()
    assert table.columns == [
        *("image", "place", "identity", "is_new", "score", "most_similar_photo", "similarity"),
        *("known_proba", "right_proba"),
    ]
    assert table["image"].to_list() == [str(path) for path in photos for _ in range(2)]
    assert table["place"].to_list() == [1, 2] * 3
    flat = [match for one in found for match in one.matches]
    assert table["identity"].to_list() == [match.identity for match in flat]
    assert table["score"].to_list() == pytest.approx([match.score for match in flat], abs=1e-4)
    for row, match in zip(table.iter_rows(named=True), flat, strict=True):
        assert row["most_similar_photo"] == (None if match.photo is None else f"{match.photo.name}")
    expected = [one["right_proba"] for one in found.to_json() for _ in range(2)]
    assert table["right_proba"].to_list() == expected
    assert Results(whales_run.task, [], whales_run.context).to_polars().schema == table.schema
    assert [str(kind) for kind in table.dtypes] == [
        *("String", "Int64", "String", "Boolean", "Float64", "String", "Float64", "Float64", "Float64")
    ]


def test_tables_of_the_other_tasks_have_their_columns(
    museum: Path, museum_predictor: Predictor, shop: Path, shop_run: Path
) -> None:
    tags = museum_predictor(museum / "test").to_polars()
    assert dict(tags.schema) == {"image": pl.String, "label": pl.String, "proba": pl.Float64, "given": pl.Boolean}
    assert set(tags["image"]) == {path.name for path in (museum / "test").iterdir()}
    replies = fieldmark.load(shop_run, n_workers=0)(shop / "new.csv").to_polars()
    assert list(replies.schema.items()) == [
        *(("image", pl.String), ("question", pl.String), ("answer", pl.String)),
        *(("proba", pl.Float64), ("applies", pl.Boolean)),
    ]
    assert replies["image"].n_unique() == 8  # including two photos without a file


def test_results_are_shown_in_a_notebook_with_escaped_html(photos: list[Path], whales_run: Predictor) -> None:
    odd = photos[0].with_name("<b>&.png")
    shutil.copy(photos[0], odd)
    page = whales_run([odd], k=2)._repr_html_()
    assert page.startswith("<table><thead><tr><th>image</th>")
    assert "&lt;b&gt;&amp;.png" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 3
    many = whales_run([read_pixels(path) for path in photos * 4], k=2)._repr_html_()
    assert many.count("<tr>") == 21
    assert "<p>4 more rows</p>" in many


def test_results_are_written_like_by_the_command(trained: Path, whales_run: Predictor, tmp_path: Path) -> None:
    sample, test = trained / "whales" / "sample_submission.csv", trained / "whales" / "test"
    found = whales_run(sample, photos=test)
    found.write(tmp_path / "submission.csv", form="submission")
    assert (tmp_path / "submission.csv").read_bytes() == (trained / "run/answers/submission.csv").read_bytes()
    found.write(tmp_path / "people.csv")
    fieldmark.predict(trained / "run", sample, photos=test, out=tmp_path / "command.csv", n_workers=0)
    assert (tmp_path / "people.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


def test_embeddings_are_those_of_the_gallery(trained: Path, photos: list[Path], whales_run: Predictor) -> None:
    rows = whales_run.embed(photos)
    assert (rows.dtype, rows.shape[0]) == (np.float32, 3)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    for row, one in zip(rows, whales_run(photos, k=9), strict=True):
        named = [match for match in one.matches if not match.is_new]
        assert len(named) == 5
        known = whales_run.embed([match.photo for match in named])
        assert known @ row == pytest.approx([match.similarity for match in named], abs=1e-4)


def test_a_run_that_tags_embeds_too(museum: Path, museum_predictor: Predictor) -> None:
    files = sorted((museum / "test").iterdir())
    rows = museum_predictor.embed(files)
    assert (rows.dtype, rows.shape[0]) == (np.float32, len(files))
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(files)), abs=1e-5)
    assert museum_predictor.embed([read_pixels(files[1])])[0] == pytest.approx(rows[1], abs=1e-5)
    assert len(np.unique(rows.round(4), axis=0)) == len(files)


def test_evaluate_equals_the_command(
    trained: Path, whales_run: Predictor, tmp_path: Path, draw: Callable[..., None], write_csv: Callable[..., None]
) -> None:
    rows = [("photo", "name"), *((f"p{number}.jpg", f"w_{number}") for number in (0, 3, 55))]
    for file, name in rows[1:]:
        draw(tmp_path / file, int(name[2:]), shot=40)
    write_csv(tmp_path / "other.csv", rows)
    reading = {"columns": {"identity": "name"}}
    found = whales_run.evaluate(tmp_path / "other.csv", **reading)
    assert {one.name: one.n for one in found}["MAP@3"] == 3
    assert found == fieldmark.evaluate(trained / "run", tmp_path / "other.csv", n_workers=0, **reading)


def test_an_unfinished_or_damaged_run_is_refused_at_loading(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        fieldmark.load(tmp_path)
    run = shutil.copytree(trained / "run", tmp_path / "run")
    weights = run / "net" / "fold0" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError) as refused:
        fieldmark.load(run)
    assert "weights.safetensors" in str(refused.value)
    shutil.rmtree(run / "ranking")
    with pytest.raises(RunError):
        fieldmark.load(run)
