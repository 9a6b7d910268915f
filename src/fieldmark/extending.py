"""Base classes and decorators for your own losses, stages, recipes, backbones and table readers.

Importing the module of a part registers its name. Parts that a package lists as entry points are imported when a plan
or a command uses their names. ``docs/extending.md`` shows one example of each kind.
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
from fieldmark.plans.common import FoldSettings, TrainingSettings
from fieldmark.plans.recipe import recipe
from fieldmark.plans.settings import Settings, setting

__all__ = [
    "Artifact",
    "Ask",
    "Context",
    "Embeddings",
    "FoldSettings",
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
    "Settings",
    "Spec",
    "Stage",
    "TrainingSettings",
    "backbone",
    "loss",
    "reader",
    "recipe",
    "setting",
    "stage",
]
