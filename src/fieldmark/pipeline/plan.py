"""A plan: named stages in order, where each stage may read earlier stages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from fieldmark.core.errors import PlanError, several
from fieldmark.core.registry import OneOf, packages_of
from fieldmark.core.spec import Spec, fingerprint, read_spec
from fieldmark.pipeline.artifacts.base import Artifact, Predictions
from fieldmark.pipeline.stage import STAGES, Ref, Stage

StageT = TypeVar("StageT", bound=Spec)


class Plan(Spec):
    """The complete description of a run. A plan is immutable, and can be written to JSON and TOML.

    Attributes:
        name: Name of the recipe, or a name of the user.
        stages: Stages, in the order in which they run.
        needs: Other packages that provide some stages or settings, as ``name==version``. They are recorded when the
            plan is written, and do not change what the plan does.
    """

    name: str
    stages: Annotated[tuple[Annotated[Stage, OneOf(STAGES, Stage, key="kind")], ...], Field(min_length=1)]
    needs: tuple[str, ...] = ()

    @field_validator("needs")
    @classmethod
    def _installed(cls, needs: tuple[str, ...]) -> tuple[str, ...]:
        """Raise an error if packages that the plan needs are not installed."""
        lacking = [one for one in needs if not _is_installed(one)]
        if lacking:
            fix = f"run `pip install {' '.join(lacking)}`, or remove packages that you do not use from `needs`."
            raise PydanticCustomError("not_installed", "names packages that are not installed", {"fix": fix})
        return needs

    def fingerprint(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of name and stages."""
        return fingerprint(self.model_dump(mode="json", exclude={"needs"}))

    def with_needs(self) -> Self:
        """Return the plan with ``needs`` filled in, as it is written to files."""
        return self.model_copy(update={"needs": packages_of(self)})

    def check(self) -> Self:
        """Check that the stages fit together, and return the plan.

        Raises:
            PlanError: The plan has mistakes: duplicate names, references to stages that do not exist or write another
                kind of artifact, or settings that cannot work. The error lists all of them.
        """
        mistakes = [f"stage name '{name}' is used {n} times" for name, n in self._counts().items() if n > 1]
        earlier: dict[str, Stage] = {}
        for stage in self.stages:
            if not stage.name or not stage.name.replace("-", "").replace("_", "").isalnum():
                mistakes.append(f"stage name '{stage.name}' may only contain letters, digits, - and _")
            mistakes += _references(stage, earlier) + stage.check(earlier)
            earlier[stage.name] = stage
        if mistakes:
            raise PlanError(
                f"The plan '{self.name}' has {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="correct these names and settings; `fieldmark plan humpback-classify --json` prints a valid plan.",
            )
        return self

    def up_to(self, name: str) -> Self:
        """Return the plan with only the stages that the stage ``name`` needs, and those that find regions."""
        needed = {name}
        for stage in reversed(self.stages):
            if stage.name in needed:
                needed |= set(stage.reads())
        stages = tuple(stage for stage in self.stages if stage.name in needed or stage.changes_photos)
        return self.model_copy(update={"stages": stages})

    def final(self) -> Stage:
        """Return the last stage that writes predictions.

        Raises:
            PlanError: No stage writes predictions.
        """
        found = [stage for stage in self.stages if issubclass(stage.output, Predictions)]
        if not found:
            raise PlanError(
                f"The plan '{self.name}' has no stage that writes predictions.",
                got=", ".join(f"{stage.name} ({stage.kind})" for stage in self.stages),
                fix="add a rank, threshold or resolve_hierarchy stage.",
            )
        return found[-1]

    def answering(self) -> Stage:
        """Return the stage that predicts single photos: ``final``, or a stage it reads if it needs whole batches."""
        return self.alone(self.final())

    def alone(self, stage: Stage) -> Stage:
        """Return the stage that predicts single photos in place of ``stage``.

        This is the stage itself, unless it needs whole batches. Then it is the first stage it reads that writes
        predictions.
        """
        by_name = {one.name: one for one in self.stages}
        while stage.in_batches_only:
            stage = next(one for one in map(by_name.__getitem__, stage.reads()) if issubclass(one.output, Predictions))
        return stage

    def leaving(self, artifact: type[Artifact]) -> tuple[Stage, ...]:
        """Return the stages that write this kind of artifact, in order."""
        return tuple(stage for stage in self.stages if issubclass(stage.output, artifact))

    def only(self, kind: type[StageT]) -> StageT:
        """Return the last stage of this class.

        Raises:
            PlanError: The plan has no such stage.
        """
        found = [stage for stage in self.stages if isinstance(stage, kind)]
        if not found:
            raise PlanError(
                f"The plan '{self.name}' has no {kind.__name__} stage, which this command needs.",
                got=", ".join(f"{stage.name} ({stage.kind})" for stage in self.stages),
                fix=f"add a {kind.__name__} stage to the plan.",
            )
        return found[-1]

    def _counts(self) -> Counter[str]:
        return Counter(stage.name for stage in self.stages)


def _is_installed(requirement: str) -> bool:
    """Return whether any version of the package ``name==version`` is installed."""
    try:
        version(requirement.partition("==")[0])
    except PackageNotFoundError:
        return False
    return True


def _references(stage: Stage, earlier: Mapping[str, Stage]) -> list[str]:
    """Return mistakes: references to stages that do not exist, or that write another kind of artifact."""
    mistakes = []
    for setting, names in stage.named().items():
        ref = stage.refs()[setting]
        for name in names:
            source = earlier.get(name)
            if source is None:
                mistakes.append(f"{stage.name}: reads '{name}', which no earlier stage writes")
            elif not issubclass(source.output, ref.artifact):
                mistakes.append(
                    f"{stage.name}: '{setting}' must name a stage that writes {_words(ref)}; "
                    f"'{name}' ({source.kind}) writes {_words(Ref(source.output))}"
                )
            elif ref.by_fold and not source.predicts_by_fold(earlier):
                mistakes.append(
                    f"{stage.name}: '{setting}' needs separate scores by the models of each fold, "
                    f"which '{name}' ({source.kind}) does not have"
                )
    return mistakes


def _words(ref: Ref) -> str:
    """Return the kind of artifact in words: "label scores" for ``LabelScores``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", ref.artifact.__name__).lower()


def renamed(stage: Stage, names: Mapping[str, str]) -> Stage:
    """Return the stage with its name and the names of the stages it reads replaced. Other names stay the same."""
    fields: dict[str, object] = {}
    for setting in stage.refs():
        value = getattr(stage, setting)
        if isinstance(value, str):
            fields[setting] = names.get(value, value)
        elif value:
            fields[setting] = tuple(names.get(one, one) for one in value)
    return stage.model_copy(update={**fields, "name": names.get(stage.name, stage.name)})


def read_plan(path: Path) -> Plan:
    """Read a plan from a ``.toml`` or ``.json`` file, and check it.

    The key ``estimate`` that ``fieldmark plan --json`` adds to a plan is ignored.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read_spec(Plan, path, beside="estimate")
    return plan.check()
