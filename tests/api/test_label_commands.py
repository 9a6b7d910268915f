"""Commands with runs that tag: output, files, errors."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

import fieldmark
from fieldmark.api.photos import new_photos
from fieldmark.cli.main import main
from fieldmark.core.errors import DataError, FieldmarkError
from fieldmark.core.files import sha256
from fieldmark.core.progress import QUIET
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.tasks.tagging.evaluation import evaluation_photos

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


def photo(museum: Path, number: int = 50) -> Path:
    return museum / "test" / f"{number:016x}.png"


def test_training_again_prints_measures_and_the_next_command(capsys: Printed, museum: Path, museum_run: Path) -> None:
    words = ["train", "imet2019", museum, "--run", museum_run, "--size", "toy", "--workers", "0"]
    assert main([str(word) for word in words]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[2].startswith("mean F2 ")
    assert lines[-3:] == [
        f"report: {museum_run / 'report.html'}",
        f"submission: {museum_run / 'answers/submission.csv'}",
        f"next: fieldmark tag {museum_run} PHOTO.jpg",
    ]
    assert f"new photos to predict: 6 in {museum / 'test'}" in output.err
    assert "train ..." not in output.err
    header, first, *rest = (museum_run / "answers/submission.csv").read_text().splitlines()
    assert header == "id,attribute_ids"
    assert [line.split(",")[0] for line in (first, *rest)] == [f"{n:016x}" for n in range(55, 49, -1)]


def test_runs_lists_it(capsys: Printed, museum_run: Path) -> None:
    *_, row = output_of(capsys, "runs", museum_run).splitlines()
    assert "imet2019" in row
    assert "mean F2" in row


def test_tag_prints_labels_by_group_and_marks_the_given(capsys: Printed, museum: Path, museum_run: Path) -> None:
    lines = output_of(capsys, "tag", museum_run, photo(museum)).splitlines()
    assert lines[0] == str(photo(museum))
    assert lines[1].split() == ["group", "label", "proba", "given"]
    rows = [line.split() for line in lines[3:]]
    (one,) = fieldmark.tag(museum_run, photo(museum))
    assert len(rows) == 7
    groups = [row[0] for row in rows]
    assert sorted(groups) == ["culture"] * 3 + ["tag"] * 4
    assert len(list(dict.fromkeys(groups))) == sum(a != b for a, b in zip(groups, [None, *groups], strict=False))
    assert {f"{row[0]}::{row[1]}" for row in rows if row[-1] == "yes"} == set(one.answer)
    for row in rows:
        (tag,) = [tag for tag in one.tags if tag.label == f"{row[0]}::{row[1]}"]
        assert row[2] == f"{tag.proba:.3f}"


def test_tag_as_json_has_stable_keys(capsys: Printed, museum: Path, museum_run: Path) -> None:
    photos = [photo(museum, 50), photo(museum, 51)]
    lines = [
        json.loads(line) for line in output_of(capsys, "tag", museum_run, *photos, "--json", "--most", 2).splitlines()
    ]
    assert [one["photo"] for one in lines] == list(map(str, photos))
    for one in lines:
        assert list(one) == ["photo", "given", "labels"]
        assert len(one["labels"]) == max(2, len(one["given"]))
        assert one["given"] == [label["label"] for label in one["labels"] if label["given"]]
        for label in one["labels"]:
            assert list(label) == ["label", "group", "proba", "given"]
            assert 0 <= label["proba"] <= 1
            assert label["label"].startswith(f"{label['group']}::")


def test_a_run_for_another_task_gives_an_error_with_its_command(
    capsys: Printed, museum: Path, museum_run: Path, trained: Path
) -> None:
    whales = trained / "run"
    assert error_of(capsys, "identify", museum_run, photo(museum)) == [
        "The run is for tagging, not for identification.",
        f"  got: {museum_run}",
        f"  fix: use `fieldmark tag {museum_run} PHOTO` for this run.",
    ]
    assert error_of(capsys, "tag", whales, trained / "whales/test/t0.jpg") == [
        "The run is for identification, not for tagging.",
        f"  got: {whales}",
        f"  fix: use `fieldmark identify {whales} PHOTO` for this run.",
    ]
    problem, _, fix = error_of(capsys, "thresholds", whales)
    assert problem == "The run is for identification, not for tagging."
    assert "fieldmark train imet2019" in fix
    problem, _, fix = error_of(capsys, "issues", whales)
    assert problem == "Identity issues need a run that matches keypoints."
    assert "--set keypoints=xfeat" in fix
    assert error_of(capsys, "issues", whales, "--stage", "ranking")[-1] == "  fix: leave out --stage."


def test_numbers_out_of_range_and_options_of_another_task_are_refused(
    capsys: Printed, museum: Path, museum_run: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"
    assert error_of(capsys, "tag", museum_run, photo(museum), "--most", 0)[-1] == "  fix: use --most 15."
    assert error_of(capsys, "issues", museum_run, "--most", 0)[-1] == "  fix: use --most 15."
    words = ("predict", museum_run, museum / "test", "--out", out)
    assert error_of(capsys, *words, "--k", 3)[-1] == "  fix: use --most 15."
    words = ("predict", trained / "run", trained / "whales/test", "--out", out)
    assert error_of(capsys, *words, "--most", 3)[-1] == "  fix: use --k 5."
    assert not out.exists()


def test_predict_for_people(capsys: Printed, museum: Path, museum_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tags.csv"
    shutil.copy(photo(museum), tmp_path / "=cmd.png")
    text = output_of(capsys, "predict", museum_run, tmp_path / "=cmd.png", "--out", out, "--most", 3)
    rows = rows_of(out)
    assert list(rows[0]) == ["image", "label", "proba", "given"]
    n_given = sum(row["given"] == "True" for row in rows)
    assert text == f"1 photos predicted, {n_given} labels assigned: {out}\n"
    assert len(rows) == max(3, n_given)
    assert [float(row["proba"]) for row in rows] == sorted((float(row["proba"]) for row in rows), reverse=True)


def test_predict_writes_the_same_submission_as_the_run(
    capsys: Printed, museum: Path, museum_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    output_of(
        *(capsys, "predict", museum_run, museum / "sample_submission.csv", "--photos", museum / "test"),
        *("--out", out, "--format", "submission"),
    )
    assert out.read_text() == (museum_run / "answers/submission.csv").read_text()


def test_evaluate_prints_the_measures_of_the_run(capsys: Printed, museum_run: Path) -> None:
    lines = output_of(capsys, "evaluate", museum_run).splitlines()
    output = {one["name"]: one["value"] for one in json.loads((museum_run / "metrics.json").read_text())}
    assert "mean F2" in output
    for name, value in output.items():
        assert any(line.startswith(name) and f"{value:.3f}" in line for line in lines), name


def test_evaluate_on_other_photos_leaves_out_training_photos_and_reports_unknown_labels(
    capsys: Printed, museum: Path, museum_run: Path, tmp_path: Path
) -> None:
    for at, name in enumerate(["a.png", "b.png"]):
        shutil.copy(photo(museum, 50 + at), tmp_path / name)
    shutil.copy(museum / "train" / f"{3:016x}.png", tmp_path / "known.png")
    (tmp_path / "other.csv").write_text(
        "photo,labels\na.png,tag::red|tag::wooden\nb.png,tag::blue|culture::greek\nknown.png,tag::red\n"
    )
    assert main(["evaluate", str(museum_run), str(tmp_path / "other.csv")]) == 0
    output = capsys.readouterr()
    assert "left out: 1 photos that the run already contains" in output.err
    assert "ignored: 1 labels that the run does not have, such as tag::wooden (1)" in output.err
    f2 = next(line for line in output.out.splitlines() if line.startswith("mean F2 "))
    assert f2.split()[6] == "2"


def test_an_evaluation_without_photos_gives_an_error(museum: Path) -> None:
    known = read(museum)
    with pytest.raises(DataError) as caught:
        evaluation_photos(known, known, progress=QUIET)
    assert "50 of them known to the run" in str(caught.value.got)
    assert "was not trained on" in caught.value.fix
    bare = Collection.of({"image": ["x.png"]}, root=museum)
    with pytest.raises(DataError) as caught:
        evaluation_photos(bare, known, progress=QUIET)
    assert "--column labels=NAME" in caught.value.fix


def test_the_test_photos_of_a_contest_have_its_order_and_no_labels(museum: Path) -> None:
    found = new_photos(museum, None, {})
    assert found is not None
    assert found.collection.images == [f"{n:016x}" for n in range(55, 49, -1)]
    assert "labels" not in found.collection.table.columns


def test_issues_prints_a_table_and_writes_one(capsys: Printed, museum_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "issues.csv"
    text = output_of(capsys, "issues", museum_run, "--most", 25, "--out", out)
    lines = text.splitlines()
    assert lines[-1] == f"written: {out}"
    found = fieldmark.issues(museum_run, most=25)
    assert 0 < len(found) <= 25
    known = read_known(museum_run)
    for one in found:
        assert (one.kind == "wrong") == (one.label in known[one.image])
    assert [one.label_error_proba for one in found] == sorted((one.label_error_proba for one in found), reverse=True)
    assert len(rows_of(out)) == len(found)
    assert error_of(capsys, "issues", museum_run, "--out", out)[-1].startswith("  fix: give another name, or --force")
    problem, got, fix = error_of(capsys, "issues", museum_run, "--stage", "zo")
    assert problem == "The run has no stage of that name with label scores."
    assert (got, fix) == ("  got: zo", "  fix: did you mean 'zoo'?")


def test_a_patch_trains_a_run_with_changed_labels(
    capsys: Printed, museum: Path, museum_run: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "issues.csv", tmp_path / "patched"
    output_of(capsys, "issues", museum_run, "--most", 6, "--out", out)
    header, *rows = out.read_text(encoding="utf-8-sig").splitlines()
    assert header == "image,file,label,kind,given,proba,label_error_proba,decision"
    flipped = [row + ("remove" if row.split(",")[3] == "wrong" else "add") for row in rows[:4]]
    out.write_text("\n".join([header, *flipped, rows[4] + "keep", *rows[5:]]) + "\n", encoding="utf-8")

    quick = ["tags-plain", museum, "--size", "toy", "--workers", "0"]
    words = ["train", *quick, "--run", run, "--patch", out]
    assert main([str(word) for word in words]) == 0
    assert "patch: 4 changes of issues.csv" in capsys.readouterr().err
    before, after = read_known(museum_run), read_known(run)
    for row in flipped:
        image, _, label, kind, *_ = row.split(",")
        assert (label in after[image]) == (kind == "missing")
    assert sum(len(before[image] ^ after[image]) for image in before) == 4

    assert error_of(capsys, "train", *quick, "--run", run)[-1].startswith("  fix: give another --run folder")
    reused = error_of(capsys, "train", *quick, "--run", tmp_path / "other", "--reuse", run)
    assert reused[-1].startswith("  fix: leave out --reuse")


def test_a_patch_with_errors_is_refused_before_training(
    capsys: Printed, museum: Path, tmp_path: Path, trained: Path
) -> None:
    run, patch = tmp_path / "run", tmp_path / "patch.csv"
    words = ("train", "tags-plain", museum, "--size", "toy", "--run", run, "--patch", patch)
    assert error_of(capsys, *words)[:2] == [f"{patch} cannot be read.", "  got: No such file or directory"]
    patch.write_text("image,label,set\n0000000000000003,tag::golden,1\n3,tag::gold,maybe\n")
    assert error_of(capsys, *words)[0] == "patch.csv has 1 mistake(s)."
    patch.write_text("image,label,set\n0000000000000003,tag::golden,1\n3,tag::gold,0\n")
    problem, *_, fix = error_of(capsys, *words)
    assert problem == "patch.csv has 2 mistake(s)."
    assert "did you mean 'tag::gold'?" in fix
    assert "spreadsheets drop leading zeros" in fix
    assert not run.exists()
    whales = ("train", "humpback-nearest", trained / "whales", "--size", "toy", "--run", run, "--patch", patch)
    assert error_of(capsys, *whales)[0] == "patch.csv has 4 mistake(s)."
    assert not run.exists()


def read_known(run: Path) -> dict[str, set[str]]:
    table = Collection.open(run / "collection").table
    return {image: set(labels) for image, labels in table.select("image", "labels").iter_rows()}


def test_thresholds_prints_every_rule_and_marks_the_best(capsys: Printed, museum_run: Path) -> None:
    lines = output_of(capsys, "thresholds", museum_run).splitlines()
    assert re.split(r" {2,}", lines[0].strip()) == [
        "rule",
        "F2 fitted",
        "F2 cross-fitted",
        "95 % interval",
        "over",
        "labels per photo",
    ]
    rows = {line.split()[0]: line for line in lines[2:]}
    assert list(rows) == ["preset", "global", "group", "group-limits", "label", "relative", "count"]
    (best,) = [name for name, line in rows.items() if "best" in line]
    crossed = {name: float(line.split()[2]) for name, line in rows.items()}
    assert crossed[best] == max(crossed.values())
    (own,) = [name for name, line in rows.items() if "current" in line]
    assert own == "group-limits"


def test_a_plan_with_other_thresholds_runs_without_training(
    capsys: Printed, museum: Path, museum_run: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "tuned.json", tmp_path / "tuned"
    text = output_of(capsys, "thresholds", museum_run, "--rule", "global", "--stage", "zoo3", "--out", out)
    assert text.splitlines()[-2:] == [
        f"plan: {out}",
        f"next: fieldmark train {out} DATA --run NEW --reuse {museum_run}",
    ]
    threshold = fieldmark.plan(out).stages[-2]
    assert (threshold.rule.kind, threshold.reads_from) == ("global_f2", "zoo3")
    assert fieldmark.plan(out).stages[:-2] == fieldmark.plan(museum_run).stages[:-2]
    words = ["train", out, museum, "--run", run, "--reuse", museum_run, "--workers", "0"]
    assert main([str(word) for word in words]) == 0
    output = capsys.readouterr().err
    assert [line.split(":")[0] for line in output.splitlines() if line.endswith(" ...")] == ["thresholds", "answers"]
    weights = "zoo-tiny32/fold0/weights.safetensors"
    assert sha256(run / weights) == sha256(museum_run / weights)
    (tuned,) = fieldmark.thresholds(museum_run, rules=["global"], stage="zoo3")
    measured = {one["name"]: one["value"] for one in json.loads((run / "metrics.json").read_text())}
    assert measured["mean F2"] == pytest.approx(tuned.as_found.value)


def test_thresholds_refuses_invalid_options(capsys: Printed, museum_run: Path, tmp_path: Path) -> None:
    assert error_of(capsys, "thresholds", museum_run, "--out", tmp_path / "plan.txt")[-1] == (
        f"  fix: use --out {tmp_path / 'plan.json'}."
    )
    assert error_of(capsys, "thresholds", museum_run, "--stage", "zoo9")[0].startswith(
        "The run has no stage of that name"
    )
    problem, _, fix = error_of(capsys, "thresholds", museum_run, "--rule", "own")
    assert problem == "The option rule names a rule that does not exist or does not fit the label groups of the run."
    assert fix.startswith("  fix: use one of: count, global, group")
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.thresholds(museum_run, rules=["golbal"])
    assert caught.value.fix == "did you mean 'global'?"


def test_the_rules_of_the_command_are_those_of_the_stage() -> None:
    from fieldmark.cli.options import RULES
    from fieldmark.tasks.tagging import tuning

    assert RULES == tuning.RULES
