"""Metrics: MAP@k with unknown individuals, F-beta, question errors, open-set error rates, calibration, intervals."""

# All functions accept lists, numpy arrays, torch tensors, and pandas or polars columns. Classes are whole numbers; -1
# means an unknown individual.

from typing import TYPE_CHECKING

from fieldmark.core.public import exports

if TYPE_CHECKING:
    from fieldmark.metrics.calibration import Reliability, calibration_error, reliability
    from fieldmark.metrics.intervals import Interval, grouped_share_interval, interval, share_interval
    from fieldmark.metrics.labels import f_beta, f_beta_per_image
    from fieldmark.metrics.open_set import (
        false_discovery_rate,
        false_match_rate,
        false_rejection_rate,
        roc_auc,
    )
    from fieldmark.metrics.questions import QuestionError, error_per_question
    from fieldmark.metrics.ranking import average_precision, map_at_k, missed_identification_rate, top_k

__all__ = [
    "Interval",
    "QuestionError",
    "Reliability",
    "average_precision",
    "calibration_error",
    "error_per_question",
    "f_beta",
    "f_beta_per_image",
    "false_discovery_rate",
    "false_match_rate",
    "false_rejection_rate",
    "grouped_share_interval",
    "interval",
    "map_at_k",
    "missed_identification_rate",
    "reliability",
    "roc_auc",
    "share_interval",
    "top_k",
]
__getattr__, __dir__ = exports(
    __name__,
    {
        "Interval": "fieldmark.metrics.intervals",
        "QuestionError": "fieldmark.metrics.questions",
        "Reliability": "fieldmark.metrics.calibration",
        "average_precision": "fieldmark.metrics.ranking",
        "calibration_error": "fieldmark.metrics.calibration",
        "error_per_question": "fieldmark.metrics.questions",
        "f_beta": "fieldmark.metrics.labels",
        "f_beta_per_image": "fieldmark.metrics.labels",
        "false_match_rate": "fieldmark.metrics.open_set",
        "false_rejection_rate": "fieldmark.metrics.open_set",
        "grouped_share_interval": "fieldmark.metrics.intervals",
        "interval": "fieldmark.metrics.intervals",
        "map_at_k": "fieldmark.metrics.ranking",
        "missed_identification_rate": "fieldmark.metrics.ranking",
        "reliability": "fieldmark.metrics.calibration",
        "roc_auc": "fieldmark.metrics.open_set",
        "share_interval": "fieldmark.metrics.intervals",
        "top_k": "fieldmark.metrics.ranking",
        "false_discovery_rate": "fieldmark.metrics.open_set",
    },
)
