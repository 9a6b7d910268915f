"""Identity issues of drawn animals: unknown individuals that have a name, and animals with two names."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fieldmark
from drawn_photos import seen_from, textured, turned
from fieldmark.core.errors import PlanError
from fieldmark.data.collection import Collection
from fieldmark.data.specs import HumpbackSplit
from fieldmark.gallery.specs import KeypointMatching, Sift
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.plans.humpback import humpback_nearest
from fieldmark.quality.patches import apply, read_patch
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.tasks.identification import report as identity_reporting
from fieldmark.tasks.identification.issues import identity_issues
from fieldmark.tasks.issues import LabelIssue
from fieldmark.tasks.reporting import write_report

pytest.importorskip("cv2", reason="keypoints need OpenCV")
N_ANIMALS, N_UNKNOWNS = 6, 6
HIDDEN = {f"hidden{animal}.png": f"a{animal}" for animal in (1, 2, 4)}
"""Photos of named animals that are unknown individuals in the table."""
TWICE = (0, 3, 5)
"""Animals that have a second name on three more photos."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Three photos of each animal; ``a5`` and ``b5`` and so on are one animal; untrained networks."""
    root = tmp_path_factory.mktemp("animals")
    rows: list[tuple[str, str]] = []

    def drawn(image: str, name: str, animal: int, view: int) -> None:
        pixels = seen_from(textured(animal), turned(degrees=4.0 * view - 6, tilt=0.0002))
        Image.fromarray(pixels).save(root / image)
        rows.append((image, name))

    for animal in range(N_ANIMALS):
        for view in range(3):
            drawn(f"a{animal}_{view}.png", f"a{animal}", animal, view)
    for animal in TWICE:
        for view in range(3):
            drawn(f"b{animal}_{view}.png", f"b{animal}", animal, view)
    for image, name in HIDDEN.items():
        drawn(image, "unknown", int(name[1:]), 3)
    for one in range(N_UNKNOWNS):
        drawn(f"s{one}.png", "unknown", 50 + one, 0)
    known = Collection.of(pl.DataFrame(rows, schema=["image", "identity"], orient="row"), root=root)
    plan = humpback_nearest(size="toy")
    rerank = RerankKeypoints(
        name="matching",
        reads_from="ranking",
        embedded="features",
        on="split",
        matching=KeypointMatching(points=Sift(size_px=160, most=150, clahe=False), within_px=4, least=8),
        shortlist=N_ANIMALS + len(TWICE),
        photos=3,
    )
    split = Split(name="split", folds=HumpbackSplit(n_known=N_ANIMALS + len(TWICE), n_unknown=4))
    stages = (split, *plan.stages[1:-1], rerank, WriteSubmission(name="answers", reads_from="matching"))
    done = execute(plan.model_copy(update={"stages": stages}).check(), known, root / "run", seed=1, n_workers=0)
    return Context.open(done.path)


@pytest.fixture(scope="module")
def found(run: Context) -> list[LabelIssue]:
    return identity_issues(run.computing(device="cpu", n_workers=0))


def test_unknowns_with_a_name_come_before_true_unknowns(run: Context, found: list[LabelIssue]) -> None:
    """Some of them are validation photos and some are training photos."""
    unknowns = [one for one in found if one.kind == "unknown"]
    assert {one.image: one.label for one in unknowns[: len(HIDDEN)]} == HIDDEN
    assert min(one.proba for one in unknowns[: len(HIDDEN)]) > 0.2
    assert all(one.proba < 0.2 for one in unknowns[len(HIDDEN) :])
    fold = run.artifact(Folds, "split").fold
    validated = {run.known.images[row] for row in np.flatnonzero(fold >= 0)}
    assert validated & set(HIDDEN)
    assert set(HIDDEN) - validated


def test_an_animal_with_two_names_is_an_issue(run: Context, found: list[LabelIssue]) -> None:
    two = [one for one in found if one.kind == "two names"]
    fold = run.artifact(Folds, "split").fold
    validated = {run.known.images[row][:2] for row in np.flatnonzero(fold >= 0)}
    wanted = {f"{one}{animal}" for animal in TWICE for one in "ab"} & validated
    assert {one.image[:2] for one in two} == wanted
    assert wanted
    assert all(one.image[1] == one.label[1] for one in two)


def test_the_matching_known_photo_has_that_name(run: Context, found: list[LabelIssue]) -> None:
    named = dict(run.known.table.select("image", "identity").iter_rows())
    assert all(named[one.beside] == one.label for one in found)
    assert [one.label_error_proba for one in found] == sorted((one.label_error_proba for one in found), reverse=True)
    assert len({one.image for one in found}) == len(found)


def test_the_page_shows_issues_of_validation_photos(
    run: Context, found: list[LabelIssue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_reporting, "LEAST_ERROR_PROBA", 0.3)
    write_report(run)
    page = (run.run.path / "report.html").read_text(encoding="utf-8")
    fold = run.artifact(Folds, "split").fold
    validated = {run.known.images[row] for row in np.flatnonzero(fold >= 0)}
    shown = [one for one in found if one.image in validated and one.proba >= 0.3]
    assert shown
    assert "Possible label errors" in page
    assert all(f"Keypoint matches between {one.image} and {one.beside}" in page for one in shown)


def test_decisions_correct_the_table(run: Context, tmp_path: Path) -> None:
    fieldmark.issues(run.run.path, out=tmp_path / "issues.csv", most=len(HIDDEN), device="cpu", n_workers=0)
    with (tmp_path / "issues.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["decision"] = "add" if row["kind"] == "unknown" else "keep"
    with (tmp_path / "decided.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    corrected = apply(read_patch(tmp_path / "decided.csv"), run.known)
    was, now = (dict(one.table.select("image", "identity").iter_rows()) for one in (run.known, corrected))
    changed = {image: name for image, name in now.items() if was[image] != name}
    assert changed
    assert changed.items() <= HIDDEN.items()


def test_a_run_without_keypoints_is_an_error(run: Context) -> None:
    plan = run.plan.up_to("ranking")
    with pytest.raises(PlanError) as refusal:
        identity_issues(replace(run, plan=plan))
    assert "keypoints=xfeat" in refusal.value.fix
