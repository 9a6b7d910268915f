"""A plan: stages by name, in order, each reading earlier ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import Field

from fieldmark.core.errors import PlanError, several
from fieldmark.core.spec import Spec, read
from fieldmark.stages.common.answer import Answer
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.blend import Blend
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import Rank
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.stages.identity.recruit import Recruit
from fieldmark.stages.identity.rescore import Rescore
from fieldmark.stages.identity.stack_identities import StackIdentities
from fieldmark.stages.identity.think_again import ThinkAgain
from fieldmark.stages.labels.cut import Cut
from fieldmark.stages.labels.drop import Drop
from fieldmark.stages.labels.enlarge import Enlarge
from fieldmark.stages.labels.lend import Lend
from fieldmark.stages.labels.look import Look
from fieldmark.stages.labels.merge import Merge
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.settle import Settle
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.texts import Texts
from fieldmark.stages.misfits import RANKERS, SCORING, misfits

Stage = Annotated[
    Split
    | Boxes
    | Train
    | Embed
    | Rank
    | Rescore
    | Recheck
    | StackIdentities
    | Blend
    | ThinkAgain
    | Recruit
    | Score
    | Drop
    | Enlarge
    | Look
    | Stack
    | Lend
    | Texts
    | Merge
    | Cut
    | Settle
    | Answer,
    Field(discriminator="verb"),
]
Told = Literal["labels", "answers", "individuals"]
"""What runs of a plan tell of a photo."""
VERBS: tuple[type[Spec], ...] = get_args(get_args(Stage)[0])
"""The classes of all stages."""
__all__ = ["RANKERS", "SCORING", "VERBS", "Plan", "Stage", "answering_stage", "ranking_stage", "read_plan", "renamed"]
StageT = TypeVar("StageT", bound=Spec)


class Plan(Spec):
    """What a run does, whole: a frozen value that JSON and TOML can hold.

    Attributes:
        name: Of the recipe or the user's own.
        stages: In the order in which they run.
    """

    name: str
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def check(self) -> Self:
        """The plan itself, if its stages fit together.

        Raises:
            PlanError: Names twice, names that nobody wrote before, wrong verbs, settings that cannot work; all at once.
        """
        mistakes = [f"stage name '{name}' is used {n} times" for name, n in self._counts().items() if n > 1]
        earlier: dict[str, Stage] = {}
        for stage in self.stages:
            if not stage.name or not stage.name.replace("-", "").replace("_", "").isalnum():
                mistakes.append(f"stage name '{stage.name}' may have letters, digits, - and _ only")
            mistakes += [
                f"{stage.name}: reads '{name}', which no earlier stage writes"
                for name in stage.reads()
                if name not in earlier
            ]
            mistakes += misfits(stage, earlier)
            earlier[stage.name] = stage
        if mistakes:
            raise PlanError(
                f"The plan '{self.name}' has {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="mend names and settings; `fieldmark plan humpback-classify --json` prints a plan that works.",
            )
        return self

    @property
    def tells(self) -> Told:
        """What its runs tell of a photo."""
        verbs = {stage.verb for stage in self.stages}
        return "answers" if "settle" in verbs else "labels" if "cut" in verbs else "individuals"

    def up_to(self, name: str) -> Self:
        """The plan with only the stages that the stage ``name`` is made of, and those that tell where animals are."""
        needed = {name}
        for stage in reversed(self.stages):
            if stage.name in needed:
                needed |= set(stage.reads())
        stages = tuple(stage for stage in self.stages if stage.name in needed or isinstance(stage, Boxes))
        return self.model_copy(update={"stages": stages})

    def only(self, kind: type[StageT]) -> StageT:
        """The last stage of this kind.

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


def renamed(stage: Stage, names: Mapping[str, str]) -> Stage:
    """The stage, itself and those it reads called by other names; who is not in ``names`` keeps its own."""
    reads = set(stage.reads())

    def told(value: object) -> object:
        if isinstance(value, str) and value in reads:
            return names.get(value, value)
        if isinstance(value, tuple) and value and all(isinstance(one, str) and one in reads for one in value):
            return tuple(names.get(one, one) for one in value)
        return value

    fields = {name: told(getattr(stage, name)) for name in type(stage).model_fields if name not in {"verb", "name"}}
    return stage.model_copy(update={**fields, "name": names.get(stage.name, stage.name)})


def ranking_stage(plan: Plan) -> Rank | Rescore | Recheck | StackIdentities | Blend | ThinkAgain:
    """The last stage that ranks individuals: its answers are the plan's.

    Raises:
        PlanError: The plan has none.
    """
    found = [stage for stage in plan.stages if isinstance(stage, RANKERS)]
    return found[-1] if found else plan.only(Rank)


def answering_stage(plan: Plan) -> Rank | Rescore | Recheck | StackIdentities | Blend | ThinkAgain:
    """The last stage that ranks single photos: second thoughts about a pile are none about one photo.

    Raises:
        PlanError: The plan ranks nothing.
    """
    final = ranking_stage(plan)
    while isinstance(final, ThinkAgain):
        final = ranking_stage(plan.up_to(final.reads_from))
    return final


def read_plan(path: Path) -> Plan:
    """A user's plan from a ``.toml`` or ``.json`` file, checked.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read(Plan, path)
    return plan.check()
