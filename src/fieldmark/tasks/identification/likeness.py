"""Similarity between the individuals of a run."""

from __future__ import annotations

import numpy as np

from fieldmark.decisions.specs import Best
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.context import Context
from fieldmark.quality.duplicates.finding import IdentityLikeness
from fieldmark.stages.identity.embed import Embed


def likeness_of(context: Context) -> IdentityLikeness:
    """Return the mean similarity between the identities of a run, measured on its validation photos.

    Each validation photo is compared with the photos of every identity, and the most similar photo counts. The network
    was not trained on the validation photo. The result is the mean over the validation photos of an identity; it is
    NaN for an identity without validation photos.

    Raises:
        PlanError: The run embeds no photos.
        RunError: The stage is not finished.
    """
    stage = context.plan.only(Embed)
    embeddings, folds = context.artifact(Embeddings, stage.name), context.folds(stage)
    known, n = context.known, len(context.known.vocabulary.identities)
    total, count = np.zeros((n, n), np.float32), np.zeros(n)
    for k in range(folds.n_folds):
        rows = np.flatnonzero(folds.fold == k)
        own = folds.validation(known, k=k)
        scores = embeddings.gallery(k).scores(embeddings.validation(k), own, n_classes=n, by=Best())
        named = known.classes[rows] >= 0
        np.add.at(total, known.classes[rows][named], scores[named])
        np.add.at(count, known.classes[rows][named], 1)
    mean = np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)
    return IdentityLikeness(known.vocabulary.identities, mean)
