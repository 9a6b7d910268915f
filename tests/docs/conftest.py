from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # blocks.py and render.py, which is a script too

from blocks import own_plan

from fieldmark.plans.recipe import RECIPES
from once import Once
from shrinking import shrinking, shrunk

N_OBJECTS = 24
"""Of the museum that are learnt from here."""


@pytest.fixture(scope="session")
def demo(once: Once) -> Path:
    """Folder like that of ``fieldmark demo``: drawn photos, and a run of the example plan of docs/plans.md."""
    return once("fieldmark-demo", _small_demo)


def _small_demo(folder: Path) -> None:
    import fieldmark
    from fieldmark.pipeline.plan import read_plan
    from fieldmark.specimens.collections import draw_flukes

    numbers = {"n_identities": 5, "photos_per_identity": 3, "n_unknown": 5, "n_test": 3}
    draw_flukes(folder / "photos", size_px=(96, 48), n_near_duplicates=0, n_broken=0, **numbers)
    shown = folder / "my_plan.toml"
    shown.write_text(own_plan(), encoding="utf-8")
    fieldmark.train(shrunk(read_plan(shown)), folder / "photos", run=folder / "run", n_workers=0)


@pytest.fixture
def shore(demo: Path, museum: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: ``fieldmark-demo/``, ``whales/``, ``museum/``, ``shop/``; recipes that train tiny networks."""
    shutil.copytree(demo, tmp_path / "fieldmark-demo")
    shutil.copytree(demo / "photos", tmp_path / "whales")
    shutil.copytree(museum, tmp_path / "museum")
    _keep_rows(tmp_path / "museum" / "train.csv", N_OBJECTS)
    shutil.copytree(shop, tmp_path / "shop")
    monkeypatch.setattr(RECIPES, "_parts", {name: shrinking(recipe) for name, recipe in RECIPES.items()})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _keep_rows(table: Path, n_rows: int) -> None:
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[: 1 + n_rows]), encoding="utf-8")
