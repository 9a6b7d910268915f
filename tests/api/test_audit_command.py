"""``fieldmark audit`` on the command line: output, files, errors."""

import csv
from pathlib import Path

import numpy as np
import pytest

import fieldmark
from fieldmark.api.guards import INSTALL
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ninety garments with addresses but no files; the folder of an address names the garment."""
    chance = np.random.default_rng(5)
    rows = [("id", "kind", "colour", "url")]
    for number in chance.permutation(1000)[:90].tolist():
        kind, colour = chance.choice(["bag", "shirt", "shoe"]), chance.choice(["red", "blue", "green"])
        rows.append((f"{number:03d}", kind, colour, f"http://shop.example/{kind}/{chance.integers(1000)}"))
    path = tmp_path / "garments.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_the_table_of_gains_is_printed(capsys: Printed, shop: Path) -> None:
    assert main(["audit", str(shop), "--question", "kind", "--target", "kind", "--workers", "1"]) == 0
    rule = "\u2500" * 108
    assert capsys.readouterr().out == (
        "target   side feature   present   baseline   predicted     gain      95 % interval   verdict\n"
        f"{rule}\n"
        "kind     URL               100%      0.389       0.933   +0.544   +0.430 to +0.636   "
        "possible leak: you decide\n"
        "no gain: photo id, same address, order of ids, order of rows\n"
        "photos tested: 90\n"
        "files read: 0\n"
        "constant side features: 2 (folder, host)\n"
        "same address: 2 photos have a copy in other rows; kind: 2 equal, 0 different\n"
        "1 side feature predicts labels without the pictures: URL.\n"
    )


def test_all_side_features_are_printed_and_files_written_on_request(
    capsys: Printed, shop: Path, tmp_path: Path
) -> None:
    out, html = tmp_path / "audit.csv", tmp_path / "audit.html"
    words = ["audit", str(shop), "--question", "kind", "--question", "colour", "--all"]
    assert main([*words, "--out", str(out), "--html", str(html)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["colour", "URL"] for line in lines)
    assert lines[-2:] == [f"written: {out}", f"page: {html}"]
    with out.open(encoding="utf-8-sig") as file:
        gains = list(csv.DictReader(file))
    assert (gains[0]["target"], gains[0]["side_feature"], gains[0]["photos"]) == ("kind", "URL", "90")
    assert gains[0]["verdict"] == "possible leak: you decide"
    assert float(gains[0]["low"]) <= float(gains[0]["gain"]) <= float(gains[0]["high"])
    page = html.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "possible leak: you decide" in page
    assert "the words and codes of the address" in page


def test_new_photos_that_the_table_already_holds_are_counted(capsys: Printed, shop: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    address = shop.read_text(encoding="utf-8").splitlines()[1].split(",")[-1]
    new.write_text(f"id,url\nn1,{address}\nn2,http://shop.example/other\n", encoding="utf-8")
    assert main(["audit", str(shop), "--question", "kind", "--new", str(new)]) == 0
    assert "same address: 1 of 2 photos of 'new' are also in 'known'" in capsys.readouterr().out


def test_too_few_photos_give_an_error_with_the_required_number(whales: Path) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.audit(whales, n_workers=1)
    assert "18 photos have a label; 20 are needed" in str(caught.value.got)
    assert "more photos" in caught.value.fix


def test_a_table_without_answers_is_refused(capsys: Printed, shop: Path) -> None:
    assert main(["audit", str(shop)]) == 1
    problem, got, fix = capsys.readouterr().err.splitlines()[-3:]
    assert problem == "The table has no labels to audit."
    assert got.startswith("  got: columns image, file, url")
    assert fix == "  fix: name a column with labels: --question COLUMN, or --column identity=COLUMN."


@pytest.mark.parametrize(
    ("options", "fix"),
    [({"within": 17}, "--within 0"), ({"within": -1}, "--within 0"), ({"most_photos": 9}, "--most 20000")],
)
def test_numbers_out_of_range_are_refused(shop: Path, options: dict[str, int], fix: str) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.audit(shop, questions=["kind"], **options)
    assert fix in caught.value.fix


def test_an_existing_file_is_kept(capsys: Printed, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    out.write_text("mine")
    assert main(["audit", str(shop), "--question", "kind", "--out", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_missing_packages_give_an_error_with_the_command_to_install(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldmark.api.audit.find_spec", lambda name: None)
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.audit(shop, within=2)
    assert (caught.value.got, caught.value.fix) == ("sklearn, numba", INSTALL)


def test_a_missing_table_gives_an_error(tmp_path: Path) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.audit(tmp_path / "nothing.csv")
    assert "check" in caught.value.fix or "did you mean" in caught.value.fix
