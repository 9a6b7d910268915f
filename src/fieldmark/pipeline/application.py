"""Application of fitted stages to photos. Each stage is applied once, and its result is cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fieldmark.data.collection import Collection
from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context
    from fieldmark.pipeline.stage import Stage
    from fieldmark.training.features import FeatureStore

ArtifactT = TypeVar("ArtifactT", bound=Artifact)
ValueT = TypeVar("ValueT")


class Application:
    """The stages of a run applied to one set of photos.

    Args:
        context: Run. The applied stages must be finished, or be fitted at the moment.
        photos: Photos to predict.
        own: Whether these are the run's own new photos. The stored results of finished stages are then read, not
            computed again.
        together: Whether the photos are one batch that stages may process as a whole. If False, the prediction for a
            photo does not depend on the others.
        features: Cache for features of frozen networks; None: the feature folder of the run, or memory.
    """

    def __init__(
        self,
        context: Context,
        photos: Collection,
        *,
        own: bool = False,
        together: bool = False,
        features: FeatureStore | None = None,
    ) -> None:
        self.context, self.own, self.together = context, own, together
        self._photos = photos
        self._regions_found = own  # the table of the run's own new photos already has the regions
        self._values: dict[tuple[str, int | None], Any] = {}
        self._features = features

    @property
    def photos(self) -> Collection:
        """The photos, with the regions found by the stages of the plan."""
        if not self._regions_found:
            self._regions_found = True
            for stage in self.context.plan.stages:
                if stage.changes_photos:
                    self._photos = stage.apply(Ask(self, stage, None)).marked(self._photos)
        return self._photos

    @property
    def features(self) -> FeatureStore:
        """The cache for features of frozen networks, shared by all stages."""
        from fieldmark.training.features import FeatureStore

        if self._features is None:
            self._features = FeatureStore(self.context.features)
        return self._features

    def value(self, name: str, fold: int | None = None) -> Any:
        """Return the result of the stage ``name`` for the photos.

        Args:
            name: Name of a stage that can be applied to photos.
            fold: Use only the models of this fold, and compare only with their training photos; None: all models.

        Raises:
            RunError: The stage is not finished.
        """
        stage = self.context.stages[name]
        if stage.in_batches_only and not self.together:
            return self.value(self.context.plan.alone(stage).name, fold)
        fold = None if stage.output.each_fold else fold
        key = (name, fold)
        if key not in self._values:
            kept = self.own and fold is None and stage.output.reads_back and name not in self.context.work
            self._values[key] = (
                self.context.artifact(stage.output, name).kept(self.context)
                if kept
                else stage.apply(Ask(self, stage, fold))
            )
        return self._values[key]


@dataclass(frozen=True)
class Ask:
    """The inputs of a stage that is applied to photos.

    Attributes:
        application: Photos and earlier stages.
        stage: Stage to apply.
        fold: Use only the models of this fold; None: all models.
    """

    application: Application
    stage: Stage
    fold: int | None

    @property
    def context(self) -> Context:
        """The run."""
        return self.application.context

    @property
    def photos(self) -> Collection:
        """The photos to predict."""
        return self.application.photos

    def folds(self, n_folds: int) -> Sequence[int]:
        """Return the folds whose models predict."""
        return range(n_folds) if self.fold is None else (self.fold,)

    def value(self, kind: type[ValueT], name: str) -> ValueT:
        """Return the result of an earlier stage for the photos, from the models of the same folds.

        Raises:
            TypeError: The result is of another type.
        """
        found = self.application.value(name, self.fold)
        if not isinstance(found, kind):
            raise TypeError(f"The result of '{name}' is {type(found).__name__}, not {kind.__name__}")
        return found

    def artifact(self, kind: type[ArtifactT], name: str) -> ArtifactT:
        """Return the artifact of an earlier stage."""
        return self.context.artifact(kind, name)

    def fitted(self, kind: type[ArtifactT]) -> ArtifactT:
        """Return the artifact of this stage."""
        return self.context.artifact(kind, self.stage.name)
