"""A plan: stages by name, in order, each reading earlier ones."""

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
    """What a run does, whole: a frozen value that JSON and TOML can hold.

    Attributes:
        name: Of the recipe or the user's own.
        stages: In the order in which they run.
        needs: Other packages that bring some of its parts, as ``name==version``; noted when a plan is written, and no
            part of what the plan does.
    """

    name: str
    stages: Annotated[tuple[Annotated[Stage, OneOf(STAGES, Stage, key="kind")], ...], Field(min_length=1)]
    needs: tuple[str, ...] = ()

    @field_validator("needs")
    @classmethod
    def _installed(cls, needs: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a plan that is to be read where packages with some of its parts are not installed."""
        lacking = [one for one in needs if not _is_installed(one)]
        if lacking:
            fix = f"run `pip install {' '.join(lacking)}`, or take what you do not use out of `needs`."
            raise PydanticCustomError("not_installed", "has packages that are not installed here", {"fix": fix})
        return needs

    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of name and stages."""
        return fingerprint(self.model_dump(mode="json", exclude={"needs"}))

    def with_needs(self) -> Self:
        """The plan with the other packages that bring some of its parts noted, as it is written to files."""
        return self.model_copy(update={"needs": packages_of(self)})

    def check(self) -> Self:
        """The plan itself, if its stages fit together.

        Raises:
            PlanError: Names twice, names that no stage before bears, stages that leave something else than the one
                reading them takes, settings that cannot work; all at once.
        """
        mistakes = [f"stage name '{name}' is used {n} times" for name, n in self._counts().items() if n > 1]
        earlier: dict[str, Stage] = {}
        for stage in self.stages:
            if not stage.name or not stage.name.replace("-", "").replace("_", "").isalnum():
                mistakes.append(f"stage name '{stage.name}' may have letters, digits, - and _ only")
            mistakes += _references(stage, earlier) + stage.check(earlier)
            earlier[stage.name] = stage
        if mistakes:
            raise PlanError(
                f"The plan '{self.name}' has {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="mend names and settings; `fieldmark plan humpback-classify --json` prints a plan that works.",
            )
        return self

    def up_to(self, name: str) -> Self:
        """The plan with only the stages that the stage ``name`` is made of, and those that find regions."""
        needed = {name}
        for stage in reversed(self.stages):
            if stage.name in needed:
                needed |= set(stage.reads())
        stages = tuple(stage for stage in self.stages if stage.name in needed or stage.changes_photos)
        return self.model_copy(update={"stages": stages})

    def final(self) -> Stage:
        """The stage with the last word on new photos: the last that leaves predictions.

        Raises:
            PlanError: The plan has none.
        """
        found = [stage for stage in self.stages if issubclass(stage.output, Predictions)]
        if not found:
            raise PlanError(
                f"The plan '{self.name}' predicts nothing.",
                got=", ".join(f"{stage.name} ({stage.kind})" for stage in self.stages),
                fix="add a stage that does: rank, cut or settle.",
            )
        return found[-1]

    def answering(self) -> Stage:
        """The stage that answers photos asked about one by one: ``final``, less those that need whole batches."""
        return self.alone(self.final())

    def alone(self, stage: Stage) -> Stage:
        """The stage that answers for ``stage`` where photos are asked about one by one: itself, or one behind it.

        A stage that needs whole batches is passed by: the first stage it reads that leaves predictions stands for it.
        """
        by_name = {one.name: one for one in self.stages}
        while stage.in_batches_only:
            stage = next(one for one in map(by_name.__getitem__, stage.reads()) if issubclass(one.output, Predictions))
        return stage

    def leaving(self, artifact: type[Artifact]) -> tuple[Stage, ...]:
        """The stages that leave such an artifact, in order."""
        return tuple(stage for stage in self.stages if issubclass(stage.output, artifact))

    def only(self, kind: type[StageT]) -> StageT:
        """The last stage of this class.

        Raises:
            PlanError: The plan has none.
        """
        found = [stage for stage in self.stages if isinstance(stage, kind)]
        if not found:
            raise PlanError(
                f"The plan '{self.name}' has no stage that can do this.",
                got=f"no {kind.__name__} stage",
                fix="add one.",
            )
        return found[-1]

    def _counts(self) -> Counter[str]:
        return Counter(stage.name for stage in self.stages)


def _is_installed(requirement: str) -> bool:
    """Whether some version of the package ``name==version`` is installed."""
    try:
        version(requirement.partition("==")[0])
    except PackageNotFoundError:
        return False
    return True


def _references(stage: Stage, earlier: Mapping[str, Stage]) -> list[str]:
    """References to stages that are not there, or that leave something else."""
    mistakes = []
    for setting, names in stage.named().items():
        ref = stage.refs()[setting]
        for name in names:
            source = earlier.get(name)
            if source is None:
                mistakes.append(f"{stage.name}: reads '{name}', which no earlier stage writes")
            elif not issubclass(source.output, ref.artifact):
                mistakes.append(
                    f"{stage.name}: '{setting}' must name a stage that leaves {_words(ref)}; "
                    f"'{name}' ({source.kind}) leaves {_words(Ref(source.output))}"
                )
            elif ref.by_fold and not source.predicts_by_fold(earlier):
                mistakes.append(
                    f"{stage.name}: '{setting}' needs the scores of each fold's models alone, "
                    f"which '{name}' ({source.kind}) does not have"
                )
    return mistakes


def _words(ref: Ref) -> str:
    """The kind of artifact in plain words: ``LabelScores`` is "label scores"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", ref.artifact.__name__).lower()


def renamed(stage: Stage, names: Mapping[str, str]) -> Stage:
    """The stage with itself and the stages it reads under other names; names that are not in ``names`` stay."""
    fields: dict[str, object] = {}
    for setting in stage.refs():
        value = getattr(stage, setting)
        if isinstance(value, str):
            fields[setting] = names.get(value, value)
        elif value:
            fields[setting] = tuple(names.get(one, one) for one in value)
    return stage.model_copy(update={**fields, "name": names.get(stage.name, stage.name)})


def read_plan(path: Path) -> Plan:
    """A user's plan from a ``.toml`` or ``.json`` file, checked.

    The ``estimate`` that ``fieldmark plan --json`` adds to a plan is left out.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read_spec(Plan, path, beside="estimate")
    return plan.check()
