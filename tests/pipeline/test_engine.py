from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import DataError, PlanError, RunError
from fieldmark.core.files import read_json, sha256
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.scores import Scores
from fieldmark.data.specs import IdentityFolds
from fieldmark.pipeline.artifacts.ranking import Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.humpback import humpback_classify
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.rank import Rank
from fieldmark.tasks.reporting import write_report


class Recorder:
    def __init__(self, stop_at: str = "\0") -> None:
        self.lines: list[str] = []
        self.stop_at = stop_at

    def say(self, text: str) -> None:
        self.lines.append(text)
        if self.stop_at in text:
            raise KeyboardInterrupt

    def track(self, items: Any, *, total: int, what: str) -> Any:
        yield from items


def digests(run: RunFolder) -> dict[str, str]:
    names = (
        "net/fold0/weights.safetensors",
        "features/scores/values.npy",
        "ranking/validation.npy",
        "submission/submission.csv",
    )
    return {name: hashlib.sha256((run.path / name).read_bytes()).hexdigest() for name in names}


def test_every_stage_writes_its_folder(finished: RunFolder) -> None:
    assert finished.stages() == ["split", "net", "features", "ranking", "submission"]
    assert {"plan.json", "manifest.json", "run.json", "collection", "new"} <= {
        path.name for path in finished.path.iterdir()
    }
    manifest = read_json(finished.path / "manifest.json")
    assert manifest["seed"] == 1
    assert "torch" in manifest["versions"]
    assert not (finished.path / ".features").exists()


def test_a_run_is_skipped_when_finished_and_refuses_another_seed(
    finished: RunFolder, known: Collection, new: Collection
) -> None:
    before, recorder = digests(finished), Recorder()
    execute(humpback_classify(size="toy"), known, finished.path, new=new, seed=1, progress=recorder)
    assert digests(finished) == before
    assert all("already finished" in line for line in recorder.lines)
    with pytest.raises(RunError) as caught:
        execute(humpback_classify(size="toy"), known, finished.path, new=new, seed=2)
    assert "--run" in caught.value.fix


def test_an_interrupted_run_resumes_bit_identical(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan = humpback_classify(size="toy")
    for stop_at in ("epoch 2", "features: embed", "ranking: rank"):
        with pytest.raises(KeyboardInterrupt):
            execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=0, progress=Recorder(stop_at))
    again = execute(plan, known, tmp_path / "run", new=new, seed=1, n_workers=1)
    assert digests(again) == digests(finished)


def test_scores_are_out_of_fold(finished: RunFolder, known: Collection, new: Collection) -> None:
    fold = np.load(finished.stage("split") / "fold.npy")
    scores = Scores.open(finished.stage("features") / "scores")
    validates = {image for image, k in zip(known.images, fold, strict=True) if k == 0}
    assert set(scores.images) == validates
    assert np.load(finished.stage("features") / "new_proba0.npy").shape == (len(new), len(known.vocabulary.identities))
    taught = next(image for image in known.images if image not in validates)
    with pytest.raises(DataError) as caught:
        scores.rows([taught])
    assert "validation or new photos" in caught.value.fix
    assert scores.columns == known.vocabulary.identities


def test_the_submission_has_the_contests_format(finished: RunFolder, known: Collection, new: Collection) -> None:
    with (finished.stage("submission") / "submission.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Image", "Id"]
    assert [row[0] for row in rows[1:]] == new.images
    names = {*known.vocabulary.identities, "new_whale"}
    for _, answer in rows[1:]:
        assert len(answer.split()) == 5
        assert set(answer.split()) <= names
        assert len(set(answer.split())) == 5


def test_the_predictor_gives_the_same_answers_as_the_run(finished: RunFolder, new: Collection) -> None:
    found = fieldmark.load(finished.path, device="cpu", n_workers=0)(new)
    with (finished.stage("submission") / "submission.csv").open(encoding="utf-8") as file:
        rows = {row["Image"]: row["Id"].split() for row in csv.DictReader(file)}
    for one in found:
        assert [match.identity for match in one.matches] == rows[one.image]
        for match in one.matches:
            assert match.is_new == (match.identity == "new_whale")
            assert (match.photo is None) == match.is_new


def test_several_folds_validate_every_possible_photo_once(known: Collection, new: Collection, tmp_path: Path) -> None:
    plan = humpback_classify(size="toy")
    stages = [
        stage.model_copy(update={"folds": IdentityFolds(n_folds=2)}) if isinstance(stage, Split) else stage
        for stage in plan.stages
    ]
    short = [
        stage.model_copy(
            update={
                "training": stage.training.model_copy(update={"phases": stage.training.phases[-1:], "epoch_batches": 1})
            }
        )
        if isinstance(stage, Train)
        else stage
        for stage in stages
    ]
    run = execute(Plan(name="two", stages=tuple(short)), known, tmp_path / "run", new=new, seed=1, n_workers=0)
    fold = np.load(run.stage("split") / "fold.npy")
    scores = Scores.open(run.stage("features") / "scores")
    assert fold.max() == 1
    assert len(scores) == int((fold >= 0).sum())
    assert len(np.load(run.stage("ranking") / "validation.npy")) == int((fold >= 0).sum())
    assert len(write_report(Context.open(run.path))) >= 6


def test_report_and_metrics_are_written(finished: RunFolder) -> None:
    measures = write_report(Context.open(finished.path))
    names = [one.name for one in measures]
    assert names[0] == "MAP@5"
    assert {"top-1 of known", "AUC known/new", "FPIR"} <= set(names)
    assert all(one.low <= one.value <= one.high for one in measures)
    assert [one["name"] for one in read_json(finished.path / "metrics.json")] == names
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    assert "humpback-classify" in page
    assert "data:image/" in page


def test_a_damaged_stage_is_detected_before_use(known: Collection, tmp_path: Path) -> None:
    plan = humpback_classify(size="toy")
    with pytest.raises(KeyboardInterrupt):
        execute(plan, known, tmp_path / "run", seed=1, progress=Recorder("net: train"))
    path = tmp_path / "run" / "split" / "fold.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        execute(plan, known, tmp_path / "run", seed=1)
    assert "delete the folder" in caught.value.fix


def test_photos_without_names_are_refused_before_anything_is_written(new: Collection, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        fieldmark.train("humpback-classify", new, size="toy", run=tmp_path / "run", n_workers=0)
    assert "--column identity=" in caught.value.fix
    assert not (tmp_path / "run").exists()


def test_the_rule_of_the_threshold_is_the_plans(finished: RunFolder) -> None:
    opened = Context.open(finished.path)
    assert opened.plan.only(Rank).unknown.kind == "max_map"
    assert opened.seed == 1


def test_another_ranking_reuses_the_training_and_other_photos_are_refused(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan, recorder = humpback_classify(size="toy", score_by_centroid=False), Recorder()
    run = execute(plan, known, tmp_path / "run", new=new, seed=1, progress=recorder, reuse=finished.path)
    assert [line.split(":")[0] for line in recorder.lines if "already finished" in line] == ["split", "net", "features"]
    assert digests(run)["net/fold0/weights.safetensors"] == digests(finished)["net/fold0/weights.safetensors"]
    assert digests(run)["ranking/validation.npy"] != digests(finished)["ranking/validation.npy"]
    with pytest.raises(RunError) as caught:
        execute(plan, known, tmp_path / "other", new=new, seed=2, reuse=finished.path)
    assert "same photos" in caught.value.fix


def test_equal_stages_after_a_different_one_are_reused_unless_they_read_it(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    plan = humpback_classify(size="toy")
    split, net, features, ranking, answers = plan.stages
    other = net.model_copy(update={"name": "other", "training": net.training.model_copy(update={"phases": ()})})
    longer = Plan(
        name="longer", stages=(split, other, net, features.model_copy(update={"flip": False}), ranking, answers)
    )
    recorder = Recorder()
    execute(longer.check(), known, tmp_path / "run", new=new, seed=1, progress=recorder, reuse=finished.path)
    assert [line.split(":")[0] for line in recorder.lines if "already finished" in line] == ["split", "net"]


def test_new_photos_with_ids_of_known_ones_are_refused_in_a_run_but_can_be_predicted(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    same = replace(new, table=new.table.with_columns(pl.Series("image", known.images[: len(new)])))
    with pytest.raises(DataError) as caught:
        execute(humpback_classify(size="toy"), known, tmp_path / "run", new=same)
    assert "fieldmark predict" in caught.value.fix
    predictor = fieldmark.load(finished.path, device="cpu", n_workers=0)
    for one, other in zip(predictor(same), predictor(new), strict=True):
        assert one.matches == other.matches


def test_a_decision_of_another_version_is_refused_with_a_fix(
    finished: RunFolder, known: Collection, new: Collection, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(finished.path, tmp_path / "run"))
    decision = json.loads((run.path / "ranking/decision.json").read_text())
    decision["confidence_model"] = {"known": {"kind": "of old"}}
    (run.path / "ranking/decision.json").write_text(json.dumps(decision))
    receipt = json.loads((run.path / "ranking/stage.json").read_text())
    receipt["files"]["decision.json"] = sha256(run.path / "ranking/decision.json")
    (run.path / "ranking/stage.json").write_text(json.dumps(receipt))
    with pytest.raises(RunError) as refusal:
        fieldmark.load(run.path, device="cpu")
    assert refusal.value.fix.startswith(f"delete the folder {run.path / 'ranking'} and run the same")
    shutil.rmtree(run.path / "ranking")
    execute(Context.open(run.path).plan, known, run.path, new=new, seed=1, n_workers=0)
    decisions = [Context.open(one.path).artifact(Ranking, "ranking").decision for one in (run, finished)]
    assert decisions[0] == decisions[1]
