"""Fixtures: drawn photos of five individuals, a registry with one recipe, and a run that is trained once."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.data.specs import HumpbackSplit, TupleSampler
from fieldmark.images.specs import Preprocess
from fieldmark.losses.specs import OhemBce
from fieldmark.models.specs import Backbone, Net, RandomWeights
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.recipe import RECIPES, Recipe
from fieldmark.plans.settings import Settings, setting
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank
from fieldmark.training.specs import Phase, Training
from once import Once


class Tiny(Settings):
    flip_identity: bool = setting("data", True, "Mirrored photos show other individuals.")
    epochs: int = setting("training", 1, "Epochs.", ge=1)
    lr: float = setting("training", 1e-3, "Learning rate.", gt=0)


def _tiny(size: str, settings: Tiny) -> Plan:
    """The smallest plan with every step.

    A second paragraph.
    """
    return Plan(
        name="tiny",
        stages=(
            Split(folds=HumpbackSplit(n_known=3, n_unknown=2)),
            Train(
                name="net",
                on="split",
                net=Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights())),
                preprocess=Preprocess(height_px=32, width_px=32 if size == "toy" else 64),
                losses=(OhemBce(),),
                sampler=TupleSampler(),
                flip_identity=settings.flip_identity,
                training=Training(phases=(Phase(epochs=settings.epochs, lr=settings.lr),), batch=8),
            ),
            Embed(name="features", of="net", on="split", flip=False),
            Rank(name="ranking", reads_from="features", on="split", k=3),
            WriteSubmission(name="answers", reads_from="ranking"),
        ),
    )


tiny_plan = Recipe("tiny", Tiny, _tiny, sizes=("toy", "small"), size="toy")


@pytest.fixture
def one_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all recipes by ``tiny``."""
    RECIPES.names()  # registers all recipes first
    monkeypatch.setattr(RECIPES, "_parts", {"tiny": tiny_plan})


def draw_photo(path: Path, identity: int, *, shot: int) -> None:
    """Draw one photo of an individual: its coarse pattern with the noise of the shot."""
    pattern = np.random.default_rng(identity).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(pattern).resize((64, 32))).astype(int)
    noisy = large + np.random.default_rng((identity, shot)).normal(0, 12, large.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def write_whales(folder: Path) -> Path:
    """Write a folder in the layout of the whale contest: train.csv, train/, test/, sample_submission.csv."""
    rows = []
    for identity in range(5):
        rows += [(f"w{identity}_{shot}.jpg", f"w_{identity}", identity, shot) for shot in range(3)]
    rows += [(f"n{number}.jpg", "new_whale", 100 + number, 0) for number in range(3)]
    for image, _, identity, shot in rows:
        draw_photo(folder / "train" / image, identity, shot=shot)
    for number in range(3):
        draw_photo(folder / "test" / f"t{number}.jpg", number, shot=9)
    write_rows(folder / "train.csv", [("Image", "Id"), *((image, name) for image, name, _, _ in rows)])
    write_rows(
        folder / "sample_submission.csv", [("Image", "Id"), *((f"t{n}.jpg", "new_whale w_1") for n in (2, 0, 1))]
    )
    return folder


def write_rows(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def whales(tmp_path: Path) -> Path:
    return write_whales(tmp_path / "whales")


@pytest.fixture(scope="session")
def trained(once: Once) -> Path:
    """A folder with ``whales/`` and the finished run ``run/``; tests must not change it."""
    import fieldmark

    def train(folder: Path) -> None:
        fieldmark.train(tiny_plan(), write_whales(folder / "whales"), run=folder / "run", n_workers=0)

    return once("trained", train)


@pytest.fixture
def tiny() -> Callable[..., Plan]:
    return tiny_plan


@pytest.fixture
def draw() -> Callable[..., None]:
    return draw_photo


@pytest.fixture
def write_csv() -> Callable[..., None]:
    return write_rows
