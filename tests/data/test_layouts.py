"""Layouts: folders of individuals, COCO and the files of contests."""

import json

import pytest

from fieldmark.core.errors import DataError
from fieldmark.data.reading import read, survey


def touch(root, *names) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def dump(path, content):
    path.write_text(json.dumps(content))
    return path


def problems(found) -> set:
    return {(mistake.row, mistake.column, mistake.problem, mistake.value) for mistake in found.mistakes}


def test_a_folder_of_individuals(tmp_path) -> None:
    touch(tmp_path, "w_1/a.jpg", "w_1/2019/b.PNG", "new_whale/c.webp", "w_1/notes.txt", ".cache/x.jpg", "w_1/.DS_Store")
    found = survey(tmp_path)
    assert not found.mistakes
    assert sorted(found.collection.images) == ["new_whale/c.webp", "w_1/2019/b.PNG", "w_1/a.jpg"]
    assert dict(zip(found.collection.images, found.collection.classes, strict=True))["new_whale/c.webp"] == -1
    assert [note.file for note in found.notes] == ["w_1/notes.txt"]
    assert all(path.exists() for path in found.collection.paths)


def test_loose_photos_and_linked_folders_are_mistakes(tmp_path) -> None:
    touch(tmp_path, "set/w_1/a.jpg", "set/loose.jpg", "elsewhere/b.jpg")
    (tmp_path / "set" / "w_2").symlink_to(tmp_path / "elsewhere")
    found = survey(tmp_path / "set")
    assert {(mistake.file, mistake.problem) for mistake in found.mistakes} == {
        ("loose.jpg", "photo is not in the folder of an individual"),
        ("w_2", "links to folders are not followed"),
    }
    assert "labelled=False" in {mistake.file: mistake.fix for mistake in found.mistakes}["loose.jpg"]
    assert found.collection.images == ["w_1/a.jpg"]
    assert set(read(tmp_path / "elsewhere", labelled=False).images) == {"b.jpg"}


def test_an_empty_folder_has_no_photos(tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "give a table or folder with at least one photo" in caught.value.fix


def test_a_folder_with_several_tables_asks_which(tmp_path) -> None:
    touch(tmp_path, "one.csv", "two.csv")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "one.csv" in caught.value.fix


@pytest.mark.parametrize("where", ["train", "images", "."])
@pytest.mark.parametrize("name", ["", "train.csv"])
def test_humpback(tmp_path, where, name) -> None:
    touch(tmp_path, f"{where}/0a.jpg", f"{where}/0b.jpg", "test/0c.jpg")
    (tmp_path / "train.csv").write_text("Image,Id\n0a.jpg,w_1\n0b.jpg,new_whale\n")
    collection = read(tmp_path / name)
    assert collection.classes.tolist() == [0, -1]
    assert all(path.exists() for path in collection.paths)
    assert (tmp_path / where).resolve() == collection.root.resolve()


def imet(tmp_path) -> None:
    touch(tmp_path, "train/10a.png", "train/10b.jpg", "train/10c.png")
    names = "attribute_id,attribute_name\n0,culture::french\n1,tag::dog\n2,tag::cat\n"
    (tmp_path / "labels.csv").write_text(names)
    (tmp_path / "train.csv").write_text("id,attribute_ids\n10a,0 2\n10b,1\n10c,2 1\n")


def test_imet2019(tmp_path) -> None:
    imet(tmp_path)
    collection = read(tmp_path)
    assert collection.vocabulary.tags == ("culture::french", "tag::dog", "tag::cat")
    assert collection.vocabulary.groups == {"culture": (0,), "tag": (1, 2)}
    assert collection.truth.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert [path.name for path in collection.paths] == ["10a.png", "10b.jpg", "10c.png"]
    assert read(tmp_path, check_files=False).table["file"].to_list() == ["10a.png", "10b.png", "10c.png"]


def test_imet2019_with_unknown_labels_or_without_names(tmp_path) -> None:
    imet(tmp_path)
    (tmp_path / "train.csv").write_text("id,attribute_ids\n10a,0 3\n10b,1\n10c,\n")
    found = survey(tmp_path)
    assert problems(found) == {
        (2, "attribute_ids", "unknown label", "3"),
        (4, "attribute_ids", "empty label", ""),
    }
    assert found.collection.images == ["10b"]
    assert len(found.collection.vocabulary.tags) == 3
    (tmp_path / "labels.csv").write_text("id,name\n0,x\n")
    assert any("attribute_id and attribute_name" in mistake.fix for mistake in survey(tmp_path).mistakes)
    (tmp_path / "labels.csv").unlink()
    assert any("put labels.csv" in mistake.fix for mistake in survey(tmp_path).mistakes)


COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 10, "height": 20},
        {"id": 2, "file_name": "sub/b.jpg", "width": 10, "height": 20},
    ],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"id": 9, "image_id": 2, "category_id": 5, "bbox": [5, 6, 3, 4]},
    ],
    "categories": [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}],
}


def test_coco_categories_are_labels(tmp_path) -> None:
    touch(tmp_path, "images/a.jpg", "images/sub/b.jpg")
    collection = read(dump(tmp_path / "instances.json", COCO))
    assert collection.vocabulary.tags == ("cat", "dog")
    assert collection.truth.tolist() == [[0, 1], [1, 1]]
    assert collection.boxes[0].tolist() == [1, 2, 3, 4]
    assert collection.boxes[1].tolist() != collection.boxes[1].tolist()  # nan: a photo with two boxes has no single box
    assert collection.table["height"].to_list() == [20, 20]
    assert collection.root == tmp_path / "images"


def test_coco_categories_are_identities(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "sub/b.jpg")
    collection = read(dump(tmp_path / "instances.json", COCO), layout="coco_identities")
    assert collection.images == ["1", "2#8", "2#9"]
    assert [collection.vocabulary.identity(c) for c in collection.classes.tolist()] == ["dog", "dog", "cat"]
    assert collection.boxes[2].tolist() == [5, 6, 3, 4]


def test_coco_with_invalid_annotations(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "sub/b.jpg")
    wrong = [
        {"id": 10, "image_id": 3, "category_id": 5, "bbox": [0, 0, 1, 1]},
        {"id": 11, "image_id": 1, "category_id": 6},
        {"id": 12, "image_id": 1},
        "nonsense",
    ]
    found = survey(dump(tmp_path / "x.json", COCO | {"annotations": [*COCO["annotations"], *wrong]}))
    assert (4, "annotations.key", "annotation of a photo that is not in the file", "3") in problems(found)
    assert (5, "annotations.category", "unknown category", "6") in problems(found)
    assert (6, "annotations.category_id", "missing in this entry", "") in problems(found)
    assert (7, "annotations.image_id", "missing in this entry", "") in problems(found)
    assert len(found.collection) == 2


def imaterialist(tmp_path):
    touch(tmp_path, "images/01.jpg", "images/2.jpg", "images/3.jpg")
    tasks = [{"taskName": "shoe:sole", "taskId": "1"}, {"taskName": "dress:colour", "taskId": "2"}]
    labels = [{"labelName": "flat", "labelId": "5"}, {"labelName": "red", "labelId": "6"}]
    dump(tmp_path / "fgvc4_iMat.task_map.json", {"taskInfo": tasks})
    dump(tmp_path / "fgvc4_iMat.label_map.json", {"labelInfo": labels})
    return {
        "images": [
            {"imageId": "01", "url": "http://x/1.jpg"},
            {"imageId": "2", "url": ["http://x/2.jpg"]},
            {"imageId": "3"},
        ],
        "annotations": [
            {"imageId": "01", "taskId": "1", "labelId": "5"},
            {"imageId": "01", "taskId": "2", "labelId": "6"},
            {"imageId": "2", "taskId": "2", "labelId": "6"},
            {"imageId": "2", "taskId": "2", "labelId": "5"},
            {"imageId": "3", "taskId": "1", "labelId": "5"},
        ],
    }


def test_imaterialist2017(tmp_path) -> None:
    dump(tmp_path / "train.data.json", imaterialist(tmp_path))
    collection = read(tmp_path / "train.data.json")
    assert collection.images == ["01", "2", "3"]
    assert [question.name for question in collection.vocabulary.questions] == ["category", "shoe:sole", "dress:colour"]
    assert collection.table["category"].to_list() == [["shoe", "dress"], ["dress"], ["shoe"]]
    assert collection.vocabulary.question("dress:colour").answers == ("flat", "red")
    assert collection.answers("dress:colour").tolist() == [[0, 1], [1, 1], [0, 0]]
    assert collection.answers("shoe:sole").tolist() == [[1], [0], [1]]
    assert collection.table["url"].to_list() == ["http://x/1.jpg", "http://x/2.jpg", None]
    assert collection.paths[0] == tmp_path / "images" / "01.jpg"


def test_imaterialist2017_with_unknown_ids(tmp_path) -> None:
    content = imaterialist(tmp_path)
    content["annotations"] += [
        {"imageId": "2", "taskId": "9", "labelId": "5"},
        {"imageId": "2", "taskId": "1", "labelId": "99"},
        {"imageId": "77", "taskId": "1", "labelId": "5"},
    ]
    found = survey(dump(tmp_path / "train.data.json", content))
    assert problems(found) == {
        (6, "annotations.task", "unknown task", "9"),
        (7, "annotations.label", "unknown label", "99"),
        (8, "annotations.image", "annotation of a photo that is not in the file", "77"),
    }


@pytest.mark.parametrize("keys", [("imageId", "labelId"), ("image_id", "label_id")])
def test_imaterialist2018(tmp_path, keys) -> None:
    touch(tmp_path, "train/1.jpg", "train/2.jpg")
    image, label = keys
    content = {
        "images": [{image: "1", "url": ["http://x/1"]}, {image: 2, "url": ["http://x/2", "http://y/2"]}],
        "annotations": [{image: "1", label: ["95", "66"]}, {image: 2, label: 95}],
    }
    collection = read(dump(tmp_path / "train.json", content))
    assert collection.vocabulary.tags == ("66", "95")
    assert collection.truth.tolist() == [[1, 1], [0, 1]]
    dump(tmp_path / "label_map.json", {"labelInfo": [{"labelId": "95", "labelName": "floral"}]})
    found = survey(tmp_path / "train.json")
    assert problems(found) == {(1, "labels", "unknown label", "66")}
    assert found.collection.vocabulary.tags == ("floral",)


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"a": 1}', '{"images": 3}', "[" * 100_000])
def test_other_json_is_refused(tmp_path, content) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x.json")
    assert caught.value.fix.startswith("give ")


def test_a_layout_that_does_not_exist(tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, layout="imet2091")
    assert caught.value.fix == "did you mean 'imet2019'?"
