"""Relocating a run: its photo folders are updated, and other photos are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import FieldmarkError, RunError
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.plans.humpback import humpback_nearest
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.keypoints import KEPT
from toys import quick_rerank, ranked


@pytest.fixture(scope="module")
def pointed(
    known: Collection, new: Collection, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, np.ndarray]:
    """A run that matches keypoints, whose photos were moved from two folders ``was/``; and its scores of new photos."""
    pytest.importorskip("cv2", reason="keypoints need OpenCV")
    folder = tmp_path_factory.mktemp("pointed")
    shutil.copytree(known.root, folder / "was/known")
    shutil.copytree(new.root, folder / "was/new")
    moved = [
        Collection(table=one.table, root=folder / "was" / name, vocabulary=one.vocabulary, name=one.name)
        for one, name in ((known, "known"), (new, "new"))
    ]
    reranking = quick_rerank(shortlist=4)
    plan = humpback_nearest(size="toy")
    plan = plan.model_copy(
        update={"stages": (*plan.stages[:-1], reranking, WriteSubmission(name="answers", reads_from=reranking.name))}
    )
    run = execute(plan.check(), moved[0], folder / "run", new=moved[1], seed=1, n_workers=0)
    scores = ranked(run.path, moved[1])
    (folder / "was").rename(folder / "is")
    return run, scores


def test_a_run_that_matches_keypoints_needs_its_photos_and_can_be_relocated(
    pointed: tuple[RunFolder, np.ndarray], known: Collection, new: Collection
) -> None:
    run, scores = pointed
    shutil.rmtree(run.path / KEPT)
    photo, there = new.paths[0], run.path.parent / "is"
    with pytest.raises(RunError) as refusal:
        fieldmark.identify(run.path, photo, device="cpu", n_workers=0)
    assert f"{len(known)} of their files are missing" in refusal.value.problem
    assert refusal.value.fix == f"if the photos were moved, run `fieldmark relocate {run.path} --photos FOLDER`."
    assert fieldmark.relocate(run.path, photos=there / "known", new=there / "new") == (len(known), len(new))
    opened = Context.open(run.path)
    assert opened.known.root == there / "known"
    assert opened.new is not None
    assert not [*opened.known.lost(), *opened.new.lost()]
    assert opened.known.table.equals(known.table)
    again = ranked(run.path, opened.new)
    np.testing.assert_array_equal(again, scores)
    found = fieldmark.identify(run.path, photo, device="cpu", n_workers=0)
    shown = [match.photo for match in found[0].matches if match.photo]
    assert shown
    assert all(one.is_file() and one.is_relative_to(there) for one in shown)


def test_other_photos_are_refused_and_the_run_is_unchanged(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    about = (run / "collection/collection.json").read_text()
    with pytest.raises(RunError) as refusal:
        fieldmark.relocate(run, photos=tmp_path)
    assert refusal.value.problem == f"{len(known)} of the run's {len(known)} photos are not in this folder."
    assert "old names" in refusal.value.fix
    copy = shutil.copytree(known.root, tmp_path / "copy")
    one = copy / known.table["file"][0]
    one.write_bytes(one.read_bytes() + b"more")
    with pytest.raises(RunError) as refusal:
        fieldmark.relocate(run, photos=copy)
    assert "other file sizes" in refusal.value.problem
    with pytest.raises(RunError):
        fieldmark.relocate(run, photos=known.root, new=copy)
    assert (run / "collection/collection.json").read_text() == about
    with pytest.raises(FieldmarkError) as nothing:
        fieldmark.relocate(run)
    assert "--photos FOLDER" in nothing.value.fix
    assert fieldmark.relocate(run, new=new.root) == (0, len(new))


def test_runs_of_labels_and_answers_can_be_relocated_with_rows_without_a_file(
    museum: Path, museum_run: Path, shop_run: Path, tmp_path: Path
) -> None:
    for finished in (museum_run, shop_run):
        run = shutil.copytree(finished, tmp_path / finished.name)
        was = Context.open(run)
        root = shutil.copytree(was.known.root, tmp_path / f"{finished.name} photos")
        assert fieldmark.relocate(run, photos=root) == (int(was.known.present.sum()), 0)
        assert Context.open(run).known.root == root


def test_a_run_without_new_photos_refuses_new_folders(known: Collection, tmp_path: Path) -> None:
    run = execute(humpback_nearest(size="toy"), known, tmp_path / "run", seed=1, n_workers=0)
    with pytest.raises(RunError) as refusal:
        fieldmark.relocate(run.path, new=known.root)
    assert refusal.value.fix == "leave out --new."


def test_a_missing_folder_is_refused_even_with_absolute_paths_in_the_table(known: Collection, tmp_path: Path) -> None:
    whole = known.table.with_columns(file=pl.Series([str(path.absolute()) for path in known.paths]))
    photos = Collection(table=whole, root=known.root, vocabulary=known.vocabulary, name=known.name)
    run = execute(humpback_nearest(size="toy"), photos, tmp_path / "run", seed=1, n_workers=0)
    with pytest.raises(RunError) as refusal:
        fieldmark.relocate(run.path, photos=tmp_path / "nowhere")
    assert refusal.value.problem == "The photo folder does not exist."
    assert Context.open(run.path).known.root == known.root.absolute()
