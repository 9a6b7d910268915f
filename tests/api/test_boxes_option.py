"""The option ``--boxes``: tables of boxes, with or without a name, also for new photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.api.photos import gather, new_photos
from fieldmark.core.errors import DataError
from fieldmark.data.marks import boxes_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "t"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30), (10, 90, 120)).save(tmp_path / name / f"{name}1.png")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na1.png,1,2,11,22\nt1.png,5,6,25,26\n")
    (tmp_path / "known.csv").write_text("image,x0,y0,x1,y1\na1.png,1,2,11,22\n")
    (tmp_path / "table.csv").write_text("file,identity\na/a1.png,anna\nb/b1.png,bert\n")
    return tmp_path


def test_boxes_are_read_as_first_and_second_source(folder: Path) -> None:
    tables = (str(folder / "boxes.csv"), f"fin={folder / 'known.csv'}")
    found = gather(folder / "table.csv", labelled=True, reading={"boxes": tables}, n_workers=0).collection
    assert found.boxes is not None
    assert found.boxes[0].tolist() == [1, 2, 10, 20]
    assert np.isnan(found.boxes[1]).all()
    fins = boxes_of(found, "fin")
    assert fins is not None
    assert fins[0].tolist() == [1, 2, 10, 20]


def test_new_photos_take_their_boxes_from_the_same_table(folder: Path) -> None:
    found = new_photos(folder / "table.csv", folder / "t", {"boxes": (str(folder / "boxes.csv"),)}, n_workers=0)
    assert found is not None
    assert found.collection.boxes is not None
    assert found.collection.boxes[0].tolist() == [5, 6, 20, 20]
    without = new_photos(folder / "table.csv", folder / "t", {"boxes": (str(folder / "known.csv"),)}, n_workers=0)
    assert without is not None
    assert without.collection.boxes is None  # the table holds the training photos only


def test_a_table_of_other_photos_is_refused(folder: Path) -> None:
    (folder / "other.csv").write_text("image,x0,y0,x1,y1\nz.png,1,2,3,4\n")
    with pytest.raises(DataError, match="matches none") as refused:
        gather(folder / "table.csv", labelled=True, reading={"boxes": (str(folder / "other.csv"),)}, n_workers=0)
    assert "same photo names" in refused.value.fix
