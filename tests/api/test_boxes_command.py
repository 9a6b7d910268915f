"""The command ``boxes``: what it says to type next works as it stands."""

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
"""Of learning where landmarks are; 400 by default."""

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


def ran(capsys: Printed, *words: object) -> list[str]:
    assert main(["boxes", *map(str, words), "--by", "grabcut", "--workers", "0"]) == 0
    return capsys.readouterr().out.splitlines()


def test_what_to_type_next_reads_the_photos_as_they_were_read(capsys: Printed, tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"far/p{number}.png", left=10 + 4 * number)
    (tmp_path / "here").mkdir()
    rows = [("image", "who"), *((f"../far/p{number}.png", f"w{number % 2}") for number in range(4))]
    table, out = write(tmp_path / "here/whales.csv", rows), tmp_path / "b.csv"
    found, following = ran(capsys, table, "--column", "identity=who", "--allow-outside", "--out", out)
    assert found == f"4 of 4 photos have a box: {out}"
    assert following.startswith(
        f"next: fieldmark train reidentify {table} --column identity=who --allow-outside --boxes "
    )
    told = shlex.split(following.removeprefix("next: fieldmark "))
    told[-1:] = [str(tmp_path / "run"), "--size", "toy", "--workers", "0", "--set", "validation=nobody"]
    assert main(told) == 1  # read and understood: it is the setting that is refused
    assert "validation=open_set or humpback" in capsys.readouterr().err


def test_photos_without_names_are_not_to_be_learnt_from(capsys: Printed, tmp_path: Path) -> None:
    draw(tmp_path / "new/p.png", left=20)
    out = tmp_path / "b.csv"
    assert ran(capsys, tmp_path / "new/p.png", "--out", out)[-1] == (
        f"next: fieldmark predict RUN {tmp_path / 'new/p.png'} --boxes {out} --out answers.csv"
    )


def test_landmarks_alone_are_told_as_landmarks(
    capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clicks.learn_clicks.__kwdefaults__, "n_steps", FEW_STEPS)
    rows: list[tuple[object, ...]] = [("image", "x_left", "y_left", "x_right", "y_right")]
    for number in range(10):
        draw(tmp_path / f"p/{number}.png", left=4 * number)
        rows.append((f"{number}.png", 4 * number, 16, 4 * number + 40, 50))
    marks, out = write(tmp_path / "clicks.csv", rows), tmp_path / "b.csv"
    lines = ran(capsys, tmp_path / "p", "--clicks", marks, "--save", tmp_path / "finder", "--out", out)
    shares = dict(line.removesuffix(" (on photos not learnt from)").split(": ") for line in lines[:2])
    assert list(shares) == ["error of left, share of the landmarks", "error of right, share of the landmarks"]
    assert all(float(share) < 2 for share in shares.values())
    assert lines[2] == f"landmarks of 10 photos: {out}"
    assert "docs/reference/stages.md" in lines[3]
    assert (tmp_path / "finder" / CARD).is_file()
