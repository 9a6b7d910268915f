"""Rules for thresholds on hand-made scores: what they find, what it is worth on others, how it gets into a plan."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import GlobalF2, LabelF2, LabelThreshold, Preset
from fieldmark.pipeline.context import Context
from fieldmark.tasks.tagging.tuning import tuned_rules, with_rule
from made_runs import made_run

N, LABELS = 120, tuple(f"tag::{letter}" for letter in "abcdef")


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A run of ``tags-plain`` with hand-made scores: right labels are likelier, noise is everywhere."""
    chance = np.random.default_rng(3)
    truth = chance.random((N, len(LABELS))) < 0.3
    truth[~truth.any(axis=1), 0] = True
    proba = np.clip(0.25 + 0.3 * truth + chance.normal(0, 0.15, truth.shape), 0, 1).astype(np.float32)
    return made_run(tmp_path_factory.mktemp("tuning"), truth, proba, LABELS)


def f2(answer: np.ndarray, truth: np.ndarray) -> float:
    """Mean F2 by slow loops."""
    values = []
    for given, right in zip(answer, truth, strict=True):
        found = int((given & right).sum())
        below = 4 * int(right.sum()) + int(given.sum())
        values.append(5 * found / below if below else 1.0)
    return float(np.mean(values))


def test_the_global_rule_is_cross_fitted_by_fold(scored: Context) -> None:
    (found,) = tuned_rules(scored, rules=["global"])
    proba = np.load(scored.run.path / "zoo/mean/values.npy")
    images = [f"{number:03d}.jpg" for k in range(3) for number in range(k, N, 3)]
    order = np.argsort(images)
    proba, truth, fold = proba[order], scored.known.truth > 0, np.arange(N) % 3

    def best(rows: np.ndarray) -> float:
        levels = np.unique(proba[rows])
        return max([-1.0, *levels.tolist()], key=lambda at: f2(proba[rows] > np.float32(at), truth[rows]))

    everything = np.ones(N, dtype=bool)
    assert found.as_found.value == pytest.approx(f2(proba > np.float32(best(everything)), truth))
    honest = np.zeros_like(truth)
    for k in range(3):
        honest[fold == k] = proba[fold == k] > np.float32(best(fold != k))
    assert found.honest.value == pytest.approx(
        f2(honest, truth), abs=0.02
    )  # equally good thresholds may differ on others
    assert found.honest.low < found.honest.value < found.honest.high
    assert found.thresholds.mean_labels == pytest.approx((proba > np.float32(best(everything))).sum() / N)
    assert found.is_own


def test_more_thresholds_flatter_more(scored: Context) -> None:
    one, many = tuned_rules(scored, rules=["global", "label"])
    assert (one.name, many.name) == ("global", "label")
    assert isinstance(many.rule, LabelF2)
    assert many.as_found.value >= one.as_found.value
    assert one.as_found.value >= one.honest.value


def test_only_rules_that_fit_the_groups_are_tried(scored: Context) -> None:
    assert [one.name for one in tuned_rules(scored)] == ["global", "group-limits", "label", "relative", "count"]
    (count,) = tuned_rules(scored, rules=["count"])
    assert count.thresholds.mean_labels == pytest.approx(scored.known.truth.sum() / N, rel=0.05)
    with pytest.raises(PlanError) as caught:
        tuned_rules(scored, rules=["group"])
    assert "group-limits" in caught.value.fix


def test_a_rule_of_the_runs_own_is_tried_too(scored: Context) -> None:
    own = Preset(groups={"tag": LabelThreshold(at=0.5)})
    changed = replace(scored, plan=with_rule(scored.plan, own))
    last = tuned_rules(changed)[-1]
    assert (last.name, last.rule, last.is_own) == ("own", own, True)
    assert last.as_found == last.honest  # nothing was found, so nothing flatters


def test_a_stage_without_scores_is_refused(scored: Context) -> None:
    with pytest.raises(PlanError) as caught:
        tuned_rules(scored, stage="split")
    assert caught.value.fix == "use one of: zoo."


def test_only_the_cut_stage_of_the_plan_changes(scored: Context, tmp_path: Path) -> None:
    other = with_rule(scored.plan, LabelF2())
    assert [a == b for a, b in zip(other.stages, scored.plan.stages, strict=True)] == [True, True, True, False, True]
    assert other.name == scored.plan.name
    assert with_rule(other, GlobalF2()) == scored.plan
