"""``fieldmark lr-find``: a recipe's first training, tried with a growing learning rate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError, PlanError


def test_the_loss_falls_somewhere_and_nothing_is_kept(tmp_path: Path, whales: Path, tiny: Any) -> None:
    found = fieldmark.lr_find(tiny(), whales, n_updates=30, out=tmp_path / "rates.svg", n_workers=0)
    curve = found.curve
    assert (found.stage, found.planned) == ("net", 1e-3)
    assert curve.rates[0] == pytest.approx(1e-6)
    assert np.isfinite(curve.losses).all()
    assert curve.suggested is not None
    assert curve.smoothed[np.abs(curve.rates - curve.suggested).argmin()] < curve.smoothed[0]
    assert "learning rate" in (tmp_path / "rates.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rates.svg", "whales"]
    again = fieldmark.lr_find(tiny(), whales, n_updates=30, n_workers=0)
    assert np.array_equal(curve.losses, again.curve.losses)


@pytest.mark.usefixtures("shelf")
def test_printed_with_the_planned_rate_marked(capsys: pytest.CaptureFixture[str], whales: Path) -> None:
    assert main(["rates", "tiny", str(whales), "--updates", "12", "--workers", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "net"
    (planned,) = [line for line in lines if "planned" in line]
    assert 5e-4 < float(planned.split()[0]) < 2e-3


def test_works_for_labels_where_the_stage_needs_no_other(museum: Path) -> None:
    found = fieldmark.lr_find("imet2019", museum, size="toy", stage="zoo-tiny48", n_updates=10, n_workers=0)
    assert (found.stage, len(found.curve.losses)) == ("zoo-tiny48", 10)


@pytest.mark.parametrize(
    ("settings", "error", "fix"),
    [
        ({"stage": "zoo2-tiny32"}, PlanError, "--stage zoo-tiny32"),
        ({"stage": "zo-tiny32"}, PlanError, "zoo-tiny32"),
        ({"out": "plot.png"}, FieldmarkError, "plot.svg"),
    ],
)
def test_refuses_what_cannot_be_tried(museum: Path, settings: dict[str, Any], error: type, fix: str) -> None:
    with pytest.raises(error) as told:
        fieldmark.lr_find("imet2019", museum, size="toy", n_workers=0, **settings)
    assert fix in told.value.fix


def test_refuses_photos_without_labels_before_anything_is_trained(whales: Path) -> None:
    with pytest.raises(PlanError, match="have none"):
        fieldmark.lr_find("imet2019", whales, size="toy", n_workers=0)


def test_works_for_questions(shop: Path) -> None:
    found = fieldmark.lr_find("imaterialist2017", shop, size="toy", n_updates=10, n_workers=0)
    assert len(found.curve.losses) == 10
    assert np.isfinite(found.curve.losses).all()
