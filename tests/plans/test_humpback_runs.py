"""Tests of the humpback recipes with boxes, with masks, and with all layers trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.reading import read
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.finders import FINDERS
from fieldmark.plans.humpback import humpback_classify
from fieldmark.plans.reidentify import reidentify
from fieldmark.plans.siamese import humpback_siamese
from fieldmark.quality.regions.finding import true_sizes
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from toys import Heard


def test_train_all_layers_unfreezes_the_network() -> None:
    frozen, whole = humpback_classify().only(Train), humpback_classify(train_all_layers=True).only(Train)
    assert all(phase.freeze for phase in frozen.training.phases)
    assert not any(phase.freeze for phase in whole.training.phases)
    assert whole.versions is None  # outputs of trained layers are not cached, so photos need no fixed versions
    assert [phase.epochs for phase in whole.training.phases] == [phase.epochs for phase in frozen.training.phases]


@pytest.mark.parametrize("masks", ["table", "agreed", "grabcut", "features"])
@pytest.mark.parametrize("size", ["toy", "small", "full"])
def test_masks_are_found_and_become_an_input_channel(masks: str, size: Literal["toy", "small", "full"]) -> None:
    plan = humpback_classify(size=size, masks=masks, keypoints="xfeat")
    train = plan.only(Train)
    assert train.preprocess.mask is not None
    assert train.preprocess.mask.by == FINDERS[masks] == plan.only(RerankKeypoints).within
    assert train.net.backbone.in_channels == 4
    assert not train.training.phases[0].freeze  # a frozen first layer could not learn the fourth channel
    finders = [stage.finder for stage in plan.stages if isinstance(stage, Boxes)]
    assert finders == ([] if masks == "table" else [FINDERS[masks]])


@pytest.mark.parametrize("boxes", ["none", "table", "agreed", "grabcut", "features"])
def test_photos_of_pairs_are_cropped_to_boxes(boxes: str) -> None:
    plan = humpback_siamese(size="toy", boxes=boxes, keypoints="xfeat")
    assert plan.only(Train).preprocess.finders() == (() if boxes in {"none", "table"} else (FINDERS[boxes],))
    assert (plan.only(Train).preprocess.crop.kind == "box") == (boxes != "none")
    assert plan.only(RerankKeypoints).within == FINDERS["table" if boxes == "none" else boxes]
    assert humpback_siamese(size="full").only(Train).preprocess.crop.kind == "box"  # as in the source


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        (humpback_classify(size="toy", masks="table"), "masks"),
        (humpback_siamese(size="toy", boxes="table"), "boxes"),
        (reidentify(size="toy", boxes="table"), "boxes"),
    ],
)
def test_boxes_missing_in_the_table_are_refused_before_training(
    plan: Plan, what: str, flukes: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlanError) as refused:
        fieldmark.train(plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True)
    assert f"uses the {what} of the photos' table, but the table has none" in str(refused.value)
    assert "--boxes" in refused.value.fix
    assert not (tmp_path / "run" / "split").exists()


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"size": "toy", "train_all_layers": True}, "leave out train_all_layers"),
        ({"size": "full", "train_all_layers": True}, "leave out train_all_layers"),
        ({"masks": "grabct"}, "grabcut"),
    ],
)
def test_refusals(settings: dict[str, object], fix: str) -> None:
    with pytest.raises(PlanError) as refused:
        humpback_classify(**settings)
    assert fix in refused.value.fix


def test_the_mask_of_a_photo_changes_its_similarity(flukes: Path, tmp_path: Path) -> None:
    known = fieldmark.read(flukes, unknown="new_whale")
    marks, other = tmp_path / "masks.csv", tmp_path / "other.csv"
    left, right = "1 2 0 1 1", "1 2 1 1"
    marks.write_text("image,mask\n" + "".join(f"{image},{left}\n" for image in known.images))
    plan = humpback_classify(size="toy", masks="table", effort=0.01)
    fieldmark.train(plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True, boxes=[str(marks)])
    context = Context.open(tmp_path / "run")
    trained_on = np.flatnonzero((context.artifact(Folds, "split").fold == -1) & (context.known.classes >= 0))
    photo = context.known.paths[trained_on[0]]
    name = context.known.vocabulary.identities[context.known.classes[trained_on[0]]]
    other.write_text(f"image,mask\n{photo.name},{right}\n")

    def similarity(masks: Path) -> float:
        found = fieldmark.identify(tmp_path / "run", photo, k=30, boxes=[str(masks)], n_workers=0)
        return next(match.similarity or 0 for match in found[0].matches if match.identity == name)

    assert similarity(marks) == pytest.approx(1, abs=1e-6)  # the same photo with the same mask is in the gallery
    assert similarity(other) < 1 - 1e-6
    progress = Heard()
    fieldmark.identify(tmp_path / "run", photo, n_workers=0, progress=progress)
    assert any("missing masks" in line for line in progress.lines)


@pytest.mark.parametrize("which", ["known", "new"])
@pytest.mark.parametrize("recipe", [{"boxes": "table"}, {"keypoints": "xfeat"}], ids=["boxes", "points"])
def test_a_box_outside_its_picture_is_refused_before_training(
    flukes: Path, tmp_path: Path, which: str, recipe: dict[str, object]
) -> None:
    """Regression test: a single such box, of a known or a new photo, used to stop a run after its training."""
    photos = read(flukes)
    sizes = true_sizes(photos)
    good = replace(
        photos,
        table=photos.table.with_columns(
            pl.Series("box_x", [1.0] * len(photos)),
            pl.Series("box_y", [1.0] * len(photos)),
            pl.Series("box_w", sizes[:, 0] - 2),
            pl.Series("box_h", sizes[:, 1] - 2),
        ),
    )
    outside = pl.when(pl.col("image") == photos.images[3]).then(sizes[3, 0] + 5).otherwise(pl.col("box_x"))
    bad = replace(good, table=good.table.with_columns(box_x=outside))
    plan = reidentify(size="toy", **recipe)
    renamed = replace(bad, table=bad.table.with_columns(image=pl.format("new {}", "image")), name="new")
    known, new = (bad, None) if which == "known" else (good, renamed.take(np.arange(6)))
    with pytest.raises(DataError, match="outside their photos") as refused:
        execute(plan, known, tmp_path / "run", new=new, n_workers=0)
    assert photos.images[3] in str(refused.value)
    assert not (tmp_path / "run").exists()
