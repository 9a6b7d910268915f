"""Ensembles of runs: the command, the function, and their errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError, RunError
from fieldmark.pipeline.plan import Plan
from once import Once


@pytest.fixture
def runs(trained: Path, once: Once, tiny: Callable[..., Plan]) -> list[Path]:
    """Two runs of the same photos and seed; in one of them mirrored photos are the same individuals."""

    def train(run: Path) -> None:
        fieldmark.train(tiny(flip_identity=False), trained / "whales", run=run, n_workers=0)

    return [trained / "run", once("unflipped", train)]


def test_the_command_writes_one_prediction_per_photo_and_prints_the_quality(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answers.csv"
    assert main(["ensemble", *map(str, runs), "--by", "vote", "--weight", "2", "--weight", "1", "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("3 photos predicted by 2 runs, ")
    assert "MAP@5 on their validation photos" in output
    answers = pl.read_csv(out)
    assert answers["Image"].to_list() == ["t2.jpg", "t0.jpg", "t1.jpg"]
    assert all(len(set(names.split())) == 5 for names in answers["Id"])
    assert main(["ensemble", *map(str, runs), "--out", str(out)]) == 1


def test_a_run_with_all_the_weight_decides(runs: list[Path]) -> None:
    for own in (0, 1):
        weights = [1e-6, 1e-6]
        weights[own] = 1.0
        found = fieldmark.ensemble(runs, weights=weights)
        alone = pl.read_parquet(runs[own] / "ranking" / "ranking.parquet").filter(pl.col("part") == "new")
        names = [one.filter(pl.col("identity") != "new_whale").sort("place") for one in (found.answers, alone)]
        first, second = (
            one.group_by("image", maintain_order=True).agg(pl.col("identity").first()).sort("image") for one in names
        )
        assert first.equals(second)
        assert found.n_photos == 3
        assert found.n_new == (found.answers.filter(pl.col("place") == 1)["identity"] == "new_whale").sum()


def test_the_command_makes_a_run_that_identifies(
    runs: list[Path], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, out = tmp_path / "both", tmp_path / "answers.csv"
    assert main(["ensemble", *map(str, runs), "--run", str(made), "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "MAP@5" in output
    assert f"next: fieldmark identify {made} PHOTO.jpg" in output
    assert (made / "report.html").stat().st_size > 10_000
    photo = trained / "whales" / "test" / "t0.jpg"
    (found,) = fieldmark.identify(made, [photo], n_workers=0)
    row = pl.read_csv(out).filter(pl.col("Image") == "t0.jpg")["Id"].item().split()
    assert [match.identity for match in found.matches] == row
    assert main(["evaluate", str(made)]) == 0
    assert main(["ensemble", *map(str, runs)]) == 1
    assert "--run runs/together" in capsys.readouterr().err
    assert main(["ensemble", *map(str, runs), "--points", "--out", str(tmp_path / "more.csv")]) == 1
    assert "--points without --run" in capsys.readouterr().err


def test_errors_name_a_fix(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError) as one:
        fieldmark.ensemble(runs[:1])
    assert "two run folders" in one.value.fix
    with pytest.raises(RunError) as one:
        fieldmark.ensemble([])
    assert "two run folders" in one.value.fix
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.ensemble(runs, weights=[1.0])
    assert "one --weight for each run" in caught.value.fix
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.ensemble(runs, by="mean")  # type: ignore[arg-type]
    assert "--by score" in caught.value.fix
    with pytest.raises(RunError):
        fieldmark.ensemble([runs[0], tmp_path / "nothing"])
