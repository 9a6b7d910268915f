"""Boxes, masks and landmarks: from the finders to trained networks and to predictions for photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

import fieldmark
from fieldmark.api import functions
from fieldmark.core.errors import DataError, FieldmarkError, PlanError
from fieldmark.data.collection import Collection
from fieldmark.data.marks import points_of, read_marks
from fieldmark.images.finding import FoundSubject
from fieldmark.images.specs import (
    Align,
    BoxCrop,
    BoxSource,
    FullFrame,
    GrabCut,
    MaskChannel,
    Point,
    Preprocess,
    TableBoxes,
    TrainedFinder,
)
from fieldmark.models.specs import Backbone, RandomWeights
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Stage
from fieldmark.plans.humpback import humpback_classify
from fieldmark.quality.regions import finding
from fieldmark.quality.regions.clicks import learn_clicks
from fieldmark.quality.regions.finding import marks_of, source_name, subjects_of, with_found
from fieldmark.quality.regions.finding_pages import sheet, write_marks
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.train import Train

TINY = Backbone(name="test_efficientnet", weights=RandomWeights())
CORNER = FoundSubject((0.0, 0.0, 0.5, 0.5), mask=np.array([[True, False], [False, False]]))


def plan(finder: GrabCut, *, crop: BoxCrop) -> Plan:
    """The toy recipe with a boxes stage, whose boxes and masks its networks use."""
    toy = humpback_classify(size="toy")
    stages: list[Stage] = []
    for stage in toy.stages:
        if isinstance(stage, Train):
            stages.append(Boxes(name="where", finder=finder))
            net = stage.net.model_copy(update={"backbone": stage.net.backbone.model_copy(update={"in_channels": 4})})
            seen = stage.preprocess.model_copy(update={"crop": crop, "mask": MaskChannel(by=finder)})
            stages.append(stage.model_copy(update={"net": net, "preprocess": seen}))
        else:
            stages.append(stage)
    return Plan(name="boxed", stages=tuple(stages))


def drawn(folder: Path, n_photos: int = 14) -> tuple[Collection, np.ndarray]:
    """Photos of a bright triangle on noise, and its left, right and lower corner in px."""
    rng, rows, corners = np.random.default_rng(0), [], []
    for number in range(n_photos):
        left, right = rng.integers(5, 30), rng.integers(60, 90)
        top, bottom = rng.integers(5, 20), rng.integers(35, 58)
        picture = Image.fromarray(rng.integers(20, 60, (60, 100, 3)).astype(np.uint8))
        shape = [(left, top), (right, top), ((left + right) // 2, bottom)]
        ImageDraw.Draw(picture).polygon([(int(x), int(y)) for x, y in shape], fill=(240, 200, 60))
        picture.save(folder / f"{number}.png")
        rows.append(f"{number}.png")
        corners.append(shape)
    return Collection.of(pl.DataFrame({"image": rows, "file": rows}), root=folder, name="drawn"), np.array(corners)


def test_a_run_with_found_boxes_and_masks_identifies_a_photo(
    known: Collection, new: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_found: list[int] = []

    def found(photos: Collection, *_: object, **__: object) -> list[FoundSubject]:
        n_found.append(len(photos))
        return [
            CORNER if number % 3 else FoundSubject(None, note="two finders disagree: 0.1")
            for number in range(len(photos))
        ]

    monkeypatch.setattr(finding, "find_subjects", found)
    finder = GrabCut(seed=5)
    sources = (BoxSource(by=finder, weight=0.7), BoxSource(by=FullFrame(), weight=0.3))
    whole = plan(finder, crop=BoxCrop(sources=sources)).check()
    run = execute(whole, known, tmp_path / "run", new=new, seed=1, n_workers=0)
    assert n_found == [len(known), len(new)]  # once, whatever the number of networks and stages
    assert "full frame: " in run.receipt("where")["said"]
    views = np.load(run.stage("features") / "new0.npy")
    assert views.shape[:2] == (4, len(new))  # two sources, each plain and mirrored
    assert np.abs(views[0] - views[2]).max() > 1e-3
    answers = fieldmark.load(run.path, n_workers=0)(new.take([0, 1]))
    assert len(answers) == 2
    assert n_found[2:] == [2]  # prediction finds the boxes itself


def test_the_same_boxes_are_found_when_predicting(known: Collection, tmp_path: Path) -> None:
    """The boxes stage and a later prediction find the same subject on a photo."""
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    photos, _ = drawn(tmp_path, 1)
    finder = GrabCut()
    spec = Preprocess(
        height_px=32, width_px=32, crop=BoxCrop(sources=(BoxSource(by=finder),)), mask=MaskChannel(by=finder)
    )
    kept = with_found(photos, (finder,), n_workers=0)
    assert f"box.{source_name(finder)}" in kept.table.columns
    assert subjects_of(kept, spec) == subjects_of(photos, spec)
    assert with_found(kept, (finder,)) is kept
    other = GrabCut(iterations=3)
    assert source_name(other) != source_name(finder)


def test_a_plan_whose_boxes_no_stage_finds_is_refused() -> None:
    whole = plan(GrabCut(), crop=BoxCrop(sources=(BoxSource(by=GrabCut()),)))
    without = Plan(name="x", stages=tuple(stage for stage in whole.stages if not isinstance(stage, Boxes)))
    with pytest.raises(PlanError) as refused:
        without.check()
    assert "add a boxes stage with the same finder before it" in str(refused.value.got)
    assert "correct these names" in refused.value.fix
    train = next(stage for stage in whole.stages if isinstance(stage, Train))
    three = train.model_copy(update={"net": humpback_classify(size="toy").only(Train).net})
    with pytest.raises(PlanError) as refused:
        Plan(name="x", stages=tuple(three if stage is train else stage for stage in whole.stages)).check()
    assert "in_channels = 4" in str(refused.value.got)


def test_tables_need_no_finding(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing to find") as refused:
        finding.find_subjects(drawn(tmp_path, 1)[0], TableBoxes())
    assert "agreed" in refused.value.fix


def test_found_marks_survive_their_csv(tmp_path: Path) -> None:
    photos, _ = drawn(tmp_path, 2)
    found = [
        FoundSubject((0.1, 0.2, 0.6, 0.9), np.eye(3, dtype=bool), ((0.5, 0.5),)),
        FoundSubject(None, None, ((0.25, 0.75),), "none"),
    ]
    marks = marks_of(photos, found, points=("tip",))
    write_marks(tmp_path / "boxes.csv", marks, found, masks=True)
    again = read_marks(tmp_path / "boxes.csv")
    assert again.table.select("box_x", "box_y", "box_w", "box_h").row(0) == pytest.approx((10, 12, 50, 42))
    assert again.table["box_x"][1] is None
    assert again.table.select("x_tip", "y_tip").rows() == [(50, 30), (25, 45)]
    assert [cell or None for cell in again.table["mask"]] == ["3 3 0 1 3 1 3 1", None]
    page = sheet(photos, found, errors={"median IoU": 0.9}, how="trained")
    assert [fact.value for fact in page.facts[:2]] == ["2", "1"]
    shown = np.asarray(Image.open(io.BytesIO(page.samples[0].picture or b"")).convert("RGB")).astype(int)
    assert (np.abs(shown[13:52, 9:12] - (255, 214, 0)).max(axis=2) < 90).mean() > 0.4  # the box's left edge is drawn


def test_clicks_become_a_finder_whose_marks_align_photos(tmp_path: Path) -> None:
    photos, corners = drawn(tmp_path)
    names = ("left_tip", "right_tip", "bottom")
    lines = ["image,x0,y0,x1,y1," + ",".join(f"x_{name},y_{name}" for name in names)]
    for image, shape in zip(photos.images, corners, strict=True):
        (left, top), (right, _), (_, bottom) = shape
        lines.append(f"{image},{left},{top},{right},{bottom}," + ",".join(f"{x},{y}" for x, y in shape))
    (tmp_path / "clicks.csv").write_text("\n".join(lines))
    trained, judged = learn_clicks(
        photos, read_marks(tmp_path / "clicks.csv"), tmp_path / "finder", backbone=TINY, n_steps=20, n_workers=0
    )
    assert set(judged.errors) >= {"median IoU", "error of bottom, share of the box"}
    assert judged.errors["median IoU"] > 0.4
    found = with_found(photos, (trained,), n_workers=0)
    predicted = points_of(found, [f"left_tip.{source_name(trained)}"])[:, 0]
    assert ((predicted > 0) & (predicted < (100, 60))).all()  # in pixels; the accuracy is tested with the regressor
    points = (
        Point(name="left_tip", x=0.1, y=0.1, mirror="right_tip"),
        Point(name="right_tip", x=0.9, y=0.1, mirror="left_tip"),
        Point(name="bottom", x=0.5, y=0.9),
    )
    spec = Preprocess(height_px=32, width_px=32, align=Align(points=points, by=trained))
    assert spec.finders() == (trained,)
    subjects = subjects_of(found, spec)
    assert subjects is not None
    assert subjects[0].points[0] == pytest.approx(predicted[0].tolist())
    few = photos.take(np.arange(5))
    with pytest.raises(DataError, match="too few"):
        learn_clicks(few, read_marks(tmp_path / "clicks.csv"), tmp_path / "x", backbone=TINY, n_steps=1, n_workers=0)


def test_the_command_writes_a_table_and_a_page_and_refuses_impossible_settings(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    photos, corners = drawn(tmp_path, 3)
    done = functions.boxes(photos, out=tmp_path / "b.csv", by="grabcut", html=tmp_path / "b.html", n_workers=0)
    assert done.n_boxes == 3
    box = read_marks(tmp_path / "b.csv").table.row(0, named=True)
    assert abs(box["box_x"] - corners[0, 0, 0]) < 4
    assert "<html" in (tmp_path / "b.html").read_text(encoding="utf-8")
    with pytest.raises(FieldmarkError, match="neither a method nor the folder of a finder") as refused:
        functions.boxes(photos, by="grabcutt")
    assert "agreed, grabcut, features" in refused.value.fix
    with pytest.raises(FieldmarkError, match="needs --save, a folder") as refused:
        functions.boxes(photos, clicks=tmp_path / "b.csv")
    assert "--save" in refused.value.fix
    assert isinstance(done.finder, GrabCut)
    assert not isinstance(done.finder, TrainedFinder)


@pytest.mark.parametrize(
    ("cells", "message"),
    [("0,0,60,50,500,20", "tip at 500, 20 in 100 x 60 pixels"), ("300,5,320,30,10,20", "300, 5, 20, 25 in 100 x 60")],
)
def test_clicks_outside_their_photo_are_refused(tmp_path: Path, cells: str, message: str) -> None:
    photos, _ = drawn(tmp_path, 10)
    lines = [f"{image},0,0,60,50,10,20" for image in photos.images[1:]]
    (tmp_path / "clicks.csv").write_text(
        "\n".join(["image,x0,y0,x1,y1,x_tip,y_tip", f"{photos.images[0]},{cells}", *lines])
    )
    with pytest.raises(DataError) as refused:
        learn_clicks(photos, read_marks(tmp_path / "clicks.csv"), tmp_path / "finder", backbone=TINY, n_workers=0)
    assert str(refused.value.got).startswith(f"{photos.images[0]}: {message}")
    assert "leave" in refused.value.fix
    assert not (tmp_path / "finder").exists()
