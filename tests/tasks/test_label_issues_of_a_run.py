"""Label issues of a run with hand-made scores: planted mistakes come first, with the ids of their photos."""

import numpy as np
import pytest

from fieldmark.core.errors import PlanError
from fieldmark.pipeline.context import Context
from fieldmark.tasks.tagging.issues import label_issues
from made_runs import made_run

N, LABELS = 200, tuple(f"tag::{letter}" for letter in "abcdef")
FORGOTTEN, INVENTED = ((3, 0), (50, 2), (90, 4)), ((7, 1), (120, 3))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Scores that know the truth well, and a table with five mistakes."""
    chance = np.random.default_rng(5)
    truth = chance.random((N, len(LABELS))) < 0.3
    for row, column in FORGOTTEN:
        truth[row, column] = True
    for row, column in INVENTED:
        truth[row, column] = False
    logit = np.where(truth, 2.5, -2.5) + chance.normal(0, 0.6, truth.shape)
    given = truth.copy()
    for row, column in (*FORGOTTEN, *INVENTED):
        given[row, column] = not given[row, column]
    return made_run(tmp_path_factory.mktemp("issues"), given, 1 / (1 + np.exp(-logit)), LABELS)


def test_planted_mistakes_come_first(planted: Context) -> None:
    found = label_issues(planted, most=5)
    wanted = {(f"{row:03d}.jpg", LABELS[column], "missing") for row, column in FORGOTTEN}
    wanted |= {(f"{row:03d}.jpg", LABELS[column], "wrong") for row, column in INVENTED}
    assert {(one.image, one.label, one.kind) for one in found} == wanted
    assert all((one.proba > 0.5) == (one.kind == "missing") for one in found)
    assert [one.label_error_proba for one in found] == sorted((one.label_error_proba for one in found), reverse=True)


def test_fewer_are_the_first_of_more(planted: Context) -> None:
    assert label_issues(planted, most=3) == label_issues(planted, most=40)[:3]


def test_a_stage_without_scores_is_refused(planted: Context) -> None:
    with pytest.raises(PlanError) as caught:
        label_issues(planted, stage="trees")
    assert caught.value.fix == "use one of: zoo."
