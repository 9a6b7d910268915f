from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fieldmark.core import files
from fieldmark.core.errors import RunError
from fieldmark.core.run import RunFolder

KEY = {"plan": "p", "data": "d", "seed": 1}


def finished(folder: Path) -> RunFolder:
    run = RunFolder.create(folder, key=KEY)
    work_directory = run.work_directory("net")
    (work_directory / "weights.bin").write_bytes(b"1234")
    (work_directory / ".checkpoints").mkdir()
    run.finish("net", receipt={"said": "done"})
    return run


def test_a_stage_folder_is_complete_or_missing(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", key=KEY)
    (run.work_directory("net") / "weights.bin").write_bytes(b"1234")
    assert not run.done("net")
    with pytest.raises(RunError) as caught:
        run.stage("net")
    assert "continues the run" in caught.value.fix
    run.finish("net", receipt={"said": "done"})
    assert run.done("net")
    assert (run.stage("net") / "weights.bin").read_bytes() == b"1234"
    assert run.stages() == ["net"]


def test_a_work_directory_survives_its_process_if_the_stage_can_continue(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", key=KEY)
    (run.work_directory("net") / "half.bin").write_bytes(b"12")
    assert (RunFolder.open(run.path).work_directory("net", fresh=False) / "half.bin").exists()
    assert not (run.work_directory("net") / "half.bin").exists()


def test_checkpoints_do_not_stay_in_a_finished_stage(tmp_path: Path) -> None:
    assert not (finished(tmp_path / "run").stage("net") / ".checkpoints").exists()


@pytest.mark.parametrize("damage", [b"1235", None])
def test_a_damaged_or_missing_file_is_found_before_use(tmp_path: Path, damage: bytes | None) -> None:
    finished(tmp_path / "run")
    path = tmp_path / "run" / "net" / "weights.bin"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path / "run").stage("net")
    assert "weights.bin" in str(caught.value.got)
    assert "delete the folder" in caught.value.fix


def test_another_plan_or_seed_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    assert RunFolder.create(tmp_path / "run", key=KEY).done("net")
    with pytest.raises(RunError) as caught:
        RunFolder.create(tmp_path / "run", key={**KEY, "seed": 2})
    assert "seed: 1 there, 2 here" in str(caught.value.got)
    assert "--run" in caught.value.fix


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(RunError) as caught:
        RunFolder.create(tmp_path, key=KEY)
    assert "empty folder" in caught.value.fix


def test_two_processes_cannot_use_one_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", key=KEY)
    with run.locked():
        with pytest.raises(RunError) as caught, RunFolder.open(run.path).locked():
            pass
        assert "wait until that process ends" in caught.value.fix
    with run.locked():
        pass


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path)
    assert "fieldmark runs" in caught.value.fix


def test_a_full_disk_raises_an_error_with_free_space_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "numbers.json"
    files.write_json(path, {"a": 1})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError) as caught:
        files.write_json(path, {"a": 2})
    assert "numbers.json" in caught.value.problem
    assert "MiB free" in str(caught.value.got)
    assert "free some space" in caught.value.fix
    assert files.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_created_and_impossible_paths_raise_an_error(tmp_path: Path) -> None:
    """Results of hours of work are written to the requested path, or an error names it."""
    files.write_text(tmp_path / "a" / "b" / "c.csv", "x")
    assert (tmp_path / "a" / "b" / "c.csv").read_text() == "x"
    with pytest.raises(RunError, match="cannot be written"):
        files.write_text(tmp_path / "a" / "b" / "c.csv" / "d.csv", "x")
    with pytest.raises(RunError, match="cannot be written"):
        files.write_text(tmp_path / "a" / "b", "x")
