"""``fieldmark symmetry`` on drawn animals with known symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.errors import DataError, FieldmarkError


def animals(folder: Path, *, symmetric: bool) -> Path:
    """Draw ten animals with three photos each: large patches, symmetric or not, in varying light."""
    rows = ["image,identity"]
    for number in range(10):
        rng = np.random.default_rng(number)
        patches = rng.integers(0, 255, (6, 6, 3))
        patches[:, 3:] = patches[:, :3][:, ::-1] if symmetric else 0
        for shot in range(3):
            chance = np.random.default_rng((number, shot))
            large = np.asarray(Image.fromarray(patches.astype(np.uint8)).resize((96, 96), Image.Resampling.NEAREST))
            lit = large * chance.uniform(0.7, 1.1) + chance.normal(0, 10, large.shape)
            Image.fromarray(lit.clip(0, 255).astype(np.uint8)).save(folder / f"{number}_{shot}.png")
            rows.append(f"{number}_{shot}.png,w{number}")
    (folder / "animals.csv").write_text("\n".join(rows) + "\n")
    return folder / "animals.csv"


def test_patches_on_one_side_show_other_individuals_when_mirrored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = animals(tmp_path, symmetric=False)
    assert main(["symmetry", str(table), "--workers", "0"]) == 0
    output = capsys.readouterr().out
    assert "Mirrored photos show other individuals" in output
    assert "10 individuals with two photos" in output


def test_symmetric_patches_are_not_affected(tmp_path: Path) -> None:
    found = fieldmark.symmetry(animals(tmp_path, symmetric=True), n_workers=0)
    assert found.verdict in {"same", "blind"}
    assert abs(found.lost.value) < 0.1


def test_photos_without_a_second_photo_of_any_individual_are_refused(tmp_path: Path) -> None:
    table = animals(tmp_path, symmetric=False)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[1::3]]) + "\n")
    with pytest.raises(DataError) as caught:
        fieldmark.symmetry(table, n_workers=0)
    assert "twice" in caught.value.fix
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.symmetry(table, most_photos=3)
    assert "--most 600" in caught.value.fix
