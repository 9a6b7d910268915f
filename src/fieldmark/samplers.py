"""Batch samplers for a ``torch.utils.data.DataLoader``, which select the photos of each training batch.

Pass one to ``DataLoader(dataset, batch_sampler=...)``; it yields lists of row numbers. Each pass is the next epoch, and
the same seed gives the same epochs. Classes may be lists, numpy arrays, tensors, or columns.
"""

from typing import TYPE_CHECKING

from fieldmark.core.public import exports

if TYPE_CHECKING:
    from fieldmark.data.samplers import log_weights
    from fieldmark.training.batch_samplers import (
        AssignmentBatchSampler,
        LogWeightBatchSampler,
        PkBatchSampler,
        TupleBatchSampler,
    )

__all__ = ["AssignmentBatchSampler", "LogWeightBatchSampler", "PkBatchSampler", "TupleBatchSampler", "log_weights"]
__getattr__, __dir__ = exports(
    __name__,
    {
        "AssignmentBatchSampler": "fieldmark.training.batch_samplers",
        "LogWeightBatchSampler": "fieldmark.training.batch_samplers",
        "PkBatchSampler": "fieldmark.training.batch_samplers",
        "TupleBatchSampler": "fieldmark.training.batch_samplers",
        "log_weights": "fieldmark.data.samplers",
    },
)
