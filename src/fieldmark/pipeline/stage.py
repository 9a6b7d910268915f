"""The base class of all stages: settings that can be fitted on known photos and applied to any photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fieldmark.core.registry import Registry
from fieldmark.core.spec import Spec
from fieldmark.pipeline.artifacts.base import Artifact

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.pipeline.application import Ask
    from fieldmark.pipeline.context import Context


@dataclass(frozen=True)
class Ref:
    """Annotation of a setting that names earlier stages: ``Annotated[str, Ref(Scores)]``, or a tuple of names.

    Attributes:
        artifact: Kind of artifact that the named stages must write.
        by_fold: Whether the named stages must be able to predict with the models of one fold alone.
    """

    artifact: type[Artifact]
    by_fold: bool = False


class Stage(Spec):
    """One step of a plan. A subclass defines its settings, its artifact, and how it is fitted and applied.

    Settings that name earlier stages are annotated with ``Ref``. The plan checks that those stages write the right kind
    of artifact. The engine, the plan and the predictor use only the methods of this class.

    Attributes:
        kind: Name of the stage class in plans.
        name: Name of this stage in its plan, and of its folder in a run.
    """

    output: ClassVar[type[Artifact]] = Artifact
    """Kind of artifact that the stage writes."""
    resumes: ClassVar[bool] = False
    """Whether an interrupted ``fit`` resumes from the files in its folder. If False, the folder is emptied first."""
    distributed: ClassVar[bool] = False
    """Whether all processes of a distributed training fit the stage. If False, only the first process does."""
    changes_photos: ClassVar[bool] = False
    """Whether the stage adds regions to the photos for later stages."""
    in_batches_only: ClassVar[bool] = False
    """Whether the stage needs a whole batch of photos. It is skipped when single photos are predicted."""

    kind: str
    name: str

    @classmethod
    def refs(cls) -> Mapping[str, Ref]:
        """Return the settings that name earlier stages, and the kind of artifact that those must write."""
        return _refs(cls)

    def named(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the stages in each setting of ``refs``."""
        found = {}
        for setting in self.refs():
            value = getattr(self, setting) or ()
            found[setting] = (value,) if isinstance(value, str) else tuple(value)
        return found

    def reads(self) -> tuple[str, ...]:
        """Return the names of all earlier stages that this stage reads, without duplicates."""
        return tuple(dict.fromkeys(name for names in self.named().values() for name in names))

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return whether the stage can predict with the models of one fold alone.

        These models were not trained on the validation photos of the fold.
        """
        del earlier
        return True

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return the mistakes in the settings, given the earlier stages; one sentence each.

        The plan checks the references of ``refs`` itself.
        """
        del earlier
        return []

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Check the columns, packages, weights and files that the stage needs, before the run starts.

        Raises:
            FieldmarkError: Something is missing.
        """

    def usable(self, context: Context) -> None:
        """Check what the stage needs besides its artifact, when a finished run is opened for prediction.

        Raises:
            RunError: Something is missing, such as the files of the known photos.
        """

    def fit(self, context: Context, folder: Path) -> str:
        """Fit the stage on the known photos, and write the artifact into ``folder``.

        All results for known photos must be out-of-fold: from models that were not trained on them.

        Args:
            context: Run: photos, finished stages and settings of the computation.
            folder: Empty folder; if ``resumes``, it may have the files of an interrupted ``fit``.

        Returns:
            A summary in one line.
        """
        raise NotImplementedError

    def apply(self, ask: Ask) -> Any:
        """Return the result of the fitted stage for photos: the run's new photos, or any photos later.

        Args:
            ask: Photos, results of earlier stages, artifact of this stage, and the fold whose models predict.

        Returns:
            A value that ``output.keep`` accepts.
        """
        raise NotImplementedError


STAGES: Registry[type[Stage]] = Registry("fieldmark.stages", what="stage", home="fieldmark.stages")
"""All stages by kind. Other packages register stages with the entry-point group ``fieldmark.stages``."""

StageT = TypeVar("StageT", bound=type[Stage])


def stage(kind: StageT) -> StageT:
    """Class decorator that registers a stage by its kind, so that plans in the same process can use it.

    Raises:
        FieldmarkError: Another stage has the same kind.

    Example:
        ``@stage`` above ``class Sharpen(Stage): kind: Literal["sharpen"] = "sharpen" ...``
    """
    STAGES.add(str(kind.model_fields["kind"].default), kind)
    return kind


@cache
def _refs(kind: type[Stage]) -> Mapping[str, Ref]:
    return {name: mark for name, field in kind.model_fields.items() for mark in field.metadata if isinstance(mark, Ref)}
