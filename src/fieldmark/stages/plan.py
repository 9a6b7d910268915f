"""A plan: stages by name, in order, each reading earlier ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field

from fieldmark.core.errors import PlanError, several
from fieldmark.core.spec import Spec, read
from fieldmark.stages.answer import Answer
from fieldmark.stages.embed import Embed
from fieldmark.stages.rank import ByLogits, Rank
from fieldmark.stages.split import Split
from fieldmark.stages.train import Train

Stage = Annotated[Split | Train | Embed | Rank | Answer, Field(discriminator="verb")]
VERBS = (Split, Train, Embed, Rank, Answer)
StageT = TypeVar("StageT", Split, Train, Embed, Rank, Answer)


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
            mistakes += _misfits(stage, earlier)
            earlier[stage.name] = stage
        if mistakes:
            raise PlanError(
                f"The plan '{self.name}' has {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="mend names and settings; `fieldmark plan humpback-classify --json` prints a plan that works.",
            )
        return self

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


def read_plan(path: Path) -> Plan:
    """A user's plan from a ``.toml`` or ``.json`` file, checked.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read(Plan, path)
    return plan.check()


_WANTED = {"on": Split, "of": Train}


def _misfits(stage: Stage, earlier: dict[str, Stage]) -> list[str]:
    """What cannot work in one stage, given those before it."""
    found = []
    for attribute, kind in _WANTED.items():
        source = earlier.get(getattr(stage, attribute, ""))
        if source is not None and not isinstance(source, kind):
            found.append(
                f"{stage.name}: '{attribute}' must name a {kind.__name__.lower()} stage, '{source.name}' is none"
            )
    if isinstance(stage, Rank) and not isinstance(earlier.get(stage.reads_from), Embed | None):
        found.append(f"{stage.name}: 'reads_from' must name an embed stage")
    if isinstance(stage, Answer) and not isinstance(earlier.get(stage.reads_from), Rank | None):
        found.append(f"{stage.name}: 'reads_from' must name a rank stage")
    if isinstance(stage, Train):
        found += _training_misfits(stage)
    if isinstance(stage, Rank) and any(isinstance(vote.by, ByLogits) for vote in stage.votes):
        embed = earlier.get(stage.reads_from)
        train = earlier.get(embed.of) if isinstance(embed, Embed) else None
        if isinstance(train, Train) and train.net.head.kind == "embedding":
            found.append(f"{stage.name}: ranks by logits, but the head of '{train.name}' is an embedding without any")
    return found


def _training_misfits(stage: Train) -> list[str]:
    found = []
    head, batch, sampler = stage.net.head.kind, stage.training.batch, stage.sampler
    if head == "embedding" and any(loss.kind != "triplet" for loss in stage.losses):
        found.append(f"{stage.name}: an embedding head has no logits, its loss can only be triplet")
    if sampler.kind == "tuples" and batch % 4:
        found.append(f"{stage.name}: batch {batch} is no multiple of 4, which tuples need")
    if sampler.kind == "pk" and batch % sampler.k:
        found.append(f"{stage.name}: batch {batch} is no multiple of k = {sampler.k}")
    return found
