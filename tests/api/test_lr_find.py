"""``fieldmark lr-find``: a short training of a recipe with a rising learning rate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldmark
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError, PlanError


def test_the_loss_falls_and_no_network_is_saved(tmp_path: Path, whales: Path, tiny: Any) -> None:
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


@pytest.mark.usefixtures("one_recipe")
def test_the_planned_rate_is_marked(capsys: pytest.CaptureFixture[str], whales: Path) -> None:
    assert main(["lr-find", "tiny", str(whales), "--updates", "12", "--workers", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "net"
    (planned,) = [line for line in lines if "planned" in line]
    assert 5e-4 < float(planned.split()[0]) < 2e-3


def test_a_stage_of_a_tagging_recipe(museum: Path) -> None:
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
def test_invalid_stages_and_files_are_refused(museum: Path, settings: dict[str, Any], error: type, fix: str) -> None:
    with pytest.raises(error) as caught:
        fieldmark.lr_find("imet2019", museum, size="toy", n_workers=0, **settings)
    assert fix in caught.value.fix


def test_photos_without_labels_are_refused_before_training(whales: Path) -> None:
    with pytest.raises(PlanError, match="have none"):
        fieldmark.lr_find("imet2019", whales, size="toy", n_workers=0)


def test_a_recipe_for_attributes(shop: Path) -> None:
    found = fieldmark.lr_find("imaterialist2017", shop, size="toy", n_updates=10, n_workers=0)
    assert len(found.curve.losses) == 10
    assert np.isfinite(found.curve.losses).all()
