"""What a stage of a plan is: settings that can be fitted to known photos and applied to any."""

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
        artifact: What the named stages must leave.
        by_fold: Whether their scores must also be had by the models of one fold alone.
    """

    artifact: type[Artifact]
    by_fold: bool = False


class Stage(Spec):
    """One step of a plan. A subclass states its settings, what it leaves, and how it is fitted and applied.

    Settings that name earlier stages are annotated with ``Ref``; a plan checks them by what those stages leave. The
    engine, the plan and the predictor know stages by this class alone.

    Attributes:
        kind: The name by which plans know the class.
        name: The name of this stage in its plan, and of its folder in a run.
    """

    output: ClassVar[type[Artifact]] = Artifact
    """What the stage leaves."""
    resumes: ClassVar[bool] = False
    """Whether an interrupted ``fit`` goes on from what it left in its folder; else the folder is emptied first."""
    distributed: ClassVar[bool] = False
    """Whether all processes of a training on several devices fit it together; else the first alone does."""
    changes_photos: ClassVar[bool] = False
    """Whether later stages see the photos as this one leaves them, with regions found on them."""
    in_batches_only: ClassVar[bool] = False
    """Whether it looks at all photos of a batch together; photos asked about one by one pass it by."""

    kind: str
    name: str

    @classmethod
    def refs(cls) -> Mapping[str, Ref]:
        """The settings that name earlier stages, and what those must leave."""
        return _refs(cls)

    def named(self) -> dict[str, tuple[str, ...]]:
        """For each of ``refs``, the stages it names; none where it is left empty."""
        found = {}
        for setting in self.refs():
            value = getattr(self, setting) or ()
            found[setting] = (value,) if isinstance(value, str) else tuple(value)
        return found

    def reads(self) -> tuple[str, ...]:
        """The names of all earlier stages that it reads, each once."""
        return tuple(dict.fromkeys(name for names in self.named().values() for name in names))

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Whether what it says can be had by the models of one fold alone, which have not seen that fold's photos."""
        del earlier
        return True

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """What cannot work in its settings, given the stages before it; in one sentence each.

        What ``refs`` can say is checked for every stage and need not be repeated here.
        """
        del earlier
        return []

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Ask before anything runs for what the stage will need: columns, packages, weights, files.

        Raises:
            FieldmarkError: Something is missing.
        """

    def usable(self, context: Context) -> None:
        """Ask, when a finished run is opened to answer photos, for what the stage needs besides its artifact.

        Raises:
            RunError: Something is missing, such as known photos that it compares with.
        """

    def fit(self, context: Context, folder: Path) -> str:
        """Learn from the known photos and write the artifact into ``folder``.

        What it says of known photos must come from models that have not seen them.

        Args:
            context: The run: photos, finished stages, how to compute.
            folder: Empty, or as an interrupted ``fit`` left it where ``resumes``.

        Returns:
            What was done, in one line.
        """
        raise NotImplementedError

    def apply(self, ask: Ask) -> Any:
        """What the fitted stage says of photos: new ones of the run, later ones, one in a request.

        Args:
            ask: The photos, what the stages before this one say of them, this stage's artifact, and of which folds the
                models are to be heard.

        Returns:
            A value of the kind that ``output.keep`` takes.
        """
        raise NotImplementedError


STAGES: Registry[type[Stage]] = Registry("fieldmark.stages", what="stage", home="fieldmark.stages")
"""All stages by kind; those of other packages are listed under the entry-point group ``fieldmark.stages``."""

StageT = TypeVar("StageT", bound=type[Stage])


def stage(kind: StageT) -> StageT:
    """Class decorator that makes a stage known by its kind: plans in the same process can name it.

    Raises:
        FieldmarkError: Another stage has the kind.

    Example:
        ``@stage`` above ``class Sharpen(Stage): kind: Literal["sharpen"] = "sharpen" ...``
    """
    STAGES.add(str(kind.model_fields["kind"].default), kind)
    return kind


@cache
def _refs(kind: type[Stage]) -> Mapping[str, Ref]:
    return {name: mark for name, field in kind.model_fields.items() for mark in field.metadata if isinstance(mark, Ref)}
