"""The command ``boxes``: the next command that it prints is valid."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from fieldmark.cli.main import main
from fieldmark.models.pinpoint import CARD
from fieldmark.quality.regions import clicks

pytest.importorskip("cv2", reason="OpenCV is an extra")
FEW_STEPS = 40
"""Training steps of the landmark finder; 400 by default."""

Printed = pytest.CaptureFixture[str]


def draw(path: Path, *, left: int) -> None:
    picture = Image.new("RGB", (96, 64), (20, 40, 120))
    ImageDraw.Draw(picture).rectangle((left, 16, left + 40, 50), fill=(220, 200, 90))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write(path: Path, rows: list[tuple[object, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def output_of(capsys: Printed, *words: object) -> list[str]:
    assert main(["boxes", *map(str, words), "--by", "grabcut", "--workers", "0"]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_next_command_reads_the_photos_with_the_same_options(capsys: Printed, tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"far/p{number}.png", left=10 + 4 * number)
    (tmp_path / "here").mkdir()
    rows = [("image", "name"), *((f"../far/p{number}.png", f"w{number % 2}") for number in range(4))]
    table, out = write(tmp_path / "here/whales.csv", rows), tmp_path / "b.csv"
    found, following = output_of(capsys, table, "--column", "identity=name", "--allow-outside", "--out", out)
    assert found == f"boxes of 4 of 4 photos: {out}"
    assert following.startswith(
        f"next: fieldmark train reidentify {table} --column identity=name --allow-outside --boxes "
    )
    words = shlex.split(following.removeprefix("next: fieldmark "))
    words[-1:] = [str(tmp_path / "run"), "--size", "toy", "--workers", "0", "--set", "validation=unknown"]
    assert main(words) == 1  # all words are valid except the setting
    assert "validation=open_set or humpback" in capsys.readouterr().err


def test_without_names_the_next_command_is_predict(capsys: Printed, tmp_path: Path) -> None:
    draw(tmp_path / "new/p.png", left=20)
    out = tmp_path / "b.csv"
    assert output_of(capsys, tmp_path / "new/p.png", "--out", out)[-1] == (
        f"next: fieldmark predict RUN {tmp_path / 'new/p.png'} --boxes {out} --out answers.csv"
    )


def test_landmarks_without_boxes_are_reported_as_landmarks(
    capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clicks.learn_clicks.__kwdefaults__, "n_steps", FEW_STEPS)
    rows: list[tuple[object, ...]] = [("image", "x_left", "y_left", "x_right", "y_right")]
    for number in range(10):
        draw(tmp_path / f"p/{number}.png", left=4 * number)
        rows.append((f"{number}.png", 4 * number, 16, 4 * number + 40, 50))
    marks, out = write(tmp_path / "clicks.csv", rows), tmp_path / "b.csv"
    lines = output_of(capsys, tmp_path / "p", "--clicks", marks, "--save", tmp_path / "finder", "--out", out)
    shares = dict(line.removesuffix(" (cross-validated)").split(": ") for line in lines[:2])
    assert list(shares) == ["error of left, share of the landmarks", "error of right, share of the landmarks"]
    assert all(float(share) < 2 for share in shares.values())
    assert lines[2] == f"landmarks of 10 photos: {out}"
    assert "docs/reference/stages.md" in lines[3]
    assert (tmp_path / "finder" / CARD).is_file()
