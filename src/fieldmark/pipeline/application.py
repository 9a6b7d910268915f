"""Fitted stages applied to photos: each stage once, its result held for those that read it."""

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
        context: The run; the stages that are asked for must be finished, or being fitted.
        photos: Any photos.
        own: Whether they are the run's own new photos: what finished stages kept of them is read, not computed again.
        together: Whether they are one batch that stages may look at as a whole; else each photo is answered as if it
            were alone.
        features: Where features of frozen networks are kept while the photos are looked at; None: the run's folder of
            them, or memory.
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
        self._regions_found = own  # those of its new photos are in their table already
        self._values: dict[tuple[str, int | None], Any] = {}
        self._features = features

    @property
    def photos(self) -> Collection:
        """The photos, with the regions that the plan's stages find on them."""
        if not self._regions_found:
            self._regions_found = True
            for stage in self.context.plan.stages:
                if stage.changes_photos:
                    self._photos = stage.apply(Ask(self, stage, None)).marked(self._photos)
        return self._photos

    @property
    def features(self) -> FeatureStore:
        """Where features of frozen networks are kept, shared by all stages that look at these photos."""
        from fieldmark.training.features import FeatureStore

        if self._features is None:
            self._features = FeatureStore(self.context.features)
        return self._features

    def value(self, name: str, fold: int | None = None) -> Any:
        """What the stage ``name`` says of the photos.

        Args:
            name: A stage that says something of photos.
            fold: Hear the models of this fold alone, compared with the photos that they learnt from; None: all models.

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
    """What a stage is given when it is applied.

    Attributes:
        application: The photos and the stages before this one.
        stage: The stage itself.
        fold: Hear the models of this fold alone; None: all.
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
        """The photos to answer."""
        return self.application.photos

    def folds(self, n_folds: int) -> Sequence[int]:
        """Of which folds the models are heard."""
        return range(n_folds) if self.fold is None else (self.fold,)

    def value(self, kind: type[ValueT], name: str) -> ValueT:
        """What an earlier stage says of the photos, by the models of the same folds.

        Raises:
            TypeError: It says something else.
        """
        found = self.application.value(name, self.fold)
        if not isinstance(found, kind):
            raise TypeError(f"'{name}' says {type(found).__name__}, not {kind.__name__}")
        return found

    def artifact(self, kind: type[ArtifactT], name: str) -> ArtifactT:
        """What an earlier stage left."""
        return self.context.artifact(kind, name)

    def fitted(self, kind: type[ArtifactT]) -> ArtifactT:
        """What this stage left when it was fitted."""
        return self.context.artifact(kind, self.stage.name)
