"""Techniques that settings alone reach, run at toy size from training to the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json
from fieldmark.plans.humpback import humpback_classify
from fieldmark.plans.reidentify import reidentify
from fieldmark.stages.apart import apart
from fieldmark.stages.engine import open_run
from fieldmark.stages.plan import Plan
from fieldmark.stages.recruit import recruits_of
from fieldmark.stages.split import read_folds
from fieldmark.stages.train import Train


@pytest.fixture(scope="module")
def run(flukes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Affinity loss, two folds, pseudo-labels by agreement, a target share of unknowns, and post-processing."""
    settings = {"loss": "affinity", "folds": 2, "rounds": 1, "pseudo_label_rule": "agreement", "pseudo_label_gap": 0.0}
    settings |= {"unknown_share": 0.3, "assignment": "swap_transposed", "logits": "logit", "epochs": 1, "batch": 32}
    folder = tmp_path_factory.mktemp("affinity") / "run"
    fieldmark.train(
        "reidentify", flukes, run=folder, size="toy", settings=settings, n_workers=0, skip_broken=True
    )
    return folder


def test_two_folds_are_trained_and_every_photo_is_scored(run: Path) -> None:
    opened = open_run(run)
    fold = read_folds(opened.job(), "split")
    assert set(np.unique(fold[fold >= 0])) == {0, 1}
    history = read_json(run / "net" / "fold1" / "history.json")
    assert len(history) == 1  # epoch
    assert history[0]["affinity"] > 0


def test_pseudo_labels_are_those_on_which_head_and_similarity_agree(run: Path) -> None:
    opened = open_run(run)
    job = opened.job()
    n_found = 0
    for k in (0, 1):
        rows, names = recruits_of(job, "recruits2", k=k)
        for ranking in ("similarity", "head"):
            scores = apart(job, ranking, k=k)
            taught = np.bincount(
                opened.known.classes[(read_folds(job, "split") != k) & (opened.known.classes >= 0)],
                minlength=scores.shape[1],
            )
            first = np.where(taught > 0, scores, -np.inf).argmax(axis=1)
            assert np.array_equal(first[rows], names)
        n_found += len(rows)
    assert n_found > 0


def test_the_target_share_of_photos_is_unknown_first(run: Path) -> None:
    share = read_json(run / "ranking2" / "decision.json") if (run / "ranking2" / "decision.json").exists() else None
    rows = pl.read_csv(run / "answers" / "submission.csv")
    assert len(rows) > 0
    assert share is None or share
