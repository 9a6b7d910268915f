"""Parts of your own: base classes and decorators for losses, stages, recipes, backbones and table readers.

A part is known by its name once the module that has it is imported. Parts that a package lists as entry points are
found without that, when a plan or a command names them. ``docs/extending.md`` shows one of each kind.
"""

from fieldmark.core.spec import Spec
from fieldmark.data.drafts import Options
from fieldmark.data.readers import reader
from fieldmark.losses.specs import Loss, loss
from fieldmark.models.registered import backbone
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.base import Artifact, Predictions
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.ranking import Ranking
from fieldmark.pipeline.artifacts.scores import LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Ref, Stage, stage

__all__ = [
    "Artifact",
    "Ask",
    "Context",
    "Embeddings",
    "Folds",
    "LabelScores",
    "Loss",
    "MemberScores",
    "Models",
    "Options",
    "Plan",
    "Predictions",
    "Ranking",
    "Ref",
    "ScoredPhotos",
    "Spec",
    "Stage",
    "backbone",
    "loss",
    "reader",
    "stage",
]
