"""Commands on the command line: output, files, errors."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.files import sha256

Printed = pytest.CaptureFixture[str]


def output_of(capsys: Printed, *words: object) -> str:
    """Run a command that succeeds and return its output."""
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def error_of(capsys: Printed, *words: object) -> list[str]:
    """Run a command that fails and return the lines of its error."""
    assert main([str(word) for word in words]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("one_recipe")
def test_recipes(capsys: Printed) -> None:
    title, line, row, _, more = output_of(capsys, "recipes").splitlines()
    assert title.split("   ")[0] == "recipe"
    assert set(line) == {"─"}
    assert row == "tiny     toy (default), small   The smallest plan with every step."
    assert more == "settings of a recipe: fieldmark recipes NAME"


@pytest.mark.usefixtures("one_recipe")
def test_settings_of_a_recipe_are_shown_by_group(capsys: Printed) -> None:
    about, sizes, *groups = (
        output_of(capsys, "recipes", "tiny").split("\n\n")[0].splitlines()
        + output_of(capsys, "recipes", "tiny").split("\n\n")[1:]
    )
    assert about == "The smallest plan with every step."
    assert sizes == "sizes: toy (default), small"
    assert [group.split(" setting")[0] for group in groups] == ["data", "training"]
    assert [line.split("   ")[0].rstrip() for line in groups[1].splitlines()[2:]] == ["epochs", "lr"]
    assert groups[1].splitlines()[3].split() == ["lr", "0.001", "a", "number", "above", "0", "Learning", "rate."]
    assert error_of(capsys, "recipes", "tinny")[-1] == "  fix: did you mean 'tiny'?"


@pytest.mark.usefixtures("one_recipe")
def test_plan_shows_stages_and_their_cost(capsys: Printed) -> None:
    lines = output_of(capsys, "plan", "tiny", "--size", "small").splitlines()
    assert lines[:9] == [
        "tiny",
        "    stage      kind               reads",
        "─────────────────────────────────────────────────",
        "1   split      split",
        "2   net        train              split",
        "3   features   embed              net, split",
        "4   ranking    rank               split, features",
        "5   answers    write_submission   ranking",
        "",
    ]
    assert lines[9] == "Networks to train"
    assert lines[12].split()[:6] == ["net", "test_efficientnet", "one_vs_rest", "32", "x", "64"]
    assert lines[14] == "Training phases"
    assert lines[17].split()[:4] == ["net", "1", "1", "0.001"]
    assert lines[-2].startswith("Estimated for 1,000 photos (use --data DATA for yours) on ")
    assert lines[-1] == "Downloads: none"


@pytest.mark.usefixtures("one_recipe")
def test_plan_estimates_for_the_users_own_photos(capsys: Printed, whales: Path) -> None:
    text = output_of(capsys, "plan", "tiny", "--data", whales)
    assert "Estimated for 18 photos on " in text
    estimate = fieldmark.estimate("tiny", whales)
    assert (estimate.photos.n_photos, estimate.photos.n_identities) == (18, 5)
    assert estimate.seconds < fieldmark.estimate("tiny").seconds
    output = json.loads(output_of(capsys, "plan", "tiny", "--data", whales, "--device", "cpu", "--json"))["estimate"]
    assert output["photos"] == estimate.photos.model_dump(mode="json")
    assert [one["name"] for one in output["stages"]] == ["net"]


@pytest.mark.usefixtures("one_recipe")
def test_plan_shows_the_cost_of_training(capsys: Printed, whales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    words = ("plan", "tiny", "--device", "cpu", "--set", "epochs=3")
    lines = [" ".join(line.split()) for line in output_of(capsys, *words, "--data", whales).splitlines()]
    output = json.loads(output_of(capsys, *words, "--data", whales, "--json"))["estimate"]
    (net,) = output["stages"]
    (network,) = (line for line in lines if line.startswith("net test_efficientnet"))
    assert network.startswith("net test_efficientnet one_vs_rest 32 x 32 px 1 8 0.1 M 0.9 GiB")
    assert net["parameters"] == 99_196 + 256 + 10 * 257  # backbone, neck, five individuals and their mirror images
    (phase,) = net["phases"]
    assert (phase["epochs"], phase["photos_per_epoch"], phase["updates"]) == (3, 40, 15)
    assert any(line.startswith("net 1 3 0.001 0.1 M nothing 40") for line in lines)
    assert any("18 photos on 2 cores of this CPU: training takes" in line for line in lines)
    assert lines[-1] == "Downloads: none"
    assert output["photos"]["n_photos"] == 18
    assert output["seconds"] == pytest.approx(net["seconds"])
    assert any("1,000 photos (use --data DATA for yours)" in line for line in output_of(capsys, *words).splitlines())


def test_plan_names_weights_to_download_and_a_lack_of_memory(
    capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("fieldmark.core.machine._memory", lambda: 8 << 30)
    *_, memory, download = output_of(
        capsys, "plan", "humpback-classify", "--size", "full", "--device", "cpu"
    ).splitlines()
    assert memory.startswith("Not enough memory: about 4")
    assert memory.endswith("8 GiB here. Choose a smaller size.")
    assert download.startswith("To download: legacy_senet154 (https://")
    assert download.endswith("about 452 MB): fetched when training begins")


def test_plan_refuses_missing_photos_and_devices(capsys: Printed, tmp_path: Path) -> None:
    assert "no table" in error_of(capsys, "plan", "tags-plain", "--data", tmp_path / "none.csv")[0]
    assert error_of(capsys, "plan", "tags-plain", "--device", "tpu")[0] == "There is no such device."


@pytest.mark.usefixtures("one_recipe")
def test_plan_as_json_is_a_plan_again(capsys: Printed, tmp_path: Path, tiny: Callable) -> None:
    text = output_of(capsys, "plan", "tiny", "--set", "flip_identity=false", "--json")
    (tmp_path / "mine.json").write_text(text)
    assert fieldmark.plan(tmp_path / "mine.json") == tiny(flip_identity=False)


@pytest.mark.usefixtures("one_recipe")
def test_a_mistyped_recipe_names_the_nearest(capsys: Printed) -> None:
    assert error_of(capsys, "plan", "tinny") == [
        "There is no recipe of that name.",
        "  got: tinny",
        "  fix: did you mean 'tiny'?",
    ]


def test_runs(capsys: Printed, trained: Path) -> None:
    header, _, row = output_of(capsys, "runs", trained).splitlines()
    assert header.split() == ["run", "recipe", "stages", "result", "age"]
    assert row.split()[0] == str(trained / "run")
    assert "tiny" in row
    assert "5 of 5" in row
    assert "MAP@3" in row


def test_runs_of_an_empty_folder_and_of_none(capsys: Printed, tmp_path: Path) -> None:
    assert output_of(capsys, "runs", tmp_path) == f"There is no run in {tmp_path} or its subfolders.\n"
    assert error_of(capsys, "runs", tmp_path / "no")[-1].startswith("  fix: give a folder that contains runs")


def test_an_unfinished_or_damaged_run_is_listed_too(capsys: Printed, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    (tmp_path / "begun" / "plan.json").write_text("{ broken")
    *_, row = output_of(capsys, "runs", tmp_path).splitlines()
    assert row.split()[1:] == ["?", "0", "of", "0", "unfinished"]


def test_evaluate_prints_the_validation_measures(capsys: Printed, trained: Path) -> None:
    lines = output_of(capsys, "evaluate", trained / "run").splitlines()
    output = {one["name"]: one["value"] for one in json.loads((trained / "run/metrics.json").read_text())}
    for name, value in output.items():
        assert any(line.startswith(name) and f"{value:.3f}" in line for line in lines), name


def test_evaluate_on_other_photos_counts_unknown_names_as_unknowns(
    capsys: Printed, trained: Path, tmp_path: Path, draw: Callable, write_csv: Callable
) -> None:
    draw(tmp_path / "a.jpg", 0, shot=40)
    draw(tmp_path / "b.jpg", 55, shot=40)
    shutil.copy(trained / "whales/train/w1_0.jpg", tmp_path / "c.jpg")
    write_csv(tmp_path / "other.csv", [("photo", "name"), ("a.jpg", "w_0"), ("b.jpg", "w_55"), ("c.jpg", "w_1")])
    assert main(["evaluate", str(trained / "run"), str(tmp_path / "other.csv"), "--column", "identity=name"]) == 0
    output = capsys.readouterr()
    assert "left out: 1 photos that the run already contains" in output.err
    lines = {line.split("  ")[0]: line.split() for line in output.out.splitlines()}
    assert "2" in lines["MAP@3"]
    assert "1" in lines["FPIR"]


def test_identify_prints_one_table_per_photo(capsys: Printed, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    lines = output_of(capsys, "identify", "run", "whales/test/t0.jpg", "whales/test/t1.jpg").splitlines()
    titles = [line.split(": ") for line in lines if line.startswith("whales/test")]
    assert [title for title, _ in titles] == ["whales/test/t0.jpg", "whales/test/t1.jpg"]
    (one,) = fieldmark.identify("run", "whales/test/t1.jpg")
    assert titles[1][1] == f"known {one.known_proba:.0%}, first candidate correct {one.right_proba:.0%}"
    assert lines[1].split() == ["identity", "score", "most", "similar", "known", "photo", "similarity"]
    assert [line.split()[0] for line in lines[3:6]] == ["1", "2", "3"]
    known = [line for line in lines[3:6] if "new_whale" not in line]
    assert all("whales/train/w" in line for line in known)


def test_identify_as_json_has_stable_keys(capsys: Printed, trained: Path) -> None:
    photos = [str(trained / "whales/test" / name) for name in ("t0.jpg", "t2.jpg")]
    lines = [
        json.loads(line) for line in output_of(capsys, "identify", trained / "run", *photos, "--json").splitlines()
    ]
    assert [one["photo"] for one in lines] == photos
    for one in lines:
        assert list(one) == ["photo", "is_new", "known_proba", "right_proba", "matches"]
        assert 0 <= one["right_proba"] <= one["known_proba"] <= 1
        assert isinstance(one["is_new"], bool)
        assert one["is_new"] == one["matches"][0]["is_new"]
        assert [match["place"] for match in one["matches"]] == [1, 2, 3]
        scores = [match["score"] for match in one["matches"]]
        assert scores == sorted(scores, reverse=True)
        for match in one["matches"]:
            assert list(match) == ["place", "identity", "score", "is_new", "photo", "similarity"]
            if match["is_new"]:
                assert (match["identity"], match["photo"], match["similarity"]) == ("new_whale", None, None)
            else:
                assert Path(match["photo"]).name.startswith(match["identity"].replace("_", ""))
                assert -1 <= match["similarity"] <= 1


def test_the_unknown_individual_is_one_candidate(capsys: Printed, trained: Path) -> None:
    text = output_of(capsys, "identify", trained / "run", trained / "whales/test/t0.jpg", "--json", "--k", "50")
    names = [match["identity"] for match in json.loads(text)["matches"]]
    assert sorted(names) == ["new_whale", "w_0", "w_1", "w_2", "w_3", "w_4"]


def test_a_known_photo_under_the_name_of_another_finds_itself(
    capsys: Printed, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cameras count from one, so a new photo often has the file name of a known photo that shows something else.
    shutil.copy(trained / "whales/train/w4_2.jpg", tmp_path / "w0_0.jpg")
    monkeypatch.chdir(tmp_path)
    text = output_of(capsys, "identify", trained / "run", "w0_0.jpg", "--json", "--k", "9")
    match = next(one for one in json.loads(text)["matches"] if one["identity"] == "w_4")
    assert Path(match["photo"]).name == "w4_2.jpg"
    assert match["similarity"] == pytest.approx(1, abs=1e-4)


def test_identify_refuses_photos_that_cannot_be_read(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"<!doctype html>")
    run = trained / "run"
    assert error_of(capsys, "identify", run, tmp_path / "no.jpg")[-1] == "  fix: check the path."
    assert "bad.jpg" in error_of(capsys, "identify", run, tmp_path / "bad.jpg")[1]
    assert error_of(capsys, "identify", run, tmp_path / "bad.jpg", "--k", "0")[-1] == "  fix: use --k 5."
    good = trained / "whales/test/t0.jpg"
    assert main(["identify", str(run), str(good), str(tmp_path / "bad.jpg"), "--json", "--skip-broken"]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert "left out" in output.err
    assert "bad.jpg" in output.err


def test_predict_for_people(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    text = output_of(capsys, "predict", trained / "run", trained / "whales/test", "--out", out, "--k", "2")
    assert text.startswith("3 photos predicted, ")
    rows = rows_of(out)
    columns = ["image", "place", "identity", "is_new", "score", "most_similar_photo", "similarity"]
    assert list(rows[0]) == [*columns, "known_proba", "right_proba"]
    assert all(0 <= float(row["known_proba"]) <= 1 for row in rows)
    assert [(row["image"], row["place"]) for row in rows] == [(f"t{n}.jpg", place) for n in range(3) for place in "12"]
    assert all((row["most_similar_photo"] == "") == (row["is_new"] == "True") for row in rows)


def test_predict_writes_the_same_submission_as_the_run(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    output_of(
        *(capsys, "predict", trained / "run", trained / "whales/sample_submission.csv"),
        *("--photos", trained / "whales/test", "--out", out, "--format", "submission"),
    )
    assert out.read_text() == (trained / "run/answers/submission.csv").read_text()


def test_predict_refuses_to_overwrite_a_file(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    out.write_text("mine")
    words = ["predict", trained / "run", trained / "whales/test", "--out", out]
    assert error_of(capsys, *words) == [
        "The output file already exists.",
        f"  got: {out}",
        "  fix: give another name, or add --force to overwrite it.",
    ]
    assert out.read_text() == "mine"
    output_of(capsys, *words, "--force")
    assert len(rows_of(out)) == 9
    assert error_of(capsys, *words[:-1], tmp_path)[-1] == f"  fix: give a file: {tmp_path / 'answers.csv'}"
    below_a_file = out / "more" / "answers.csv"
    assert error_of(capsys, *words[:-1], below_a_file)[::2] == [
        "The output file cannot be written.",
        "  fix: choose a folder with write permission.",
    ]


def test_a_folder_without_write_permission_is_reported_before_photos_are_read(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # a test may run as root, which may write anywhere
    monkeypatch.setattr("fieldmark.api.predictor.gather", lambda *_, **__: pytest.fail("photos were read"))
    with pytest.raises(fieldmark.FieldmarkError) as refusal:
        fieldmark.predict(trained / "run", trained / "whales/test", out=tmp_path / "new/answers.csv")
    assert refusal.value.problem == "The output file cannot be written."
    assert not (tmp_path / "new").exists()


def test_an_error_about_broken_photos_names_no_folder(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    output = error_of(capsys, "identify", trained / "run", tmp_path / "bad.jpg", "--skip-broken")
    assert output[-1] == "  fix: give photos that can be read."


@pytest.mark.usefixtures("one_recipe")
def test_tables_without_known_individuals_give_an_error_with_a_fix(
    capsys: Printed, whales: Path, tmp_path: Path
) -> None:
    table = whales / "more.csv"
    photos = sorted(path.name for path in (whales / "train").iterdir())
    words = ["train", "tiny", table, "--photos", whales / "train", "--run", tmp_path / "run"]
    table.write_text("image,identity\n" + "".join(f"{name},\n" for name in photos))
    output = error_of(capsys, *words)
    assert "--unlabelled" not in output[-1]
    assert "If empty names mean unknown individuals, use --unknown ''" in output[-1]
    output = error_of(capsys, *words, "--unknown", "")
    assert "all photos show unknown individuals" in output[0]
    assert "--unknown LABEL" in output[-1]
    table.write_text("image,identity\n" + "".join(f"{name},new_whale\n" for name in photos))
    assert "all photos show unknown individuals" in error_of(capsys, *words)[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("one_recipe")
def test_training_reports_names_that_may_be_misspelled(capsys: Printed, whales: Path, tmp_path: Path) -> None:
    table = whales / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:1], lines[1].replace("w_0", "W_0"), *lines[2:]]))
    assert main(["train", "tiny", str(whales), "--run", str(tmp_path / "run"), "--workers", "0"]) == 0
    assert "check the name 'W_0' has nearly the same spelling as 'w_0': 1 and 2 photos" in capsys.readouterr().err


def test_report_writes_the_page_again(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(trained / "run", run)
    (run / "report.html").unlink()
    assert output_of(capsys, "report", run) == f"{run / 'report.html'}\n"
    assert "tiny" in (run / "report.html").read_text()


def test_relocate_updates_the_photo_folder_of_a_run(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    photos = shutil.copytree(trained / "whales/train", tmp_path / "moved")
    assert error_of(capsys, "relocate", run)[-1] == "  fix: add --photos FOLDER or --new FOLDER."
    assert error_of(capsys, "relocate", run, "--photos", run)[0] == (
        "18 of the run's 18 photos are not in this folder."
    )
    n_known = len(list(photos.iterdir()))
    assert output_of(capsys, "relocate", run, "--photos", photos) == f"{n_known} known photos: {photos}\n"
    assert str(photos) in output_of(capsys, "identify", run, trained / "whales/test/t0.jpg")


def test_inspect_prints_and_writes_a_page(
    capsys: Printed, whales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (whales / "train/w0_1.jpg").write_bytes((whales / "train/w0_1.jpg").read_bytes()[:300])
    lines = output_of(capsys, "inspect", whales).splitlines()
    assert lines[0] == ("18 photos of 5 individuals and 3 of unknown individuals. 1 file cannot be read.")
    assert lines[1] == "whales"
    assert lines[-1] == "page: inspect.html"
    assert any(line.startswith("w0_1.jpg") for line in lines)
    assert "whales" in (tmp_path / "inspect.html").read_text()
    assert error_of(capsys, "inspect", whales)[-1] == "  fix: give another name, or add --force to overwrite it."
    output_of(capsys, "inspect", whales, "--force")


def test_inspect_of_a_missing_folder(capsys: Printed, tmp_path: Path) -> None:
    problem, got, fix = error_of(capsys, "inspect", tmp_path / "no")
    assert problem == "There is no table or folder of that name."
    assert got == f"  got: {tmp_path / 'no'}"
    assert fix


@pytest.mark.usefixtures("one_recipe")
def test_train_prints_measures_and_the_next_command_and_resumes_when_repeated(
    capsys: Printed, whales: Path, tmp_path: Path
) -> None:
    (whales / "train/w0_1.jpg").write_bytes((whales / "train/w0_1.jpg").read_bytes()[:300])
    run = tmp_path / "my runs" / "first"
    words = ["train", "tiny", str(whales), "--run", str(run), "--set", "lr=0.002", "--skip-broken", "--workers", "1"]
    assert main(words) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[2].startswith("MAP@3")
    assert lines[-4:] == [
        "left out: 1 files that cannot be read",
        f"report: {run / 'report.html'}",
        f"submission: {run / 'answers/submission.csv'}",
        f"next: fieldmark identify '{run}' PHOTO.jpg",
    ]
    assert f"new photos to predict: 3 in {whales / 'test'}" in output.err
    (skipped,) = json.loads((run / "skipped.json").read_text())
    assert skipped["file"] == "w0_1.jpg"
    assert json.loads((run / "plan.json").read_text())["stages"][1]["training"]["phases"][0]["lr"] == 0.002
    assert (run / "answers/submission.csv").read_text().splitlines()[0] == "Image,Id"

    before = sha256(run / "ranking/ranking.parquet")
    assert main(words) == 0
    again = capsys.readouterr()
    assert again.out == output.out
    assert "net: already finished" in again.err
    assert sha256(run / "ranking/ranking.parquet") == before

    assert main([*words, "--seed", "1"]) == 1
    assert "use the same plan, data and seed" in capsys.readouterr().err


@pytest.mark.usefixtures("one_recipe")
def test_train_copies_equal_stages_of_another_run(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    plan = json.loads((trained / "run/plan.json").read_text())
    plan["stages"][3]["k"] = 2
    (tmp_path / "mine.json").write_text(json.dumps(plan))
    words = ["train", tmp_path / "mine.json", trained / "whales", "--run", tmp_path / "run", "--reuse", trained / "run"]
    assert main([str(word) for word in words]) == 0
    assert "net: train ..." not in capsys.readouterr().err
    weights = "net/fold0/weights.safetensors"
    assert sha256(tmp_path / "run" / weights) == sha256(trained / "run" / weights)
    header, first, *_ = (tmp_path / "run/answers/submission.csv").read_text().splitlines()
    assert header == "Image,Id"
    assert len(first.split(",")[1].split()) == 2
    assert "leave out --reuse" in error_of(capsys, *words[:4], tmp_path / "other", *words[5:], "--seed", "9")[-1]


def test_new_photos_may_be_inspected_without_names(capsys: Printed, whales: Path, tmp_path: Path) -> None:
    words = ["inspect", whales / "test", "--html", tmp_path / "page.html"]
    assert output_of(capsys, *words, "--unlabelled").startswith("3 photos. No mistakes or broken files were found.")
    assert "must be corrected" in output_of(capsys, *words, "--force").splitlines()[0]


@pytest.mark.usefixtures("one_recipe")
def test_train_checks_the_recipe_before_the_photos(capsys: Printed, tmp_path: Path) -> None:
    words = ["train", "tiny", tmp_path / "no", "--run", tmp_path / "run"]
    assert error_of(capsys, *words, "--set", "epochs")[-1] == "  fix: type --set flip_identity=false"
    assert error_of(capsys, *words, "--size", "huge")[-1] == "  fix: use one of: small, toy."
    assert error_of(capsys, *words)[0] == "There is no table or folder of that name."
    assert not (tmp_path / "run").exists()


def test_predictions_contain_no_metadata_of_the_photo(capsys: Printed, trained: Path, tmp_path: Path) -> None:
    from PIL import Image

    notes = Image.Exif()
    notes[0x010E] = "SECRET-PLACE"
    notes.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    with Image.open(trained / "whales/test/t0.jpg") as photo:
        photo.save(tmp_path / "noted.jpg", exif=notes)
    assert b"SECRET-PLACE" in (tmp_path / "noted.jpg").read_bytes()
    out = tmp_path / "answers.csv"
    text = output_of(capsys, "identify", trained / "run", tmp_path / "noted.jpg", "--json")
    output_of(capsys, "predict", trained / "run", tmp_path / "noted.jpg", "--out", out)
    for output in (text, out.read_text()):
        assert "SECRET" not in output
        assert "GPS" not in output


@pytest.mark.slow
def test_two_processes_train_one_run(tmp_path: Path, whales: Path, tiny: Callable) -> None:
    (tmp_path / "plan.json").write_text(tiny().model_dump_json())
    words = ["train", tmp_path / "plan.json", whales, "--run", tmp_path / "run", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "--"]
    done = subprocess.run(
        [*torchrun, "fieldmark", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: fieldmark identify") == 1
    assert (tmp_path / "run/report.html").exists()
