"""Tables of boxes, landmarks and masks: their values, and their mistakes by file, row and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fieldmark.core.errors import DataError, ShapeError
from fieldmark.data.collection import Collection
from fieldmark.data.marks import MOST_PIXELS, boxes_of, marked, masks_of, points_of, read_marks
from fieldmark.images import masks
from fieldmark.images.masks import from_text


def photos(**more: list) -> Collection:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    return Collection.of({"image": ["a", "b", "c"], "file": [f"img/{name}" for name in names], **more}, root=Path())


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    return path


def test_corners_become_the_photos_boxes(tmp_path: Path) -> None:
    path = written(tmp_path, "image,x0,y0,x1,y1,note\nb,10,20.5,110,60,\nother,1,2,3,4,\na,,,,,two finders disagree\n")
    boxes = marked(photos(), read_marks(path)).boxes
    assert boxes is not None
    assert boxes[1].tolist() == [10, 20.5, 100, 39.5]
    assert np.isnan(boxes[[0, 2]]).all()


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg"), ("img/a.jpg", "img/b.jpg"), ("a", "b")])
def test_photos_are_found_by_id_or_file(tmp_path: Path, names: tuple[str, str]) -> None:
    path = written(tmp_path, f'Image,box\n{names[0]},"1, 2, 30, 40"\n{names[1]},\n')
    boxes = marked(photos(), read_marks(path)).boxes
    assert boxes is not None
    assert boxes[0].tolist() == [1, 2, 30, 40]


def test_further_sources_lie_beside_the_photos_own_boxes(tmp_path: Path) -> None:
    path = written(tmp_path, "image,x0,y0,x1,y1,x_tip,y_tip,mask\na,0,0,10,20,3,4,1 2 1 1\n")
    own = photos(box_x=[5.0] * 3, box_y=[5.0] * 3, box_w=[9.0] * 3, box_h=[9.0] * 3)
    both = marked(own, read_marks(path), source="fin")
    assert both.boxes is not None
    assert both.boxes[0].tolist() == [5, 5, 9, 9]
    fins = boxes_of(both, "fin")
    assert fins is not None
    assert fins[0].tolist() == [0, 0, 10, 20]
    assert np.isnan(fins[1:]).all()
    assert boxes_of(both, "detic") is None
    assert masks_of(both, "fin") == ["1 2 1 1", None, None]
    assert masks_of(both) == [None, None, None]
    assert points_of(both, ["tip.fin"])[0].tolist() == [[3, 4]]


def test_landmarks_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "image,x_left_tip,y_left_tip,x_notch,y_notch\na,1,2,3.5,4\nb,,,7,8\n")
    marks = read_marks(path)
    assert marks.points == ("left_tip", "notch")
    places = points_of(marked(photos(), marks), ["notch", "left_tip"])
    assert places[0].tolist() == [[3.5, 4], [1, 2]]
    assert places[1, 0].tolist() == [7, 8]
    assert np.isnan(places[1, 1]).all()
    assert np.isnan(places[2]).all()
    with pytest.raises(DataError, match="landmarks") as refused:
        points_of(marked(photos(), marks), ["noch"])
    assert refused.value.fix == "did you mean 'notch'?"


def test_all_mistakes_are_listed_by_row_and_column(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "image,x0,y0,x1,y1,x_tip,y_tip\n"
        "a,10,10,5,20,1,2\n"  # row 2: the right edge is left of the left edge
        "b,0,0,ten,20,1,\n"  # row 3: a word, and an incomplete landmark
        "c,0.1,0.1,0.9,0.8,x,2\n"  # row 4: relative coordinates, and a word
        "c,1,1,9,8,,\n",  # row 5: twice
    )
    with pytest.raises(DataError, match="mistake") as refused:
        read_marks(path)
    got = str(refused.value.got)
    for line in (
        "boxes.csv, row 2, column 'x0': invalid box",
        "boxes.csv, row 3, column 'x0': invalid box",
        "boxes.csv, row 3, column 'y_tip': incomplete landmark",
        "boxes.csv, row 4, column 'x0': box is not in pixels",
        "boxes.csv, row 4, column 'x_tip': not a number",
        "boxes.csv, row 5, column 'image': occurs twice",
    ):
        assert line in got
    assert "multiply relative coordinates" in refused.value.fix
    assert "keep one row" in refused.value.fix
    assert "both x and y, or leave both empty" in refused.value.fix


def test_a_table_without_marks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column for a box") as refused:
        read_marks(written(tmp_path, "image,colour\na,red\n"))
    assert "x0, y0, x1, y1" in refused.value.fix
    with pytest.raises(DataError, match="no column for a photo") as refused:
        read_marks(written(tmp_path, "x0,y0,x1,y1\n1,2,3,4\n"))
    assert "columns image" in refused.value.fix


def test_marks_of_other_photos_are_refused_unless_allowed(tmp_path: Path) -> None:
    marks = read_marks(written(tmp_path, "image,x0,y0,x1,y1\nz,1,2,3,4\n"))
    with pytest.raises(DataError, match="matches none") as refused:
        marked(photos(), marks)
    assert "same photo names" in refused.value.fix
    assert marked(photos(), marks, strict=False).boxes is None


def test_boxes_outside_of_their_photo_are_refused_where_its_size_is_known(tmp_path: Path) -> None:
    marks = read_marks(written(tmp_path, "image,x0,y0,x1,y1\na,500,2,600,4\nb,1,1,9,9\n"))
    with pytest.raises(DataError) as refused:
        marked(photos(width=[100] * 3, height=[100] * 3), marks)
    assert "box outside of its photo" in str(refused.value.got)
    assert "original size" in refused.value.fix


def test_an_invalid_box_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        boxes_of(photos(**{"box.fin": ["1, 2, 3", "", "1, 2, 3, 4"]}), "fin")
    assert "a: '1, 2, 3'" in str(refused.value.got)
    assert "left, top, width, height" in refused.value.fix


@pytest.mark.parametrize(
    "cell",
    [
        *("2 2 1 3", "2 2 4", " 1  2 0 2 ", "2 2 1 2", "2 2", "2 2 -1 5", "2 2 x", "0 3 0", "9999 9999 99980001"),
        *("2 2 1.0 3", "hello", "3", "-1 -4 4"),
    ],
)
def test_a_cell_is_a_mask_if_it_can_be_decoded(tmp_path: Path, cell: str) -> None:
    """The check of cells agrees with the decoder of masks; an invalid cell is reported with its row."""
    assert MOST_PIXELS == masks.MOST_PIXELS
    try:
        from_text(cell)
    except ShapeError:
        with pytest.raises(DataError) as refusal:
            read_marks(written(tmp_path, f"image,mask\na,1 2 1 1\nb,{cell}\n"))
        assert "row 3, column 'mask'" in str(refusal.value.got)
        assert "`fieldmark boxes --masks`" in refusal.value.fix
        photos = Collection.of({"image": ["a", "b"], "mask": ["", cell]}, root=tmp_path)
        with pytest.raises(DataError) as refusal:
            masks_of(photos)
        assert str(refusal.value.got).startswith("b: ")
    else:
        assert read_marks(written(tmp_path, f"image,mask\na,1 2 1 1\nb,{cell}\n")).table["mask"][1] == cell
