"""The demo, with the smallest recipe on few photos."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fieldmark.api import demonstration
from fieldmark.cli.main import main
from fieldmark.core.progress import QUIET
from fieldmark.plans.recipe import RECIPES
from shrinking import shrinking


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, tiny: Callable) -> None:
    others = {name: shrinking(recipe) for name, recipe in RECIPES.items()}
    monkeypatch.setattr(RECIPES, "_parts", {**others, "humpback-classify": tiny})
    few = {
        "n_identities": 5,
        "photos_per_identity": 3,
        "n_unknown": 3,
        "n_test": 4,
        "n_near_duplicates": 1,
        "size_px": (96, 48),
    }
    monkeypatch.setattr(demonstration, "DRAWN", {"toy": few, "small": few})
    smaller = {name: {**numbers, "n_train": 24, "n_test": 4} for name, numbers in demonstration.OTHERS.items()}
    monkeypatch.setattr(demonstration, "OTHERS", smaller)


@pytest.mark.usefixtures("small_demo")
def test_demo_draws_trains_scores_and_identifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    words = ["demo", "--folder", str(folder), "--size", "toy", "--workers", "1"]
    assert main(words) == 0
    output = capsys.readouterr()
    assert f"drawn: 24 photos in {folder / 'photos'}" in output.err
    assert "1 file cannot be read." in output.err
    lines = output.out.splitlines()
    assert sum(line.startswith("MAP@3 ") and "of known" not in line for line in lines) == 2
    assert any(line.startswith(f"$ fieldmark identify {folder / 'run'} ") for line in lines)
    assert any(line.startswith("Correct answer: w_") for line in lines)
    assert any(line.startswith(f"$ fieldmark tag {folder / 'museum/run'} ") for line in lines)
    assert any(line.startswith("category ") for line in lines)
    assert lines[-3:] == [
        f"report: {folder / 'run/report.html'}",
        f"summary of the photos: {folder / 'inspect.html'}",
        f"reports at toy size: {folder / 'museum/run/report.html'}, {folder / 'shop/run/report.html'}",
    ]
    assert (folder / "run/report.html").exists()

    assert main(words) == 0
    again = capsys.readouterr()
    assert again.out == output.out
    assert "drawn" not in again.err


@pytest.mark.usefixtures("small_demo")
def test_an_interrupted_drawing_starts_again(tmp_path: Path) -> None:
    half = tmp_path / ".photos.part"
    half.mkdir()
    (half / "left.txt").write_text("over")
    numbers = demonstration.DRAWN["toy"]
    photos = demonstration._drawn(tmp_path / "photos", numbers, n_workers=1, progress=QUIET)
    assert (photos / "train.csv").exists()
    assert not (photos / "left.txt").exists()
    assert not half.exists()


@pytest.mark.usefixtures("small_demo")
def test_a_size_that_does_not_exist_is_refused_before_drawing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--size", "huge"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "  fix: use one of: small, toy."
    assert not (tmp_path / "demo").exists()


def test_the_example_photo_shows_the_individual_with_the_most_photos(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("Image,Id\na,w_1\nb,w_2\nc,w_2\nd,new_whale\ne,new_whale\nf,new_whale\n")
    (tmp_path / "test_truth.csv").write_text("Image,Id\n1,new_whale\n2,w_1\n4,w_2\n3,w_2\n")
    assert demonstration._example_photo(tmp_path) == ("3", "w_2")
