"""Tests that ``imaterialist2017`` at size ``toy`` runs all its stages, answers missing photos, and resumes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError, RunError
from fieldmark.core.progress import QUIET
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.plans.imaterialist import imaterialist2017
from fieldmark.tasks.attributes.report import answer_report
from fieldmark.tasks.attributes.validation import OutOfFoldAnswers

WORK = ("*.npy", "*.safetensors", "*.parquet", "*.csv", "weights.json")


def digests(run: Path) -> dict[str, str]:
    files = {path for pattern in WORK for path in run.glob(f"*/**/{pattern}")}
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def test_the_probabilities_of_each_question_sum_to_one(shop_run: Path) -> None:
    context = Context.open(shop_run)
    vocabulary = context.known.vocabulary
    starts = np.flatnonzero(np.diff(vocabulary.question_of, prepend=-1))
    for name in ("pictures", "texts", "ensemble"):
        known = context.artifact(LabelScores, name).known(context.known)
        assert known.shape == (48, len(vocabulary.answer_names))
        np.testing.assert_allclose(np.add.reduceat(known, starts, axis=1), 1, atol=1e-4)
        assert np.ptp(known, axis=0).max() > 0.01


def test_every_question_is_answered_for_every_new_photo_including_missing_ones(shop: Path, shop_run: Path) -> None:
    context = Context.open(shop_run)
    new, scored = context.new, context.of_new()
    assert new is not None
    assert (~new.present).sum() == 2
    assert scored.value("pictures").absent.sum() == 2
    assert scored.value("ensemble").absent.sum() == 0  # answered from their texts
    answers = pl.read_parquet(shop_run / "answers/answers.parquet").filter(pl.col("part") == "new")
    questions = [one.name for one in context.known.vocabulary.questions]
    assert answers.height == len(new) * len(questions)
    assert set(answers["image"]) == set(pl.read_csv(shop / "new.csv", infer_schema=False)["image"])
    missing = np.flatnonzero(~new.present)
    texts, ensemble = (scored.value(name).mean.mean for name in ("texts", "ensemble"))
    np.testing.assert_allclose(ensemble[missing], texts[missing], atol=1e-3)


def test_answers_satisfy_the_relations_between_questions(shop_run: Path) -> None:
    answers = pl.read_parquet(shop_run / "answers/answers.parquet")
    kind = answers.filter(pl.col("question") == "category").select("part", "image", kind="answer")
    rest = answers.filter(pl.col("question") != "category").join(kind, on=["part", "image"])
    fits = rest.select(pl.col("applies") == (pl.col("question").str.split(":").list.first() == pl.col("kind")))
    assert fits.to_series().all()


def test_the_submission_has_a_row_for_each_photo_and_question(shop_run: Path) -> None:
    rows = (shop_run / "submission/submission.csv").read_text().splitlines()
    assert rows[0] == "id,predicted"
    assert len(rows) == 1 + 8 * 13
    assert len({row.partition(",")[0] for row in rows}) == len(rows)


def test_the_metrics_equal_a_count_by_slow_loops(shop_run: Path) -> None:
    out_of_fold = OutOfFoldAnswers(Context.open(shop_run))
    answers = pl.read_parquet(shop_run / "answers/answers.parquet").filter(pl.col("part") == "known")
    given = {
        (image, question): answer
        for image, question, answer in answers.select("image", "question", "answer").iter_rows()
    }
    wrong = n = 0
    for one in out_of_fold.vocabulary.questions:
        rows = zip(out_of_fold.known.images, out_of_fold.known.table[one.name].to_list(), strict=True)
        for image, right in rows:
            if right:
                n += 1
                wrong += given[image, one.name] not in right
    metrics = {row["name"]: row for row in json.loads((shop_run / "metrics.json").read_text())}
    assert metrics["error"]["value"] == pytest.approx(wrong / n)
    assert metrics["error"]["n"] == n
    assert metrics["error"]["low"] <= wrong / n <= metrics["error"]["high"]
    assert metrics["error"]["value"] < metrics["baseline error"]["value"]


def test_the_report_has_questions_and_weights(shop_run: Path) -> None:
    page = (shop_run / "report.html").read_text()
    for words in ("Accuracy per question", "Weights of the ensemble", "heel type", "Baseline"):
        assert words in page


def test_a_finished_run_repeats_its_answers_for_new_photos(shop: Path, shop_run: Path) -> None:
    context = Context.open(shop_run)
    assert context.new is not None
    found = Application(context, context.new).value(context.plan.answering().name).proba
    np.testing.assert_allclose(found, context.of_new().value("ensemble").mean.mean, atol=2e-3)


def test_attributes_prints_a_tree(shop: Path, shop_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fieldmark.cli.main import main

    photo = shop / pl.read_csv(shop / "labels.csv", infer_schema=False)["file"][0]
    assert main(["attributes", str(shop_run), str(photo)]) == 0
    output = capsys.readouterr().out
    assert "category" in output
    assert "questions do not apply" in output
    assert main(["attributes", str(shop_run), str(photo), "--json", "--text", "red maxi dress"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    one = json.loads(line)
    assert set(one["answers"]) == {each["question"] for each in one["questions"] if each["applies"]}
    for each in one["questions"]:
        assert each["proba"] + sum(other["proba"] for other in each["others"]) <= 1 + 1e-5


def test_the_error_of_tag_names_the_command_to_use(shop_run: Path, shop: Path) -> None:
    photo = next((shop / "images").iterdir())
    with pytest.raises(RunError) as refusal:
        fieldmark.tag(shop_run, photo)
    assert f"fieldmark attributes {shop_run} PHOTO" in refusal.value.fix


def test_evaluate_on_other_photos_and_predict(shop: Path, shop_run: Path, tmp_path: Path) -> None:
    truth = pl.read_csv(shop / "test_truth.csv", infer_schema=False)
    table = shop / "labelled.csv"
    exists = [(shop / file).exists() for file in truth["file"]]
    truth.filter(pl.Series(exists)).with_columns(group=pl.lit("one sender")).write_csv(table)
    measures = {one.name: one for one in fieldmark.evaluate(shop_run, table, n_workers=0)}
    assert measures["error of category"].n == 6
    assert {one.over for one in measures.values()} == {"1 group"}
    fieldmark.predict(shop_run, shop / "new.csv", out=tmp_path / "people.csv", n_workers=0)
    people = pl.read_csv(tmp_path / "people.csv", infer_schema=False)
    assert people.columns == ["image", "question", "answer", "proba", "applies"]
    assert people.height == 8 * 13
    fieldmark.predict(shop_run, shop / "new.csv", out=tmp_path / "s.csv", form="submission", n_workers=0)
    assert (tmp_path / "s.csv").read_text() == (shop_run / "submission/submission.csv").read_text()


class Interrupting:
    """Progress that interrupts the run when it receives one of the given texts for the first time."""

    def __init__(self, *at: str) -> None:
        self.at = list(at)

    def say(self, text: str) -> None:
        if self.at and self.at[0] in text:
            self.at.pop(0)
            raise KeyboardInterrupt

    def track(self, items: Any, *, total: int, what: str) -> Any:
        return QUIET.track(items, total=total, what=what)


def test_interrupted_it_resumes_and_writes_the_same_bits(shop: Path, shop_run: Path, tmp_path: Path) -> None:
    progress = Interrupting("epoch 2", "texts: texts", "ensemble: ensemble_scores")
    run = tmp_path / "run"

    def train() -> None:
        fieldmark.train("imaterialist2017", shop, new=shop / "new.csv", run=run, size="toy",
                        settings={"trees": True}, n_workers=0, progress=progress)  # fmt: skip

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            train()
    train()
    assert digests(run) == digests(shop_run)


@pytest.mark.parametrize("question_head", ["softmax", "sigmoid", "both", "conditional"])
def test_every_question_head_is_valid_and_survives_json(question_head: str) -> None:
    plan = imaterialist2017(question_head=question_head)
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"question_head": "sofmax"}, "use question_head=softmax, sigmoid"),
        ({"ensemble_mean": "mean"}, "geometric"),
        ({"use_photos": False, "text_columns": ""}, "--set text_columns=text"),
        ({"networks": 9}, "use networks=1 or less"),
        ({"text_model": "bert"}, "use text_model=ngrams or minilm"),
        ({"size": "toy", "finetune_backbone": True}, "leave out finetune_backbone"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], fix: str) -> None:
    with pytest.raises(PlanError) as refusal:
        imaterialist2017(**settings)
    assert fix in refusal.value.fix


def test_photos_without_questions_are_refused(museum: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refusal:
        fieldmark.train("imaterialist2017", museum, run=tmp_path / "run", size="toy", n_workers=0)
    assert "--question COLUMN" in refusal.value.fix


def test_a_leaky_column_must_exist(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refusal:
        fieldmark.train("imaterialist2017", shop, run=tmp_path / "run", size="toy", n_workers=0,
                        settings={"use_photos": False, "leaky_columns": "adress"})  # fmt: skip
    assert "--column adress=NAME" in refusal.value.fix


def test_predict_prints_the_number_of_photos(
    shop: Path, shop_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fieldmark.cli.main import main

    assert (
        main(["predict", str(shop_run), str(shop / "new.csv"), "--out", str(tmp_path / "a.csv"), "--workers", "0"]) == 0
    )
    assert "8 photos predicted" in capsys.readouterr().out


def test_intervals_are_over_the_groups_of_the_table(shop_run: Path) -> None:
    context = Context.open(shop_run)
    groups = pl.Series([f"{row // 8}" for row in range(len(context.known))])
    known = replace(context.known, table=context.known.table.with_columns(group=groups))
    measures, html = answer_report(replace(context, known=known))
    assert {one.unit for one in measures} == {"group"}
    assert measures[0].n_units == 6
    assert "95 % intervals over 6 groups" in html.replace("\xa0", " ")
    ungrouped = replace(context.known, table=context.known.table.drop("group"))
    plain, _ = answer_report(replace(context, known=ungrouped))
    assert {one.unit for one in plain} == {"photo"}
    assert [one.value for one in plain] == [one.value for one in measures]
