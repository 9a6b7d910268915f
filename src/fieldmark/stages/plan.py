"""A plan: stages by name, in order, each reading earlier ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import Field

from fieldmark.core.errors import PlanError, several
from fieldmark.core.spec import Spec, read
from fieldmark.stages.answer import Answer
from fieldmark.stages.blend import Blend
from fieldmark.stages.boxes import Boxes
from fieldmark.stages.cut import Cut
from fieldmark.stages.drop import Drop
from fieldmark.stages.embed import Embed
from fieldmark.stages.enlarge import Enlarge
from fieldmark.stages.lend import Lend
from fieldmark.stages.look import Look
from fieldmark.stages.merge import Merge
from fieldmark.stages.misfits import RANKERS, SCORING, misfits
from fieldmark.stages.rank import Rank
from fieldmark.stages.recheck import Recheck
from fieldmark.stages.recruit import Recruit
from fieldmark.stages.rescore import Rescore
from fieldmark.stages.score import Score
from fieldmark.stages.settle import Settle
from fieldmark.stages.split import Split
from fieldmark.stages.stack import Stack
from fieldmark.stages.stack_identities import StackIdentities
from fieldmark.stages.texts import Texts
from fieldmark.stages.think_again import ThinkAgain
from fieldmark.stages.train import Train

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

    The ``estimate`` that ``fieldmark plan --json`` adds to a plan is left out.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read(Plan, path, beside="estimate")
    return plan.check()
