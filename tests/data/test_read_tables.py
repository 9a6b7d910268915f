"""Reading of tables as users write them: a collection, or an error with every mistake."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpu import least_cpu_s
from fieldmark.core.errors import DataError
from fieldmark.data.reading import read, survey
from naughty_strings import NAUGHTY


@pytest.fixture
def put(tmp_path):
    """Write a table of photos, create the files, and return the path of the table."""

    def write(text: str | bytes, *, name: str = "t.csv", photos: str = "a.jpg b.jpg c.jpg d.jpg"):
        for photo in photos.split():
            (tmp_path / photo).parent.mkdir(exist_ok=True)
            (tmp_path / photo).touch()
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / name

    return write


def the(found, problem: str):
    """The only mistake of that kind."""
    similar = [mistake for mistake in found.mistakes if problem in mistake.problem]
    assert len(similar) == 1, [str(mistake) for mistake in found.mistakes]
    return similar[0]


def test_our_own_table(put) -> None:
    path = put(
        "image,file,identity,orig_width,orig_height,dup_group\n007,a.jpg,w_1,700,400,5\n08,b.jpg,new_whale,,,5\n"
    )
    collection = read(path)
    assert collection.images == ["007", "08"]
    assert collection.classes.tolist() == [0, -1]
    assert collection.groups.tolist() == [0, 0]
    assert collection.table["width"].to_list() == [700, None]
    assert collection.name == "t"


@pytest.mark.parametrize(
    "header",
    ["image_id,individual", "path,identity", "filename,individual_id", "File Name,Whale_ID", "Image,Id", "IMG,whale"],
)
def test_common_names_of_columns_are_understood(put, header) -> None:
    collection = read(put(f"{header}\na.jpg,w_1\nb.jpg,w_2\n"))
    assert collection.images == ["a.jpg", "b.jpg"]
    assert collection.classes.tolist() == [0, 1]


def test_the_user_names_columns(put) -> None:
    path = put("pic,who,identity,enc\na.jpg,w_1,zzz,e1\nb.jpg,w_2,zzz,e1\n")
    columns = {"image": "pic", "identity": "who", "group": "enc"}
    collection = read(path, columns=columns)
    assert collection.vocabulary.identities == ("w_1", "w_2")
    assert collection.groups.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"identty": "who"}, "'identty': did you mean 'identity'?"),
        ({"identity": "hwo"}, "'hwo': did you mean 'who'?"),
    ],
)
def test_wrong_mappings_are_refused(put, columns, line) -> None:
    with pytest.raises(DataError) as caught:
        read(put("image,who\na.jpg,w_1\n"), columns=columns)
    assert line in caught.value.got
    assert "the table has the columns image, who" in caught.value.fix


def test_all_mistakes_are_listed_at_once(put) -> None:
    path = put(
        "image,file,identity,width,date,box\n"
        "1,a.jpg,w_1,100,2020-01-01,\n"
        "2,lost.jpg,w_1,100,2020-01-01,\n"
        "3,b.jpg,,100,2020-01-01,\n"
        "4,../b.jpg,w_2,100,2020-01-01,\n"
        "5,b.jpg,w_2,wide,2020-01-01,\n"
        "6,b.jpg,w_2,100,01.02.2020,\n"
        '7,b.jpg,w_2,100,2020-01-01,"1,2,3"\n'
        "1,a.jpg,w_2,100,2020-01-01,\n"
        ",b.jpg,w_2,100,2020-01-01,\n"
        "8,b.jpg,w_2\n"
        '9,c.jpg,w_1,100,2020:05:06 10:11:12,"[1, 2, 3, 4]"\n'
    )
    found = survey(path)
    listed = {(mistake.row, mistake.column, mistake.problem) for mistake in found.mistakes}
    assert listed == {
        (3, "file", "no such photo"),
        (4, "identity", "empty label"),
        (5, "file", "leaves the folder of photos"),
        (6, "width", "invalid size"),
        (7, "date", "invalid date"),
        (8, "box", "invalid box"),
        (9, "image", "same id with different labels"),
        (10, "image", "empty id"),
        (11, None, "row does not have 6 cells"),
    }
    assert {mistake.file for mistake in found.mistakes} == {"t.csv"}
    assert found.collection.images == ["9"]  # both contradicting rows of photo 1 are left out
    assert found.collection.boxes.tolist() == [[1, 2, 3, 4]]
    assert str(found.collection.table["date"][0]) == "2020-05-06"
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.problem == f"{path} has 9 mistake(s)."
    assert "t.csv, row 3, column 'file': no such photo: 'lost.jpg'" in caught.value.got
    assert "write dates as YYYY-MM-DD" in caught.value.fix
    assert "fieldmark inspect" in caught.value.fix


def test_a_repeated_row_is_kept_once_and_noted(put) -> None:
    found = survey(put("image,identity\na.jpg,w_1\na.jpg,w_1\nb.jpg,w_2\n"))
    assert not found.mistakes
    assert found.collection.images == ["a.jpg", "b.jpg"]
    assert [(note.row, note.problem) for note in found.notes] == [(3, "repeats row 2; one of them is kept")]


def test_one_id_for_two_files_is_a_mistake(put) -> None:
    found = survey(put("image,file,identity\n1,a.jpg,w\n1,b.jpg,w\n2,c.jpg,w\n"))
    assert the(found, "different files").value == "1: b.jpg here, a.jpg in row 2"
    assert found.collection.images == ["2"]


def test_separators_quotes_and_line_ends(put) -> None:
    for text in (
        "image;identity\r\na.jpg;w, the first\r\nb.jpg;w_2\r\n",
        "\ufeffimage\tidentity\na.jpg\tw, the first\nb.jpg\tw_2",
        'image,identity\ra.jpg,"w, the first"\rb.jpg,w_2\r',
        'sep=;\nimage;identity\na.jpg;"w, the first"\n\nb.jpg;w_2\n\n',
    ):
        assert read(put(text)).vocabulary.identities == ("w, the first", "w_2")


def test_rows_are_counted_as_a_spreadsheet_does(put) -> None:
    found = survey(put('image,identity\na.jpg,"two\nlines"\n\nb.jpg,\nc.jpg,x,y\n'))
    assert {mistake.row for mistake in found.mistakes} == {4, 5}


def test_tsv_and_parquet(put, tmp_path) -> None:
    assert read(put("image\tidentity\na.jpg\tw\n", name="t.tsv")).images == ["a.jpg"]
    table = pl.DataFrame({"image": ["a.jpg", "b.jpg"], "labels": [["x", "y"], ["x"]], "group": [1, None]})
    table.write_parquet(tmp_path / "t.parquet")
    collection = read(tmp_path / "t.parquet")
    assert collection.truth.tolist() == [[1, 1], [1, 0]]
    assert collection.table["group"].to_list() == ["1", None]
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    assert "write the file again" in the(survey(tmp_path / "t.parquet"), "incomplete Parquet").fix


def test_a_wrong_encoding_names_row_and_byte(put) -> None:
    path = put("image,identity\na.jpg,Zoé\nb.jpg,Zoë\n".encode("latin-1"))
    mistake = the(survey(path), "text is not in utf-8")
    assert mistake.row == 2
    assert "byte 0xe9 at position 23" in mistake.value
    assert "--encoding" in mistake.fix
    assert read(path, encoding="latin-1").vocabulary.identities == ("Zoé", "Zoë")
    assert read(put("image,identity\na.jpg,Zoé\n".encode("utf-16"))).vocabulary.identities == ("Zoé",)
    with pytest.raises(DataError) as caught:
        read(path, encoding="latin-l")
    assert "cp1252" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("", "missing header", "write the names of the columns into the first row"),
        ("\n\n", "missing header", "write the names of the columns into the first row"),
        ("image,identity\n", "no photos found", "give a table or folder with at least one photo"),
        ('image,identity\na.jpg,"w_1\nb.jpg,w_2\n', "cannot be split", "close the quotation marks"),
        (",image,identity\n0,a.jpg,w\n", "column without a name", "index=False"),
        ("image,identity,identity\na.jpg,w,v\n", "two columns with the same name", "rename one of them"),
        ("imagee,identity\na.jpg,w\n", "no column with photos found", "columns={'image': 'imagee'}"),
        ("image,identitty\na.jpg,w\n", "no column with identities or labels", "columns={'identity': 'identitty'}"),
        ("image,zzz\na.jpg,w\n", "no column with identities or labels", "labelled=False"),
        ("a.jpg,w_1\nb.jpg,w_2\n", "the first row contains a photo", "columns={'image': ...}"),
        ("image,labels\na.jpg,x|y\nb.jpg,\n", "empty label", "labelled=False"),
        ("image,labels\na.jpg,x||y\nb.jpg,x\n", "empty label among others", "delete the extra '|'"),
        ("image,identity\na.jpg,unknown\nb.jpg,new_whale\n", "more than one label for unknown", "unknown='new_whale'"),
        ("image,identity\nA.JPG,w\na.jpg,w\n", "no such photo", "--photos FOLDER"),
    ],
)
def test_mistakes_of_the_format_say_what_to_do(put, text, problem, fix) -> None:
    assert fix in the(survey(put(text)), problem).fix
    with pytest.raises(DataError) as caught:
        read(put(text))
    assert fix in caught.value.fix


def test_a_file_of_nearly_the_same_name_is_pointed_out(put) -> None:
    assert "there is a.jpg" in the(survey(put("image,identity\nA.JPG,w\n")), "no such photo").value


def test_unknown_identities(put) -> None:
    path = put("image,identity\na.jpg,w\nb.jpg,unidentified\nc.jpg,\n")
    assert read(path, unknown="").classes.tolist() == [1, 0, -1]
    assert read(path, unknown="").table["identity"].to_list() == ["w", "unidentified", "new_individual"]
    assert the(survey(path, unknown="unidentified"), "empty label").row == 4
    assert survey(path, unknown="unidentified").collection.classes.tolist() == [0, -1]
    assert survey(path, unknown=None).collection.classes.tolist() == [1, 0]
    assert read(path, labelled=False).classes.tolist() == [1, 0, -2]


def test_new_photos_need_no_labels(put) -> None:
    assert read(put("image\na.jpg\nb.jpg\n"), labelled=False).classes.tolist() == [-2, -2]


def test_questions_are_columns_the_user_names(put) -> None:
    path = put("id,file,gender,colour,size\n1,a.jpg,men,red|blue,9\n2,b.jpg,,blue,8\n")
    collection = read(path, questions=["gender", "colour"])
    assert collection.answers("gender").tolist() == [[1], [0]]
    assert collection.answers("colour").tolist() == [[1, 1], [1, 0]]
    assert collection.table["size"].to_list() == ["9", "8"]
    with pytest.raises(DataError) as caught:
        read(path, questions=["color"])
    assert "did you mean 'colour'?" in caught.value.got


def test_boxes_in_three_forms(put) -> None:
    for header, cells in (
        ("box_x,box_y,box_w,box_h", "1,2,3,4"),
        ("bbox", '"[1, 2, 3, 4]"'),
        ("x0,y0,x1,y1", "1,2,4,6"),
    ):
        empty = "," * cells.count(",") if "[" not in cells else ""
        collection = read(put(f"image,identity,{header}\na.jpg,w,{cells}\nb.jpg,w,{empty}\n"))
        assert collection.boxes[0].tolist() == [1, 2, 3, 4]
        assert collection.boxes[1].tolist() != collection.boxes[1].tolist()  # nan: no box
    found = survey(put("image,identity,x0,y0,x1,y1\na.jpg,w,5,2,4,6\nb.jpg,w,1,1,nan,3\n"))
    assert [mistake.value for mistake in found.mistakes] == ["5, 2, 4, 6", "1, 1, nan, 3"]


def test_photos_are_looked_for_where_they_usually_are(put, tmp_path) -> None:
    path = put("image,identity\na.jpg,w\nb.jpg,w\n", photos="images/a.jpg images/b.jpg train/a.jpg")
    assert read(path).root == tmp_path / "images"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.jpg").touch()
    assert survey(path, photos=elsewhere).collection.images == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "fix"), [("t.cvs", "did you mean 't.csv'?"), ("no/where.csv", "check the path."), ("t.doc", "give a .csv")]
)
def test_a_file_that_is_not_a_table_is_refused(put, tmp_path, name, fix) -> None:
    put("image\na.jpg\n")
    put("x", name="t.doc")
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert fix in caught.value.fix


def test_naughty_strings_survive_a_csv(tmp_path) -> None:
    naughty = sorted(set(NAUGHTY) - {""})
    table = pl.DataFrame({"image": naughty, "file": "p.jpg", "identity": naughty})
    table.write_csv(tmp_path / "t.csv")
    (tmp_path / "p.jpg").touch()
    collection = read(tmp_path / "t.csv", unknown=None)
    assert collection.images == naughty
    assert collection.vocabulary.identities == tuple(naughty)


def test_naughty_strings_as_file_names_never_escape(tmp_path) -> None:
    pl.DataFrame({"image": [f"{n}" for n in range(len(NAUGHTY))], "file": NAUGHTY}).write_parquet(
        tmp_path / "t.parquet"
    )
    found = survey(tmp_path / "t.parquet", labelled=False)
    assert len(found.collection) == 0
    assert {mistake.row for mistake in found.mistakes} == set(range(1, len(NAUGHTY) + 1))


CELLS = st.sampled_from(
    ["", "a.jpg", "b.jpg", "lost.jpg", "../a.jpg", "w_1", "w,2", 'w"3', "new_whale", "é", "\n", "nan"]
)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8))
def test_each_row_of_any_table_is_read_or_reported(tmp_path_factory, rows) -> None:
    """A slow reference reader decides row by row which rows are valid."""
    folder = tmp_path_factory.mktemp("any")
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("image", "file", "identity"), pl.String), orient="row")
    frame.write_csv(folder / "t.csv")
    found = survey(folder / "t.csv")
    contents = {}
    for image, file, identity in rows:
        contents.setdefault(image, set()).add((file, identity))
    good = []
    for image, file, identity in rows:
        if image and image not in good and file in {"a.jpg", "b.jpg"} and identity and len(contents[image]) == 1:
            good.append(image)
    assert found.collection.images == good
    reported = {mistake.row for mistake in (*found.mistakes, *found.notes)}
    for number, row in enumerate(rows, start=2):
        named = any(mistake.value.endswith(f"in row {number}") for mistake in found.mistakes)
        assert row[0] in good or number in reported or named


def test_a_large_table_is_quick(tmp_path) -> None:
    number = 25_361
    lines = "\n".join(f"{n:09x}.jpg,w_{n % 5000:07x}" for n in range(number))
    (tmp_path / "train.csv").write_text(f"Image,Id\n{lines}\n")
    assert len(read(tmp_path / "train.csv", check_files=False)) == number
    assert least_cpu_s(lambda: read(tmp_path / "train.csv", check_files=False)) < 1.0


def test_a_label_of_unknowns_without_photos_is_refused_if_a_common_one_has_photos(put) -> None:
    path = put("image,identity\na.jpg,w_1\nb.jpg,new_whale\n")
    with pytest.raises(DataError) as refusal:
        read(path, unknown="new_wale")
    assert "new_wale (there is new_whale)" in str(refusal.value.got)
    assert "--unknown new_whale" in refusal.value.fix
    assert read(path, unknown="w_1").vocabulary.identities == ("new_whale",)
    alone = put("image,identity\na.jpg,w_1\nb.jpg,w_2\n", name="alone.csv")
    assert read(alone, unknown="unidentified").classes.tolist() == [0, 1]  # a table may have no unknowns


def test_the_label_of_unknown_individuals_depends_on_the_layout(put) -> None:
    contest = put("Image,Id\na.jpg,w_1\nb.jpg,w_2\n", name="train.csv")
    assert read(contest).vocabulary.unknown == "new_whale"
    assert read(contest).classes.tolist() == [0, 1]
    taken = put("Image,Id\na.jpg,w_1\nb.jpg,new_whale\n", name="train.csv")
    assert read(taken, unknown=None).vocabulary.unknown == "new_individual"
    other = put("image,identity\na.jpg,w_1\nb.jpg,w_2\n", name="other.csv")
    assert read(other).vocabulary.unknown == read(other, unknown=None).vocabulary.unknown == "new_individual"


def test_spaces_around_a_common_label_of_unknowns_are_ignored(put) -> None:
    assert read(put("image,identity\na.jpg,w_1\nb.jpg,new_whale \n")).classes.tolist() == [0, -1]
    with pytest.raises(DataError) as refusal:
        read(put("image,identity\na.jpg,unknown\nb.jpg,unknown \nc.jpg,w\n"))
    assert "'unknown '" in str(refusal.value.got)
