"""Settings for cleaning labels: JSON round trip, selection by kind, and rejected values."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import parse
from fieldmark.quality.specs import (
    Absolute,
    HardTargets,
    LabelPseudoLabelRule,
    MeanConfidence,
    NoiseRule,
    Percentile,
    RobustZ,
    TopCount,
)


@pytest.mark.parametrize("rule", [Percentile(), Absolute(above=0.3), RobustZ()])
def test_rules_are_restored_from_json(rule):
    assert TypeAdapter(NoiseRule).validate_json(rule.model_dump_json()) == rule


def test_pseudo_label_rules_are_restored_from_json():
    rule = LabelPseudoLabelRule(
        confidence=MeanConfidence(), amount=TopCount(n=5), targets=HardTargets(at=0.2), most_per_label=3
    )
    assert parse(LabelPseudoLabelRule, rule.model_dump_json(), name="pseudo_labels") == rule


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "percentile", "share": 1.5}',
        '{"kind": "absolute"}',
        '{"kind": "robust_z", "above": 0}',
        '{"kind": "median"}',
        '{"kind": "percentile", "shares": 0.1}',
    ],
)
def test_invalid_rules_are_rejected(text):
    with pytest.raises(PlanError) as caught:
        parse(NoiseRule, text, name="rule")
    assert "correct these settings" in caught.value.fix
