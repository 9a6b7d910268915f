"""Tests of techniques that only settings switch on, at size ``toy`` from training to the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import Ranking
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.plans.humpback import humpback_classify


@pytest.fixture(scope="module")
def run(flukes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Affinity loss, two folds, pseudo-labels by agreement, a target share of unknowns, and post-processing."""
    settings = {"loss": "affinity", "folds": 2, "pseudo_label_rounds": 1, "pseudo_label_rule": "agreement"}
    settings |= {
        "pseudo_label_min_gap": 0.0,
        "unknown_share": 0.3,
        "assignment": "swap_transposed",
        "head_output": "logit",
        "epochs": 1,
        "batch": 32,
    }
    folder = tmp_path_factory.mktemp("affinity") / "run"
    fieldmark.train("reidentify", flukes, run=folder, size="toy", settings=settings, n_workers=0, skip_broken=True)
    return folder


def test_two_folds_are_trained_and_every_photo_is_scored(run: Path) -> None:
    folds = Context.open(run).artifact(Folds, "split")
    assert folds.n_folds == 2
    history = read_json(run / "net" / "fold1" / "history.json")
    assert len(history) == 1  # epoch
    assert history[0]["affinity"] > 0


def test_pseudo_labels_are_new_photos_on_which_head_and_similarity_agree(run: Path) -> None:
    context, n_found = Context.open(run).computing(n_workers=0), 0
    known, picked = context.known, context.artifact(IdentityPseudoLabels, "pseudo_labels2")
    for k in (0, 1):
        trained_on = (context.artifact(Folds, "split").fold != k) & (known.classes >= 0)
        counts = np.bincount(known.classes[trained_on], minlength=len(known.vocabulary.identities))
        for ranking in ("similarity", "head"):
            scores = context.of_new().value(ranking, k).scores
            first = np.where(counts > 0, scores, -np.inf).argmax(axis=1)
            assert np.array_equal(first[picked.rows(k)], picked.classes(k))
        n_found += len(picked.rows(k))
    assert n_found > 0


def test_the_target_share_of_photos_is_unknown_first(run: Path) -> None:
    ranking = Context.open(run).artifact(Ranking, "ranking2")
    best = ranking.scores.max(axis=1)
    assert (best < ranking.decision.threshold.at).mean() == pytest.approx(0.3, abs=1 / len(best))


def test_answers_are_those_after_the_swaps(run: Path) -> None:
    context = Context.open(run)
    answers = pl.read_csv(run / "submission" / "submission.csv")
    assert context.new is not None
    assert len(answers) == len(context.new)
    assert context.plan.final().name == "assignment"
    assert context.plan.answering().name == "ranking2"


def test_a_photo_is_aligned_by_its_landmarks(flukes: Path, tmp_path: Path) -> None:
    known = fieldmark.read(flukes, unknown="new_whale")
    names = ["left_tip", "notch", "right_tip", "root"]
    columns = ",".join(f"x_{name},y_{name}" for name in names)
    level, tilted = "2,2,30,16,60,2,30,28", "10,2,34,14,58,12,26,28"
    marks, other = tmp_path / "marks.csv", tmp_path / "other.csv"
    marks.write_text(f"image,{columns}\n" + "".join(f"{image},{level}\n" for image in known.images))
    plan = humpback_classify(size="toy", landmarks="table", effort=0.01)
    with pytest.raises(PlanError, match="landmarks"):
        fieldmark.train(plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True)
    fieldmark.train(plan, flukes, run=tmp_path / "run", n_workers=0, skip_broken=True, boxes=[str(marks)])
    context = Context.open(tmp_path / "run")
    trained_on = np.flatnonzero((context.artifact(Folds, "split").fold == -1) & (context.known.classes >= 0))
    photo = context.known.paths[trained_on[0]]
    name = context.known.vocabulary.identities[context.known.classes[trained_on[0]]]
    other.write_text(f"image,{columns}\n{photo.name},{tilted}\n")

    def similarity(landmarks: Path) -> float:
        found = fieldmark.identify(tmp_path / "run", photo, k=30, boxes=[str(landmarks)], n_workers=0)
        return next(match.similarity or 0 for match in found[0].matches if match.identity == name)

    assert similarity(marks) == pytest.approx(1, abs=1e-6)  # the same photo with the same landmarks is in the gallery
    assert similarity(other) < 1 - 1e-6
