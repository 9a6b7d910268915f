"""Catalogues without unknown individuals, with every command and every recipe that identifies.

Photos belong to groups (encounters), so that the runs also show what the intervals resample.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.files import read_json
from once import Once
from shrinking import shrunk

RECIPES = ("humpback-nearest", "humpback-classify", "humpback-siamese", "reidentify")
IDENTITIES = [f"animal_{number}" for number in range(6)]
NEW = ["t0.png", "t1.png", "t2.png", "t3.png"]
UNKNOWN = "new_individual"

Printed = pytest.CaptureFixture[str]


def draw(path: Path, identity: int, shot: int) -> None:
    tiles = np.random.default_rng(identity).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(tiles).resize((64, 32))).astype(int)
    noisy = large + np.random.default_rng((identity, shot)).normal(0, 12, large.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)


def write(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="session")
def catalogue(once: Once) -> Path:
    """Six individuals with three photos of two encounters each; four new photos, two of unknown individuals."""
    return once("closed", write_catalogue)


def write_catalogue(folder: Path) -> None:
    rows = [("file", "identity", "encounter")]
    for number, name in enumerate(IDENTITIES):
        for shot in range(3):
            draw(folder / "photos" / f"a{number}_{shot}.png", number, shot)
            rows.append((f"a{number}_{shot}.png", name, f"{number}-{shot // 2}"))
    for number, name in enumerate(NEW):
        draw(folder / "new" / name, number if number < 2 else 50 + number, 9)
    write(folder / "table.csv", rows)


@pytest.fixture(scope="session")
def runs(catalogue: Path, once: Once) -> Path:
    """A finished toy run of each recipe, in a folder of its name, with predictions for the new photos."""

    def train(folder: Path) -> None:
        for recipe in RECIPES:
            settings = {"keypoints": "xfeat"} if recipe == "reidentify" else {}
            fieldmark.train(
                shrunk(fieldmark.plan(recipe, size="toy", settings=settings)),
                catalogue / "table.csv",
                photos=catalogue / "photos",
                new=catalogue / "new",
                run=folder / recipe,
                n_workers=0,
            )

    return once("closed-runs", train)


def output_of(capsys: Printed, *words: object) -> str:
    assert main([*map(str, words)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def check_submission(path: Path, unknown: str = UNKNOWN) -> list[list[str]]:
    """Return the ranked names of a submission; all are identities or the label of unknown individuals."""
    table = pl.read_csv(path)
    assert table["Image"].to_list() == NEW
    names = [row.split() for row in table["Id"]]
    assert {name for row in names for name in row} <= {*IDENTITIES, unknown}
    assert all(len(set(row)) == 5 for row in names)
    return names


def test_inspect_finds_no_errors(catalogue: Path, tmp_path: Path, capsys: Printed) -> None:
    words = ("--photos", catalogue / "photos", "--html", tmp_path / "page.html", "--workers", 0)
    output = output_of(capsys, "inspect", catalogue / "table.csv", *words)
    assert "18 photos of 6 individuals. No mistakes or broken files were found." in output
    assert UNKNOWN not in output


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_predicts_new_photos_and_may_predict_unknown(recipe: str, runs: Path) -> None:
    names = check_submission(runs / recipe / "submission" / "submission.csv")
    assert recipe == "humpback-classify" or any(UNKNOWN in row for row in names)  # its threshold is below all scores
    stage = "matching" if recipe == "reidentify" else "pairs" if recipe == "humpback-siamese" else "ranking"
    ranking = pl.read_parquet(runs / recipe / stage / "ranking.parquet")
    assert not ranking["identity"].null_count()
    assert set(ranking["identity"]) <= {*IDENTITIES, UNKNOWN}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_run_evaluates_identifies_and_reports(
    recipe: str, catalogue: Path, runs: Path, tmp_path: Path, capsys: Printed
) -> None:
    run = runs / recipe
    output = output_of(capsys, "evaluate", run)
    assert "FPIR" not in output
    assert " groups (n = " in output
    photos = NEW[:1] if recipe == "reidentify" else NEW  # keypoint matching is slow
    found = fieldmark.identify(run, [catalogue / "new" / name for name in photos], n_workers=0)
    names = check_submission(run / "submission" / "submission.csv")
    assert [[match.identity for match in one.matches] for one in found] == names[: len(photos)]
    assert [one.is_new for one in found] == [row[0] == UNKNOWN for row in names[: len(photos)]]
    out = tmp_path / "answers.csv"
    output_of(capsys, "predict", run, catalogue / "new", "--out", out, "--format", "submission", "--workers", 0)
    assert check_submission(out) == names
    page = Path(output_of(capsys, "report", run).strip()).read_text(encoding="utf-8")
    measures = read_json(run / "metrics.json")
    assert {(one["unit"], one["n_units"]) for one in measures} == {("group", 3)}
    assert "95 % intervals over 3 groups" in page.replace("\xa0", " ")
    assert "0.561 over 3 groups" in page.replace("\xa0", " ")


def test_individuals_that_the_run_does_not_know_are_unknown_in_evaluate(runs: Path, tmp_path: Path) -> None:
    shown = [("animal_0", 0), ("animal_1", 1), ("other", 77), ("other", 77)]
    rows = [("file", "identity", "encounter")]
    for number, (name, identity) in enumerate(shown):
        draw(tmp_path / "photos" / f"s{number}.png", identity, 30 + number)
        rows.append((f"s{number}.png", name, f"{min(number, 2)}"))
    table = write(tmp_path / "table.csv", rows)
    measures = fieldmark.evaluate(runs / "humpback-nearest", table, photos=tmp_path / "photos", n_workers=0)
    found = {one.name: one for one in measures}
    assert (found["MAP@5"].n, found["MAP@5"].over) == (4, "3 groups")
    assert (found["FPIR"].n, found["FPIR"].over) == (2, "1 group")
    assert (found["top-1 of known"].value, found["top-1 of known"].over) == (1.0, "2 groups")


def test_ensembles_of_runs(runs: Path, tmp_path: Path, capsys: Printed) -> None:
    pair, out = [runs / "humpback-nearest", runs / "humpback-classify"], tmp_path / "answers.csv"
    output = output_of(capsys, "ensemble", *pair, "--by", "vote", "--out", out)
    names = check_submission(out)
    n_new = sum(row[0] == UNKNOWN for row in names)
    assert f"4 photos predicted by 2 runs, {n_new} of them as unknown individuals" in output
    output_of(capsys, "ensemble", *pair, "--run", tmp_path / "both", "--out", tmp_path / "both.csv")
    check_submission(tmp_path / "both" / "submission" / "submission.csv")
    check_submission(tmp_path / "both.csv")


def test_photos_are_compared_and_name_issues_listed(
    catalogue: Path, runs: Path, tmp_path: Path, capsys: Printed
) -> None:
    output_of(capsys, "issues", runs / "reidentify", "--out", tmp_path / "issues.csv", "--workers", 0)
    issues = pl.read_csv(tmp_path / "issues.csv")
    assert set(issues["kind"]) == {"two names"}
    assert set(issues["label"]) <= set(IDENTITIES)
    words = ("--photos", catalogue / "photos", "--new", catalogue / "new", "--run", runs / "humpback-nearest")
    output = output_of(
        capsys, "duplicates", catalogue / "table.csv", *words, "--out", tmp_path / "duplicates.csv", "--workers", 0
    )
    assert "Groups both named and unknown 0 " in " ".join(output.split())
    output = output_of(
        capsys, "match", catalogue / "photos" / "a0_0.png", catalogue / "photos" / "a0_1.png", "--by", "sift"
    )
    assert "inliers:" in output
    output = output_of(capsys, "symmetry", catalogue / "table.csv", "--photos", catalogue / "photos", "--workers", 0)
    assert "6 individuals with two photos" in output


def test_a_run_without_new_photos_is_trained_and_identifies(catalogue: Path, tmp_path: Path, capsys: Printed) -> None:
    words = ("--photos", catalogue / "photos", "--size", "toy", "--run", tmp_path / "run", "--workers", 0)
    output = output_of(capsys, "train", "humpback-nearest", catalogue / "table.csv", *words)
    assert "submission:" not in output
    output = output_of(capsys, "identify", tmp_path / "run", catalogue / "new" / "t3.png", "--workers", 0)
    assert f"1   {UNKNOWN} (unknown individual)" in output


@pytest.mark.parametrize(
    ("header", "options", "unknown"),
    [
        (("Image", "Id"), {}, "new_whale"),
        (("Image", "Id"), {"--unknown": "stray"}, "stray"),
        (("file", "identity"), {"--unknown": ""}, "new_individual"),
    ],
)
def test_the_label_of_unknown_individuals_is_that_of_the_table_or_its_form(
    header: tuple[str, str], options: dict[str, str], unknown: str, catalogue: Path, tmp_path: Path, capsys: Printed
) -> None:
    rows = [header, *((f"a{number}_{shot}.png", name) for number, name in enumerate(IDENTITIES) for shot in range(3))]
    if options.get("--unknown") == "":
        for number in range(3):
            draw(tmp_path / "photos" / f"u{number}.png", 70 + number, 0)
            rows.append((f"u{number}.png", ""))
    for photo in (catalogue / "photos").iterdir():
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / photo.name).write_bytes(photo.read_bytes())
    table = write(tmp_path / "train.csv", rows)
    words = ("--photos", tmp_path / "photos", "--new", catalogue / "new", "--size", "toy", "--workers", 0)
    typed = [word for pair in options.items() for word in pair]
    output_of(capsys, "train", "humpback-nearest", table, *words, *typed, "--run", tmp_path / "run")
    assert any(unknown in row for row in check_submission(tmp_path / "run" / "submission" / "submission.csv", unknown))
    assert {one["unit"] for one in read_json(tmp_path / "run" / "metrics.json")} == {"photo"}
